"""report.html in a real browser, from a file: nothing to complain about, every plot drawn, tables sort, dark, phone."""

import random

import pytest

from helpers.browser import browser, chromium
from helpers.report_folders import HOSTILE, arena, evaluation, quickstart
from helpers.report_runs import selfplay, write
from sp3f_verl.data.files import write_text
from sp3f_verl.report.command import document_of, report, side_by_side
from sp3f_verl.report.document.blocks import Picture, every
from sp3f_verl.report.document.page import html
from sp3f_verl.report.folders import look

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason="no Chromium: install one, or name it in SP3F_CHROMIUM"),
    pytest.mark.timeout(300),
]
PHONE = {"width": 390, "height": 844}
# of each plot: its box, and the paths and texts in it that have a length and a place
PLOTS = """[...document.querySelectorAll("svg.plot")].map(plot => {
  const box = plot.getBoundingClientRect(), lines = [...plot.querySelectorAll("path")];
  const colours = [...plot.querySelectorAll(".curve, [data-points] path")].map(line => {
    const style = getComputedStyle(line);
    return line.classList.contains("curve") || line.classList.contains("whisker") ? style.stroke : style.fill; });
  const drawn = lines.filter(line => line.getTotalLength() > 0).length, texts = plot.querySelectorAll("text").length;
  return { width: box.width, height: box.height, texts, drawn, colours: [...new Set(colours)] };
})"""
COLUMN = """(table, column) => [...document.querySelectorAll("table")[table].tBodies[0].rows]
  .map(row => row.cells[column].textContent)"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Of 30 steps, numbers drawn with a seed."""
    folder, draw = quickstart(tmp_path_factory.mktemp("quickstart")), random.Random(1)
    names = ["critic/score/mean", "actor/entropy", "actor/grad_norm", "response_length/mean", "judge/slot_a_rate"]
    names += [f"reward/{term}/{of}" for term in ("accuracy", "language") for of in ("mean", "es", "sw", "zh")]
    metrics = {"sp3f": [*names, "judge/chars_preferred", "timing_s/step"], "sft": ["train/loss", "train/grad_norm"]}
    for stage, logged in metrics.items():
        write(folder / stage, [(step, {name: draw.random() for name in logged}) for step in range(1, 31)])
    report([folder])
    return folder / "report.html"


def is_sound(tab) -> None:
    assert tab.problems == []
    assert all(url.startswith(("file:", "data:")) for url in tab.requests), tab.requests
    plots = tab.run(PLOTS)
    assert plots
    for plot in plots:
        assert plot["width"] > 200 and plot["height"] > 40 and plot["texts"] > 2, plot
        assert plot["drawn"] > 3 and all(colour.startswith("rgb") for colour in plot["colours"]), plot


def test_every_plot_is_drawn_and_nothing_is_complained_about(tab, page):
    tab.open(page)
    is_sound(tab)
    panels = [panel for one in every(Picture, document_of(look(page.parent)).blocks) for panel in one.panels]
    assert len(tab.run(PLOTS)) == len(panels) > 10
    assert tab.run("document.title") == "SP3F quickstart"


def test_tables_sort_by_a_click_and_by_the_keyboard(tab, page):
    tab.open(page)
    heads = tab.run("[...document.querySelectorAll('table')].map(each => each.rows[0].cells[0].textContent)")
    table = heads.index("term")
    before = tab.run(f"({COLUMN})({table}, 2)")
    press = f"document.querySelectorAll('table')[{table}].rows[0].cells[2].querySelector('button')"
    tab.run(f"{press}.click()")
    assert tab.run(f"({COLUMN})({table}, 2)") == sorted(before, key=float) != before
    assert tab.run(f"{press}.closest('th').getAttribute('aria-sort')") == "ascending"
    tab.run(f"{press}.focus()")
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    assert tab.run(f"({COLUMN})({table}, 2)") == sorted(before, key=float, reverse=True)
    assert tab.run(f"{press}.closest('th').getAttribute('aria-sort')") == "descending"
    tab.run(f"document.querySelectorAll('table')[{table}].rows[0].cells[0].querySelector('button').click()")
    names = tab.run(f"({COLUMN})({table}, 0)")
    assert names == sorted(names, key=str.lower) and tab.problems == []


