"""Are two answers equal? True, False, or None where only a computer algebra system could tell.

Both are outlined (`structure`) and their single expressions compared: by eye, then as exact numbers with units
(`quantity`), then by `symbolic` if the caller gives one. A True needs every part of both answers to be understood.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from sp3f_verl.rewards.normalise import clean, squeeze, unwrap
from sp3f_verl.rewards.quantity import number, split_unit
from sp3f_verl.rewards.readable import readable, relation
from sp3f_verl.rewards.structure import Outline, outline

MAX_ANSWER_CHARS = 2000  # a longer answer is no answer: it is unequal without being looked at

Symbolic = Callable[[str, str], bool]  # (gold, answer), both readable -> equal?
Verdict = bool | None

_WORDS = re.compile(r"[^\W\d_]{3,}(?: [^\W\d_]{3,})*")
_ASSIGNED = re.compile(r"([A-Za-z](?: ?_ ?\{? ?\w ?\}?)?) ?= ?(?!=)(.*)", re.DOTALL)


def compare(answer: str | None, gold: str, comma: bool | None = None, symbolic: Symbolic | None = None) -> Verdict:
    """The verdict on an answer (the content of a box, or None) by the convention `comma` of its language.

    The gold answer is read in the convention that data sets use whatever the language: 1,234.5, and 3,5 as a decimal.
    """
    if answer is None or max(len(answer), len(gold)) > MAX_ANSWER_CHARS:
        return False
    answer, gold = clean(answer), clean(gold)
    if not unwrap(answer) or not unwrap(gold):
        return False
    if _by_eye(answer) == _by_eye(gold):
        return True
    return _whole(answer, gold, comma, symbolic)


def _by_eye(text: str) -> str:
    """Where all of it is words, of three letters or more, a capital at the start of one does not count."""
    text = squeeze(unwrap(text))
    words = text.split(" ") if _WORDS.fullmatch(text) else []
    return " ".join(word.casefold() if word[1:] == word[1:].lower() else word for word in words) or text


def _whole(answer: str, gold: str, comma: bool | None, symbolic: Symbolic | None) -> Verdict:
    as_one = _leaf(answer, gold, comma, symbolic)
    if as_one:
        return True
    answers, golds = (
        text if _settled(text, convention) else outline(text, convention)
        for text, convention in ((answer, comma), (gold, None))
    )
    if isinstance(answers, str) and isinstance(golds, str):
        return as_one
    if isinstance(answers, str) or isinstance(golds, str):  # an interval may be written as an inequality
        return as_one if relation(answer) != relation(gold) else False
    return _outlines(answers, golds, comma, symbolic)


def _settled(text: str, comma: bool | None) -> bool:
    """One number whose commas can be nothing else: 1,234 without a known language, any number in one with commas."""
    return number(unwrap(split_unit(text)[0]), bool(comma)) is not None


def _outlines(answer: Outline | str, gold: Outline | str, comma: bool | None, symbolic: Symbolic | None) -> Verdict:
    if isinstance(answer, str) and isinstance(gold, str):
        return _leaf(answer, gold, comma, symbolic)
    if isinstance(answer, str) or isinstance(gold, str):
        return False
    if answer.kind != gold.kind or len(answer.items) != len(gold.items):
        return False
    if answer.ordered or _in_order(answer, gold):
        verdicts = []
        for one, other in zip(answer.items, gold.items, strict=True):
            verdicts.append(_outlines(one, other, comma, symbolic))
            if verdicts[-1] is False:
                return False
        return None if None in verdicts else True
    return _matched(answer.items, gold.items, comma, symbolic)


def _in_order(answer: Outline, gold: Outline) -> bool:
    """Does one side name its items differently and the other none? x=1, y=2 may be answered 1, 2, but not 2, 1."""
    sides = (
        [_ASSIGNED.fullmatch(each.strip()) for each in side.items if isinstance(each, str)] for side in (answer, gold)
    )
    one, other = ({squeeze(match[1]) for match in side if match} for side in sides)
    return bool(one) != bool(other) and len(one | other) > 1


def _matched(answers, golds, comma: bool | None, symbolic: Symbolic | None) -> Verdict:
    """Is there a partner for every item? Equality is transitive, so the first partner found will do."""
    left, open_questions = list(golds), 0
    for item in answers:
        verdicts = [_outlines(item, other, comma, symbolic) for other in left]
        if True in verdicts:
            del left[verdicts.index(True)]
        elif None in verdicts:
            open_questions += 1
        else:
            return False
    return None if open_questions else True


def _leaf(answer: str, gold: str, comma: bool | None, symbolic: Symbolic | None) -> Verdict:
    """Two single expressions: x = 5 is 5, 50 % is 50 and 0.5, 5 cm is 5, but 5 cm is not 5 kg."""
    answer, gold = _unassigned(answer, gold)
    (answer, answer_unit), (gold, gold_unit) = split_unit(answer), split_unit(gold)
    answer, gold = unwrap(answer), unwrap(gold)
    if answer_unit and gold_unit and answer_unit != gold_unit:
        return False
    given, wanted = number(answer, comma), number(gold)
    if squeeze(answer) == squeeze(gold) and (given is not None or "%" not in (answer_unit, gold_unit)):
        return True
    if given is not None and wanted is not None:
        if given == wanted:
            return True
        hundred = Fraction(100)
        return (answer_unit == "%" and not gold_unit and given == wanted * hundred) or (
            gold_unit == "%" and not answer_unit and wanted == given * hundred
        )
    if "%" in (answer_unit, gold_unit) and answer_unit != gold_unit:
        return False
    if comma and "." not in answer:
        answer = re.sub(r"(?<=\d),(?=\d)", ".", answer)
    if not readable(answer, gold):
        return False
    return symbolic(gold, answer) if symbolic else None


def _unassigned(answer: str, gold: str) -> tuple[str, str]:
    """Without a leading `x =` on the one side that has it, or on both where they name the same."""
    one, other = _ASSIGNED.fullmatch(answer.strip()), _ASSIGNED.fullmatch(gold.strip())
    if one and other:
        same = squeeze(one[1]) == squeeze(other[1])
        return (one[2], other[2]) if same else (answer, gold)
    if one and not relation(one[2]) and not relation(gold):
        return one[2], gold
    if other and not relation(other[2]) and not relation(answer):
        return answer, other[2]
    return answer, gold
