"""`report.md` of a comparison of translators."""

from collections.abc import Mapping, Sequence
from typing import Any

from sp3f_verl.data.sets.wmt import KINDS
from sp3f_verl.stats.format import table

TITLES = {
    "bleu": "BLEU",
    "chrf": "chrF++",
    "bleu_sentence": "BLEU, mean of sentences",
    "chrf_sentence": "chrF++, mean of sentences",
    "comet": "COMET",
    "comet_sentence": "COMET",
}


def kinds_of(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    return [kind for kind in KINDS if any(row[kind] is not None for row in scores)]


def markdown(
    scores: Sequence[Mapping[str, Any]],
    means: Sequence[Mapping[str, Any]],
    winners: Mapping[str, str],
    tests: Sequence[Mapping[str, Any]],
    signatures: Mapping[str, Mapping[str, str]],
) -> str:
    """Corpus and sentence scores in columns of their own; what is imputed has a star."""
    kinds = kinds_of(scores)
    head = [TITLES[kind] for kind in kinds]
    rows = [
        [row["lp"], row["translator"], *(_told(row[kind]) for kind in kinds), f"{row['missing']} of {row['segments']}"]
        for row in sorted(scores, key=lambda row: (row["lp"], row["translator"]))
    ]
    overall = [
        [row["translator"], *(_told(row[kind]) + _star(row) for kind in kinds), ", ".join(row["imputed"])]
        for row in means
    ]
    parts = [
        "# Translators on WMT24++",
        table(["pair", "translator", *head, "missing"], rows),
        "![scores](heatmap.png)",
    ]
    parts += ["## Mean over all pairs", table(["translator", *head, "imputed"], overall)]
    if any(row["imputed"] for row in means):
        parts += ["\\* holds pairs that the translator has nothing in, imputed by the mean of the others."]
    parts += ["## Best by the mean of corpus BLEU and chrF++", table(["pair", "translator"], list(winners.items()))]
    if tests:
        parts += [f"## Against {tests[0]['baseline']}", _TESTS, _tests(tests)]
    told = [f"- {lp}: BLEU `{each['bleu']}`, chrF++ `{each['chrf']}`" for lp, each in signatures.items()]
    parts += ["## sacrebleu's signatures", "\n".join(told)]
    return "\n\n".join(parts) + "\n"


_TESTS = (
    "The translator's score minus the baseline's on the same segments, without the pairs that one of them has nothing "
    "in. Corpus scores: sacrebleu's paired bootstrap. Means of sentences: bootstrap over segments, 95 % interval, "
    "and p by sign flips; a segment counts once, in however many languages."
)


def _tests(tests: Sequence[Mapping[str, Any]]) -> str:
    head = ["pair", "translator", "score", "difference", "95 % interval", "p", "segments"]
    rows = [
        [
            *(row["lp"], row["translator"], TITLES[row["metric"]], f"{row['difference']:+.2f}"),
            *("" if row["low"] is None else f"{row['low']:+.2f} to {row['high']:+.2f}", f"{row['p']:.4f}"),
            str(row["segments"]),
        ]
        for row in tests
    ]
    return table(head, rows)


def _star(row: Mapping[str, Any]) -> str:
    return "*" if row["imputed"] else ""


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
