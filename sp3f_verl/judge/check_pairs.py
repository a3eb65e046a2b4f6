r"""Labelled pairs for `sp3f judge-check`: which of two responses a good judge prefers is known beforehand.

From training rows, whose own-language solution is right, four ways to spoil it:

- answer: the number in the last box is another one;
- steps: the numbers before the box are shuffled, the final answer stays right;
- cut off: only the first half is there;
- language: the English solution in place of the one in the language asked for. A judge that is told to look at meaning
  only, as SP3F's is, should be near one half here: it shows whether the judge rewards English.

From rows with a column `responses` (texts of a model): a response whose boxed answer is right against one whose is not.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sp3f_verl.judge.verdict import complete_boxes
from sp3f_verl.rewards.accuracy import answers_match
from sp3f_verl.rewards.boxed import extract_boxed

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class LabelledPair:
    """`row` is canonical, `better` and `worse` are responses to its prompt, `kind` says how they differ."""

    row: Mapping[str, Any]
    better: str
    worse: str
    kind: str


def pairs_from_rows(rows: Iterable[Mapping[str, Any]], rng: random.Random) -> Iterator[LabelledPair]:
    """The spoilt versions of each row's own-language solution; one without a box or numbers is left out."""
    for row in rows:
        good = row["translated_solution"]
        if not good or extract_boxed(good) is None:
            continue
        spoilt = {"answer": _other_answer(good, rng), "steps": _shuffled_steps(good, rng), "cut off": _first_half(good)}
        if row["language"] != "en" and row["solution_en"]:
            spoilt["language"] = row["solution_en"]
        for kind, worse in spoilt.items():
            if worse and worse != good:
                yield LabelledPair(row, good, worse, kind)


def pairs_from_responses(
    rows: Iterable[tuple[Mapping[str, Any], list[str]]], rng: random.Random
) -> Iterator[LabelledPair]:
    """One pair a row: a right and a wrong response, drawn from its responses; rows that lack either are left out."""
    for row, responses in rows:
        gold = row["reward_model"]["ground_truth"]
        right = [answers_match(extract_boxed(each), gold) for each in responses]
        better = [each for each, is_right in zip(responses, right, strict=True) if is_right]
        worse = [each for each, is_right in zip(responses, right, strict=True) if not is_right and each.strip()]
        if better and worse:
            yield LabelledPair(row, rng.choice(better), rng.choice(worse), "accuracy")


def _last_box(text: str) -> tuple[int, int]:
    return list(complete_boxes(text))[-1]


def _other_answer(text: str, rng: random.Random) -> str | None:
    start, end = _last_box(text)
    box = text[start:end]
    if not _NUMBER.search(box):
        return None
    changed = _NUMBER.sub(lambda match: _other_number(match[0], rng), box, count=1)
    return text[:start] + changed + text[end:]


def _other_number(number: str, rng: random.Random) -> str:
    """Another number of about the same size, in ASCII digits."""
    value = int(number)
    return str(max(0, value + rng.choice((-1, 1)) * rng.randint(1, max(2, value // 5))) or value + 1)


def _shuffled_steps(text: str, rng: random.Random) -> str | None:
    start, _ = _last_box(text)
    numbers = _NUMBER.findall(text[:start])
    if len(set(numbers)) < 2:
        return None
    shuffled = numbers[:]
    while shuffled == numbers:
        rng.shuffle(shuffled)
    left = iter(shuffled)
    return _NUMBER.sub(lambda _: next(left), text[:start]) + text[start:]


def _first_half(text: str) -> str | None:
    words = text.split()
    return " ".join(words[: len(words) // 2]) if len(words) >= 6 else None
