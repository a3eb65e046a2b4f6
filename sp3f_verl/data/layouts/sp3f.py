"""SP3F's published training rows: read as translated problems, written from RL rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl.data.layouts.form import Drop, Form, Row, placed, turn
from sp3f_verl.data.preference_rows import Unusable
from sp3f_verl.data.rows import field, row_id
from sp3f_verl.data.schemas import MESSAGES, RL, TEXT, TRANSLATED
from sp3f_verl.data.turns import turns_of

TASK = "train_dataset"
FLAG = pa.bool_()
SCHEMA = pa.schema(
    {
        "solution": TEXT,
        "translated_solution": TEXT,
        "reward_model": pa.struct([("ground_truth", TEXT)]),
        "query": TEXT,
        "input": MESSAGES,
        "output": TEXT,
        "data_source": TEXT,
        "raw_prompt": TEXT,
        "extra_info": pa.struct(
            [("task", TEXT), ("ground_truth", TEXT), ("use_lang", FLAG), ("use_accuracy", FLAG), ("lang", TEXT)]
        ),
        "messages": MESSAGES,
    }
)


def read(path: Path, language: str | None, drop: Drop) -> Iterator[dict[str, Any]]:
    """Published rows as schemas.TRANSLATED. The text "None", which stands there for a missing one, is none."""
    for _, line in placed(path):
        query, solution, code = (field(line, name) for name in ("query_en", "solution_en", "language"))
        code = language if code is None else code
        prompt, answer = field(line, "prompt"), field(line, "ground_truth")
        needed = {"query": query, "solution": solution, "language": code, "prompt": prompt, "answer": answer}
        missing = next((name for name, value in needed.items() if value is None), None)
        if missing:
            drop(f"no_{missing}")
            continue
        try:
            turns = turns_of(prompt, line.get("tools"))
        except Unusable as reason:
            drop(str(reason))
            continue
        yield {
            "id": row_id("sp3f", [code, query]),
            "problem": row_id("sp3f", query),
            "language": code,
            "source": "sp3f",
            "question": turns[-1]["content"],
            "query_en": query,
            "solution": solution,
            "answer": str(answer),
            "translated_solution": field(line, "translated_solution"),
        }


def row(rl: Row) -> dict[str, Any]:
    """A row of schemas.RL in the published columns. Unusable where a text of them would be missing: their `messages`
    would teach the answer None."""
    names = ("query_en", "solution_en", "translated_solution")
    if missing := next((name for name in names if not (rl.get(name) or "").strip()), None):
        raise Unusable(f"no_{missing}")
    turns, gold = turns_of(rl["prompt"]), rl["reward_model"]["ground_truth"]
    return {
        "solution": rl["solution_en"],
        "translated_solution": rl["translated_solution"],
        "reward_model": {"ground_truth": gold},
        "query": rl["query_en"],
        "input": rl["prompt"],
        "output": rl["solution_en"],
        "data_source": TASK,
        "raw_prompt": turns[-1]["content"],
        "extra_info": {
            "task": TASK,
            "ground_truth": gold,
            "use_lang": False,
            "use_accuracy": True,
            "lang": rl["language"],
        },
        "messages": [*rl["prompt"], *turn(rl["translated_solution"])],
    }


FORMS = (Form(TRANSLATED, ("extra_info",), read), Form(RL, row=row, theirs=SCHEMA))
