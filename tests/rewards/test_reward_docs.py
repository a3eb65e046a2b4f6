"""The generated tables of the documentation are those that the code makes now."""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def table_in(document: str, name: str) -> str:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    match = re.search(
        f"<!-- begin: benchmarks/tables.py {name} -->(.*)<!-- end: benchmarks/tables.py {name} -->", text, re.S
    )
    return match[1].strip()


def test_the_language_table(monkeypatch):
    monkeypatch.delenv("SP3F_LANGUAGES", raising=False)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import tables

    assert table_in("languages.md", "languages") == tables.language_table()
    assert all(line.endswith("| yes |") for line in tables.language_table().splitlines()[2:])
    sys.modules.pop("tables")


def test_the_checker_table_counts_every_case_and_no_mistake_of_ours():
    cases = yaml.safe_load((ROOT / "tests" / "rewards" / "checker_cases.yaml").read_text(encoding="utf-8"))
    rows = [
        line.strip("| ").replace("*", "").split(" | ") for line in table_in("rewards.md", "checker").splitlines()[2:]
    ]
    found = {
        kind: (int(equal), int(unequal), int(missed), int(false)) for kind, equal, unequal, missed, false, *_ in rows
    }
    total = found.pop("all")
    assert found == {
        kind: (sum(case[2] for case in each), sum(not case[2] for case in each), 0, 0) for kind, each in cases.items()
    }
    assert total == tuple(map(sum, zip(*found.values(), strict=True)))


def test_the_confusion_table_holds_the_bounds():
    *_, total = table_in("languages.md", "confusion").splitlines()
    own, other = re.findall(r"([\d.]+) %", total)
    assert float(own) >= 98 and float(other) <= 1
