"""Are two answers equal? True, False, or None where only a computer algebra system could tell.

Both are outlined (`structure`) and their single expressions compared: by eye, then as exact numbers with units
(`quantity`), then by `symbolic` if the caller gives one. A True needs every part of both answers to be understood.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from sp3f_verl.rewards.answers.beside import as_list, as_point, label_of, member_of, unassigned, without_label
from sp3f_verl.rewards.answers.conventions import Conventions, conventions
from sp3f_verl.rewards.answers.normalise import clean, degrees_in_arguments, spelt_out, squeeze, unwrap
from sp3f_verl.rewards.answers.quantity import degrees_as_signs, split_unit, value
from sp3f_verl.rewards.answers.readable import readable, relation
from sp3f_verl.rewards.answers.solutions import in_intervals
from sp3f_verl.rewards.answers.structure import Outline, outline, split

MAX_CHAIN = 6  # values of one chain of equal ones
MAX_ANSWER_CHARS = 2000  # a longer answer is no answer: it is unequal without being looked at

Symbolic = Callable[[str, str], bool]  # (gold, answer), both readable -> equal?
Verdict = bool | None

_WORDS = re.compile(r"(?=.*[^\W\d_]{3})[^\W\d_]+(?:['-][^\W\d_]+)*(?: [^\W\d_]+(?:['-][^\W\d_]+)*)*")


@dataclass(frozen=True)
class _Reading:
    """How each side is read, and who decides what only algebra can."""

    answer: Conventions
    gold: Conventions
    symbolic: Symbolic | None
    reduced: bool = False


def compare(
    answer: str | None,
    gold: str,
    language: str | None = None,
    symbolic: Symbolic | None = None,
    reduced: bool = False,
) -> Verdict:
    """The verdict on an answer (the content of a box, or None) by the conventions of its language (a code, or None).

    The numbers of the gold answer are read as data sets write them whatever the language: 1,234.5, and 3,5 as a
    decimal; its words as those of the language. reduced: where the gold answer is a number, one that is not worked out
    (16-3-4 for 9) does not count.
    """
    if answer is None or max(len(answer), len(gold)) > MAX_ANSWER_CHARS:
        return False
    own = conventions(language)
    reading = _Reading(own, replace(own, comma=None, zero_groups=False, comma_either=False), symbolic, reduced)
    answer, gold = (without_label(clean(text), own) for text in (answer, gold))
    if not unwrap(answer) or not unwrap(gold):
        return False
    if _by_eye(answer) == _by_eye(gold):
        return True
    return _whole(answer, gold, reading)


def _by_eye(text: str) -> str:
    """Where all of it is words, one of three letters or more, a capital at the start of one (of more than one letter)
    does not count."""
    text = squeeze(unwrap(text))
    words = text.split(" ") if _WORDS.fullmatch(text) else []
    return " ".join(word.casefold() if word[1:] == word[1:].lower() != "" else word for word in words) or text


def _whole(answer: str, gold: str, reading: _Reading) -> Verdict:
    answer, gold = in_intervals(*member_of(answer, gold), reading.answer, reading.gold)
    answer, gold = as_point(answer, gold), as_point(gold, answer)
    as_one = _leaf(answer, gold, reading)
    if as_one is False:
        chains = (_chain(answer, gold, reading), _chain(gold, answer, reading, turned=True))
        as_one = True if True in chains else None if None in chains else False
    if as_one:
        return True
    answer, gold = as_list(answer, reading.answer, gold), as_list(gold, reading.gold, answer)
    answer, gold = unassigned(answer, gold)
    answers, golds = (
        text if _settled(text, own) else outline(text, own.comma)
        for text, own in ((answer, reading.answer), (gold, reading.gold))
    )
    if isinstance(answers, str) and isinstance(golds, str):
        return as_one
    if isinstance(answers, str) or isinstance(golds, str):  # an interval may be written as an inequality
        return as_one if relation(answer) != relation(gold) else False
    return _outlines(answers, golds, reading)


def _chain(text: str, other: str, reading: _Reading, turned: bool = False) -> Verdict:
    """Is `text` a chain of equal values, 3 \\times 4 = 12, and `other` the same? Each of them must be."""
    label = label_of(text)
    parts = [part.strip() for part in split(text.partition("=")[2] if label else text, {"="})]
    if not 2 <= len(parts) <= MAX_CHAIN or not all(parts) or relation(other) or any(map(relation, parts)):
        return False
    verdicts = []
    for at, part in enumerate(parts):
        last = replace(reading, reduced=reading.reduced and at == len(parts) - 1)
        verdicts.append(_leaf(other, part, last) if turned else _leaf(part, other, last))
        if verdicts[-1] is False:
            return False
    return None if None in verdicts else True


def _settled(text: str, own: Conventions) -> bool:
    """One number whose commas can be nothing else: 1,234 without a known language, any number in one with commas."""
    known = own if own.comma is not None else replace(own, comma=False)
    return value(unwrap(split_unit(text, own)[0]), known) is not None


def _outlines(answer: Outline | str, gold: Outline | str, reading: _Reading) -> Verdict:
    if isinstance(answer, str) and isinstance(gold, str):
        return _leaf(answer, gold, reading)
    if isinstance(answer, str) or isinstance(gold, str):
        return False
    if answer.kind != gold.kind or len(answer.items) != len(gold.items):
        return False
    if answer.ordered or _in_order(answer, gold):
        verdicts = []
        for one, other in zip(answer.items, gold.items, strict=True):
            verdicts.append(_outlines(one, other, reading))
            if verdicts[-1] is False:
                return False
        return None if None in verdicts else True
    return _matched(answer.items, gold.items, reading)


def _in_order(answer: Outline, gold: Outline) -> bool:
    """Does one side name its items differently and the other none? x=1, y=2 may be answered 1, 2, but not 2, 1."""
    sides = ([label_of(item) for item in side.items if isinstance(item, str)] for side in (answer, gold))
    one, other = ({label for label in side if label} for side in sides)
    return bool(one) != bool(other) and len(one | other) > 1


def _matched(answers, golds, reading: _Reading) -> Verdict:
    """Is there a partner for every item? Equality is transitive, so the first partner found will do."""
    left, open_questions = list(golds), 0
    for item in answers:
        verdicts = [_outlines(item, other, reading) for other in left]
        if True in verdicts:
            del left[verdicts.index(True)]
        elif None in verdicts:
            open_questions += 1
        else:
            return False
    return None if open_questions else True


def _leaf(answer: str, gold: str, reading: _Reading) -> Verdict:
    """Two single expressions: x = 5 is 5, 50 % is 50 and 0.5, 5 cm is 5, but 5 cm is not 5 kg."""
    answer, gold = unassigned(answer, gold)
    answer = degrees_in_arguments(degrees_as_signs(answer, reading.answer))
    gold = degrees_in_arguments(degrees_as_signs(gold, reading.gold))
    (answer, answer_units), (gold, gold_units) = split_unit(answer, reading.answer), split_unit(gold, reading.gold)
    answer, gold = unwrap(answer), unwrap(gold)
    if answer_units and gold_units and not answer_units & gold_units:
        return False
    given, wanted = value(answer, reading.answer), value(gold, reading.gold)
    percent, wants_percent = "%" in answer_units, "%" in gold_units
    if squeeze(answer) == squeeze(gold) and (given is not None or not (percent or wants_percent)):
        return True
    if given is not None and wanted is not None:
        hundred = Fraction(100)
        return (
            given == wanted
            or (percent and not gold_units and given == wanted * hundred)
            or (wants_percent and not answer_units and wanted == given * hundred)
        )
    if reading.reduced and wanted is not None:
        return False
    if (percent or wants_percent) and answer_units != gold_units:
        return False
    if reading.answer.comma and "." not in answer:
        answer = re.sub(r"(?<=\d),(?=\d)", ".", answer)
    answer, gold = spelt_out(answer), spelt_out(gold)
    if not readable(answer, gold):
        return False
    return reading.symbolic(gold, answer) if reading.symbolic else None
