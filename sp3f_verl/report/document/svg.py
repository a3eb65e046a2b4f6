"""matplotlib's SVG made fit for the page: no styles, no metadata, ids and colours of the page, values to point at."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
ENLARGED = 1.12  # pixels of the page a point of the drawing: its 10 pt are 11 px, and three panels fit into a page
KEPT = {"svg", "g", "path", "defs", "use", "clipPath", "rect", "text", "tspan"}
# Colours that the page's style sheet has a light and a dark one for (plots.py draws with them).
CLASSES = {
    **{colour: f"c{n}" for n, colour in enumerate("#0072b2 #c24e00 #007f5c #a3478a #6b6b6b #8a6d00".split())},
    **{"#1b1f24": "ink", "#57606a": "soft", "#d0d7de": "line"},
}
PROPERTIES = {
    *("fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-dashoffset"),
    *("stroke-linecap", "stroke-linejoin", "opacity", "font-size", "font-weight", "text-anchor"),
}


@dataclass(frozen=True)
class Mark:
    """What an element of a plot shows. `values`: (x, y, texts beside the pointer) in the axes' units."""

    kind: str  # curve, values or whisker
    label: str
    values: Sequence[tuple[float, float, tuple[str, ...]]]


def for_page(
    svg: bytes, prefix: str, description: str, marks: dict[str, Mark], place: Callable[[float, float], tuple]
) -> str:
    """`place`: from the axes' units to the SVG's."""
    root = ElementTree.fromstring(svg)
    _prune(root)
    for element in root.iter():
        mark = marks.get(element.get("id", ""))
        if mark:
            target = element.find(f"{SVG}path") if mark.kind != "values" else element
            if target is not None:
                target.set("class", mark.kind)
                if mark.values:
                    target.set("data-label", mark.label)
                    target.set("data-points", " ".join(_point(place, *value) for value in mark.values))
    for element in root.iter():
        _plain(element, prefix)
    box = root.get("viewBox", "")
    width = f"{ENLARGED * float(box.split()[2]):.0f}"  # texts of all plots have one size, whatever a plot's width
    root.attrib = {"class": "plot", "width": width, "viewBox": box, "role": "img", "aria-label": description}
    return ElementTree.tostring(root, encoding="unicode")


def _point(place: Callable, x: float, y: float, texts: tuple[str, ...]) -> str:
    right, down = place(x, y)
    return ",".join([f"{right:.1f}", f"{down:.1f}", *(quote(text, safe="") for text in texts)])


def _prune(element: ElementTree.Element) -> None:
    for child in list(element):
        if not isinstance(child.tag, str) or child.tag.removeprefix(SVG) not in KEPT:
            element.remove(child)
        else:
            _prune(child)


def _plain(element: ElementTree.Element, prefix: str) -> None:
    """Styles as attributes and classes, ids with the prefix, names without their spaces."""
    element.tag = element.tag.removeprefix(SVG)
    element.tail = None
    if element.tag != "text":
        element.text = None
    classes = [element.attrib.pop("class")] if "class" in element.attrib else []
    for name, value in re.findall(r"([\w-]+):\s*([^;]+)", element.attrib.pop("style", "")):
        value = value.strip()
        if name in ("fill", "stroke") and value in CLASSES:
            classes.append(f"{name}-{CLASSES[value]}")
        elif name in PROPERTIES:
            element.set(name, value)
    if element.tag == "text" and not any(name.startswith("fill") for name in (*classes, *element.attrib)):
        classes.append("fill-ink")
    if classes:
        element.set("class", " ".join(classes))
    if (name := element.attrib.pop("id", None)) and element.tag in ("path", "clipPath"):
        element.set("id", prefix + name)
    if target := element.attrib.pop(XLINK, None):
        element.set("href", f"#{prefix}{target[1:]}")
    if clip := element.get("clip-path"):
        element.set("clip-path", clip.replace("url(#", f"url(#{prefix}"))
    if element.tag == "path":
        element.set("d", " ".join(re.sub(r"\d+\.\d+", lambda n: f"{float(n[0]):.2f}", element.get("d", "")).split()))