CONTRAST = """(() => {
  const part = each => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4;
  const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(each => part(each / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05); };
  const ground = getComputedStyle(document.body).backgroundColor;
  const of = (query, what) => [...document.querySelectorAll(query)]
    .map(each => ratio(getComputedStyle(each)[what], ground));
  return { ground, texts: Math.min(...of("p, td, th, a, li, h2", "color"), ...of("svg text", "fill")),
    lines: Math.min(...of("svg .curve", "stroke")) };
})()"""


def test_dark_is_what_the_system_says_until_the_button_is_pressed_and_both_can_be_read(tab, page):
    """WCAG: 4.5 for texts, 3 for what has to be told apart in a plot."""
    grounds = []
    for dark in (False, True):
        tab.open(page, dark=dark)
        result = tab.run(CONTRAST)
        assert result["texts"] >= 4.5 and result["lines"] >= 3, result
        grounds.append(result["ground"])
    assert grounds[0] == "rgb(255, 255, 255)" != grounds[1]
    assert tab.run("document.getElementById('theme').textContent") == "Light mode"
    tab.run("document.getElementById('theme').click()")
    assert tab.run(CONTRAST)["ground"] == grounds[0]
    tab.open(page, dark=True)
    assert tab.run(CONTRAST)["ground"] == grounds[0], "the choice is kept"
    tab.run("localStorage.clear()")
    assert tab.problems == []


def test_a_phone_scrolls_tables_and_not_the_page(tab, page):
    tab.open(page, **PHONE)
    assert tab.run("document.documentElement.scrollWidth") <= PHONE["width"]
    assert tab.run("[...document.querySelectorAll('.scroll')].some(each => each.scrollWidth > each.clientWidth)")
    sizes = tab.run("[...document.querySelectorAll('svg.plot')].map(each => each.getBoundingClientRect().width)")
    assert all(300 < size <= 390 for size in sizes)
    is_sound(tab)


def test_the_pointer_on_a_plot_tells_the_value_there(tab, page):
    tab.open(page)
    place = """(() => { const plot = document.querySelector('svg.plot:has(.curve)');
      plot.scrollIntoView({block: 'center'}); const box = plot.getBoundingClientRect();
      const [x, y, step, value] = plot.querySelector('.curve').dataset.points.split(' ')[4].split(',');
      const scale = box.width / plot.viewBox.baseVal.width;
      return { x: box.left + x * scale, y: box.top + y * scale, step: decodeURIComponent(step), value,
        label: plot.querySelector('.curve').dataset.label }; })()"""
    result = tab.run(place)
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=result["x"], y=result["y"])
    assert tab.run("document.getElementById('tip').hidden") is False
    shown = tab.run("document.getElementById('tip').textContent")
    assert shown == f"{result['label']} · {result['step']} · {result['value']}"
    assert result["step"] == "step 5"
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert tab.run("document.getElementById('tip').hidden") is True


def test_links_lead_to_files_that_are_there(tab, page):
    tab.open(page)
    links = tab.run("[...new Set([...document.links].map(each => each.href))].filter(each => !each.includes('#'))")
    assert page.parent.joinpath("evaluation", "sft_test.json").as_uri() in links and len(links) >= 10
    missing = [link for link in links if not (page.parent / link.removeprefix(page.parent.as_uri() + "/")).is_file()]
    assert missing == []


def test_hostile_texts_and_other_kinds_of_runs_are_as_sound(tab, tmp_path):
    folders = [evaluation(tmp_path / "evaluation", {"es": 0.5, "sw": 0.4}, HOSTILE)]
    folders += [arena(tmp_path / "arena", {HOSTILE: 55.0}), write(tmp_path / "selfplay", selfplay(3))]
    result = [look(folder) for folder in folders]
    for document in (*map(document_of, result), side_by_side(result)):
        write_text(html(document, tmp_path), tmp_path / "page.html")
        tab.open(tmp_path / "page.html")
        is_sound(tab)
        assert tab.run("document.querySelectorAll('script').length") == 1
    assert HOSTILE[:20] in tab.run("document.body.textContent"), "as a text"
