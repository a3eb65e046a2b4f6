"""Which share of an answer is written in the language asked for, judged against a declared set of languages.

A letter outside the language's scripts is not in it; where other candidates share the script, `identify` decides.
"""

import regex

from sp3f_verl import languages
from sp3f_verl.rewards.fidelity.identify import ENGLISH, Contest, UnsupportedLanguage, contest_of, count, letters_won
from sp3f_verl.rewards.fidelity.switching import MARKERS, has_markers, undressed
from sp3f_verl.rewards.text import prose

__all__ = ["UnsupportedLanguage", "language_share", "language_shares", "running_text"]

MIN_LETTERS = 8  # fewer, in Latin letters (`identify.count`), say nothing about a language
MAX_CHARS = 100_000  # of a response that are looked at
NAME_WORDS = 2  # a run of so few Latin words in another script is a name
NAMES_PER_LETTER = 0.25  # letters of such runs that are overlooked, for each letter of the language's own scripts
# Runs of words that are written as names (Docker, PostgreSQL, NASA) are overlooked all together or not at all: as many
# as this share of the language's own letters, a name counting as four however long it is; and none in a text that
# also holds several frequent English words.
NAME_SHARE, NAME_LETTERS = 1.0, 4
NAME_PARTS = 5  # words of one such name: Visual Studio Code, Provincial Waterworks Authority Regional Office
NAME_LONGEST = 20
_NAME_PARTS = regex.compile(r"[.'’&\-]")
NAME_CAPITALS = 6  # a longer word all in capitals is shouted, and no acronym

_LETTERS = regex.compile(r"[\p{L}--[\p{Script=Common}\p{Script=Inherited}]]+", regex.VERSION1)
_LATIN_WORD = r"\p{Latin}[\p{Latin}\p{M}\p{N}.'’&\-]*"
_LATIN_RUN = regex.compile(rf"{_LATIN_WORD}(?: +{_LATIN_WORD})*")


def _is_name(run: str) -> bool:
    """Is every word of a run written as a name, with a capital or a digit, and none a frequent English word?"""
    words = run.split()
    return len(words) <= NAME_PARTS and all(
        word.lower() not in MARKERS
        and len(word) <= NAME_LONGEST
        and len(_NAME_PARTS.split(word)) <= 2  # Node.js, Al-Khwarizmi
        and any(char.isupper() or char.isdigit() for char in word)
        and not (word.isupper() and len(word) > NAME_CAPITALS and word.isalpha())
        for word in words
    )


def _without_names(text: str, own: float) -> str:
    """`text` without its names in Latin letters, as far as `own`, the letters of the language's scripts, allow."""
    if has_markers(text):  # somebody talks English
        return text
    names = [match[0] for match in _LATIN_RUN.finditer(text) if _is_name(match[0])]
    if names and NAME_LETTERS * sum(len(name.split()) for name in names) <= NAME_SHARE * own:
        text = _LATIN_RUN.sub(lambda match: " " if _is_name(match[0]) else match[0], text)
    budget = NAMES_PER_LETTER * own

    def drop(match: regex.Match) -> str:
        nonlocal budget
        cost = len(match[0])
        if len(match[0].split()) > NAME_WORDS or cost > budget:
            return match[0]
        budget -= cost
        return " "

    return _LATIN_RUN.sub(drop, text)


def running_text(text: str, contest: Contest) -> tuple[str, float]:
    """What is judged of a response, and what its letters carry (`identify.count`)."""
    text = prose(text[-MAX_CHARS:])
    if "Latin" not in languages.get(contest.codes[0]).scripts:
        text = _without_names(text, count(contest.own, text))
    return text, count(_LETTERS, text)


def language_shares(text: str, language: str, others: tuple[str, ...] = ()) -> tuple[float | None, float | None]:
    """(share of `language`, share of English) in [0, 1] of the letters of `text`, as `language_share`, in one go."""
    others = tuple(sorted({*others, ENGLISH} - {language}))
    contest = contest_of(language, others)
    text, letters = running_text(text, contest)
    if letters < MIN_LETTERS:
        return None, None
    won = letters_won(text, contest)
    share = min(1.0, won.get(language, 0) / letters)
    if language == ENGLISH:
        return share, share
    if ENGLISH not in contest.codes:  # another script
        won = letters_won(text, contest_of(ENGLISH, others))
    english = min(1.0, won.get(ENGLISH, 0) / letters)
    if (bare := undressed(text)) is not None:
        english = max(english, min(1.0, letters_won(bare, contest_of(ENGLISH, others)).get(ENGLISH, 0) / letters))
        share = min(share, 1 - english)
    return share, english


def language_share(text: str, language: str, others: tuple[str, ...] = ()) -> float | None:
    """Share in [0, 1] of the letters of `text` that are in `language` (ISO 639-1; `others`: the run's languages).

    Thinking, maths, code, links and boxes are left out. None where fewer than `MIN_LETTERS` letters remain: that is
    not known, not zero. Raises `UnsupportedLanguage` for a language that nothing here can recognise.
    """
    return language_shares(text, language, others)[0]
