"""Is this parquet file what RL needs? `BadInput` with one sentence where it is not."""

from collections.abc import Mapping, Sequence
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.rows import REQUIRED, SOURCES, field
from sp3f_verl.data.sources import Parquet
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.rewards.checkers import BUILT_IN, checker_of

MENDS = {
    "prompt": "give every row a list of {role, content} messages",
    "ground_truth": "give every row reward_model.ground_truth, the gold answer",
    "language": "give every row its ISO 639-1 code",
    "query_en": "give every row the English question, or use judge=none",
    "solution_en": "give every row the English reference solution, or use judge=none",
    "translated_solution": "give every row the solution in its own language, or use judge=none",
}


def check_same_layout(paths: Sequence[str]) -> None:
    """verl joins the files of a run into one table, so their prompts must stand in the same column."""
    found = {path: next(key for key in SOURCES["prompt"] if key in Parquet(path).columns) for path in paths}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{path} in {column!r}" for path, column in found.items())
        raise BadInput(f"the files keep their prompts in different columns ({told}); rename one.")


def _missing_column(path: str, name: str, wanted: Sequence[str], columns: Sequence[str]) -> BadInput:
    tops = [source.split(".")[0] for source in wanted]
    hint = next((close for close in (nearest(top, columns) for top in tops) if close), "")
    choices = " or ".join(repr(source) for source in wanted)
    return BadInput(f"{path} has no column {choices}{hint}; {MENDS[name]}.")


def check_rl(path: str, needed: Sequence[str] = (), checkers: Mapping[str, Any] = BUILT_IN) -> tuple[str, ...]:
    """Check the rows of an RL file, which must have the fields in `needed` (see data/rows.py) beside the required ones,
    and checkers among `checkers`; answers the languages in it, sorted."""
    columns = Parquet(path).columns
    wanted = (*REQUIRED, *needed)
    for name in wanted:
        if not any(source.split(".")[0] in columns for source in SOURCES[name]):
            raise _missing_column(path, name, SOURCES[name], columns)
    tops = {source.split(".")[0] for name in wanted for source in SOURCES[name]}
    found: set[str] = set()
    number = -1
    for number, row in Parquet(path).rows(tops):
        for name in wanted:
            if field(row, name) is None:
                places = " or ".join(repr(source) for source in SOURCES[name])
                raise BadInput(f"{path}, row {number}: {places} is empty; {MENDS[name]}.")
        _check_messages(path, number, field(row, "prompt"), "the prompt")
        found.add(field(row, "language"))
        try:
            checker_of(row.get("extra_info"), checkers)
        except BadInput as error:
            raise BadInput(f"{path}, row {number}: {error}") from None
    if number < 0:
        raise BadInput(f"{path} has no rows; give a file with at least one.")
    for code in sorted(found):
        try:
            languages.get(code)
        except languages.UnknownLanguage as error:
            raise BadInput(f"{path}: {error}") from None
    return tuple(sorted(found))


def _check_messages(path: str, number: int, messages: Any, where: str) -> None:
    good = isinstance(messages, list) and messages
    if not good or not all(isinstance(each, dict) and each.get("role") and each.get("content") for each in messages):
        raise BadInput(f"{path}, row {number}: {where} is not a list of {{role, content}} messages; make it one.")
