"""Rows a second and peak memory of `data_prep.sp3f`, from translated rows to parquet, without a model.

Two sizes side by side, each in a process of its own: the memory must not grow with the file. The rows have the length
of GSM8K's (real ones where SP3F_REAL_DATA names them), ten languages a problem. `sorted` is the order in which a data
step writes; `shuffled` has to be put in order first.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sp3f_verl.data.rows import row_id
from sp3f_verl.data.schemas import TRANSLATED

DATA = Path(os.environ.get("SP3F_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
SIZES, TARGET = (40_000, 400_000), 200_000
CODES = "bn de es fr ja ru sw te th zh".split()
RUN = """
import contextlib, io, json, resource, sys, time
from data_prep import sp3f
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start = peak(), time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()):
    assert sp3f.main(["--translated", sys.argv[1], "--output", sys.argv[2]]) == 0
print(json.dumps([time.perf_counter() - start, before, peak()]))
"""


def texts() -> tuple[list[str], list[str]]:
    file = DATA / "gsm8k" / "train.jsonl"
    if file.is_file():
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [row["question"] for row in rows], [row["answer"] for row in rows]
    words, rng = "Anna sells seven apples and then buys three more coins for her books".split(), random.Random(1)
    return tuple([" ".join(rng.choices(words, k=length)) for _ in range(5000)] for length in (45, 55))


def make(path: Path, rows: int, shuffled: bool) -> None:
    """Rows of schemas.TRANSLATED; texts repeat, but begin with the number of their problem."""
    questions, answers = texts()
    numbers = np.arange(rows)
    problem, code = numbers // len(CODES), [CODES[number % len(CODES)] for number in numbers]
    ids = [row_id("bench", int(number)) for number in numbers]
    order = np.random.default_rng(1).permutation(rows) if shuffled else np.argsort(np.array(ids))
    columns = {
        name: [f"{number}: {questions[number % len(questions)]}" for number in problem] for name in ("query_en",)
    }
    columns |= {"id": ids, "problem": [row_id("bench", f"p{number}") for number in problem], "language": code}
    columns["question"] = [f"{prefix} {text}" for prefix, text in zip(code, columns["query_en"], strict=True)]
    columns["solution"] = [f"{number}: {answers[number % len(answers)]}" for number in problem]
    columns["translated_solution"] = [
        f"{prefix} {text}" for prefix, text in zip(code, columns["solution"], strict=True)
    ]
    columns["answer"] = [str(number) for number in problem]
    arrays = [pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(rows, field.type)
              for field in TRANSLATED]  # fmt: skip
    pq.write_table(pa.Table.from_arrays(arrays, schema=TRANSLATED).take(pa.array(order)), path, row_group_size=16_384)


def main() -> int:
    print(f"{'rows':>8} {'input':>9} {'rows/s':>9} {'start MB':>9} {'peak MB':>8}   (target: {TARGET:,} rows/s)")
    peaks, slowest = {}, float("inf")
    with tempfile.TemporaryDirectory() as folder:
        for shuffled in (False, True):
            for rows in SIZES:
                source, output = Path(folder) / "in.parquet", Path(folder) / f"out-{rows}-{shuffled}"
                subprocess.run([sys.executable, __file__, str(source), str(rows), str(int(shuffled))], check=True)
                command = [sys.executable, "-c", RUN, str(source), str(output)]
                printed = subprocess.run(command, capture_output=True, check=True, timeout=600).stdout
                seconds, before, peak = json.loads(printed)
                kind = "shuffled" if shuffled else "sorted"
                print(f"{rows:>8} {kind:>9} {rows / seconds:>9,.0f} {before:>9.0f} {peak:>8.0f}")
                peaks[rows, shuffled] = peak
                if not shuffled and rows == SIZES[-1]:
                    slowest = rows / seconds
    growth = max(peaks[SIZES[1], shuffled] / peaks[SIZES[0], shuffled] for shuffled in (False, True))
    print(f"ten times the rows take {growth:.2f} times the memory")
    print(f"the target of {TARGET:,} rows/s {'holds' if slowest >= TARGET else 'does not hold'}: {slowest:,.0f} sorted")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 4:
        make(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1")
    else:
        sys.exit(main())
