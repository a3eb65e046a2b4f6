"""Self-play data in and out: the triplets of a run's iterations, and SPIN's, TRL's or SFT's rows as annotated data.

python -m data_prep.selfplay export --run RUN/selfplay --iteration 2 --layout spin --output data/spin
python -m data_prep.selfplay import --input train_prefs.parquet --output data/annotated
"""

import argparse
from collections import Counter
from pathlib import Path

import pyarrow as pa

from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.layouts import spin, trl
from sp3f_verl.data.layouts.form import answers_at, placed
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.preference_rows import Unusable, open_rows
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.schemas import TRIPLET
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


def imported(path: Path) -> tuple[list[dict], Counter[str]]:
    """Rows `id`, `prompt`, `real` and, where the file has them, `generated`, `proto`; and what was left out."""
    columns, _ = open_rows(path)
    if "real" in columns:
        names = {name: name for name in SIDES if name in columns}
    elif "chosen" in columns:
        names = {"real": "chosen"} | ({"generated": "rejected"} if "rejected" in columns else {})
    elif "messages" in columns:
        names = {"real": "messages"}
    else:
        raise BadInput(f"{path} has none of the columns 'real', 'chosen' and 'messages'; name the annotated side real.")
    usable, dropped, seen = [], Counter(), set()
    # a set's prompt beside `messages` is their first turn, as the trainer's reader has it
    kept = ("id", "status", "tools", *(() if "messages" in names.values() else ("prompt",)))
    for place, row in placed(path, {*kept, "prompt_id", *names.values()}):
        same = {name: row.get(name) for name in kept}
        same["id"] = row.get("prompt_id") if row.get("id") is None else row["id"]
        renamed = same | {new: row[old] for new, old in names.items()}
        try:
            answers, prompt = answers_at(place, renamed, tuple(names))
        except Unusable as reason:
            dropped[str(reason)] += 1
            continue
        ident = answers.id or row_id("selfplay", [list(answers.prompt), *answers.responses])
        if not answers.id and ident in seen:
            dropped["same_row_twice"] += 1
            continue
        seen.add(ident)
        usable.append({"id": ident, "prompt": prompt} | dict(zip(names, answers.responses, strict=True)))
    if not usable:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "no rows"
        raise BadInput(f"{path} has no usable row ({reasons}); give rows with a prompt and an annotated answer.")
    return usable, dropped


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
    sides = {frozenset(row) for rows, _ in files.values() for row in rows}
    if len(sides) > 1:
        raise BadInput("the files have different sides (generated, proto); import them one by one.")
    every = [row for rows, _ in files.values() for row in rows]
    schema = pa.schema([field for field in TRIPLET if field.name in every[0]], metadata=TRIPLET.metadata)
    counts = {path: (len(rows), dropped) for path, (rows, dropped) in files.items()}
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
        print(f"{source}: " + ", ".join(f"{n} {reason}" for reason, n in {"ok": count, **left}.items()))
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
