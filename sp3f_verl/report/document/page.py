"""A report as one HTML page that needs nothing else: its style, script and plots are inside.

The page is the Markdown (markdown.py) put through markdown-it, which lets no HTML of a text through; what is added to
its tokens are the ids of headings, the heads of rows, the values by which columns sort, and the plots. The content
security policy lets run the page's own style and script by their hashes, and nothing else.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from sp3f_verl.report.document.blocks import Document, Picture, every
from sp3f_verl.report.document.markdown import markdown, page_template
from sp3f_verl.report.document.plots import Drawing, draw

_NUMBER = re.compile(r"[-−+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?", re.IGNORECASE)
_NUMERIC = re.compile(r"[→±()\[\];,%/–−+\-.\d\s]+(?:e[-+]?\d+)?|NaN|-?∞", re.IGNORECASE)


def html(document: Document, folder: Path, drawings: dict[str, Drawing] | None = None) -> str:
    """`folder`: where the page will be, to which its links are relative. `drawings`: file of a picture -> what was
    drawn of it; drawn here where None."""
    pictures = {picture.file: picture for picture in every(Picture, document.blocks)}
    if drawings is None:
        drawings = {file: draw(picture, f"p{n}") for n, (file, picture) in enumerate(pictures.items())}
    parser = MarkdownIt("js-default", {"html": False, "linkify": False, "typographer": False})
    parser.disable("strikethrough")
    tokens = parser.parse(markdown(document, folder))
    title = _text(tokens[1])
    body = _Page(pictures, drawings, title).marked_up(tokens[3:])  # after the three tokens of the title
    contents = [(token.attrs["id"], _text(head)) for token, head in pairwise(body) if _is_top(token)]
    style, script = (files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return page_template().render(
        title=title,
        contents=contents if len(contents) > 2 else [],
        body=Markup(parser.renderer.render(body, parser.options, {})),  # by a parser that escapes
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(style),
        script=Markup(script),
    )


def plain_text(text: str) -> str:
    """A text of Markdown as one reads it."""
    return " ".join(_text(token) for token in MarkdownIt("js-default").parse(text) if token.type == "inline")


def _is_top(token: Token) -> bool:
    return token.type == "heading_open" and token.tag == "h2"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(inline: Token) -> str:
    texts = {"softbreak": " ", "hardbreak": " "}
    return "".join(texts.get(child.type, child.content) for child in inline.children or ())


class _Page:
    """Adds to markdown-it's tokens what Markdown cannot say."""

    def __init__(self, pictures: dict[str, Picture], drawings: dict[str, Drawing], title: str):
        self.pictures, self.drawings, self.near = pictures, drawings, title
        self.heads = 0

    def marked_up(self, tokens: Sequence[Token]) -> list[Token]:
        tokens = list(tokens)
        for at, token in enumerate(tokens):
            if token.type == "heading_open":
                self.heads += 1
                token.attrSet("id", f"s{self.heads}")
                self.near = _text(tokens[at + 1])
            elif token.type == "paragraph_open":
                self._paragraph(tokens, at)
            elif token.type == "table_open":
                end = next(n for n in range(at, len(tokens)) if tokens[n].type == "table_close")
                self._table(tokens[at : end + 1])
                label = escape(self.near)
                tokens[at] = _raw(f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table>\n')
                tokens[end] = _raw("</table></div>\n")
        return tokens

    def _paragraph(self, tokens: list[Token], at: int) -> None:
        inline = tokens[at + 1]
        first = (inline.children or [None])[0]
        if first is not None and first.type == "image" and unquote(str(first.attrs.get("src"))) in self.pictures:
            tokens[at : at + 3] = [_raw(""), _raw(self._figure(unquote(str(first.attrs["src"])))), _raw("")]
        elif at and "</table>" in tokens[at - 1].content and inline.content.startswith("From "):
            tokens[at].attrSet("class", "source")

    def _figure(self, file: str) -> str:
        panels = "".join(f'<div class="panel">{svg}</div>' for svg in self.drawings[file].panels)
        title = escape(plain_text(self.pictures[file].title))
        return f'<figure aria-label="{title}"><div class="panels">{panels}</div></figure>\n'

    def _table(self, tokens: Sequence[Token]) -> None:
        rows: list[list[tuple[Token, str]]] = []  # the first is the head
        for at, token in enumerate(tokens):
            if token.type == "tr_open":
                rows.append([])
            elif token.type in ("th_open", "td_open"):
                rows[-1].append((token, _text(tokens[at + 1])))
            elif token.type == "td_close" and len(rows[-1]) == 1:
                token.tag = "th"
        head, body = rows[0], rows[1:]
        for column, (token, _) in enumerate(head):
            token.attrSet("scope", "col")
            cells = [row[column] for row in body]
            is_number = bool(column) and all(_NUMERIC.fullmatch(text) for _, text in cells)
            for one, text in [(token, ""), *cells] if column else cells:
                if is_number:  # numbers stand at the right, under each other
                    one.attrSet("class", "number")
                if (value := number_of(text)) is not None:
                    one.attrSet("data-v", f"{value}")
        for row in body:
            row[0][0].tag = "th"
            row[0][0].attrSet("scope", "row")


def _raw(html: str) -> Token:
    return Token("html_block", "", 0, content=html)


def number_of(text: str) -> float | None:
    """The number that a cell begins with, by which its column sorts."""
    match = _NUMBER.match(text)
    if not match or ((rest := text[match.end() :]) and rest[0].isalpha()):
        return None
    try:
        return float(match[0].replace(",", "").replace("−", "-"))
    except ValueError:
        return None
