r"""Prompts of an open-ended evaluation set in many languages, for `data_prep.generate` and `sp3f evaluate --arena`.

  python -m data_prep.prompts --set m_arenahard --languages da de es --output data/arena
  python -m data_prep.prompts --set aya_dolly --files dolly.parquet --sample 150 --output data/aya

Sets are in sp3f_verl/data/sets/prompt_sets.yaml; without --files they come from the Hugging Face Hub.
"""

import argparse
from pathlib import Path

from sp3f_verl import languages
from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.prompts import PROMPTS
from sp3f_verl.data.rows import draw_rank
from sp3f_verl.data.sets.prompt_sets import Read, prompt_set, prompts
from sp3f_verl.errors import BadInput


def _files(given: list[str]) -> list[tuple[str | None, Path]]:
    """`FILE`, or `es=FILE` for one in a language."""
    files = []
    for text in given:
        code, equals, path = text.partition("=")
        named = equals and not Path(text).exists()  # a path may hold an =, as in lr=1e-5
        files.append((languages.get(code, "--files").code, Path(path)) if named else (None, Path(text)))
    return files


def _run(options: argparse.Namespace) -> None:
    wanted = [languages.get(code, "--languages").code for code in options.languages]
    chosen, read = prompt_set(options.set), Read()
    files = _files(options.files) or chosen.download(wanted, Path(f"{options.output}.downloads"))
    settings = {"set": chosen.name, "languages": sorted(wanted), "sample": options.sample, "seed": options.seed}
    with Output(options.output, "prompts", settings, [path for _, path in files]) as out:
        rows = list(prompts(chosen, files, wanted, read))
        if options.sample is not None:
            kept = {code: _drawn(rows, code, options) for code in read.languages}
            out.drop("not_drawn", sum(row["id"] not in kept[row["prompt_lang"]] for row in rows))
            rows = [row for row in rows if row["id"] in kept[row["prompt_lang"]]]
        if not rows:
            raise BadInput(f"no prompt of {chosen.name} is left; give files with some in languages of the table.")
        for reason, count in read.dropped.items():
            out.drop(reason, count)
        out.write("prompts", rows, PROMPTS)
    print(", ".join(f"{code} {count}" for code, count in out.rows["prompts"].items()))


def _drawn(rows: list[dict], code: str, options: argparse.Namespace) -> set[str]:
    """The language's ids that are drawn: the same in every language that has them all."""
    ids = {row["id"] for row in rows if row["prompt_lang"] == code}
    return set(sorted(ids, key=lambda ident: draw_rank(options.seed, ident))[: options.sample])


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--set", required=True, metavar="NAME", help="m_arenahard, aya_dolly, ...: prompt_sets.yaml")
    text = "in place of the Hub: files of the set, parquet or JSON lines (default: download them)"
    parser.add_argument("--files", nargs="+", default=[], metavar="[LANGUAGE=]FILE", help=text)
    text = "codes (default: all of the set that the language table knows)"
    parser.add_argument("--languages", nargs="+", default=[], metavar="CODE", help=text)
    text = "so many prompts, drawn by --seed, the same in every language (default: all)"
    parser.add_argument("--sample", type=int, metavar="N", help=text)
    parser.add_argument("--seed", type=int, default=1, help="of --sample (default: 1)")
    parser.add_argument("--output", type=Path, required=True, help="folder for prompts.parquet")
    options = parse(parser, arguments)
    return run_step("prompts", _run, options)


if __name__ == "__main__":
    raise SystemExit(main())
