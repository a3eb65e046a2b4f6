"""A report as Markdown, by the template report.md.j2; the page (page.py) is made from the same text."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template, pass_context

from sp3f_verl.report.document.blocks import Block, Document
from sp3f_verl.report.document.escape import Markdown, alternative, cell, linked


def markdown(document: Document, folder: Path | None = None) -> str:
    """`folder`: where the file will be, to which links are relative; no links where None."""
    return _rendered(title=document.title, blocks=document.blocks, base=document.base, folder=folder)


def blocks(parts: Sequence[Block]) -> str:
    """Some blocks without a title and without links."""
    return _rendered(blocks=parts, base=None, folder=None)


def _rendered(**values: object) -> str:
    return _environment(True).get_template("report.md.j2").render(values).rstrip("\n") + "\n"


def page_template() -> Template:
    """report.html.j2, whose values are escaped for HTML."""
    return _environment(False).get_template("report.html.j2")


@cache
def _environment(is_markdown: bool) -> Environment:
    """With `autoescape`, Jinja2 escapes for HTML what has no `__html__`; `finalize` comes before and makes Markdown."""
    environment = Environment(
        loader=FunctionLoader(lambda name: files(__package__).joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        **{"finalize": Markdown.escape} if is_markdown else {},
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["markdown"] = Markdown.escape
    environment.filters["cell"] = cell
    environment.filters["alt"] = alternative
    environment.filters["url"] = lambda file: Markdown(quote(file))

    @pass_context
    def with_links(context, text: Markdown, base: Path | None) -> Markdown:
        return linked(text, context["folder"], base)

    environment.filters["linked"] = with_links
    return environment
