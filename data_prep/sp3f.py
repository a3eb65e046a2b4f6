"""RL data for SP3F from translated questions and English worked solutions, rows i of all files being the same problem.

python -m data_prep.sp3f --questions es=mgsm_es.tsv sw=mgsm_sw.tsv --solutions gsm8k_test.jsonl --output data/mgsm
"""

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

from sp3f_verl.data.files import digest, write_json, write_parquet
from sp3f_verl.data.mgsm import join
from sp3f_verl.errors import BadInput
from sp3f_verl.languages import UnknownLanguage


def split_by_problem(rows: list[dict], share: float, seed: int) -> tuple[list[dict], list[dict]]:
    """(train, validation): all languages of a problem go to the same side."""
    problems = sorted({row["problem"] for row in rows})
    random.Random(seed).shuffle(problems)
    held_out = set(problems[: round(len(problems) * share)])
    train = [row for row in rows if row["problem"] not in held_out]
    validation = [row for row in rows if row["problem"] in held_out]
    if not train or not validation:
        raise BadInput(f"--validation {share} of {len(problems)} problems leaves a side empty; change the share.")
    return train, validation


def _pair(text: str) -> tuple[str, Path]:
    code, equals, path = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not LANGUAGE=FILE, such as es=mgsm_es.tsv")
    return code, Path(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", type=_pair, required=True, metavar="LANGUAGE=FILE", help="TSV files")
    parser.add_argument("--solutions", type=Path, required=True, help="JSON lines: question, answer ending in #### N")
    parser.add_argument("--output", type=Path, required=True, help="folder for train.parquet, validation.parquet")
    parser.add_argument("--validation", type=float, default=0.1, help="share of the problems (default: 0.1)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the split (default: 1)")
    options = parser.parse_args(arguments)
    try:
        questions = dict(options.questions)
        if len(questions) < len(options.questions):
            raise BadInput("--questions names a language twice; join its files into one.")
        train, validation = split_by_problem(join(questions, options.solutions), options.validation, options.seed)
    except (BadInput, UnknownLanguage) as error:
        print(f"data_prep.sp3f: {error}", file=sys.stderr)
        return 1
    inputs = [*questions.values(), options.solutions]
    for name, rows in {"train": train, "validation": validation}.items():
        write_parquet(rows, options.output / f"{name}.parquet")
    manifest = {
        "step": "sp3f",
        "inputs": {str(path): digest(path) for path in inputs},
        "settings": {"languages": list(questions), "validation": options.validation, "seed": options.seed},
        "rows": {
            name: dict(Counter(row["language"] for row in rows))
            for name, rows in {"train": train, "validation": validation}.items()
        },
        "outputs": {name: digest(options.output / name) for name in ("train.parquet", "validation.parquet")},
    }
    write_json(manifest, options.output / "manifest.json")
    print(f"{len(train)} training and {len(validation)} validation rows in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
