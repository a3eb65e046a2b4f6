"""Self-play data in and out: the triplets of a run's iterations, and SPIN's, TRL's or SFT's rows as annotated data.

python -m data_prep.selfplay export --run RUN/selfplay --iteration 2 --layout spin --output data/spin
python -m data_prep.selfplay import --input train_prefs.parquet --output data/annotated
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.layouts import spin, trl
from sp3f_verl.data.layouts.form import answers_at, placed
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.preference_rows import Unusable, open_rows
from sp3f_verl.data.rows import id_of, row_id
from sp3f_verl.data.schemas import TRIPLET
from sp3f_verl.data.tables import open_file
from sp3f_verl.errors import BadInput

SIDES = ("real", "generated", "proto")
LAYOUTS = {"triplets": TRIPLET, "trl": trl.SCHEMA, "spin": spin.SCHEMA}


def exported(row: dict, layout: str) -> dict:
    """One triplet of a run (docs/selfplay.md) in another layout; texts as they were annotated and generated."""
    if layout == "spin":
        return spin.row(row)
    if layout == "trl":
        return trl.row({"chosen": row["real"], "rejected": row["generated"], **row})
    return {name: row[name] for name in TRIPLET.names}


class Imported(NamedTuple):
    """A row of a file: its own id, or its prompt's, which several rows may have; both where it has them."""

    own: str
    of_prompt: str | None
    row: dict  # prompt, real and, where the file has them, generated, proto

    @property
    def hash(self) -> str:
        return row_id("selfplay", [self.row["prompt"], *(self.row[name] for name in SIDES if name in self.row)])


def imported(path: Path) -> tuple[list[Imported], Counter[str]]:
    """The rows of a file, and what was left out."""
    columns, _ = open_rows(path)
    if "real" in columns:
        names = {name: name for name in SIDES if name in columns}
    elif "chosen" in columns:
        names = {"real": "chosen"} | ({"generated": "rejected"} if "rejected" in columns else {})
    elif "messages" in columns:
        names = {"real": "messages"}
    else:
        near = open_file(path).near("real", "chosen", "messages")
        raise BadInput(
            f"{path} has none of the columns 'real', 'chosen' and 'messages'{near}; name the annotated side real."
        )
    usable, dropped = [], Counter()
    # a set's prompt beside `messages` is their first turn, as the trainer's reader has it
    kept = ("id", "status", "tools", *(() if "messages" in names.values() else ("prompt",)))
    for place, row in placed(path, {*kept, "prompt_id", *names.values()}):
        renamed = {name: row.get(name) for name in kept} | {new: row[old] for new, old in names.items()}
        try:
            answers, prompt = answers_at(place, renamed, tuple(names))
        except Unusable as reason:
            dropped[str(reason)] += 1
            continue
        sides = dict(zip(names, answers.responses, strict=True))
        usable.append(Imported(answers.id, id_of(row.get("prompt_id"), place), {"prompt": prompt} | sides))
    if not usable:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "no rows"
        raise BadInput(f"{path} has no usable row ({reasons}); give rows with a prompt and an annotated answer.")
    return usable, dropped


def named(files: dict[Path, tuple[list[Imported], Counter[str]]]) -> dict[Path, list[dict]]:
    """The rows with their ids: their own, or their prompt's where no other row has it, or a hash of their texts, so
    that the order plays no part. One that comes twice is taken once, and counted."""
    hashes, seen = defaultdict(set), set()
    for rows, _ in files.values():
        for entry in rows:
            hashes[entry.of_prompt].add(entry.hash)
    rows_of: dict[Path, list[dict]] = {path: [] for path in files}
    for path, (rows, dropped) in files.items():
        for entry in rows:
            of_prompt = entry.of_prompt if len(hashes[entry.of_prompt]) == 1 else None
            ident = entry.own or of_prompt or entry.hash
            if (ident, entry.hash) in seen:
                dropped["same_row_twice"] += 1
            else:
                seen.add((ident, entry.hash))
                rows_of[path].append({"id": ident} | entry.row)
    return rows_of


def _export(options: argparse.Namespace) -> None:
    place = options.run / f"iteration_{options.iteration}"
    if not (place / "manifest.json").is_file():
        numbers = (path.name.removeprefix("iteration_") for path in options.run.glob("iteration_*"))
        kept = sorted(int(number) for number in numbers if number.isdigit())
        raise BadInput(f"{options.run} has no iteration {options.iteration}; it has {kept or 'none'}.")
    splits = {}
    for split in ("train", "validation"):
        source = place / f"{split}.parquet"
        if source.is_file():
            every = list(open_rows(source)[1]({*TRIPLET.names, "iteration", "status"}))
            kept = [exported(row, options.layout) for row in every if row["status"] == "ok"]
            splits[source] = (kept, Counter(row["status"] for row in every if row["status"] != "ok"))
    settings = {"layout": options.layout, "iteration": options.iteration}
    names = spin.FILES if options.layout == "spin" else {}
    files = {names.get(source.stem, source.stem): kept for source, (kept, _) in splits.items() if kept}
    _write(options, settings, {source: (len(kept), left) for source, (kept, left) in splits.items()}, files)


def _import(options: argparse.Namespace) -> None:
    files = {path: imported(path) for path in options.input}
    rows_of = named(files)
    every = [row for rows in rows_of.values() for row in rows]
    sides = {frozenset(row) for row in every}
    if len(sides) > 1:
        raise BadInput("the files have different sides (generated, proto); import them one by one.")
    schema = pa.schema([field for field in TRIPLET if field.name in every[0]], metadata=TRIPLET.metadata)
    counts = {path: (len(rows_of[path]), dropped) for path, (_, dropped) in files.items()}
    _write(options, {}, counts, {"train": every}, schema)


def _write(
    options: argparse.Namespace,
    settings: dict,
    counts: dict[Path, tuple[int, Counter[str]]],
    files: dict[str, list[dict]],
    schema: pa.Schema | None = None,
) -> None:
    with Output(options.output, f"selfplay {options.command}", settings, counts) as out:
        for name, rows in files.items():
            out.write(name, rows, schema or LAYOUTS[options.layout])
        for _, left in counts.values():
            for reason, count in left.items():
                out.drop(reason, count)
        if not files:
            out.refuse("not one row is left")
    for source, (count, left) in counts.items():
        reasons = {"ok": count} | dict(sorted(left.items()))
        print(f"{source}: " + ", ".join(f"{n} {reason}" for reason, n in reasons.items()))
    print(f"{', '.join(out.files)} in {options.output}")


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("export", help="an iteration's triplets in another layout")
    command.add_argument("--run", type=Path, required=True, help="the run's selfplay folder (sp3f.selfplay.folder)")
    command.add_argument("--iteration", type=int, required=True)
    command.add_argument("--layout", choices=list(LAYOUTS), default="triplets", help="default: triplets")
    command.add_argument("--output", type=Path, required=True, help="folder for parquet files and manifest.json")
    command.set_defaults(do=_export)
    command = commands.add_parser("import", help="annotated data, or stored pairs and triplets, from other layouts")
    command.add_argument("--input", type=Path, nargs="+", required=True, help="parquet or JSON lines")
    command.add_argument("--output", type=Path, required=True, help="folder for train.parquet and manifest.json")
    command.set_defaults(do=_import)
    options = parse(parser, arguments)
    return run_step("selfplay", options.do, options)


if __name__ == "__main__":
    raise SystemExit(main())
