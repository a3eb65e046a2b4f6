"""Responses scored by the same rules as in training, and what those to one problem come to.

The one scorer: `sp3f evaluate`, the trainer's validation by language and the quickstart make a `Sample` of a response's
terms, and take a problem's `measures` from its samples. Shares are in [0, 1].
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from statistics import fmean
from typing import Any, Self

from sp3f_verl.evaluation.problems import Problem
from sp3f_verl.llm import Answer
from sp3f_verl.rewards.answers.checkers import BUILT_IN, MATH, REDUCED, Checker, multiple_choice
from sp3f_verl.rewards.answers.compare import MAX_ANSWER_CHARS
from sp3f_verl.rewards.answers.conventions import conventions
from sp3f_verl.rewards.answers.normalise import clean, squeeze, unwrap
from sp3f_verl.rewards.answers.quantity import split_unit, value
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.terms import UNDEFINED, rule_terms

THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(1, 11))  # of the fidelity curve


@dataclass(frozen=True, slots=True)
class Sample:
    """A response. share: of the language asked for; None where there are too few letters to tell, which is no failure
    to use it."""

    accuracy: float
    parseable: float
    share: float | None

    @classmethod
    def of_terms(cls, terms: Mapping[str, float]) -> Self:
        """From the terms of `rewards.terms.rule_terms`."""
        share = terms["language_share"]
        return cls(terms["accuracy"], terms["parseable"], None if share == UNDEFINED else share)


@dataclass(frozen=True)
class Scored:
    """What is kept of a problem. values: a mean over its samples for each measure, without those that are undefined."""

    values: Mapping[str, float]
    failed: int = 0  # samples without a text: not scored
    refused: int = 0  # of those: refused by the model or a filter


def measures(samples: Sequence[Sample], drawn: int, threshold: float) -> dict[str, float]:
    """Means over the scored samples of a problem, of which `drawn` were drawn; none where no sample was scored."""
    values: dict[str, float] = {}
    shares = [sample.share for sample in samples if sample.share is not None]
    if samples:
        values["accuracy"] = fmean([sample.accuracy for sample in samples])
        values["parseable"] = fmean([sample.parseable for sample in samples])
        values["undefined"] = 1 - len(shares) / len(samples)
        correct = sum(sample.accuracy >= 0.5 for sample in samples)
        for k in ks(drawn):
            if k <= len(samples):
                values[f"pass@{k}"] = pass_at_k(len(samples), correct, k)
    if shares:
        values["fidelity"] = fmean([share >= threshold for share in shares])
        for least in THRESHOLDS:
            values[f"fidelity@{least}"] = fmean([share >= least for share in shares])
    return values


def ks(samples: int) -> list[int]:
    """1, 2, 4, ... and the number of samples."""
    return sorted({*(2**power for power in range(samples.bit_length()) if 2**power <= samples), samples})


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that k of the n answers, drawn without replacement, hold one that is correct (Chen et al. 2021,
    arXiv 2107.03374): what k answers would have scored, without bias. ValueError for k > n."""
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} cannot be told from {n} answers")
    return 1.0 - comb(n - correct, k) / comb(n, k)


# ---- sp3f evaluate: a problem's line of output.jsonl ---------------------------------------------------------------


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

    def sample_of(text: str) -> Sample:
        checking = {"checker": problem.checker, "checkers": checkers}
        return Sample.of_terms(rule_terms(text, problem.gold, problem.language, threshold, others, **checking))

    samples = [None if answer.text is None else sample_of(answer.text) for answer in answers]
    line = {
        "id": problem.id,
        "problem": problem.problem,
        "language": problem.language,
        **({"variant": problem.variant} if problem.variant else {}),
        "lang": [sample and sample.share for sample in samples],
        "accuracy": [sample and _whole(sample.accuracy) for sample in samples],
        "parseable": [sample and int(sample.parseable) for sample in samples],
        "ground_truth": problem.gold,
        "answer": [answer.text for answer in answers],
        "finish_reason": [answer.finish_reason for answer in answers],
        "tokens": [None if answer.text is None else answer.usage.completion_tokens or None for answer in answers],
        "status": [str(answer.status) for answer in answers],
    }
    return line, _scored(problem, answers, samples, threshold)


def _whole(accuracy: float) -> float | int:
    return int(accuracy) if accuracy in (0, 1) else accuracy


def _scored(problem: Problem, answers: Sequence[Answer], samples: Sequence[Sample | None], threshold: float) -> Scored:
    given = [(answer, sample) for answer, sample in zip(answers, samples, strict=True) if sample is not None]
    values = measures([sample for _, sample in given], len(answers), threshold)
    if given:
        ballots = [ballot(answer.text, problem.language, problem.checker, problem.choices) for answer, _ in given]
        values["majority"] = majority(ballots, [sample.accuracy for _, sample in given])
        values["truncated"] = fmean([answer.finish_reason == "length" for answer, _ in given])
    if tokens := [answer.usage.completion_tokens for answer, _ in given if answer.usage.completion_tokens]:
        values["tokens"] = fmean(tokens)
    refused = sum(str(answer.status) == "refused" for answer in answers)
    return Scored(values, len(answers) - len(given), refused)


# ---- several answers to one problem: the majority's vote -----------------------------------------------------------


def ballot(text: str, language: str, checker: str, choices: Sequence[tuple[str, str]] = ()) -> str | None:
    """What a response votes for: its boxed answer in one written form; None where there is none. Never looks at gold.

    Numbers are equal by value and options by letter or text; other answers only by how they are written.
    """
    answer = extract_boxed(text)
    if answer is None:
        return None
    if checker == "multiple_choice":
        for letter, option in choices:
            if multiple_choice(answer, f"{letter}::{option}"):
                return letter
    answer = clean(answer[:MAX_ANSWER_CHARS])
    if checker in (MATH, REDUCED, "numeric"):
        writing = conventions(language)
        amount = value(unwrap(split_unit(answer, writing)[0]), writing)
        if amount is not None:
            return str(amount)
    return squeeze(unwrap(answer)).casefold()


def majority(ballots: Sequence[str | None], accuracies: Sequence[float]) -> float:
    """Accuracy of the answer with the most votes; where several have as many, the mean of theirs.

    Responses without an answer have no vote; 0 where nobody votes.
    """
    votes = Counter(vote for vote in ballots if vote is not None)
    if not votes:
        return 0.0
    by_vote = defaultdict(list)
    for vote, accuracy in zip(ballots, accuracies, strict=True):
        by_vote[vote].append(accuracy)
    most = max(votes.values())
    winners = [fmean(by_vote[vote]) for vote, count in votes.items() if count == most]
    return fmean(winners)
