"""A report's model: the same blocks as Markdown and as HTML, whatever stands in them."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.report_folders import HOSTILE
from sp3f_verl.report.document.blocks import (
    Document,
    Grid,
    Items,
    Line,
    Lines,
    Picture,
    Rows,
    Section,
    Table,
    Text,
    Values,
    every,
    paragraph,
)
from sp3f_verl.report.document.escape import Markdown, code, joined
from sp3f_verl.report.document.markdown import markdown
from sp3f_verl.report.document.page import html, number_of, plain_text
from sp3f_verl.report.document.plots import MOST, Drawing, draw, thinned
from sp3f_verl.report.document.terminal import shown
from sp3f_verl.report.document.write import write

OWN = set(
    "html head meta title link style body header h1 h2 h3 button nav ul li a main p code strong em figure div svg path "
    "text g defs use clippath rect table thead tbody tr th td footer script".split()
)
TEXTS = st.one_of(
    st.just(HOSTILE), st.text(max_size=60), st.text(st.sampled_from("<>&\"'`*\\|[]()_~!\n$#-:=+1."), max_size=40)
)


class Parsed(HTMLParser):
    """What a browser makes of the page: its tags with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.text, self.links = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_data(self, data):
        self.text += data


def everything(text: str) -> Document:
    """`text` in each place that takes a text of another hand."""
    lines = Lines(text, [Line(text, [(1, 0.5), (2, 0.7)], thick=True)], text, marks=[(1, text)])
    rows = Rows(text, [text, "es"], [Values(text, [0.5, None], [(0.4, 0.6), None])])
    table = Table([text, code(text)], [[text, code(text)], ["–", "1.5"]], code(text))
    blocks = [
        Text(text),
        paragraph("{} and **{}**: {}", text, text, code(text)),
        Items([text, Markdown("**{}** a").format(text)]),
        table,
        Picture("a.png", text, [lines, rows]),
    ]
    return Document(text, [*blocks, *(Section(f"{n} {text}", [Text(code(text))]) for n in range(3))])


def page_of(document: Document, folder, drawn: bool = True) -> str:
    return html(document, folder, None if drawn else {"a.png": Drawing(b"", [])})


def holds_nothing_of(page: "Parsed") -> None:
    """Of another hand: no tag, handler, style or link."""
    assert {tag for tag, _ in page.tags} <= OWN
    names = {name for _, attributes in page.tags for name in attributes}
    assert not any(name.startswith("on") or name in ("style", "src") for name in names)
    assert all(re.fullmatch(r"#s\d+", link) for link in page.links)
    assert sum(tag == "script" for tag, _ in page.tags) == 1


@given(TEXTS)
@example("--")  # after the mark of a list it would be a rule
def test_no_text_becomes_a_tag_an_attribute_a_link_or_a_cell(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    page = Parsed(page_of(everything(text), folder, drawn=False))
    holds_nothing_of(page)
    assert [tag for tag, _ in page.tags].count("td") == 2 and [tag for tag, _ in page.tags].count("th") == 4
    assert [tag for tag, _ in page.tags].count("table") == 1 and [tag for tag, _ in page.tags].count("figure") == 1
    assert [tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)] == ["h1", "h2", "h2", "h2"]
    table = [line for line in markdown(everything(text), folder).splitlines() if line.startswith("| ")]
    assert len(table) == 4, "no other line begins a table"
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in table)
    one_line = " ".join("".join(one for one in text if one.isprintable() or one.isspace()).split())
    if one_line == text:
        assert text in page.text, "it is shown as it was"


@settings(max_examples=6)
@example(HOSTILE)
@example("\x08\ud800\u202e")
@given(TEXTS)
@example("--")  # after the mark of a list it would be a rule
def test_no_text_becomes_a_tag_in_a_plot(text):
    """What matplotlib wrote, put on the page: its tags are ours, every text is a text, and the ids are the panel's."""
    grid = Grid(text, [text], [text], [[None]])
    for svg in draw(Picture("a.png", text, [*everything(text).blocks[4].panels, grid]), "p7").panels:
        root = ElementTree.fromstring(svg)
        assert {element.tag for element in root.iter()} <= {
            "svg",
            "g",
            "defs",
            "path",
            "use",
            "clipPath",
            "rect",
            "text",
        }
        attributes = {name for element in root.iter() for name in element.attrib}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert all(element.get("id", "p7").startswith("p7-") or not element.get("id") for element in root.iter())
        assert all(element.get("href", "#").startswith("#") for element in root.iter())
    holds_nothing_of(Parsed(f"<script></script>{svg}"))


def test_hostile_texts_on_a_whole_page(tmp_path):
    page = Parsed(page_of(everything(HOSTILE), tmp_path))
    holds_nothing_of(page)
    assert HOSTILE in page.text


def test_markup_of_another_hand_is_shown_and_not_obeyed(tmp_path):
    text = markdown(everything(HOSTILE), tmp_path)
    assert "\\<script>" in text and "[a\\](javascript" in text and "\\*\\*b\\*\\*" in text and "\\&lt;" in text
    cell = next(line for line in text.splitlines() if line.startswith("| ")).split(" | ")[0]
    assert "\\| '\\`\\*" in cell


@pytest.mark.parametrize(
    "text", ["# a", "> a", "| a", "- a", "+ a", "1. a", "2) a", "--", "---", "===", "=", "[a]: /b"]
)
def test_a_text_at_the_beginning_of_a_line_begins_nothing(text):
    line = markdown(Document("x", [Text(text)])).splitlines()[2]
    assert re.fullmatch(r"\d*\\\S.*", line) and line.replace("\\", "") == text


