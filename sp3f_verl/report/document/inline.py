"""The light markup of a report's texts and cells: `code`, **strong**, *emphasis*, and a backslash before a literal one.

It is parsed first and escaped for Markdown or HTML afterwards, so that no text, whoever wrote it, becomes a tag, a link
or a cell of its own. A text of another hand (a model, a data set, a file name) goes in through `plain` or `code`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from html import escape
from urllib.parse import quote

_TOKEN = re.compile(r"\\([\\`*])|`([^`]+)`|\*\*(.+?)\*\*|(?<!\w)\*(?=\S)(.+?)\*(?!\w)", re.DOTALL)
_BLOCK = re.compile(r"^([ \t]*)(#{1,6}(?=\s|$)|>|\||[-+](?=\s|$)|[-=]{3,})", re.MULTILINE)  # not where a line begins
_LIST = re.compile(r"^([ \t]*\d+)([.)])(?=\s|$)", re.MULTILINE)
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # could turn the numbers beside them around
_LONGEST = 300  # characters of a text of another hand
Link = Callable[[str], str | None]  # a code span -> the relative path that it links to


def plain(value: object) -> str:
    """A text of another hand as itself: one line, no markup, no control characters, at most 300 characters."""
    return re.sub(r"([\\`*])", r"\\\1", _one_line(value))


def code(value: object) -> str:
    """The same as a code span."""
    return f"`{_one_line(value).replace('`', chr(39)) or ' '}`"


def _one_line(value: object) -> str:
    kept = "".join(
        " " if each.isspace() or (kind := unicodedata.category(each)) == "Cc" else "\ufffd" if kind == "Cs" else each
        for each in str(value)
        if each not in _BIDI
    )
    text = " ".join(kept.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def parse(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text): kind is text, code, strong or em."""
    end = 0
    for found in _TOKEN.finditer(text):
        if found.start() > end:
            yield "text", text[end : found.start()]
        literal, *spans = found.groups()
        if literal:
            yield "text", literal
        else:
            kind, span = next(each for each in zip(("code", "strong", "em"), spans, strict=True) if each[1])
            yield kind, span if kind == "code" else re.sub(r"\\([\\`*])", r"\1", span)
        end = found.end()
    if text[end:]:
        yield "text", text[end:]


def without_markup(text: str) -> str:
    return "".join(span for _, span in parse(text))


def to_html(text: str, link: Link) -> str:
    return "".join(_html(kind, span, link) for kind, span in parse(text))


def _html(kind: str, span: str, link: Link) -> str:
    if kind == "text":
        return escape(span)
    if kind == "code":
        target = link(span)
        shown = f"<code>{escape(span)}</code>"
        return f'<a href="{escape(quote(target))}">{shown}</a>' if target else shown
    return f"<{kind}>{escape(span)}</{kind}>"


def to_markdown(text: str, link: Link, cell: bool = False) -> str:
    """`cell`: inside a table, where a pipe and the end of a line are structure."""
    made = "".join(_markdown(kind, span, link) for kind, span in parse(text))
    if cell:
        return re.sub(r"(?<!\\)\|", r"\\|", " ".join(made.split()))
    return _LIST.sub(r"\1\\\2", _BLOCK.sub(r"\1\\\2", made))


def _markdown(kind: str, span: str, link: Link) -> str:
    if kind == "code":
        target = link(span)
        return f"[`{span}`]({quote(target)})" if target else f"`{span}`"
    literal = re.sub(r"([\\`*<]|\](?=\()|&(?=#?\w+;)|~(?=~)|(?<!\w)_|_(?!\w))", r"\\\1", span)
    return literal if kind == "text" else {"strong": f"**{literal}**", "em": f"*{literal}*"}[kind]
