"""Does a response talk about a solution that its prompt does not hold, or copy from one?

What a privileged teacher teaches beside the task: the student begins to mention what only the teacher has read ("as the
solution says"). Measured in runs with such a teacher, never rewarded.
"""

import re
from functools import cache
from pathlib import Path

import regex

from sp3f_verl.settings import read_yaml

PHRASES = Path(__file__).with_name("leakage.yaml")
ENGLISH = "en"
WORDS = 4  # that stand together in what is copied,
SPOKEN = 2  # of which so many are words of three letters or more: numbers and formulas are anyone's

_TOKEN = regex.compile(r"\p{L}[\p{L}\p{M}]*|\p{N}+")


def leakage(response: str, prompt: str, solution_en: str, language: str) -> dict[str, float]:
    """leak_mention: 1 where the response has a phrase of the list that the prompt has not. leak_copied: share of its
    runs of WORDS words that stand in the English solution and not in the prompt."""
    text, known = _plain(response), _plain(prompt)
    phrases = {*_phrases().get(language, ()), *_phrases()[ENGLISH]}
    mentioned = any(phrase in text and phrase not in known for phrase in phrases)
    runs, copied = _runs(text), _runs(_plain(solution_en)) - _runs(known)
    return {"leak_mention": float(mentioned), "leak_copied": len(runs & copied) / len(runs) if runs else 0.0}


@cache
def _phrases() -> dict[str, tuple[str, ...]]:
    return {code: tuple(map(_plain, phrases)) for code, phrases in read_yaml(PHRASES).items()}


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.casefold())


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _TOKEN.findall(text)
    runs = zip(*(words[start:] for start in range(WORDS)), strict=False)
    return {run for run in runs if sum(len(word) >= 3 and word.isalpha() for word in run) >= SPOKEN}
