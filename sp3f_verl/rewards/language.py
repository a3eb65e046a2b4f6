"""Which share of an answer is written in the language asked for, judged against a declared set of languages.

A letter outside the language's scripts is not in it; where other candidates share the script, `identify` decides.
"""

import regex

from sp3f_verl import languages
from sp3f_verl.rewards.identify import ENGLISH, Contest, UnsupportedLanguage, contest_of, count, letters_won
from sp3f_verl.rewards.text import prose

__all__ = ["UnsupportedLanguage", "language_share", "language_shares", "running_text"]

MIN_LETTERS = 8  # fewer say nothing about a language
MAX_CHARS = 100_000  # of a response that are looked at
NAME_WORDS = 2  # a run of so few Latin words in another script is a name
NAMES_PER_LETTER = 0.25  # letters of such names that are overlooked, for each letter of the language's own scripts

_LETTERS = regex.compile(r"[\p{L}--[\p{Script=Common}\p{Script=Inherited}]]+", regex.VERSION1)
_LATIN_WORD = r"\p{Latin}[\p{Latin}\p{M}\p{N}.'’&\-]*"
_LATIN_RUN = regex.compile(rf"{_LATIN_WORD}(?:[ ,]+{_LATIN_WORD})*")


def _without_names(text: str, budget: float) -> str:
    """`text` without its runs of one or two Latin words, until `budget` letters are gone: Thai news says Facebook."""

    def drop(match: regex.Match) -> str:
        nonlocal budget
        cost = len(match[0])
        if len(match[0].split()) > NAME_WORDS or cost > budget:
            return match[0]
        budget -= cost
        return " "

    return _LATIN_RUN.sub(drop, text)


def running_text(text: str, contest: Contest) -> tuple[str, int]:
    """What is judged of a response, and the number of letters in it."""
    text = prose(text[-MAX_CHARS:])
    if "Latin" not in languages.get(contest.codes[0]).scripts:
        text = _without_names(text, NAMES_PER_LETTER * count(contest.own, text))
    return text, count(_LETTERS, text)


def language_shares(text: str, language: str, others: tuple[str, ...] = ()) -> tuple[float | None, float | None]:
    """(share of `language`, share of English) in [0, 1] of the letters of `text`, as `language_share`, in one go."""
    others = tuple(sorted({*others, ENGLISH} - {language}))
    contest = contest_of(language, others)
    text, letters = running_text(text, contest)
    if letters < MIN_LETTERS:
        return None, None
    won = letters_won(text, contest)
    share = won.get(language, 0) / letters
    if language == ENGLISH:
        return share, share
    if ENGLISH not in contest.codes:  # another script
        won = letters_won(text, contest_of(ENGLISH, others))
    return share, won.get(ENGLISH, 0) / letters


def language_share(text: str, language: str, others: tuple[str, ...] = ()) -> float | None:
    """Share in [0, 1] of the letters of `text` that are in `language` (ISO 639-1; `others`: the run's languages).

    Thinking, maths, code, links and boxes are left out. None where fewer than `MIN_LETTERS` letters remain: that is
    not known, not zero. Raises `UnsupportedLanguage` for a language that nothing here can recognise.
    """
    return language_shares(text, language, others)[0]
