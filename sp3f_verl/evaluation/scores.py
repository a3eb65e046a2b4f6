"""The answers to one problem, scored by the same rules as in training, and what they come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sp3f_verl.evaluation.problems import Problem
from sp3f_verl.evaluation.votes import ballot, majority, pass_at_k
from sp3f_verl.llm import Answer
from sp3f_verl.rewards.checkers import BUILT_IN, Checker
from sp3f_verl.rewards.terms import UNDEFINED, rule_terms

THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(1, 11))  # of the fidelity curve


@dataclass(frozen=True)
class Scored:
    """What is kept of a problem. values: a mean over its samples for each measure, without those that are undefined."""

    values: Mapping[str, float]
    failed: int  # samples without a text: not scored
    refused: int  # of those: refused by the model or a filter


def ks(samples: int) -> list[int]:
    """1, 2, 4, ... and the number of samples."""
    return sorted({*(2**power for power in range(samples.bit_length()) if 2**power <= samples), samples})


def score(
    problem: Problem,
    answers: Sequence[Answer],
    others: Sequence[str],
    threshold: float,
    checkers: Mapping[str, Checker] = BUILT_IN,
) -> tuple[dict[str, Any], Scored]:
    """(the line of output.jsonl, what it comes to). answers: by number. others: the benchmark's languages.

    A sample without a text (failed, refused) is null in the lists of the line and in no mean.
    Raises CheckerFailed where a checker of the user's does.
    """
    terms = [
        None
        if answer.text is None
        else rule_terms(
            answer.text, problem.gold, problem.language, threshold, others, checker=problem.checker, checkers=checkers
        )
        for answer in answers
    ]
    shares = [None if each is None or each["language_share"] == UNDEFINED else each["language_share"] for each in terms]
    line = {
        **{"id": problem.id, "problem": problem.problem, "language": problem.language},
        **({"variant": problem.variant} if problem.variant else {}),
        "lang": shares,
        "accuracy": [None if each is None else _whole(each["accuracy"]) for each in terms],
        "parseable": [None if each is None else int(each["parseable"]) for each in terms],
        **{"ground_truth": problem.gold, "answer": [answer.text for answer in answers]},
        "finish_reason": [answer.finish_reason for answer in answers],
        "tokens": [None if answer.text is None else answer.usage.completion_tokens or None for answer in answers],
        "status": [str(answer.status) for answer in answers],
    }
    return line, of_line(line, problem, threshold)


def _whole(accuracy: float) -> float | int:
    return int(accuracy) if accuracy in (0, 1) else accuracy


def of_line(line: Mapping[str, Any], problem: Problem, threshold: float) -> Scored:
    """What a line of output.jsonl comes to."""
    scored = [at for at, text in enumerate(line["answer"]) if text is not None]
    accuracies, parseable = ([line[name][at] for at in scored] for name in ("accuracy", "parseable"))
    values = measures(accuracies, parseable, [line["lang"][at] for at in scored], len(line["answer"]), threshold)
    tokens = [count for count in line["tokens"] if count is not None]
    if scored:
        ballots = [ballot(line["answer"][at], problem.language, problem.checker, problem.choices) for at in scored]
        values["majority"] = majority(ballots, accuracies)
        values["truncated"] = _mean([line["finish_reason"][at] == "length" for at in scored])
    if tokens:
        values["tokens"] = _mean(tokens)
    return Scored(values, len(line["answer"]) - len(scored), line["status"].count("refused"))


def measures(
    accuracies: Sequence[float],
    parseable: Sequence[float],
    shares: Sequence[float | None],
    samples: int,
    threshold: float,
) -> dict[str, float]:
    """Means over the scored samples of a problem, of which `samples` were drawn; none where no sample was scored.

    shares: of the language asked for; None where there are too few letters to tell, which is no failure to use it.
    """
    values: dict[str, float] = {}
    told = [share for share in shares if share is not None]
    if accuracies:
        values["accuracy"], values["parseable"] = _mean(accuracies), _mean(parseable)
        values["undefined"] = 1 - len(told) / len(accuracies)
        correct = sum(accuracy >= 0.5 for accuracy in accuracies)
        for k in ks(samples):
            if k <= len(accuracies):
                values[f"pass@{k}"] = pass_at_k(len(accuracies), correct, k)
    if told:
        values["fidelity"] = _mean([share >= threshold for share in told])
        for least in THRESHOLDS:
            values[f"fidelity@{least}"] = _mean([share >= least for share in told])
    return values


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
