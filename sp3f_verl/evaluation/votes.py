"""Several answers to one problem: pass@k and the majority's vote."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import comb

from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.checkers import MATH, multiple_choice
from sp3f_verl.rewards.compare import MAX_ANSWER_CHARS
from sp3f_verl.rewards.conventions import conventions
from sp3f_verl.rewards.normalise import clean, squeeze, unwrap
from sp3f_verl.rewards.quantity import split_unit, value


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that k of the n answers, drawn without replacement, hold one that is correct (Chen et al. 2021,
    arXiv 2107.03374): what k answers would have scored, without bias. ValueError for k > n."""
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} cannot be told from {n} answers")
    return 1.0 - comb(n - correct, k) / comb(n, k)


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
    if checker in (MATH, "numeric"):
        own = conventions(language)
        amount = value(unwrap(split_unit(answer, own)[0]), own)
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
    of_vote = defaultdict(list)
    for vote, accuracy in zip(ballots, accuracies, strict=True):
        of_vote[vote].append(accuracy)
    most = max(votes.values())
    winners = [sum(of_vote[vote]) / len(of_vote[vote]) for vote, count in votes.items() if count == most]
    return sum(winners) / len(winners)
