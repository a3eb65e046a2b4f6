"""The English preference set that other languages are made from: five public sources, filtered, a seeded draw of each.

From files in the sources' own formats (parquet or JSON lines), or by name from the Hugging Face Hub:
  python -m data_prep.preferences --output data/english \\
    --sources arena=arena.parquet helpsteer2=train.jsonl gutenberg math_step tasksource
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from sp3f_verl.architectures.draw import Drawn, characters, draw, named, tokens_of
from sp3f_verl.architectures.hub import from_hub
from sp3f_verl.architectures.sources import SOURCES, WHOLE, Pair
from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.notes import PAIR_REPORT
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.preference_report import PreferenceReport
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.schemas import PREFERENCE, extended
from sp3f_verl.data.tables import open_file
from sp3f_verl.errors import BadInput, nearest

ENGLISH = extended(PREFERENCE, source=pa.string(), task=pa.string())
LONGEST = {"characters": 8192, "tokens": 2048}
IDS = "ids.json"


def row_of(pair: Pair, lengths: list[int], name: str) -> dict:
    scores = {"chosen_score": pair.chosen_score, "rejected_score": pair.rejected_score}
    margin = None if pair.chosen_score is None else pair.chosen_score - pair.rejected_score
    return {
        "id": pair.id,
        "pair_id": row_id(pair.id, "en"),
        "prompt": list(pair.prompt),
        "prompt_lang": "en",
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "chosen_lang": "en",
        "rejected_lang": "en",
        **scores,
        "margin": margin,
        "len_chosen": lengths[1],
        "len_rejected": lengths[2],
        "recipe": "english",
        "pool_size": 2,
        "source": name,
        "task": SOURCES[name].task,
    }


def _pairs(name: str, paths: list[Path], options: argparse.Namespace, dropped: Counter[str]) -> Iterator[Pair]:
    source = WHOLE if name == "math_step" and options.whole_solutions else SOURCES[name]
    files = [open_file(path) for path in paths]
    for file in files:
        file.require(source.columns, f"{name} files have {', '.join(source.columns)}")
    rows = (row for file in files for _, row in file.rows(source.columns))

    def drop(reason: str) -> None:
        dropped[reason] += 1

    return source.read(rows, name, drop)


def _count(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if name not in SOURCES or not count.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not SOURCE=COUNT, such as arena=500")
    return name, int(count)


def _given(options: argparse.Namespace) -> dict[str, list[Path]]:
    """Source -> its files; those named without one come from the Hub."""
    files: dict[str, list[Path]] = defaultdict(list)
    for given in options.sources:
        name, equals, path = given.partition("=")
        if name not in SOURCES:
            raise BadInput(f"--sources has no {name!r}{nearest(name, SOURCES)}; it knows {', '.join(SOURCES)}.")
        if equals and not path:
            raise BadInput(f"--sources={given} names no file; give {name}=FILE, or {name} alone for the Hub's.")
        source = WHOLE if name == "math_step" and options.whole_solutions else SOURCES[name]
        files[name].append(Path(path) if equals else from_hub(name, source, Path(f"{options.output}.hub")))
    return dict(sorted(files.items()))


def _kept_ids(path: Path, sources: dict[str, list[Path]]) -> dict[str, list[str]]:
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
        ids = {name: [str(ident) for ident in ids[name]] for name in sources}
    except (OSError, ValueError, TypeError, KeyError):
        names = ", ".join(sources)
        raise BadInput(
            f"--ids={path} is no {IDS} of this step with the sources {names}; give the one it wrote."
        ) from None
    return ids


def _run(options: argparse.Namespace) -> None:
    kind = "characters" if options.tokenizer == "characters" else "tokens"
    most = options.max_length or LONGEST[kind]
    counts = dict(options.counts)
    if min(counts.values(), default=1) < 1:
        raise BadInput("--counts are numbers of 1 or more; leave a source out of --sources.")
    given = _given(options)
    if unknown := [name for name in counts if name not in given]:
        raise BadInput(f"--counts names {unknown[0]}, which is none of --sources.")
    ids = _kept_ids(options.ids, given) if options.ids else None
    settings = {
        "sources": list(given),
        "seed": options.seed,
        "whole_solutions": options.whole_solutions,
        "counts": {name: counts.get(name, options.count) for name in given},
        "tokenizer": options.tokenizer,
        "max_length": most,
        "ids": ids,
    }
    inputs = [path for paths in given.values() for path in paths]
    with Output(options.output, "preferences", settings, inputs) as out:
        length = characters if kind == "characters" else tokens_of(options.tokenizer)
        rows, report, left = [], PreferenceReport(check_language=False), {}
        for name, paths in given.items():
            dropped: Counter[str] = Counter()
            pairs = _pairs(name, paths, options, dropped)
            drawn = _drawn(pairs, name, ids, settings["counts"][name], most, length, options.seed)
            dropped += drawn.dropped
            for reason, count in dropped.items():
                out.drop(f"{name}: {reason}", count)
            source_rows = [row_of(pair, lengths, name) for pair, lengths in drawn.pairs]
            left[name] = drawn.left
            if not source_rows:
                reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
                raise BadInput(f"{name} has no usable pair ({reasons or 'no rows'}); give other files or leave it out.")
            if len(source_rows) < settings["counts"][name] and ids is None:
                print(f"{name} has {len(source_rows)} usable pairs, not {settings['counts'][name]}: all are taken")
            rows += source_rows
        for row in sorted(rows, key=lambda row: row["id"]):
            report.add(row)
        out.write("train", rows, ENGLISH)
        out.write_text(IDS, json.dumps(_ids(rows), indent=1) + "\n")
        out.note("not_drawn", left)
        out.note(PAIR_REPORT, report.result())
    print(f"{len(rows)} pairs in {options.output}")


def _drawn(pairs, name, ids, count, most, length, seed) -> Drawn:
    return draw(pairs, count, seed, most, length) if ids is None else named(pairs, ids[name], name, length)


def _ids(rows: list[dict]) -> dict[str, list[str]]:
    by_source = defaultdict(list)
    for row in rows:
        by_source[row["source"]].append(row["id"])
    return {name: sorted(ids) for name, ids in sorted(by_source.items())}


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    text = f"of {', '.join(SOURCES)}; without a file: from the Hub; twice: several files (default: all, from the Hub)"
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), metavar="SOURCE[=FILE]", help=text)
    parser.add_argument("--count", type=int, default=250, help="pairs of each source (default: 250)")
    parser.add_argument("--counts", nargs="+", type=_count, default=[], metavar="SOURCE=N", help="where it differs")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw (default: 1)")
    parser.add_argument("--tokenizer", default="gpt2", help="name or folder, or characters (default: gpt2)")
    text = "of prompt, chosen and rejected each (default: 2048 tokens or 8192 characters)"
    parser.add_argument("--max-length", type=int, help=text)
    parser.add_argument("--ids", type=Path, metavar="FILE", help=f"{IDS} of an earlier run: exactly those pairs")
    text = "math_step: whole solutions as sides (default: single steps, as published)"
    parser.add_argument("--whole-solutions", action="store_true", help=text)
    parser.add_argument("--output", type=Path, required=True, help=f"folder for train.parquet, {IDS}, manifest.json")
    options = parse(parser, arguments)
    return run_step("preferences", _run, options)


if __name__ == "__main__":
    sys.exit(main())
