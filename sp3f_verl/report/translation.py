"""The report of a comparison of translators (`data_prep.wmt compare`)."""

from pathlib import Path

from sp3f_verl.data.sets.wmt import KINDS
from sp3f_verl.evaluation.results import FILE, TranslationSummary, TranslatorTest
from sp3f_verl.report.document.blocks import Document, Grid, Items, Section, Table, Text, picture
from sp3f_verl.report.document.escape import Markdown, code

TITLES = {
    "bleu": "BLEU",
    "chrf": "chrF++",
    "bleu_sentence": "BLEU, mean of sentences",
    "chrf_sentence": "chrF++, mean of sentences",
    "comet": "COMET",
    "comet_sentence": "COMET",
}
DRAWN = ("bleu", "chrf", "comet")
TESTS = (
    "The translator's score minus the baseline's on the same segments, without the pairs that one of them has nothing "
    "in. Corpus scores: sacrebleu's paired bootstrap. Means of sentences: bootstrap over segments, 95 % interval, "
    "and p by sign flips; a segment counts once, in however many languages."
)


def translation_document(folder: Path, summary: TranslationSummary) -> Document:
    """Corpus and sentence scores in columns of their own; what is imputed has a star."""
    kinds = [kind for kind in KINDS if any(getattr(score, kind) is not None for score in summary.scores)]
    titles = [TITLES[kind] for kind in kinds]
    scores = sorted(summary.scores, key=lambda score: (score.lp, score.translator))
    rows = [
        [
            score.lp,
            score.translator,
            *(_two(getattr(score, kind)) for kind in kinds),
            f"{score.missing} of {score.segments}",
        ]
        for score in scores
    ]
    means = [
        [
            mean.translator,
            *(_two(getattr(mean, kind)) + ("*" if mean.imputed else "") for kind in kinds),
            ", ".join(mean.imputed),
        ]
        for mean in summary.averages
    ]
    star = "* holds pairs that the translator has nothing in, imputed by the mean of the others."
    best = Table(["pair", "translator"], list(summary.best.items()), code(FILE))
    blocks = [
        *picture("heatmap.png", "Scores by pair", [heatmap(summary, kind) for kind in kinds if kind in DRAWN]),
        Table(["pair", "translator", *titles, "missing"], rows, code(FILE)),
        Section(
            "Mean over all pairs",
            [
                Table(["translator", *titles, "imputed"], means, code(FILE)),
                *([Text(star)] if any(mean.imputed for mean in summary.averages) else []),
            ],
        ),
        Section("Best by the mean of corpus BLEU and chrF++", [best]),
    ]
    if summary.tests:
        blocks.append(Section(f"Against {summary.tests[0].baseline}", [Text(Markdown(TESTS)), _tests(summary.tests)]))
    signatures = [
        Markdown("{}: BLEU {}, chrF++ {}").format(lp, code(own.get("bleu", "?")), code(own.get("chrf", "?")))
        for lp, own in summary.signatures.items()
    ]
    return Document("Translators on WMT24++", [*blocks, Section("sacrebleu's signatures", [Items(signatures)])], folder)


def heatmap(summary: TranslationSummary, kind: str) -> Grid:
    """Translators by pairs; a translator without anything in a pair has an empty cell."""
    names = sorted({score.translator for score in summary.scores})
    pairs = sorted({score.lp for score in summary.scores})
    values = {(score.translator, score.lp): getattr(score, kind) for score in summary.scores}
    cells = [[values.get((name, pair)) for pair in pairs] for name in names]
    return Grid(TITLES[kind], names, [pair.partition("-")[2] or pair for pair in pairs], cells)


def _tests(tests: list[TranslatorTest]) -> Table:
    rows = [
        [
            test.lp,
            test.translator,
            TITLES.get(test.metric, test.metric),
            _signed(test.difference),
            "" if test.low is None else f"{_signed(test.low)} to {_signed(test.high)}",
            "–" if test.p is None else f"{test.p:.4f}",
            str(test.segments),
        ]
        for test in tests
    ]
    header = ["pair", "translator", "score", "difference", "95 % interval", "p", "segments"]
    return Table(header, rows, code(FILE))


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
