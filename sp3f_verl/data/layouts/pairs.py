"""A pair of any layout that data/answers.py knows, as a row of schemas.PREFERENCE, and the parts of writing one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sp3f_verl.data.preference_rows import Unusable, answers_of
from sp3f_verl.data.rows import row_id

Drop = Callable[[str], None]


def preferences(
    rows: Iterable[Mapping[str, Any]],
    source: str,
    language: str,
    drop: Drop,
    names: tuple[str, str] = ("chosen", "rejected"),
    also: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda row: {},
) -> Iterator[dict[str, Any]]:
    """Rows of schemas.PREFERENCE. `names`: the preferred side's column, then the other's; `also`: further columns.

    A row without an id gets one of its prompt, and the pair one of both sides, so the order of the file plays no part.
    """
    for row in rows:
        try:
            answers = answers_of(row, names)
        except Unusable as reason:
            drop(str(reason))
            continue
        prompt, (chosen, rejected) = list(answers.prompt), answers.responses
        own = answers.id or row_id(source, prompt)
        yield {
            **{"id": own, "pair_id": row_id(own, [chosen, rejected]), "prompt": prompt, "prompt_lang": language},
            **{"chosen": chosen, "rejected": rejected, "chosen_lang": language, "rejected_lang": language},
            **{"chosen_score": row.get("chosen_score"), "rejected_score": row.get("rejected_score")},
            **{"len_chosen": len(chosen), "len_rejected": len(rejected), "recipe": source},
            **also(row),
        }


def turn(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
