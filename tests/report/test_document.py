"""A report's model: the same blocks as Markdown and as HTML, whatever stands in them."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.report_folders import HOSTILE
from sp3f_verl.report.document.inline import code, parse, plain, without_markup
from sp3f_verl.report.document.model import (
    Document,
    Items,
    Line,
    Lines,
    Picture,
    Rows,
    Section,
    Table,
    Text,
    Values,
    paragraphs,
)
from sp3f_verl.report.document.scale import label, limits_of, ticks
from sp3f_verl.report.document.svg import MOST, thinned
from sp3f_verl.report.document.to_html import html
from sp3f_verl.report.document.to_markdown import markdown
from sp3f_verl.report.document.write import pictures, write

OWN = {
    "html",
    "head",
    "meta",
    "title",
    "link",
    "style",
    "body",
    "header",
    "h1",
    "h2",
    "h3",
    "button",
    "nav",
    "ul",
    "li",
}
OWN |= {"a", "main", "section", "p", "code", "strong", "em", "figure", "div", "svg", "path", "text", "g", "table"}
OWN |= {"thead", "tbody", "tr", "th", "td", "footer", "script"}


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
    table = Table([plain(text), code(text)], [[plain(text), code(text)], ["–", "1.5"]], plain(text), code(text))
    blocks = [
        Text(plain(text)),
        Items([plain(text), f"**{plain(text)}**"]),
        table,
        Picture("a.png", plain(text), [lines, rows]),
    ]
    return Document(plain(text), [*blocks, *(Section(f"{n} {plain(text)}", [Text(code(text))]) for n in range(3))])


@given(
    st.one_of(st.just(HOSTILE), st.text(max_size=60), st.text(st.sampled_from("<>&\"'`*\\|[]()_~!\n$#-"), max_size=40))
)
def test_no_text_becomes_a_tag_an_attribute_a_link_or_a_cell(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    page = Parsed(html(everything(text), folder))
    assert {tag for tag, _ in page.tags} <= OWN
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all(re.fullmatch(r"#s\d+", link) for link in page.links)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    table = [line for line in markdown(everything(text), folder).splitlines() if line.startswith("| ")]
    assert len(table) == 4, "no other line begins a table"
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in table)
    told = " ".join("".join(each for each in text if each.isprintable() or each.isspace()).split())
    if told == text:
        assert text in page.text, "it is shown as it was"


def test_markup_of_another_hand_is_shown_and_not_obeyed(tmp_path):
    text = markdown(everything(HOSTILE), tmp_path)
    assert "\\<script>" in text and "[a\\](javascript" in text and "\\*\\*b\\*\\*" in text and "\\&lt;" in text
    cell = next(line for line in text.splitlines() if line.startswith("| ")).split(" | ")[0]
    assert "\\| '\\`\\*" in cell


@pytest.mark.parametrize("text", ["# a", "> a", "| a", "- a", "+ a", "1. a", "2) a", "---", "==="])
def test_a_text_at_the_beginning_of_a_line_begins_nothing(text):
    line = markdown(Document("x", [Text(plain(text))])).splitlines()[2]
    assert re.fullmatch(r"\d*\\\S.*", line) and line.replace("\\", "") == text


@given(st.text(max_size=40))
def test_plain_text_has_no_markup(text):
    kinds = {kind for kind, _ in parse(plain(text))}
    assert kinds <= {"text"} and "\n" not in plain(text)
    assert without_markup(plain(text)) == " ".join(without_markup(plain(text)).split())


def test_what_turns_text_around_or_cannot_be_written_is_taken_out():
    assert plain("a\u202eb\x00c\ud800d\r\ne") == "ab c\ufffdd e"
    assert len(plain("x" * 1000)) == 300 and plain("x" * 1000).endswith("…")


def test_only_files_inside_the_run_are_linked(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("run/a b.json", "secret.json"):
        (tmp_path / name).write_text("{}")
    names = ("a b.json", "../secret.json", str(tmp_path / "secret.json"), "missing.json", "a.b\0c")
    document = Document("x", [Text(" ".join(f"`{name}`" for name in names))], tmp_path / "run")
    assert Parsed(html(document, tmp_path / "out")).links == ["../run/a%20b.json"]
    assert re.findall(r"\]\(([^)]*)\)", markdown(document, tmp_path / "run")) == ["a%20b.json"]
    assert "](" not in markdown(document), "a text on the screen has no place that links could be relative to"


def test_the_page_lets_run_its_own_script_only(tmp_path):
    page = html(everything(HOSTILE), tmp_path)
    policy = next(each["content"] for tag, each in Parsed(page).tags if "http-equiv" in each)
    assert "default-src 'none'" in policy and "unsafe" not in policy and policy.count("sha256-") == 2
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page), "nothing from a network"


def test_the_page_can_be_read_without_seeing_it(tmp_path):
    """One h1, no level left out, tables with heads that say what they are heads of, plots told in words."""
    page = Parsed(html(everything("text"), tmp_path))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    assert {each.get("scope") for tag, each in page.tags if tag == "th"} == {"col", "row"}
    plots = [each for tag, each in page.tags if tag == "svg" and each.get("class") == "plot"]
    assert [each["role"] for each in plots] == ["img", "img"]
    assert "0.500 at 1 to 0.700 at 2" in plots[0]["aria-label"] and "es –" in plots[1]["aria-label"]
    assert next(each for tag, each in page.tags if tag == "html")["lang"] == "en"


def test_markdown_and_page_say_the_same(tmp_path):
    document = everything("same")
    page = Parsed(html(document, tmp_path)).text
    for line in markdown(document, tmp_path).splitlines():
        told = without_markup(re.sub(r"^(?:#+|-|!\[.*|\|(?: ---.*)?) ?", "", line)).replace("|", " ")
        for word in told.split():
            assert word in page


def test_paragraphs_and_lists():
    assert paragraphs("one\ntwo\n\n- a\n  b\n- c\n\nlast") == [Text("one\ntwo"), Items(("a\n  b", "c")), Text("last")]


def test_pictures_of_several_reports_do_not_overwrite_each_other(tmp_path):
    picture = Picture("a.png", "a", [Lines("t", [Line("", [(1, 1.0)])])])
    document = Document("x", [picture, Section("s", [picture]), picture])
    text = write(document, tmp_path / "report.md").read_text()
    assert re.findall(r"\]\((\S+\.png)\)", text) == ["a.png", "a_2.png", "a_3.png"]
    write(document, tmp_path / "other.md")
    assert sorted(each.name for each in tmp_path.glob("*.png"))[3:] == ["other_a.png", "other_a_2.png", "other_a_3.png"]
    assert len(list(pictures(document.blocks))) == 3 and not list(tmp_path.glob("partial*"))


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_some_and_inside(low, width):
    found, room = ticks(low, low + width), 1e-6 * width + 1e-9 * abs(low)
    assert 1 <= len(found) <= 12 and all(low - room <= each <= low + width + room for each in found)


def test_ticks_are_round():
    assert ticks(0.13, 0.92) == [0.2, 0.4, 0.6, 0.8] and ticks(-3, 101) == [0, 50, 100]


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [-1.0, 1.0], [1e-9, 2e-9]])
def test_an_axis_has_room_for_all_its_values(values):
    low, high = limits_of(values)
    assert low < high and all(low < value < high for value in values)


def test_labels_of_ticks():
    told = {0: "0", 0.5: "0.5", 12000: "12000", 1234.56: "1235", 12345.6: "1.23e4", 2e6: "2e6", -2e-5: "-2e-5"}
    assert {value: label(value) for value in told} == told


@given(st.integers(1, 5000))
def test_long_lines_keep_their_ends(count):
    points = [(n, float(n)) for n in range(count)]
    found = thinned(points)
    assert found[0] == points[0] and found[-1] == points[-1] and len(found) <= MOST + 1
