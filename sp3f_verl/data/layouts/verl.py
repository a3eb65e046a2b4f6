"""verl's RL rows (schemas.RL, or the published SP3F columns) as canonical prompts (schemas.PROMPT), and back."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.data.layouts.form import Drop, Form, Row, placed
from sp3f_verl.data.preference_rows import Unusable
from sp3f_verl.data.rows import REQUIRED, canonical, field
from sp3f_verl.data.schemas import PROMPT, RL
from sp3f_verl.data.turns import turns_of
from sp3f_verl.errors import BadInput


def read(path: Path, language: str | None, drop: Drop) -> Iterator[dict[str, Any]]:
    for place, line in placed(path):
        if language is not None and field(line, "language") is None:
            line = line | {"language": language}
        try:
            missing = next((name for name in REQUIRED if field(line, name) is None), None)
            if missing:
                raise Unusable(f"no_{missing}")
            if not isinstance(line.get("extra_info") or {}, Mapping):
                raise Unusable("extra_info_is_no_mapping")
            yield prompt_row(line, Path(path).stem)
        except Unusable as reason:
            drop(str(reason))
        except BadInput as error:
            raise BadInput(f"{place}: {error}") from None


def row(prompt: Row) -> dict[str, Any]:
    """A row of schemas.RL; its problem, checker and index stand in `meta` where they are known. Unusable where that is
    not the JSON text of an object."""
    try:
        meta = json.loads(prompt.get("meta") or "{}")
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise Unusable("meta_is_no_json_object")
    return {
        "id": prompt["id"],
        "problem": meta.get("problem") or prompt["id"],
        "data_source": prompt["source"],
        "prompt": prompt["prompt"],
        "language": prompt["prompt_lang"],
        "extra_info": {
            "index": meta.get("index"),
            "lang": prompt["prompt_lang"],
            "checker": meta.get("checker"),
        },
        "reward_model": {"style": "rule", "ground_truth": prompt.get("ground_truth") or ""},
        "query_en": meta.get("query_en"),
        "solution_en": prompt.get("reference_en"),
    }


def prompt_row(rl: Row, split: str | None = None) -> dict[str, Any]:
    """The canonical row of an RL row of either layout (data/rows.py)."""
    turns, known = turns_of(field(rl, "prompt"), rl.get("tools")), canonical(rl)
    meta = {
        "index": known["extra_info"].get("index"),
        "checker": known["extra_info"].get("checker"),
        "problem": rl.get("problem"),
        "query_en": known["query_en"],
    }
    meta = {name: value for name, value in meta.items() if value not in (None, "") and value == value}
    return {
        "id": known["id"],
        "source": known["data_source"],
        "task": None,
        "split": split,
        "prompt_lang": known["language"],
        "prompt": turns,
        "reference_en": known["solution_en"] or None,
        "ground_truth": known["reward_model"]["ground_truth"],
        "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True, default=str),
    }


FORMS = (Form(PROMPT, ("reward_model",), read, row=row, theirs=RL),)
