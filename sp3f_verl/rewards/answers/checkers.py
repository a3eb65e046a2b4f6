"""How an answer is compared with the gold answer: a row names its checker in `extra_info.checker` (default `math`).

Built in are `math`, `multiple_choice`, `exact` and `numeric`; a run adds its own under a name of its choice,
`sp3f.reward.checkers: {my_task: "package.module:function"}`, with `function(answer: str, gold: str) -> bool` or a
number in [0, 1]. Only the config names code: a row's name is looked up, never imported.
"""

import asyncio
import functools
import importlib
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import regex

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.rewards.answers import accuracy
from sp3f_verl.rewards.answers.beside import unassigned, without_label
from sp3f_verl.rewards.answers.compare import MAX_ANSWER_CHARS
from sp3f_verl.rewards.answers.conventions import all_words, alternation, conventions
from sp3f_verl.rewards.answers.normalise import clean, squeeze, unwrap
from sp3f_verl.rewards.answers.quantity import split_unit, value
from sp3f_verl.rewards.text import plain_letters

MATH = "math"
REDUCED = "math_reduced"  # as MATH, but a number has to be worked out
Checker = Callable[[str, str], bool | float]
TOLERANCE = 1e-6  # of `numeric`, relative to the gold answer

_SEPARATOR = re.compile(r"\s*(?:[.:,、](?!\d)|-(?=\s|$))?\s*")
_APART = regex.compile(
    r"\s*(?:(?:[.:,]|(?<=\s)-)\s|[.:,、](?=[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]))", regex.V1
)
# Another option's letter, whatever the script around it: none is the article of "a metal" or the Italian "e" between
# two words, nor a letter before Katakana (Jリーグ), which spells words of its own and no sentence about an option.
_ARTICLE = r"(?-i:a (?!is |or |and |also |too )|(?<=\p{L}{2} )[ei] )\p{L}(?:['\p{L}-]| \p{L}{2})"
_HEDGE = regex.compile(
    rf"(?<![\p{{Latin}}\p{{M}}\p{{N}}_'])(?!{_ARTICLE})[A-J](?![\p{{Latin}}\p{{M}}\p{{N}}\p{{Katakana}}_'])",
    regex.I | regex.V1,
)
_ABBREVIATION = regex.compile(
    r"(?<!\p{L})(?=(?:[A-Z]\.)*[K-Z])(?:[A-Z]\.)+[A-Z](?![\p{L}\p{N}])"
)  # U.S.A.: S is no option
# Statements are numbered so, and where one has a number of two letters a single I is another: I and III only.
_ROMAN, _STATEMENT = re.compile(r"(?<!\w)(?:II|III|IV|VI{1,3}|IX)(?!\w)"), re.compile(r"(?<!\w)[IV]{1,4}(?!\w)")
# A letter by itself in another script (Б, ب, 나); Chinese and Japanese have words of one letter, and signs for options.
_OTHER_SCRIPT = regex.compile(
    r"(?<![\p{L}\p{M}])(?:[\p{L}--[\p{Latin}\p{Han}\p{Hiragana}\p{Katakana}\p{Ll}]]|[甲乙丙丁ア-オ])(?![\p{L}\p{M}])",
    regex.VERSION1,
)
# What an option may be called by.
_LETTER = r"(?:[\p{L}--[\p{Han}\p{Hiragana}]]\p{M}*|\\[a-z]{2,7}|[甲乙丙丁戊己庚辛壬癸一二三四五])"
_NAME = re.compile(r"[A-Za-z_][\w\-]{0,63}")


class CheckerFailed(RuntimeError):
    """A registered checker raised, or answered with something that is no verdict."""


def exact(answer: str, gold: str) -> bool:
    """The same text but for white space and Unicode composition."""
    return _text(answer) == _text(gold) != ""


def numeric(answer: str, gold: str, language: str | None = None) -> bool:
    """Both are one number, and they differ by at most `TOLERANCE` of the gold one: for measured or rounded answers.

    Units that both have must be the same; `language` is the answer's, as for `answers_match`.
    """
    own = conventions(language)
    data = replace(own, comma=None, zero_groups=False, comma_either=False)
    sides = (without_label(clean(side[:MAX_ANSWER_CHARS]), own) for side in (answer, gold))
    answer, gold = unassigned(*sides)
    (answer, units), (gold, gold_units) = split_unit(answer, own), split_unit(gold, data)
    given, wanted = value(unwrap(answer), own), value(unwrap(gold), data)
    if given is None or wanted is None or (units and gold_units and not units & gold_units):
        return False
    return abs(given - wanted) <= abs(wanted) * TOLERANCE