@given(TEXTS)
@example("__0__")
@example("a_b _c_ __init__")
def test_a_text_reads_as_itself_wherever_it_is_put(text):
    one_line = " ".join("".join(one for one in text if one.isprintable() or one.isspace()).split())
    if one_line == text:
        assert plain_text(Markdown.escape(text)).strip() == text
        assert plain_text(Markdown("x {} y").format(text)) == (f"x {text} y" if text else "x  y")
    assert "\n" not in Markdown.escape(text)


def test_what_is_markdown_already_is_not_escaped_again():
    text = Markdown("**{}**: {}").format("a*b", code("c`d"))
    assert text == r"**a\*b**: `c'd`" and Markdown.escape(text) == text
    assert Markdown(", ").join([code("a"), "b_", 3]) == r"`a`, b\_, 3"


def test_what_turns_text_around_or_cannot_be_written_is_taken_out():
    assert Markdown.escape("a\u202eb\x00c\ud800d\r\ne") == "ab c\ufffdd e"
    assert len(Markdown.escape("x" * 1000)) == 300 and Markdown.escape("x" * 1000).endswith("…")


def test_only_files_inside_the_run_are_linked(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("run/a b.json", "secret.json"):
        (tmp_path / name).write_text("{}")
    names = ("a b.json", "../secret.json", str(tmp_path / "secret.json"), "missing.json", "a.b\0c")
    document = Document("x", [Text(joined(map(code, names), " "))], tmp_path / "run")
    assert Parsed(html(document, tmp_path / "out")).links == ["../run/a%20b.json"]
    assert re.findall(r"\]\(([^)]*)\)", markdown(document, tmp_path / "run")) == ["a%20b.json"]
    assert "](" not in markdown(document), "a text on the screen has no place that links could be relative to"


def test_the_page_lets_run_its_own_script_only(tmp_path):
    page = html(everything(HOSTILE), tmp_path)
    policy = next(one["content"] for tag, one in Parsed(page).tags if "http-equiv" in one)
    assert "default-src 'none'" in policy and "unsafe" not in policy and policy.count("sha256-") == 2
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page), "nothing from a network"


def test_the_page_can_be_read_without_seeing_it(tmp_path):
    """One h1, no level left out, tables with heads that say what they are heads of, plots told in words."""
    page = Parsed(html(everything("text"), tmp_path))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    assert {one.get("scope") for tag, one in page.tags if tag == "th"} == {"col", "row"}
    plots = [one for tag, one in page.tags if tag == "svg" and one.get("class") == "plot"]
    assert [one["role"] for one in plots] == ["img", "img"]
    assert "0.500 at 1 to 0.700 at 2" in plots[0]["aria-label"] and "es –" in plots[1]["aria-label"]
    assert next(one for tag, one in page.tags if tag == "html")["lang"] == "en"


def test_markdown_page_and_terminal_say_the_same(tmp_path):
    document = everything("same")
    page = Parsed(html(document, tmp_path)).text
    for line in markdown(document, tmp_path).splitlines():
        plain = plain_text(re.sub(r"^(?:#+|-|!\[.*|\|(?: ---.*)?) ?", "", line)).replace("|", " ")
        for word in plain.split():
            assert word in page
    assert shown(document.blocks).split() == ["same", "same", "same", "same", "–", "1.5"]


def test_cells_sort_by_the_number_that_they_begin_with(tmp_path):
    values = {
        "1,120 rows": 1120.0,
        "-0.5 [0.4; 0.6]": -0.5,
        "2e-05": 2e-5,
        "–": None,
        "12b": None,
        "es": None,
        "NaN": None,
    }
    assert {text: number_of(text) for text in values} == values
    page = html(Document("x", [Table(["a", "b"], [["1", "2.5"], ["2", "–"]])]), tmp_path)
    assert '<td class="number" data-v="2.5">2.5</td>' in page and '<td class="number">–</td>' in page


def test_pictures_of_several_reports_do_not_overwrite_each_other(tmp_path):
    picture = Picture("a.png", "a", [Lines("t", [Line("", [(1, 1.0)])])])
    document = Document("x", [picture, Section("s", [picture]), picture])
    text = write(document, tmp_path / "report.md").read_text()
    assert re.findall(r"\]\((\S+\.png)\)", text) == ["a.png", "a_2.png", "a_3.png"]
    write(document, tmp_path / "other.md")
    assert sorted(one.name for one in tmp_path.glob("*.png"))[3:] == ["other_a.png", "other_a_2.png", "other_a_3.png"]
    assert len(list(every(Picture, document.blocks))) == 3 and not list(tmp_path.glob("partial*"))


def test_the_same_report_gives_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        write(everything("a"), tmp_path / name / "report.md")
    for file in ("report.md", "report.html", "a.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes(), file


def test_values_beyond_fixed_limits_and_a_single_point_are_drawn():
    lines = Lines("t", [Line("a", [(1, 0.5)]), Line("b", [(1, 7.0), (2, 0.1)])], limits=(0, 1))
    (svg,) = draw(Picture("a.png", "t", [lines])).panels
    assert "step%201,0.500" in svg and "step%201,7.000" in svg and svg.count('class="curve') == 2


@given(st.integers(1, 5000))
def test_long_lines_keep_their_ends(count):
    points = [(n, float(n)) for n in range(count)]
    result = thinned(points)
    assert result[0] == points[0] and result[-1] == points[-1] and len(result) <= MOST + 1
