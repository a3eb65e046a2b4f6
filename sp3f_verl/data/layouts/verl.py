"""Canonical rows (schemas.PROMPT) as verl's RL rows, and back."""

import json
from collections.abc import Mapping
from typing import Any

from sp3f_verl.data.rows import canonical


def row(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """A row of schemas.RL; its problem, checker and index stand in `meta` where they are known."""
    meta = json.loads(prompt.get("meta") or "{}")
    extra = {"index": meta.get("index"), "lang": prompt["prompt_lang"], "checker": meta.get("checker")}
    return {
        **{"id": prompt["id"], "problem": meta.get("problem") or prompt["id"], "data_source": prompt["source"]},
        **{"prompt": prompt["prompt"], "language": prompt["prompt_lang"], "extra_info": extra},
        "reward_model": {"style": "rule", "ground_truth": prompt.get("ground_truth") or ""},
        **{"query_en": meta.get("query_en"), "solution_en": prompt.get("reference_en")},
    }


def prompt_row(rl: Mapping[str, Any], split: str | None = None) -> dict[str, Any]:
    """The canonical row of an RL row of either layout (data/rows.py)."""
    known = canonical(rl)
    extra = known["extra_info"]
    meta = {"index": extra.get("index"), "checker": extra.get("checker"), "problem": rl.get("problem")}
    meta = {name: value for name, value in (meta | {"query_en": known["query_en"]}).items() if value not in (None, "")}
    return {
        **{"id": known["id"], "source": known["data_source"], "task": None, "split": split},
        **{"prompt_lang": known["language"], "prompt": known["prompt"], "reference_en": known["solution_en"] or None},
        "ground_truth": known["reward_model"]["ground_truth"],
        "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True),
    }
