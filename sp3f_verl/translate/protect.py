r"""What a translator must not touch is taken out of the text, and put back into its place in the translation.

Code, links, tags, formulas, LaTeX commands and arithmetic become placeholders such as ⟦1⟧. Single numbers stay, as the
words around them agree with them; `numbers` verifies those. A placeholder that already stands in the source is taken
out like the rest, so restoring what `protect` gave is the identity for every text.
"""

import re
from dataclasses import dataclass

import regex

PLACEHOLDER = re.compile(r"⟦\s*(\d+)\s*⟧")  # digits of any script: a model may write them in its own

_NUMBER = r"(?:\$\s?)?(?:\d+(?:[.,]\d+)*|\.\d+)%?(?:[A-Za-z](?![A-Za-z]))?"
_OPERAND = rf"\(*-?(?:{_NUMBER}|(?<![^\W\d_])[A-Za-z](?![^\W\d_]))\)*"
_BRACES = r"(?P<braces>\{(?:[^{}\\]|\\.|(?&braces))*+\})"
_SPANS = regex.compile(
    rf"""
      (?P<code>```.*?(?:```|\Z)|`[^`\n]+`)
    | (?P<link>(?:https?://|www\.)[^\s<>"]*[^\s<>"'.,;:!?)\]]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)
    | (?P<tag></?[A-Za-z][^<>\n]{{0,200}}>|<[|｜][^<>\n]{{1,60}}[|｜]>)
    | (?P<placeholder>{PLACEHOLDER.pattern})
    | (?P<maths>\$\$.+?\$\$|\\\(.+?\\\)|\\\[.+?\\\]|\\begin\{{(?P<name>\w+\*?)\}}.+?\\end\{{(?P=name)\}})
    | (?P<dollars>(?<!\\)\$(?!\s)[^$\n]*?(?<![\s\\])\$(?!\d))
    | (?P<command>\\[A-Za-z]+\*?(?:\[[^\[\]\n]{{0,100}}\])?(?:{_BRACES}(?:(?&braces))*)?)
    | (?P<sum>{_OPERAND}(?:\ ?[-+*/×÷=^−·]\ ?{_OPERAND}|\ ?x\ ?(?={_OPERAND}){_OPERAND})+)
    """,
    regex.DOTALL | regex.VERBOSE,
)
# Two words in a row: somebody is talking, between dollars of money or in a command's argument.
_PHRASE = regex.compile(r"(?<![\\\p{L}])\p{L}{3,}[\s,]+\p{L}{2,}")
_NAME = re.compile(r"\\[A-Za-z]+\*?")
_UNWANTED = {"code", "link", "tag", "command"}  # what a translation may not add


class Broken(ValueError):
    """Placeholders did not come back once each. The message is the reason, one word: lost, repeated or unknown."""


@dataclass(frozen=True)
class Protected:
    """A text with placeholders, and what they stand for: placeholder n is spans[n - 1]."""

    text: str
    spans: tuple[str, ...]

    def restore(self, translation: str) -> str:
        """The translation with the spans back in place. Raises Broken unless each placeholder stands in it once."""
        found = [int(match[1]) for match in PLACEHOLDER.finditer(translation)]
        if any(not 1 <= number <= len(self.spans) for number in found):
            raise Broken("placeholder_unknown")
        if len(set(found)) < len(found):
            raise Broken("placeholder_repeated")
        if len(found) < len(self.spans):
            raise Broken("placeholder_lost")
        return PLACEHOLDER.sub(lambda match: self.spans[int(match[1]) - 1], translation)


def protect(text: str) -> Protected:
    """The text with its protected spans as ⟦1⟧, ⟦2⟧ and so on, in the order they stand."""
    spans: list[str] = []

    def take(match: regex.Match) -> str:
        cut = _cut(match)
        if not cut:
            return match[0][:1] + _SPANS.sub(take, match[0][1:])
        spans.append(match[0][:cut])
        return f"⟦{len(spans)}⟧{_SPANS.sub(take, match[0][cut:])}"

    return Protected(_SPANS.sub(take, text), tuple(spans))


def _cut(match: regex.Match) -> int:
    """How many characters of a match are protected; the rest is looked at again."""
    text = match[0]
    if match["dollars"] and _PHRASE.search(text):
        return 0
    if match["command"] and _PHRASE.search(text):  # \textbf{every second day}: the words are to be translated
        return _NAME.match(text).end()
    if match["sum"] and not any(char.isdigit() for char in text):
        return 0
    return len(text)


def without_placeholders(text: str) -> str:
    """The words alone."""
    return PLACEHOLDER.sub(" ", text)


def adds_spans(translation: str) -> bool:
    """Whether a translation (before `restore`) holds code, links or LaTeX commands: the source's are placeholders."""
    return any(match[kind] for match in _SPANS.finditer(translation) for kind in _UNWANTED)
