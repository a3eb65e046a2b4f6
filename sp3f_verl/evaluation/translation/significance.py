"""Is one translator better than another? Every translator against one of them, segment by segment.

Corpus BLEU and chrF++ of a pair: sacrebleu's paired bootstrap (Koehn 2004), which draws whole corpora of segments.
Means of sentence scores, of a pair and over all pairs: `bootstrap.paired`, whose cluster is a segment in all its
languages, since a segment that is hard in one is hard in the others.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sp3f_verl.data.sets.wmt import ALL
from sp3f_verl.evaluation.translation.scores import Metrics, by_pair
from sp3f_verl.stats.bootstrap import paired


def corpus_tests(
    segments: Iterable[Mapping[str, Any]],
    candidates: Mapping[str, Mapping[tuple[str, str], str]],
    baseline: str,
    tokenize: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Rows of `data.sets.wmt.TEST`, without an interval; only where both have something in the pair."""
    from sacrebleu.significance import PairedTest

    tests = []
    for lp, rows in by_pair(segments).items():
        texts = {
            name: [translations.get((row["id"], lp), "") for row in rows] for name, translations in candidates.items()
        }
        others = [name for name in sorted(texts) if name != baseline and any(texts[name])]
        if not any(texts[baseline]) or not others:
            continue
        language = rows[0]["language"]
        metrics = Metrics(language, (tokenize or {}).get(language)).corpus_metrics()
        systems = [(name, texts[name]) for name in (baseline, *others)]
        _, results = PairedTest(systems, metrics, [[row["reference"] for row in rows]], test_type="bs")()
        del results["System"]  # the rest is under sacrebleu's names, in the order of the metrics
        for kind, (of_baseline, *of_others) in zip(metrics, results.values(), strict=True):
            for name, result in zip(others, of_others, strict=True):
                difference = {"difference": result.score - of_baseline.score, "low": None, "high": None}
                test = {"translator": name, "baseline": baseline, "lp": lp, "metric": kind, "segments": len(rows)}
                tests.append(test | difference | {"p": float(result.p_value)})
    return tests


def sentence_tests(sentences: Iterable[Mapping[str, Any]], baseline: str, kinds: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of `data.sets.wmt.TEST` per pair, and with lp "all" over the pairs that both have.

    kinds: columns of `sentences`, whose rows are those of `data.sets.wmt.SENTENCE`.
    """
    table: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = defaultdict(dict)
    for row in sentences:
        table[row["translator"]][row["lp"], row["id"]] = row
    tests = []
    for name in sorted(set(table) - {baseline}):
        both = sorted(table[name].keys() & table[baseline].keys())
        for lp in [*sorted({lp for lp, _ in both}), ALL]:
            clusters: dict[str, list[tuple[str, str]]] = defaultdict(list)
            for place in both:
                if lp in (place[0], ALL):
                    clusters[place[1]].append(place)
            for kind in kinds:
                values = [
                    [[table[who][place][kind] for place in cluster] for cluster in clusters.values()]
                    for who in (name, baseline)
                ]
                test = {"translator": name, "baseline": baseline, "lp": lp, "metric": f"{kind}_sentence"}
                if clusters and all(None not in cluster for side in values for cluster in side):
                    gap = paired(*values)
                    test |= {"segments": gap.n, "difference": gap.mean, "low": gap.low, "high": gap.high, "p": gap.p}
                    tests.append(test)
    return tests
