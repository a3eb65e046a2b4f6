"""docs/architecture.md's table of rooms is what the package imports: arrows point up in it, and there is no circle."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sp3f_verl"
CODE = re.compile(r"`([\w.]+?)(?:\.py|/)?`")


def table() -> list[tuple[list[str], str]]:
    """(rooms of a row, what it says that they import), from the top; a floor's title is a row without rooms."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = text.partition("\n## Rooms\n")[2].partition("\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("| ")][1:]
    return [(CODE.findall(cells[0]), cells[-1]) for cells in cells]


def room_of(module: str) -> str | None:
    package, _, rest = module.partition(".")
    if package in ("data_prep", "hydra_plugins"):
        return package
    return rest.partition(".")[0] if package == "sp3f_verl" and rest else None


def imports(file: Path) -> set[str]:
    """The rooms that a file imports, inside functions too."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "sp3f_verl":
            modules |= {f"sp3f_verl.{alias.name}" for alias in node.names if alias.name.islower()}  # RECIPES is a path
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    rooms = set(map(room_of, modules))
    return rooms - {None, "__version__"}


def imported() -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = {}
    for folder in (PACKAGE, ROOT / "data_prep", ROOT / "hydra_plugins"):
        for file in folder.rglob("*.py"):
            if room := room_of(".".join(file.relative_to(ROOT).with_suffix("").parts)):
                rooms.setdefault(room, set()).update(imports(file) - {room})
    return rooms


def test_a_room_imports_what_the_table_says_and_only_rooms_above_it():
    actual, rows = imported(), table()
    names = [name for rooms, _ in rows for name in rooms]
    assert {name for name in actual if name != "__init__"} <= set(names), "every room has a row"
    first = next(place for place, (rooms, _) in enumerate(rows) if not rooms)  # the title of the lowest floor
    free = {name for rooms, said in rows[:first] if said == "each other" for name in rooms}
    for name in free:
        assert actual.get(name, set()) <= free, name
    above = set(free)
    for rooms, said in rows[first:]:
        for name in rooms:
            assert actual.get(name, set()) - free == set(CODE.findall(said)), name
            assert actual.get(name, set()) <= above, f"{name} imports a room below it"
        above.update(rooms)
    for rooms, said in rows[:first]:
        for name in rooms:
            assert said in ("all below", "each other") or actual[name] - free == set(CODE.findall(said)), name
