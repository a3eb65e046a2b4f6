"""The judges by the name that `judge=` gives them.

A judge is an async function of (responses of one prompt, its canonical row) that answers a list of (i, j, Verdict),
response i shown as A. It never scores: `win_rates` does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sp3f_verl.judge.reference import Privileged, judge_group
from sp3f_verl.judge.verdict import Verdict
from sp3f_verl.rewards.text import strip_think

Judge = Callable[[list[str], dict[str, Any]], Awaitable[list[tuple[int, int, Verdict]]]]


async def reference(responses: list[str], row: dict[str, Any]) -> list[tuple[int, int, Verdict]]:
    """The judge without a model (see `judge/reference.py`), in a thread so that the event loop stays free."""
    privileged = Privileged(
        gold=row["reward_model"]["ground_truth"],
        solution_en=row["solution_en"],
        solution_own=row["translated_solution"] or None,
    )
    return await asyncio.to_thread(judge_group, [strip_think(each) for each in responses], privileged)


JUDGES: dict[str, Judge | None] = {"reference": reference, "none": None}
NEEDS_REFERENCE = frozenset({"reference"})  # judges that cannot work without query_en and solution_en


def load_judge(name: str) -> Judge | None:
    """The judge called `name`; None for `none`. ValueError with the known names for any other."""
    try:
        return JUDGES[name]
    except KeyError:
        known = ", ".join(sorted(JUDGES))
        raise ValueError(f"judge={name!r} does not exist; the judges are {known}.") from None
