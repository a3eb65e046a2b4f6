"""Texts of other hands (models, data sets, file names) as Markdown that shows them and obeys nothing in them.

`Markdown("... {} ...").format(value)` escapes what is put in, as `markupsafe.Markup` does for HTML: a str that is no
`Markdown` is escaped wherever it meets one, and by the template (markdown.py) where it stands alone. The page is made
from the Markdown by a parser that lets no HTML through, so that this file is all that has to be right.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any, Self
from urllib.parse import quote

from markupsafe import Markup

from sp3f_verl.errors import one_line

# What has a meaning anywhere in a line: escapes, code, emphasis, HTML, links, entities, strike-through.
_ANYWHERE = re.compile(r"([\\`*<]|\](?=[(\[:])|&(?=#?\w+;)|~(?=~)|(?<![^\W_])_|_(?![^\W_]))")
# What has one where a line begins: headings, quotes, tables, lists, underlines of headings, definitions of links.
_FIRST = re.compile(r"^(#{1,6}(?=\s|$)|>|\||\[|[-+](?=\s|$)|[-=]{2,}|=+$)")
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
_CODE = re.compile(r"(?<!\\)`([^`]+)`")  # in a text of others every backtick has a backslash


class Markdown(Markup):
    """A str that is Markdown already: our own words, and other texts escaped."""

    __slots__ = ()

    @classmethod
    def escape(cls, value: Any, /) -> Self:
        """Any value as a text of another hand: one line, nothing in it obeyed."""
        if isinstance(value, Markup):
            return cls(value)
        text = _ANYWHERE.sub(r"\\\1", one_line(value))
        return cls(_NUMBERED.sub(r"\1\\\2", _FIRST.sub(r"\\\1", text)))


def code(value: object) -> Markdown:
    """A text of another hand as a code span."""
    return Markdown(f"`{one_line(value).replace('`', chr(39)) or ' '}`")


def joined(values, separator: str = ", ") -> Markdown:
    return Markdown(separator).join(values)


def cell(text: Markup) -> Markdown:
    """Inside a table, where a pipe and the end of a line are structure: a row is split before anything else is read."""
    return Markdown(" ".join(str(text).split()).replace("|", "\\|"))


def alternative(text: str) -> Markdown:
    """Inside the brackets of a picture."""
    return Markdown(re.sub(r"\\.|[\[\]]", lambda match: f"\\{match[0]}"[-2:], str(Markdown.escape(text))))


def linked(text: Markup, folder: Path | None, base: Path | None) -> Markdown:
    """Code spans that name a file in `base` as links to it, relative to `folder`, where the report will be."""

    def link(match: re.Match) -> str:
        if folder is None or base is None or not _is_inside(match[1], base):
            return match[0]
        target = Path(os.path.relpath(base.resolve() / match[1], folder.resolve())).as_posix()
        return f"[{match[0]}]({quote(target)})"

    return Markdown(_CODE.sub(link, str(text)))


def _is_inside(name: str, base: Path) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or len(name) > 200 or "\0" in name:
        return False
    return (base / path).exists() and "." in path.name
