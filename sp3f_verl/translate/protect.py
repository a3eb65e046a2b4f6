r"""What a translator must not touch is taken out of the text, and put back into its place in the translation.

Code, links, tags, formulas, LaTeX commands and arithmetic become placeholders such as ⟦1⟧. Single numbers stay, as the
words around them agree with them; `numbers` verifies those. A placeholder that already stands in the source is taken
out like the rest, so restoring what `protect` gave is the identity for every text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import regex

from sp3f_verl.rewards.text import brace_pairs

PLACEHOLDER = re.compile(r"⟦\s{0,3}(\d{1,6})\s{0,3}⟧")  # digits of any script: a model may write them in its own

# Repeats are possessive or bounded, as a model's text may be anything: time stays linear.
_NUMBER = r"(?:\$\s?)?(?:(?<!\d)(?<!\d[.,])\d++(?:[.,]\d++)*+|(?<!\d)\.\d++)%?(?:[A-Za-z](?![A-Za-z]))?"
_OPERAND = rf"\({{0,3}}-?(?:{_NUMBER}|(?<![^\W\d_])[A-Za-z](?![^\W\d_]))\){{0,3}}"
_SPANS = regex.compile(
    rf"""
      (?P<code>```.*?(?:```|\Z)|`[^`\n]+`)
    | (?P<link>(?:https?://|www\.)[^\s<>"]{{0,2000}}[^\s<>"'.,;:!?)\]]
              |(?<![\w.+-])[\w.+-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,8}})
    | (?P<tag></?[A-Za-z][^<>\n]{{0,200}}>|<[|｜][^<>\n]{{1,60}}[|｜]>)
    | (?P<placeholder>{PLACEHOLDER.pattern})
    | (?P<maths>\$\$.{{1,3000}}?\$\$|\\\(.{{1,3000}}?\\\)|\\\[.{{1,3000}}?\\\]
               |\\begin\{{(?P<name>\w{{1,20}}\*?)\}}.{{1,3000}}?\\end\{{(?P=name)\}})
    | (?P<dollars>(?<!\\)\$(?!\s)[^$\n]*(?<![\s\\])\$(?!\d))
    | (?P<command>\\[A-Za-z]+\*?(?:\[[^\[\]\n]{{0,100}}\])?)
    | (?P<sum>{_OPERAND}(?:\ ?[-+*/×÷=^−·]\ ?{_OPERAND}|\ ?x\ ?{_OPERAND})++)
    """,
    regex.DOTALL | regex.VERBOSE,
)
# Two words in a row: somebody is talking, between dollars of money or in a command's argument.
_PHRASE = regex.compile(r"(?<![\\\p{L}])\p{L}{3,}[\s,]+\p{L}{2,}")
_UNWANTED = {"code", "link", "tag", "command"}  # what a translation may not add


class Broken(ValueError):
    """Placeholders did not come back once each. The message is the reason: one of choose.REASONS."""


@dataclass(frozen=True)
class Protected:
    """A text with placeholders, and what they stand for: placeholder n is spans[n - 1]."""

    text: str
    spans: tuple[str, ...]

    def restore(self, translation: str) -> str:
        """The translation with the spans back in place. Raises Broken unless each placeholder stands in it once."""
        numbers = [int(match[1]) for match in PLACEHOLDER.finditer(translation)]
        if any(not 1 <= number <= len(self.spans) for number in numbers):
            raise Broken("placeholder_unknown")
        if len(set(numbers)) < len(numbers):
            raise Broken("placeholder_repeated")
        if len(numbers) < len(self.spans):
            raise Broken("placeholder_lost")
        return PLACEHOLDER.sub(lambda match: self.spans[int(match[1]) - 1], translation)

    def is_added_to(self, translation: str) -> bool:
        """Whether the translation, before `restore`, holds more code, links, tags or commands than this text does."""
        return _unwanted(translation) > _unwanted(self.text)


def protect(text: str) -> Protected:
    """The text with its protected spans as ⟦1⟧, ⟦2⟧ and so on, in the order they stand."""
    kept, spans, position = [], [], 0
    for start, end, _ in _found(text):
        spans.append(text[start:end])
        kept += [text[position:start], f"⟦{len(spans)}⟧"]
        position = end
    return Protected("".join([*kept, text[position:]]), tuple(spans))


def without_placeholders(text: str) -> str:
    """The words alone."""
    return PLACEHOLDER.sub(" ", text)


def _unwanted(text: str) -> int:
    return sum(kind in _UNWANTED for _, _, kind in _found(text))


def _found(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, kind) of what is protected, from left to right."""
    pairs = brace_pairs(text) if "\\" in text else {}
    position = 0
    while match := _SPANS.search(text, position):
        kind, end = match.lastgroup, match.end()
        talks = kind == "dollars" and _PHRASE.search(match[0])
        if talks or (kind == "sum" and not any(map(str.isdigit, match[0]))):
            position = match.start() + 1
            continue
        if kind == "command":
            end = _with_arguments(text, end, pairs)
        yield match.start(), end, kind
        position = end


def _with_arguments(text: str, end: int, pairs: dict[int, int]) -> int:
    r"""Where a command ends with its `{...}`; before an argument of words, as in \textbf{every second day}."""
    while (closing := pairs.get(end)) is not None and not _PHRASE.search(text, end, closing):
        end = closing + 1
    return end
