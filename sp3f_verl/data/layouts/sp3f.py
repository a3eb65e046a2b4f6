"""SP3F's published training rows, and the traces of its harness (yeval) with translated questions or solutions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.layouts.pairs import Drop
from sp3f_verl.data.preference_rows import open_rows
from sp3f_verl.data.rows import field, row_id
from sp3f_verl.errors import BadInput


def rows(path: Path | str, drop: Drop) -> Iterator[dict[str, Any]]:
    """Published rows as schemas.TRANSLATED. The text "None", which stands there for a missing one, is none."""
    columns, given = open_rows(path)
    for each in given(set(columns)):
        query, solution, language = (field(each, name) for name in ("query_en", "solution_en", "language"))
        prompt, answer = field(each, "prompt"), field(each, "ground_truth")
        missing = {"query": query, "solution": solution, "language": language, "prompt": prompt, "answer": answer}
        reason = next((name for name, value in missing.items() if value is None), None)
        if reason:
            drop(f"no_{reason}")
            continue
        problem = row_id("sp3f", query)
        yield {
            **{"id": row_id("sp3f", [language, query]), "problem": problem, "language": language, "source": "sp3f"},
            **{"question": prompt[-1]["content"], "query_en": query, "solution": solution, "answer": str(answer)},
            "translated_solution": field(each, "translated_solution"),
        }


def row(rl: Mapping[str, Any]) -> dict[str, Any]:
    """A row of schemas.RL in the published columns."""
    own = rl.get("translated_solution") or "None"
    gold, code = rl["reward_model"]["ground_truth"], rl["language"]
    told = {"task": "train_dataset", "ground_truth": gold, "use_lang": False, "use_accuracy": True, "lang": code}
    return {
        **{"solution": rl["solution_en"], "translated_solution": own, "reward_model": {"ground_truth": gold}},
        **{"query": rl["query_en"], "input": rl["prompt"], "output": rl["solution_en"]},
        **{"data_source": "train_dataset", "raw_prompt": rl["prompt"][-1]["content"], "extra_info": told},
        "messages": [*rl["prompt"], {"role": "assistant", "content": own}],
    }


def traces(path: Path | str, language: str) -> Iterator[dict[str, Any]]:
    """Candidates of a yeval trace, one a row: `id` of the traced item, `number`, `text`, `lang_share`, `accuracy`.

    The item is known by `sample_id` where the trace has it, else by `idx`; never by the order of the lines, which is
    the order in which the answers came.
    """
    languages.get(language)
    columns, given = open_rows(path)
    name = next((name for name in ("sample_id", "idx") if name in columns), None)
    if name is None or "answer" not in columns:
        raise BadInput(f"{path} has no {'idx' if name is None else 'answer'!r}; give yeval's output.jsonl.")
    for each in given({name, "answer", "lang", "accuracy", "ground_truth"}):
        texts = each["answer"] if isinstance(each["answer"], list) else [each["answer"]]
        for number, text in enumerate(texts):
            yield {
                **{"id": row_id("yeval", each[name]), "number": number, "text": text or None, "language": language},
                **{"lang_share": _at(each.get("lang"), number), "accuracy": _at(each.get("accuracy"), number)},
                "ground_truth": each.get("ground_truth"),
            }


def _at(values: Any, number: int) -> Any:
    return values[number] if isinstance(values, list) and number < len(values) else None