def multiple_choice(answer: str, gold: str) -> bool:
    """The letter of `gold` (`C` or `C::text of the option`), the option's text, or both.

    "C", "(C)", "C) Calcium" and "Calcium" match "C::Calcium"; a letter alone is never the text of an option. Where
    `gold` has no text, any may follow the letter and a sign (`C. Calcium`), but none that names another option. The
    letter may be of any script, or a number, and a language's word for "option" may stand before it. A gold answer of
    several letters (`A, C` or `AC`) is matched by the same letters in any order.
    """
    letter, _, option = (_text(part) for part in gold.partition("::"))
    if len(answer) > MAX_ANSWER_CHARS:
        return False
    answer = _text(unwrap(clean(plain_letters(answer.replace("**", "")))))
    if (several := _several(_text(clean(letter)))) and not option:
        return several == _several(answer)
    match = _choice(_text(clean(letter))).fullmatch(answer)
    named = _choice("[A-Z]", escaped=False).fullmatch(answer)  # a letter, the right one or not
    tail = (match or named)["tail"] if match or named else ""
    rest = tail[_SEPARATOR.match(tail).end() :]
    if option and (rest or not named) and _same(answer, option):
        return True
    if match is None:
        return False
    if not rest or option:
        return not rest or _same(rest, option)
    apart = match["closed"] or match["closing"] or _APART.match(tail)
    rest = _ABBREVIATION.sub("", _named().sub("", rest))
    if _ROMAN.search(rest):
        rest = _STATEMENT.sub("", rest)
    return bool(apart) and not _hedged(rest, _text(clean(letter)))


def _several(text: str) -> frozenset[str]:
    """The letters of an answer of several options, A, C or AC or "A and C", in any order; none of another text."""
    parts = re.split(rf"[\s,、;/&]+(?:(?:{alternation(all_words('and'))})(?![A-Za-z])[\s]*)?|(?:和|与|と|와|과)", text)
    letters = list(text) if re.fullmatch("[A-J]{2,8}", text) else [part.strip("()") for part in parts]
    alone = all(len(each) == 1 and each.isalpha() for each in letters)
    return frozenset(letters) if alone and len(set(letters)) == len(letters) > 1 else frozenset()


@functools.lru_cache(1000)
def _choice(letter: str, escaped: bool = True) -> re.Pattern:
    """The letter of an option, bracketed or not, after a language's word for "option", and what follows it."""
    letter = re.escape(letter) if escaped else letter
    words = (*all_words("option"), *all_words("answer"), *all_words("is"))
    word = rf"(?:(?:(?:la|el|die|the|a|l') ?)?(?:{alternation(words)})[ :]*)?"
    after = all_words("option after")
    touching = alternation(word for word in after if re.match("[가-힣぀-ヿ番]", word))
    behind = rf"(?:(?!\w)(?: (?:{alternation(after)})(?!\w))?|(?:{touching})(?!\w))"
    bare = rf"{letter}(?:(?<=\d)[번番号])?(?P<closing>\)?){behind}"
    return re.compile(rf"{word}(?:(?P<closed>\({letter}\)|\[{letter}\])|{bare})(?P<tail>.*)", re.DOTALL | re.IGNORECASE)


@functools.cache
def _named() -> re.Pattern:
    """What is called by a letter, Vitamin D: the letter behind these words names no option."""
    return re.compile(rf"(?<![^\W\d_])(?:{alternation(all_words('lettered'))}) ?[^\W\d_](?![^\W_])", re.IGNORECASE)


def _hedged(rest: str, letter: str) -> bool:
    """Is another option named behind the right letter? After a word for "or" or "and", or by a letter by itself."""
    if letter.isdigit() and re.fullmatch(r"[\W_]*\d(?:[\W_]+\d)*[\W_]*", rest):
        return True
    return bool(_HEDGE.search(rest) or _OTHER_SCRIPT.search(rest) or _joined(letter.isascii()).match(rest))


