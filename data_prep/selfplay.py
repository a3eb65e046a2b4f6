"""Self-play data in and out: the triplets of a run's iterations, and SPIN's, TRL's or SFT's rows as annotated data.

python -m data_prep.selfplay export --run RUN/selfplay --iteration 2 --layout spin --output data/spin
python -m data_prep.selfplay import --input train_prefs.parquet --output data/annotated
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from sp3f_verl.data.answers import Unusable, answers_of, open_rows
from sp3f_verl.data.files import digest, write_json, write_parquet
from sp3f_verl.errors import BadInput

# layout -> the name of a split's file
FILES = {
    "triplets": "{}.parquet",
    "trl": "{}.parquet",
    "spin": "{}_prefs-00000-of-00001.parquet",  # SPIN's own names; its validation split is called test
}
SIDES = ("real", "generated", "proto")


def exported(row: dict, layout: str) -> dict:
    """One triplet of a run (docs/selfplay.md) in another layout; texts as they were annotated and generated."""
    prompt, sides = row["prompt"], {name: row[name] for name in SIDES}
    if layout == "spin":
        return {name: [*prompt, {"role": "assistant", "content": sides[name]}] for name in SIDES[:2]}
    if layout == "trl":
        turns = {name: [{"role": "assistant", "content": text}] for name, text in sides.items()}
        return {"id": row["id"], "prompt": prompt, "chosen": turns["real"], "rejected": turns["generated"]}
    return {"id": row["id"], "prompt": prompt, **sides}


def imported(path: Path) -> tuple[list[dict], Counter[str]]:
    """Rows `id`, `prompt`, `real` and, where the file has them, `generated`, `proto`; and what was left out."""
    columns, rows = open_rows(path)
    if "real" in columns:
        names = {name: name for name in SIDES if name in columns}
    elif "chosen" in columns:
        names = {"real": "chosen"} | ({"generated": "rejected"} if "rejected" in columns else {})
    elif "messages" in columns:
        names = {"real": "messages"}
    else:
        raise BadInput(f"{path} has none of the columns 'real', 'chosen' and 'messages'; name the annotated side real.")
    found, dropped = [], Counter()
    for number, row in enumerate(rows({"id", "prompt", "status", *names.values()})):
        same = {name: row.get(name) for name in ("id", "prompt", "status")}
        renamed = same | {new: row[old] for new, old in names.items()}
        try:
            answers = answers_of(renamed, tuple(names))
        except Unusable as reason:
            dropped[str(reason)] += 1
            continue
        own = {"id": answers.id or f"{path.stem}-{number}", "prompt": list(answers.prompt)}
        found.append(own | dict(zip(names, answers.responses, strict=True)))
    if not found:
        told = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "no rows"
        raise BadInput(f"{path} has no usable row ({told}); give rows with a prompt and an annotated answer.")
    return found, dropped


def _export(options: argparse.Namespace) -> dict:
    place = options.run / f"iteration_{options.iteration}"
    if not (place / "manifest.json").is_file():
        numbers = (each.name.removeprefix("iteration_") for each in options.run.glob("iteration_*"))
        kept = sorted(int(number) for number in numbers if number.isdigit())
        raise BadInput(f"{options.run} has no iteration {options.iteration}; it has {kept or 'none'}.")
    rows, outputs, inputs = {}, {}, {}
    for split in ("train", "validation"):
        source = place / f"{split}.parquet"
        if source.is_file():
            every = list(open_rows(source)[1]({"id", "iteration", "prompt", "real", "generated", "proto", "status"}))
            kept = [exported(row, options.layout) for row in every if row["status"] == "ok"]
            rows[split] = {"ok": len(kept), **Counter(row["status"] for row in every if row["status"] != "ok")}
            if kept:
                name = "test" if options.layout == "spin" and split == "validation" else split
                outputs[FILES[options.layout].format(name)] = kept
            inputs[str(source)] = digest(source)
    return _write(options, inputs, outputs, {"layout": options.layout, "iteration": options.iteration}, rows)


def _import(options: argparse.Namespace) -> dict:
    every, rows = [], {}
    for path in options.input:
        found, dropped = imported(path)
        every += found
        rows[str(path)] = {"ok": len(found), **dropped}
    same = [row_id for row_id, count in Counter(row["id"] for row in every).items() if count > 1]
    if same:
        raise BadInput(
            f"{len(same)} ids stand in several rows, {same[0]!r} among them; give every row an id of its own."
        )
    sides = {frozenset(row) for row in every}
    if len(sides) > 1:
        raise BadInput("the files have different sides (generated, proto); import them one by one.")
    inputs = {str(path): digest(path) for path in options.input}
    return _write(options, inputs, {"train.parquet": every}, {}, rows)


def _write(options, inputs: dict, outputs: dict[str, list[dict]], settings: dict, rows: dict) -> dict:
    manifest = {"step": f"selfplay {options.command}", "inputs": inputs, "settings": settings, "rows": rows}
    file = options.output / "manifest.json"
    if file.exists():
        raise BadInput(f"{options.output} already has a manifest.json; name another --output.")
    for name, kept in outputs.items():
        write_parquet(kept, options.output / name)
    manifest["outputs"] = {name: digest(options.output / name) for name in outputs}
    write_json(manifest, file)
    return manifest


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("export", help="an iteration's triplets in another layout")
    command.add_argument("--run", type=Path, required=True, help="the run's selfplay folder (sp3f.selfplay.folder)")
    command.add_argument("--iteration", type=int, required=True)
    command.add_argument("--layout", choices=list(FILES), default="triplets", help="default: triplets")
    command.add_argument("--output", type=Path, required=True, help="folder for parquet files and manifest.json")
    command.set_defaults(do=_export)
    command = commands.add_parser("import", help="annotated data, or stored pairs and triplets, from other layouts")
    command.add_argument("--input", type=Path, nargs="+", required=True, help="parquet or JSON lines")
    command.add_argument("--output", type=Path, required=True, help="folder for train.parquet and manifest.json")
    command.set_defaults(do=_import)
    options = parser.parse_args(arguments)
    try:
        manifest = options.do(options)
    except BadInput as error:
        print(f"data_prep.selfplay: {error}", file=sys.stderr)
        return 1
    for source, counts in manifest["rows"].items():
        print(f"{source}: " + ", ".join(f"{count} {reason}" for reason, count in counts.items()))
    print(f"{', '.join(manifest['outputs'])} in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
