"""What each stage of the quickstart gained over the one before it, with intervals."""

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sp3f_verl.data.files import write_json
from sp3f_verl.evaluation.results import StageGain, StageGains
from sp3f_verl.quickstart.evaluation import MEASURES
from sp3f_verl.stats.clustered import grouped_difference

DECODINGS = ("greedy", "sampled")


def write_gains(folder: Path, stages: Sequence[str], splits: Sequence[str]) -> StageGains:
    """gains.json of `folder`, from the responses that `evaluate` left there for the stages, in their order.

    The unit that is resampled is the sum (`7+5`), which its rows in all languages share; a gain is the mean over sums
    and languages, each with the same weight.
    """
    found = []
    for split in splits:
        by_stage = [tables(folder / f"{stage}_{split}.responses.jsonl") for stage in stages]
        for (before, old), (after, new) in itertools.pairwise(zip(stages, by_stage, strict=True)):
            for decoding, measure in itertools.product(DECODINGS, MEASURES):
                gap = grouped_difference(new[decoding, measure], old[decoding, measure])
                numbers = {name: getattr(gap, name) for name in ("mean", "low", "high", "p")}
                found.append(
                    StageGain(
                        before=before,
                        after=after,
                        split=split,
                        decoding=decoding,
                        measure=measure,
                        sums=gap.n,
                        **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
                    )
                )
    result = StageGains(gains=found)
    write_json(result.model_dump(), folder / "gains.json")
    return result


def tables(*responses: Path) -> dict[tuple[str, str], np.ndarray]:
    """(decoding, measure) -> means over the files' rows, (sums, languages); NaN where no row has one."""
    cells, rows = defaultdict(list), [json.loads(line) for file in responses for line in file.read_text().splitlines()]
    for row in rows:
        greedy, *sampled = row["measured"]
        for decoding, values in (("greedy", [greedy]), ("sampled", sampled)):
            for measure, value in itertools.chain.from_iterable(one.items() for one in values):
                cells[decoding, measure, _sum(row), row["language"]].append(value)
    sums, languages = sorted({_sum(row) for row in rows}), sorted({row["language"] for row in rows})
    return {
        key: np.array([[np.mean(cells.get((*key, a, b), [math.nan])) for b in languages] for a in sums])
        for key in itertools.product(DECODINGS, MEASURES)
    }


def _sum(row: dict) -> str:
    return row["id"].split(":")[2]  # de:add:7+5:0:1
