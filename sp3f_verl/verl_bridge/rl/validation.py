"""verl's validation by language, with the scorers of `sp3f evaluate`.

verl logs means by `data_source` only. The reward manager tells the language of a row beside its terms, in validation
alone; verl's own metrics skip what is a text.
"""

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sp3f_verl.evaluation.scores import Sample, Scored, ks, measures
from sp3f_verl.evaluation.summary import Column, mean, merged

LANGUAGE, TOKENS = "language_asked", "tokens"  # `language` is a term
TERMS = ("accuracy", "parseable", "language_share")
SHOWN = ("accuracy", "parseable", "fidelity", "undefined", TOKENS)


def validation_info(info: Mapping[str, float], language: str, length: int) -> dict[str, Any]:
    """The terms of a response in validation; length in tokens."""
    return {**info, LANGUAGE: language, TOKENS: float(length)}


def with_languages(original):
    @functools.wraps(original)
    def _val_metrics_update(self, data_sources, sample_uids, reward_extra_infos_dict, *args, **kwargs):
        metrics = original(self, data_sources, sample_uids, reward_extra_infos_dict, *args, **kwargs)
        if self.config.get("sp3f") is None or LANGUAGE not in reward_extra_infos_dict:
            return metrics
        threshold = float(self.config.sp3f.reward.language_threshold)
        return metrics | language_metrics(data_sources, sample_uids, reward_extra_infos_dict, threshold)

    return _val_metrics_update


def language_metrics(
    data_sources: Sequence[str], uids: Sequence[str], infos: Mapping[str, Sequence[Any]], threshold: float
) -> dict[str, float]:
    """`validation/<data_source>/<language>/<measure>`, and the unweighted mean of the languages under `mean`.

    One entry a response in each sequence; those of one uid are the samples of a problem. What is undefined is left out.
    """
    groups: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for at, (source, uid, language) in enumerate(zip(data_sources, uids, infos[LANGUAGE], strict=True)):
        if language is not None:  # a row that was scored by something else
            groups[source, language][uid].append(at)
    columns: dict[str, dict[str, Column]] = defaultdict(dict)
    samples = max((len(rows) for group in groups.values() for rows in group.values()), default=1)
    for (source, language), group in groups.items():
        columns[source][language] = {uid: _scored(rows, infos, samples, threshold) for uid, rows in group.items()}
    names = [*SHOWN, *(f"pass@{k}" for k in ks(samples) if k > 1)]
    metrics = {}
    for source, by_language in columns.items():
        for label, column in [*by_language.items(), ("mean", merged(list(by_language.values())))]:
            values = {name: mean(column, name) for name in names}
            metrics |= {
                f"validation/{source}/{label}/{name}": value for name, value in values.items() if value is not None
            }
    return metrics


def _scored(rows: Sequence[int], infos: Mapping[str, Sequence[Any]], drawn: int, threshold: float) -> Scored:
    samples = [Sample.of_terms({name: infos[name][at] for name in TERMS}) for at in rows]
    tokens = sum(infos[TOKENS][at] for at in rows) / len(rows)
    return Scored(measures(samples, drawn, threshold) | {TOKENS: tokens})