@functools.cache
def _joined(latin: bool) -> regex.Pattern:
    """A word for "or" or "and" and a letter of any script and case, or a number, with or without a word for "option".

    The letter touches the word only where letters are no part of it (或B), or where the options' own script lets words
    touch (หรือข, أوب); behind a word of one letter, which may be a letter itself (y z), it must be all that is said.
    """
    words = (*all_words("or"), *all_words("and"))
    spaced = regex.compile(r"[\p{Latin}\p{Greek}\p{Cyrillic}]|\p{Hangul}$")
    touching = [word for word in words if not latin and not spaced.match(word)]
    long, short = ([word for word in words if (len(word) > 1) == many] for many in (True, False))
    option = rf"(?:(?:{alternation((*all_words('option'), *all_words('answer')))})[ :]*)?"
    end = r"(?![\p{L}\p{M}\p{N}_'-])(?! ?[=<>+*/^])"
    patterns = [rf"(?:{alternation(words)})\s*{option}[(\[]?(?:[A-J]|\d\d?)(?![\p{{Latin}}\p{{M}}\p{{N}}])"]
    patterns += [rf"(?:{alternation(long)})(?:\s+{option}[(\[]?|\s*[(\[]){_LETTER}{end}"]
    patterns += [rf"(?:{alternation(short)})\s+{option}[(\[]?{_LETTER}[\W_]*$"]
    patterns += [rf"(?:{alternation(touching)})\s*{option}[(\[]?{_LETTER}{end}"] if touching else []
    return regex.compile("|".join(patterns), regex.V1)


def _text(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _same(one: str, other: str) -> bool:
    return squeeze(unwrap(clean(one))).casefold() == squeeze(unwrap(clean(other))).casefold()


BUILT_IN: dict[str, Checker] = {
    MATH: accuracy.answers_match,
    REDUCED: functools.partial(accuracy.answers_match, reduced=True),
    "multiple_choice": multiple_choice,
    "exact": exact,
    "numeric": numeric,
}


def load_checkers(registered: Mapping[str, str] | None = None) -> dict[str, Checker]:
    """Name -> checker: the built-in ones and those of `sp3f.reward.checkers`. Raises `BadInput` for any that fails."""
    checkers = dict(BUILT_IN)
    for name, path in (registered or {}).items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in BUILT_IN:
            why = "is built in" if name in BUILT_IN else "is no name of letters, digits, _ and -"
            raise BadInput(f"sp3f.reward.checkers: {name!r} {why}; choose another name.")
        checkers[name] = _imported(name, path)
    return checkers


def _imported(name: str, path: str) -> Checker:
    module, colon, attribute = str(path).partition(":")
    try:
        if not colon:
            raise ValueError("it has no colon")
        function = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except Exception as error:  # importing the user's module runs the user's code
        raise BadInput(
            f"sp3f.reward.checkers.{name}={path!r} cannot be imported ({type(error).__name__}: {error}); "
            "write package.module:function."
        ) from error
    if not callable(function):
        raise BadInput(f"sp3f.reward.checkers.{name}={path!r} is not a function; write package.module:function.")
    return function


def checker_of(
    extra_info: Mapping[str, Any] | None, checkers: Mapping[str, Checker] = BUILT_IN, default: str = MATH
) -> str:
    """The name of the row's checker. Raises `BadInput` for one that is neither built in nor registered."""
    name = (extra_info or {}).get("checker") or default
    if not isinstance(name, str) or name not in checkers:
        raise BadInput(
            f"extra_info.checker is {name!r}{nearest(str(name), checkers)}; the checkers are {', '.join(checkers)}, "
            "and sp3f.reward.checkers registers more."
        )
    return name


def check(answer: str | None, gold: str, name: str, checkers: Mapping[str, Checker], language: str | None) -> float:
    """The accuracy of an answer (the content of a box) in [0, 1]; 0 for None. Raises `CheckerFailed`."""
    if answer is None:
        return 0.0
    if name in (MATH, REDUCED):
        return float(accuracy.answers_match(answer, gold, language=language, reduced=name == REDUCED))
    return _verdict(name, _of_language(checkers[name], language), answer, gold)


async def check_async(
    answer: str | None, gold: str, name: str, checkers: Mapping[str, Checker], language: str | None
) -> float:
    """`check` without blocking the event loop: a registered checker runs in a thread."""
    if answer is None:
        return 0.0
    if name in (MATH, REDUCED):
        return float(await accuracy.answers_match_async(answer, gold, language=language, reduced=name == REDUCED))
    if name in BUILT_IN:
        return _verdict(name, _of_language(checkers[name], language), answer, gold)
    return await asyncio.to_thread(_verdict, name, checkers[name], answer, gold)


def _of_language(checker: Checker, language: str | None) -> Checker:
    """`numeric` by the conventions of the answer's language; any other checker as it is."""
    if checker is not numeric or language is None:
        return checker
    return functools.partial(numeric, language=language)


def _verdict(name: str, checker: Checker, answer: str, gold: str) -> float:
    try:
        verdict = float(checker(answer, gold))
    except Exception as error:
        raise CheckerFailed(f"the checker {name!r} raised {type(error).__name__}: {error}") from error
    if not (math.isfinite(verdict) and 0.0 <= verdict <= 1.0):
        raise CheckerFailed(f"the checker {name!r} answered {verdict!r}; it must be a bool or a number from 0 to 1")
    return verdict
