"""What an arena comes to: summary.json, and the rows of pairs.parquet and preferences.parquet.

Rates in percent, counts whole; null where nothing is known.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from sp3f_verl.data.schemas import NUMBER, TEXT, WHOLE, make_schema
from sp3f_verl.evaluation.arena.judging import Judgement
from sp3f_verl.evaluation.arena.pairs import Pair, Pairing
from sp3f_verl.evaluation.arena.rates import Outcome, difference, rates
from sp3f_verl.evaluation.results import ArenaCandidate, ArenaSummary, PairedGap
from sp3f_verl.judge.verdicts.verdict import Verdict

_PAIR = {"candidate": TEXT, "language": TEXT, "id": TEXT, "sample": WHOLE}
# preference: the candidate's credit, null without a verdict in both orders; settled: no judge was
# needed (equal or empty texts).
PAIR = make_schema(
    "candidate,language,id,sample",
    {**_PAIR, "settled": pa.bool_(), "characters": WHOLE, "baseline_characters": WHOLE},
    {
        **{"category": TEXT, "preference": NUMBER, "language_share": NUMBER, "baseline_language_share": NUMBER},
        **{"status": TEXT, "baseline_status": TEXT},
    },
)
# verdict: A or B, what was shown first or second, tie, failed, or with verdict=logprob a share; preference: the
# candidate's credit.
VERDICT = make_schema(
    "candidate,language,id,sample,judge,order",
    {**_PAIR, "judge": TEXT, "order": TEXT, "verdict": TEXT},
    {"preference": NUMBER, "failure": TEXT, "answer": TEXT, "tokens_in": WHOLE, "tokens_out": WHOLE},
)


def summarise(pairing: Pairing, judgement: Judgement, ties: str, threshold: float, seed: int) -> ArenaSummary:
    """The first candidate's languages, categories and mean; those of `others`; all of them against each other. The
    baseline, the judge and the cost are the command's to add."""
    by_candidate: dict[str, list[Outcome]] = {name: [] for name in pairing.missing}
    for pair, verdicts in zip(pairing.pairs, judgement.verdicts, strict=True):
        preference, half = (verdicts.preference(credit, judgement.weights) for credit in (ties, "half"))
        by_candidate[pair.candidate].append(Outcome(pair, verdicts, preference, half))
    names = list(by_candidate)
    candidates = {
        name: _of_candidate(outcomes, pairing.missing[name], threshold, seed) for name, outcomes in by_candidate.items()
    }
    first = candidates.pop(names[0])
    return ArenaSummary(
        kind="arena",
        unit="percent",
        ties=ties,
        threshold=threshold,
        candidate=names[0],
        languages=first.languages,
        categories=first.categories,
        mean=first.mean,
        others=candidates,
        paired=[_paired(a, b, by_candidate, seed) for number, a in enumerate(names) for b in names[number + 1 :]],
        not_answered=pairing.not_answered,
        language_not_recognised=sorted(pairing.unrecognised),
    )


def _of_candidate(outcomes: Sequence[Outcome], missing: Counter[str], threshold: float, seed: int) -> ArenaCandidate:
    languages = _by(outcomes, lambda outcome: outcome.pair.language)
    categories = _by(outcomes, lambda outcome: outcome.pair.category)
    codes = sorted({*languages, *(code for code, count in missing.items() if count)})
    return ArenaCandidate(
        languages={code: rates(languages.get(code, ()), threshold, missing[code], seed) for code in codes},
        categories={name: rates(group, threshold, 0, seed) for name, group in sorted(categories.items())},
        mean=rates(outcomes, threshold, missing.total(), seed),
    )


def _paired(a: str, b: str, by_candidate: dict[str, list[Outcome]], seed: int) -> PairedGap:
    sides = [_by(by_candidate[name], lambda outcome: outcome.pair.language) for name in (a, b)]
    codes = sorted(sides[0].keys() & sides[1].keys())
    return PairedGap(
        a=a,
        b=b,
        mean=difference(by_candidate[a], by_candidate[b], seed),
        languages={code: difference(sides[0][code], sides[1][code], seed) for code in codes},
    )


def _by(outcomes: Iterable[Outcome], key: Callable[[Outcome], str | None]) -> dict[str, list[Outcome]]:
    groups = defaultdict(list)
    for outcome in outcomes:
        if (name := key(outcome)) is not None:
            groups[name].append(outcome)
    return groups


# ---- pairs.parquet and preferences.parquet -------------------------------------------------------------------------


def pair_rows(pairing: Pairing, judgement: Judgement, ties: str) -> Iterator[dict]:
    for pair, verdicts in zip(pairing.pairs, judgement.verdicts, strict=True):
        candidate, baseline = pair.sides
        yield _named(pair) | {
            "settled": verdicts.settled is not None,
            "category": pair.category,
            "preference": verdicts.preference(ties, judgement.weights),
            "characters": candidate.characters,
            "baseline_characters": baseline.characters,
            "language_share": candidate.share,
            "baseline_language_share": baseline.share,
            "status": candidate.status,
            "baseline_status": baseline.status,
        }


def verdict_rows(pairing: Pairing, judgement: Judgement, ties: str) -> Iterator[dict]:
    for pair, verdicts in zip(pairing.pairs, judgement.verdicts, strict=True):
        for question in verdicts.questions:
            outcome = question.outcome
            yield _named(pair) | {
                "judge": question.judge,
                "order": question.order,
                "preference": question.candidate(ties),
                "verdict": outcome.value if isinstance(outcome, Verdict) else f"{outcome:.6f}",
                "failure": question.failure,
                "answer": question.answer,
                "tokens_in": question.tokens_in,
                "tokens_out": question.tokens_out,
            }


def _named(pair: Pair) -> dict:
    return {"candidate": pair.candidate, "language": pair.language, "id": pair.id, "sample": pair.sample}
