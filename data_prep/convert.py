r"""Rows of other projects' layouts as ours, and ours as theirs.

  python -m data_prep.convert --from spin --language de --input train_prefs.parquet --output data/pairs
  python -m data_prep.convert --to trl --input data/croco/train.parquet --output data/trl

Each input becomes a file of the same name. Pairs, conversations and problems are known by their columns.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl import languages
from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.layouts import LAYOUTS, Form
from sp3f_verl.data.layouts.form import Drop, Row
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.preference_rows import Unusable, open_rows
from sp3f_verl.data.schemas import key
from sp3f_verl.data.tables import open_file, read_rows
from sp3f_verl.data.turns import check_turns
from sp3f_verl.errors import BadInput


def form_read(layout: str, path: Path) -> Form:
    """The form that a file of theirs has, by its columns. BadInput where it has none of the layout's."""
    forms = [form for form in LAYOUTS[layout] if form.read]
    for form in forms:
        if not form.columns or {*form.columns} <= {*open_rows(path)[0]}:
            return form
    columns = " or ".join(" and ".join(map(repr, form.columns)) for form in forms)
    near = open_file(path).near(*(name for form in forms for name in form.columns))
    raise BadInput(f"{path} is not of --from={layout}: it has no columns {columns}{near}; name them so.")


def form_written(layout: str, path: Path) -> Form:
    """The form that a file of ours becomes. BadInput where the layout has none for it."""
    columns = {*open_rows(path)[0]}
    forms = [form for form in LAYOUTS[layout] if form.row]
    for form in forms:
        if {field.name for field in form.ours if not field.nullable} <= columns:
            return form
    needed = " or ".join(", ".join(repr(field.name) for field in form.ours if not field.nullable) for form in forms)
    raise BadInput(f"{path} cannot become --to={layout}, which needs the columns {needed}; add them.")


def without_doubles(rows: Iterator[Row], schema: pa.Schema, drop: Drop) -> Iterator[Row]:
    """Rows that stand there a second time are left out; other rows of the same id are refused by the writer."""
    seen: dict[tuple[Any, ...], bytes] = {}
    for row in rows:
        name = tuple(row[column] for column in key(schema))
        content = hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).digest()
        if seen.get(name) == content:
            drop("same_row_twice")
        else:
            seen[name] = content
            yield row


def _read(path: Path, form: Form, language: str | None, out: Output) -> None:
    rows = without_doubles(form.read(path, language, out.drop), form.ours, out.drop)
    if not out.write(path.stem, rows, form.ours):
        dropped = ", ".join(f"{count} {reason}" for reason, count in out.drops.items()) or "no rows"
        raise BadInput(f"{path} has no usable row ({dropped}); give rows of the layout.")


def _write(path: Path, form: Form, out: Output) -> None:
    rows = _written(path, form, out)
    if isinstance(form.theirs, pa.Schema):
        out.write(path.stem, rows, form.theirs)
    elif form.theirs == "jsonl":
        out.write_text(f"{path.stem}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    else:
        out.write_text(f"{path.stem}.json", json.dumps(list(rows), ensure_ascii=False, indent=1) + "\n")


def _written(path: Path, form: Form, out: Output) -> Iterator[Row]:
    count, rows = 0, read_rows(path, form.ours)
    check_turns(path, form.ours)
    for row in rows:
        try:
            yield form.row(row)
            count += 1
        except Unusable as reason:
            out.drop(str(reason))
    if not count:
        out.refuse(f"{path} has not one row that can be written")


def _run(options: argparse.Namespace) -> None:
    if len({path.stem for path in options.input}) < len(options.input):
        raise BadInput("--input names two files that would get the same name; convert them one by one.")
    settings = {"from": options.read, "to": options.write, "language": options.language}
    find = form_read if options.read else form_written
    forms = {path: find(options.read or options.write, path) for path in options.input}
    if options.language is not None:
        languages.get(options.language, "--language")
    elif options.read and any(form.needs_language for form in forms.values()):
        raise BadInput(f"--from={options.read} needs --language: its files do not tell it; give a code such as de.")
    with Output(options.output, "convert", settings, options.input) as out:
        for path, form in forms.items():
            if options.read:
                _read(path, form, options.language, out)
            else:
                _write(path, form, out)
    print(f"{', '.join(out.files)} in {options.output}")


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--from", dest="read", choices=list(LAYOUTS), help="the layout of --input, which becomes ours")
    given.add_argument("--to", dest="write", choices=list(LAYOUTS), help="the layout that --input of ours becomes")
    parser.add_argument("--input", type=Path, nargs="+", required=True, metavar="FILE", help="parquet or JSON lines")
    parser.add_argument("--language", metavar="CODE", help="of all rows, where a layout does not tell it")
    parser.add_argument("--output", type=Path, required=True, help="folder for the files and manifest.json")
    options = parse(parser, arguments)
    return run_step("convert", _run, options)


if __name__ == "__main__":
    raise SystemExit(main())
