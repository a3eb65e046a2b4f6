"""The report of a comparison of translators (`data_prep.wmt compare`)."""

from pathlib import Path

from sp3f_verl.data.sets.wmt import KINDS
from sp3f_verl.evaluation.results import FILE, TranslationSummary
from sp3f_verl.report.document.blocks import (
    Block,
    Document,
    Grid,
    Items,
    Section,
    Table,
    Text,
    listed,
    picture,
    section,
)
from sp3f_verl.report.document.escape import Markdown, code
from sp3f_verl.report.side_by_side import Named, contents, sources_of
from sp3f_verl.report.values import fixed
from sp3f_verl.stats.format import number

SOURCE = code(FILE)
TITLES = {
    **{"bleu": "BLEU", "chrf": "chrF++", "comet": "COMET", "comet_sentence": "COMET"},
    **{"bleu_sentence": "BLEU, mean of sentences", "chrf_sentence": "chrF++, mean of sentences"},
}
DRAWN = ("bleu", "chrf", "comet")
TESTS = (
    "The translator's score minus the baseline's on the same segments, without the pairs that one of them has nothing "
    "in. Corpus scores: sacrebleu's paired bootstrap. Means of sentences: bootstrap over segments, 95 % interval, "
    "and p by sign flips; a segment counts once, in however many languages."
)
STAR = "* holds pairs that the translator has nothing in, imputed by the mean of the others."


def document(folder: Path, summary: TranslationSummary) -> Document:
    """Corpus and sentence scores in columns of their own; what is imputed has a star."""
    kinds = [kind for kind in KINDS if any(getattr(score, kind) is not None for score in summary.scores)]
    titles = [TITLES[kind] for kind in kinds]
    scores = [
        [one.lp, one.translator, *(fixed(getattr(one, kind), 2) for kind in kinds), f"{one.missing} of {one.segments}"]
        for one in sorted(summary.scores, key=lambda score: (score.lp, score.translator))
    ]
    means = {
        TITLES[kind]: lambda one, kind=kind: fixed(getattr(one, kind), 2) + ("*" if one.imputed else "")
        for kind in kinds
    }
    averages = {mean.translator: mean for mean in summary.averages}
    averaged = listed("translator", averages, {**means, "imputed": lambda one: ", ".join(one.imputed)}, SOURCE)
    tests = [
        [
            *(test.lp, test.translator, TITLES.get(test.metric, test.metric), fixed(test.difference, 2, sign="+")),
            "" if test.low is None else f"{test.low:+.2f} to {test.high:+.2f}",
            *(fixed(test.p, 4), str(test.segments)),
        ]
        for test in summary.tests
    ]
    header = ["pair", "translator", "score", "difference", "95 % interval", "p", "segments"]
    signatures = [
        Markdown("{}: BLEU {}, chrF++ {}").format(
            lp,
            Markdown("is blank ({})").format(by_metric["blank"])
            if "blank" in by_metric
            else code(by_metric.get("bleu", "?")),
            code(by_metric.get("chrf", "?")),
        )
        for lp, by_metric in summary.signatures.items()
    ]
    best = Table(["pair", "translator"], list(summary.best.items()), SOURCE)
    star = [Text(STAR)] if any(mean.imputed for mean in averages.values()) else []
    against = f"Against {summary.tests[0].baseline}" if tests else ""
    blocks = [
        *picture("heatmap.png", "Scores by pair", [heatmap(summary, kind) for kind in kinds if kind in DRAWN]),
        Table(["pair", "translator", *titles, "missing"], scores, SOURCE),
        Section("Mean over all pairs", [averaged, *star]),
        Section("Best by the mean of corpus BLEU and chrF++", [best]),
        *section(against, Text(Markdown(TESTS)), Table(header, tests, SOURCE)),
        Section("sacrebleu's signatures", [Items(signatures)]),
    ]
    return Document("Translators on WMT24++", blocks, folder)


def heatmap(summary: TranslationSummary, kind: str) -> Grid:
    """Translators by pairs; a translator without anything in a pair has an empty cell."""
    names = sorted({score.translator for score in summary.scores})
    pairs = sorted({score.lp for score in summary.scores})
    values = {(score.translator, score.lp): getattr(score, kind) for score in summary.scores}
    cells = [[values.get((name, pair)) for pair in pairs] for name in names]
    return Grid(TITLES[kind], names, [pair.partition("-")[2] or pair for pair in pairs], cells)


def compare(named: Named[TranslationSummary]) -> list[Block]:
    """Means over all pairs, a translator a row."""
    means = {f"{label}: {mean.translator}": mean for label, one in contents(named).items() for mean in one.averages}
    columns = {TITLES[kind]: lambda mean, kind=kind: number(getattr(mean, kind)) for kind in DRAWN}
    return [listed("mean over all pairs", means, columns), sources_of(named)]
