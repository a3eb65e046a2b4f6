r"""Labelled pairs for `sp3f judge-check`: which of two responses a good judge prefers is known beforehand.

From training rows whose own-language solution ends in the gold answer, four ways to spoil it:

- answer: a number in the last box is another one;
- steps: the numbers before the box are shuffled, the final answer stays right;
- cut off: only the first half is there;
- language: the English solution, which also ends in the gold answer, in place of the one in the language asked for. A
  judge that is told to look at meaning only, as SP3F's is, should be near one half here: it shows whether the judge
  rewards English.

One more a row, in turn, games a judge: a wrong answer with what may still win (`game_pairs.yaml`).

From rows with a column `responses` (texts of a model): a response whose boxed answer is right against one whose is not.
"""

import functools
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sp3f_verl.rewards.answers.accuracy import answers_match
from sp3f_verl.rewards.boxed import extract_boxed, last_box
from sp3f_verl.rewards.text import strip_think

_NUMBER = re.compile(r"\d{1,18}")
_SHORTEST = 24  # characters of a solution that may be cut off in its middle


@dataclass(frozen=True)
class LabelledPair:
    """`row` is canonical, `better` and `worse` are responses to its prompt, `kind` says how they differ."""

    row: Mapping[str, Any]
    better: str
    worse: str
    kind: str


@functools.cache
def games() -> dict[str, str]:
    """Kind -> what is written, with {wrong} for a solution whose result is wrong."""
    return yaml.safe_load(Path(__file__).with_name("game_pairs.yaml").read_text(encoding="utf-8"))


def pairs_from_rows(
    rows: Iterable[Mapping[str, Any]], rng: random.Random, with_games: bool = False
) -> Iterator[LabelledPair]:
    """The spoilt versions of each row's own-language solution, as far as it can be spoilt so."""
    turn = 0
    for row in rows:
        good, gold = strip_think(row["translated_solution"]).strip(), row["reward_model"]["ground_truth"]
        box = last_box(good)
        if box is None or not answers_match(extract_boxed(good), gold, language=row["language"]):
            continue
        start, _, end = box
        other = good[:start] + _other_number_in(good[start:end], rng) + good[end:]
        english = strip_think(row["solution_en"]).strip()
        spoilt = {
            "answer": None
            if answers_match(extract_boxed(other), gold, language=row["language"])
            else other,  # x_1=5 and x_2=5 say the same
            "steps": _shuffled_numbers(good[:start], rng) + good[start:],
            "cut off": good[: len(good) // 2].rstrip() if start >= len(good) // 2 and len(good) >= _SHORTEST else None,
            "language": None
            if row["language"] == "en" or not answers_match(extract_boxed(english), gold, language="en")
            else english,
        }
        for kind, worse in spoilt.items():
            if worse and worse != good:
                yield LabelledPair(row, good, worse, kind)
        if with_games and spoilt["answer"]:
            kind, text = list(games().items())[turn % len(games())]
            turn += 1
            yield LabelledPair(row, good, text.replace("{wrong}", spoilt["answer"]).strip(), kind)


def pairs_from_responses(
    rows: Iterable[tuple[Mapping[str, Any], list[str]]], rng: random.Random
) -> Iterator[LabelledPair]:
    """One pair a row: a right and a wrong response, drawn from its responses; rows that lack either are left out."""
    for row, responses in rows:
        gold = row["reward_model"]["ground_truth"]
        right = [answers_match(extract_boxed(response), gold, language=row["language"]) for response in responses]
        better = [response for response, is_right in zip(responses, right, strict=True) if is_right]
        worse = [
            response
            for response, is_right in zip(responses, right, strict=True)
            if not is_right and strip_think(response).strip()
        ]
        if better and worse:
            yield LabelledPair(row, rng.choice(better), rng.choice(worse), "accuracy")


def _other_number_in(box: str, rng: random.Random) -> str:
    return _NUMBER.sub(lambda match: _other_number(match[0], rng), box, count=1)


def _other_number(number: str, rng: random.Random) -> str:
    """Another number of about the same size, in the same script."""
    value = int(number)
    other = max(0, value + rng.choice((-1, 1)) * rng.randint(1, max(2, value // 5))) or value + 1
    zero = ord(number[0]) - int(number[0])
    return "".join(chr(zero + int(digit)) for digit in str(other))


def _shuffled_numbers(text: str, rng: random.Random) -> str:
    numbers = _NUMBER.findall(text)
    shuffled = numbers[:]
    while shuffled == numbers and len(set(numbers)) > 1:
        rng.shuffle(shuffled)
    left = iter(shuffled)
    return _NUMBER.sub(lambda _: next(left), text)
