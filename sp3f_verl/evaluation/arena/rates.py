"""The numbers of a set of pairs: of a candidate in a language, in a category, or over all languages. Rates in percent.

A rate over several languages is the unweighted mean of the languages. The unit is the prompt: its samples and, over
several languages, its translations count as one (stats/clustered.py).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sp3f_verl.evaluation.arena.judging import PairVerdicts, Question
from sp3f_verl.evaluation.arena.pairs import Pair
from sp3f_verl.evaluation.results import ArenaCell, Estimate, Gap, PositionBias
from sp3f_verl.judge.metrics import MALFORMED
from sp3f_verl.judge.verdicts.win_rates import same_outcome
from sp3f_verl.stats.bootstrap import Interval, bca
from sp3f_verl.stats.clustered import UNVARIED, grouped, grouped_difference, resampled_counts, standard_error
from sp3f_verl.stats.win_rates import fit

RESAMPLES = 1000
EVEN = 1e-9  # from one half: a panel's weights round
KINDS = {"wins": lambda x: x > 0.5 + EVEN, "ties": lambda x: abs(x - 0.5) <= EVEN, "losses": lambda x: x < 0.5 - EVEN}


@dataclass(frozen=True)
class Outcome:
    """A pair with its verdicts and the candidate's credit, None where no judge gave a verdict in both orders.

    half: the credit with a tie as one half, whatever ties count as: it tells wins, ties and losses apart.
    """

    pair: Pair
    verdicts: PairVerdicts
    preference: float | None
    half: float | None


def rates(outcomes: Sequence[Outcome], threshold: float, missing: int, seed: int) -> ArenaCell:
    """The numbers of these pairs. missing: prompts that one of the two did not answer; they are in no rate."""
    judged = [outcome for outcome in outcomes if outcome.preference is not None]
    questions = [question for outcome in outcomes for question in outcome.verdicts.questions]
    table = tabled(judged, lambda outcome: outcome.preference)
    failures = [question.failure or "unknown" for question in questions if question.first is None]
    jammed = [outcome for outcome in outcomes if outcome.preference is None and outcome.verdicts.jammed]
    with_jams = tabled([*judged, *jammed], lambda outcome: outcome.preference or 0.0)
    numbers = {
        "prompts": len({outcome.pair.id for outcome in judged}),
        "win_rate": percent(grouped(table, RESAMPLES, seed=seed)),
        "standard_error": number(100 * standard_error(table)),
        "lc_win_rate": percent(length_controlled(judged, seed)),
        **{
            name: _share([(outcome.pair.id, outcome.pair.language, float(holds(outcome.half))) for outcome in judged])
            for name, holds in KINDS.items()
        },
        "missing": missing,
        "unjudged": len(outcomes) - len(judged),
        "jammed": len(jammed),
        "win_rate_jams_lost": percent(grouped(with_jams, RESAMPLES, seed=seed)) if jammed else None,
        "one_order": sum(outcome.verdicts.one_order for outcome in outcomes),
        "unparseable": failures.count(MALFORMED),
        "failed": len(failures) - failures.count(MALFORMED),
        "settled": sum(outcome.verdicts.settled is not None for outcome in outcomes),
        "position_bias": position(outcomes, seed),
    }
    for index, prefix in enumerate(("", "baseline_")):
        sides = [(outcome.pair, outcome.pair.sides[index]) for outcome in outcomes]
        known = [
            (pair.id, pair.language, float(side.share < threshold)) for pair, side in sides if side.share is not None
        ]
        numbers[f"{prefix}characters"] = number(_mean([side.characters for _, side in sides]))
        numbers[f"{prefix}wrong_language"] = _share(known)
        numbers[f"{prefix}truncated"] = sum(side.status == "truncated" for _, side in sides)
    return ArenaCell(**numbers)


def tabled(outcomes: Sequence[Outcome], value: Callable[[Outcome], float | None]) -> np.ndarray:
    """(prompts, languages): the mean of `value` over the pairs there, NaN where there is none."""
    return _tabled([(outcome.pair.id, outcome.pair.language, value(outcome)) for outcome in outcomes])[2]


def _tabled(values: Sequence[tuple[str, str, float | None]]) -> tuple[list[str], list[str], np.ndarray]:
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    for ident, code, value in values:
        if value is not None:
            cells[ident, code].append(value)
    ids, codes = (sorted({key[index] for key in cells}) for index in (0, 1))
    table = np.full((len(ids), len(codes)), np.nan)
    row, column = ({name: at for at, name in enumerate(names)} for names in (ids, codes))
    for (ident, code), credits in cells.items():
        table[row[ident], column[code]] = sum(credits) / len(credits)
    return ids, codes, table


def difference(a: Sequence[Outcome], b: Sequence[Outcome], seed: int) -> Gap:
    """Win rate of a - that of b over the prompts and languages that both have, in points, and its p-value."""
    values = [
        {(outcome.pair.id, outcome.pair.language, outcome.pair.sample): outcome.preference for outcome in side}
        for side in (a, b)
    ]
    both = [key for key in values[0] if values[0][key] is not None and values[1].get(key) is not None]
    one, other = (_tabled([(ident, code, side[ident, code, k]) for ident, code, k in both])[2] for side in values)
    gap = grouped_difference(one, other, RESAMPLES, seed=seed)
    return Gap(
        mean=number(100 * gap.mean),
        low=number(100 * gap.low),
        high=number(100 * gap.high),
        p=number(gap.p),
        prompts=gap.n,
    )


def length_controlled(outcomes: Sequence[Outcome], seed: int) -> Interval:
    """Mean over languages of the length-controlled win rate, its interval by prompt."""
    ids = {ident: at for at, ident in enumerate(sorted({outcome.pair.id for outcome in outcomes}))}
    by_language = defaultdict(list)
    for outcome in outcomes:
        candidate, baseline = (side.characters for side in outcome.pair.sides)
        row = (ids[outcome.pair.id], outcome.preference, candidate - baseline)
        by_language[outcome.pair.language].append(row)
    groups = [tuple(map(np.array, zip(*rows, strict=True))) for rows in by_language.values()]

    def mean(counts: np.ndarray) -> np.ndarray:
        rates = [_rate(preferences, gaps, counts[:, at]) for at, preferences, gaps in groups]
        return np.nanmean(rates, axis=0)

    if not ids:
        return Interval(math.nan, math.nan, math.nan, 0)
    estimate = float(mean(np.ones((1, len(ids))))[0])
    drawn = np.concatenate([mean(counts) for counts in resampled_counts(len(ids), RESAMPLES, seed)])
    if np.ptp(drawn[np.isfinite(drawn)]) < UNVARIED:
        plain = grouped(tabled(outcomes, lambda outcome: outcome.preference), RESAMPLES, seed=seed)
        return Interval(estimate, plain.low, plain.high, plain.n)
    return Interval(estimate, *bca(estimate, drawn, np.zeros(len(ids)), len(ids)), len(ids))


def _rate(preferences: np.ndarray, gaps: np.ndarray, counts: np.ndarray) -> np.ndarray:
    drawn = counts.sum(axis=1) > 0
    rates = np.full(len(counts), np.nan)
    rates[drawn] = 1 / (1 + np.exp(-fit(preferences, gaps, counts[drawn])[0]))
    return rates


def position(outcomes: Sequence[Outcome], seed: int = 0) -> PositionBias:
    """How the judge treats the order: `first`, how often what is shown first wins among its verdicts that are no tie
    (50 is no bias, 100 a judge that always says so); `consistent`, pairs with the same outcome in both orders."""
    firsts, same, ties, verdicts = [], [], 0, 0
    for outcome in outcomes:
        by_judge: dict[str, list[Question]] = defaultdict(list)
        for question in outcome.verdicts.questions:
            if question.first is None:
                continue
            verdicts += 1
            ties += question.first == 0.5
            by_judge[question.judge].append(question)
            if question.first != 0.5:
                firsts.append((outcome.pair.id, "", question.first))
        for both in by_judge.values():
            if len(both) == 2:
                same.append(float(same_outcome(*(question.first for question in both))))
    table = _tabled(firsts)[2]
    return PositionBias(
        first=percent(grouped(table, RESAMPLES, seed=seed)) if firsts else None,
        consistent=number(100 * _mean(same)),
        tied=number(100 * ties / verdicts) if verdicts else None,
        verdicts=verdicts,
    )


def _share(values: Sequence[tuple[str, str, float]]) -> float | None:
    """Percent, as `rates` averages; None of nothing."""
    table = _tabled(values)[2]
    return number(100 * float(np.nanmean(table, axis=0).mean())) if table.size else None


def percent(interval: Interval) -> Estimate:
    return Estimate(mean=number(100 * interval.mean), low=number(100 * interval.low), high=number(100 * interval.high))


def number(value: float) -> float | None:
    """JSON knows no NaN."""
    return float(value) if math.isfinite(value) else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
