"""A document as one HTML page that needs nothing else: its style, script and plots are inside.

Its content security policy lets run its own style and script by their hashes, and nothing else.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from sp3f_verl.report.document.inline import Link, to_html, without_markup
from sp3f_verl.report.document.links import links
from sp3f_verl.report.document.model import Block, Document, Items, Picture, Section, Table, Text
from sp3f_verl.report.document.svg import panel

_NUMBER = re.compile(r"[-−+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?", re.IGNORECASE)
_NUMERIC = re.compile(r"[→±()\[\];,%/–−+\-.\d\s]+(?:e[-+]?\d+)?|NaN|-?∞", re.IGNORECASE)


def html(document: Document, folder: Path) -> str:
    """`folder`: where the page will be, to which its links are relative."""
    page = _Page(folder)
    body = "\n".join(page.block(part, document.base, 2, document.title) for part in document.blocks)
    style, script = (files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
    policy += "base-uri 'none'; form-action 'none'"
    title = without_markup(document.title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><button id="theme" type="button" hidden></button></header>
{page.contents()}
<main>
{body}
</main>
<footer><p>Written by <code>sp3f report</code>. Links lead to the files that the numbers stand in.</p></footer>
<script>{script}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class _Page:
    def __init__(self, folder: Path):
        self.folder = folder
        self.heads: list[tuple[int, str, str]] = []  # (level, id, title)

    def contents(self) -> str:
        top = [(name, title) for level, name, title in self.heads if level == 2]
        if len(top) < 3:
            return ""
        entries = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in top)
        return f'<nav aria-label="Contents"><ul>{entries}</ul></nav>'

    def block(self, part: Block, base: Path | None, level: int, near: str) -> str:
        """`near`: the title of the section around it."""
        link = links(self.folder, base)
        match part:
            case Text(markup):
                return f"<p>{to_html(markup, link)}</p>"
            case Items(entries):
                return "<ul>" + "".join(f"<li>{to_html(entry, link)}</li>" for entry in entries) + "</ul>"
            case Table(header, rows, name, source):
                below = f'\n<p class="source">From {to_html(source, link)}.</p>' if source else ""
                return _table(header, rows, without_markup(name or near), link) + below
            case Picture(_, title, panels):
                return (
                    f'<figure aria-label="{escape(without_markup(title))}"><div class="panels">'
                    f"{''.join(panel(each) for each in panels)}</div></figure>"
                )
            case Section(title, parts, own):
                name, head = f"s{len(self.heads) + 1}", without_markup(title)
                self.heads.append((level, name, head))
                inner = "\n".join(self.block(each, own or base, level + 1, head) for each in parts)
                tag = f"h{min(level, 6)}"
                head = f'<{tag} id="{name}">{escape(head)}</{tag}>'
                return f'<section aria-labelledby="{name}">\n{head}\n{inner}\n</section>'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], name: str, link: Link) -> str:
    texts = [[without_markup(cell) for cell in row] for row in rows]
    kinds = ["", *(_kind([row[column] for row in texts]) for column in range(1, len(header)))]

    def cell(column: int, markup: str, text: str) -> str:
        value = _value(text)
        data = "" if value is None else f' data-v="{value}"'
        tag = "td" if column else 'th scope="row"'
        return f"<{tag}{kinds[column]}{data}>{to_html(markup, link)}</{tag[:2]}>"

    head = "".join(
        f'<th scope="col"{kind}>{to_html(markup, link)}</th>' for markup, kind in zip(header, kinds, strict=True)
    )
    body = "\n".join(
        "<tr>" + "".join(cell(n, *pair) for n, pair in enumerate(zip(row, told, strict=True))) + "</tr>"
        for row, told in zip(rows, texts, strict=True)
    )
    return (
        f'<div class="scroll" role="region" aria-label="{escape(name)}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _kind(cells: Sequence[str]) -> str:
    """Numbers stand at the right, under each other."""
    return ' class="number"' if all(_NUMERIC.fullmatch(cell) for cell in cells) else ""


def _value(text: str) -> float | None:
    """The number that a cell begins with, by which its column sorts."""
    found = _NUMBER.match(text)
    if not found or ((rest := text[found.end() :]) and rest[0].isalpha()):
        return None
    try:
        return float(found[0].replace(",", "").replace("−", "-"))
    except ValueError:
        return None
