"""The parquet files of an arena: each pair, and each verdict with the judge's own words."""

from collections.abc import Iterator

import pyarrow as pa

from sp3f_verl.data.schemas import NUMBER, TEXT, WHOLE, make_schema
from sp3f_verl.evaluation.arena.judging import Judgement
from sp3f_verl.evaluation.arena.pairs import Pair, Pairing
from sp3f_verl.judge.verdict import Verdict

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
