"""What a benchmark's YAML may say: the type of every key, and what must fit together."""

import re
from collections.abc import Callable
from typing import Any

from sp3f_verl import languages
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.evaluation.problems import LETTERS
from sp3f_verl.rewards.checkers import BUILT_IN, Checker, load_checkers

NAME = re.compile(r"\{([\w-]+)\}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


TEXT, WHOLE = (_is_text, "a text, in quotes"), (lambda value: type(value) is int, "a whole number")
MAPPING = (lambda value: isinstance(value, dict), "a mapping such as {question: COLUMN, answer: COLUMN}")
LANGUAGES = (lambda value: isinstance(value, list | dict), "a list of codes of the language table")
TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("hub", "config", "split", "revision", "file"), TEXT),
    **{"columns": MAPPING, "question": TEXT, "choices": (_are_texts, "a list of names"), "answer_pattern": TEXT},
    **{"answer_from": WHOLE, "checker": TEXT, "languages": LANGUAGES, "language_column": TEXT},
}


def checked(told: Any) -> tuple[dict[str, Any], dict[str, dict[str, str]], str, dict[str, Checker]]:
    """(the YAML, variants, checker, checkers). ValueError in one sentence that begins with the key."""
    if not isinstance(told, dict):
        raise BadInput("a benchmark is a mapping of keys, see docs/evaluation.md.")
    for key, value in told.items():
        if key not in TYPES:
            raise BadInput(f"the key {key!r} is unknown{nearest(str(key), TYPES)}; the keys are {', '.join(TYPES)}.")
        fits, mend = TYPES[key]
        if not fits(value):
            raise BadInput(f"`{key}` is {value!r}; give {mend}.")
    if ("hub" in told) == ("file" in told):
        raise BadInput("give either `hub` or `file`.")
    columns = told.get("columns")
    if columns is None:
        raise BadInput("`columns` is missing; give {question: COLUMN, answer: COLUMN}.")
    for name, column in columns.items():
        if not _is_text(name):
            raise BadInput(f"`columns` has the name {name!r}; give a text, in quotes.")
        if not _is_text(column) and not (column and _are_texts(column)):
            raise BadInput(f"`columns.{name}` is {column!r}; give a column's name, in quotes, or a list of such.")
    choices = told.get("choices", [])
    used = ["answer", *choices, *NAME.findall(told.get("question", "{question}"))]
    for name in used:
        if name not in columns:
            raise BadInput(f"`columns` has no {name!r}{nearest(name, columns)}; say which column of the set it is.")
    if len(choices) == 1 or len(choices) > len(LETTERS):
        raise BadInput(f"`choices` names {len(choices)} options; name 2 to {len(LETTERS)}.")
    try:
        groups = re.compile(told.get("answer_pattern", "()")).groups
    except re.error as error:
        raise BadInput(f"`answer_pattern` is no regular expression ({error}); mend it.") from None
    if groups != 1:
        raise BadInput(f"`answer_pattern` has {groups} groups; give it one, the answer.")
    checker = told.get("checker", "multiple_choice" if choices else "math")
    own = {} if checker in BUILT_IN or ":" not in checker else {"own": checker}
    if not own and checker not in BUILT_IN:
        raise BadInput(f"`checker` is {checker!r}{nearest(checker, BUILT_IN)}; name one of {', '.join(BUILT_IN)}.")
    try:
        checkers = load_checkers(own)
    except BadInput as error:  # it names the run's config, where this stands in a file
        raise BadInput(str(error).replace("sp3f.reward.checkers.own=", "`checker` ")) from None
    return told, _variants(told.get("languages")), "own" if own else checker, checkers


def _variants(told: list | dict | None) -> dict[str, dict[str, str]]:
    if not told:
        raise BadInput("`languages` is missing; give a list of codes of the language table.")
    found = {}
    for entry in told if isinstance(told, list) else [told]:
        for code, name in entry.items() if isinstance(entry, dict) else [(entry, entry)]:
            if code is False or name is False:
                raise BadInput('`languages` has False, as YAML reads a bare no; write "no" in quotes.')
            languages.get(code)
            own = name if isinstance(name, dict) else {"": name}
            if not own:
                raise BadInput(f"`languages` has no variant of {code!r}; give {{variant: name}}.")
            for each in (*own, *own.values()):
                if not _is_text(each):
                    raise BadInput(f"`languages` names the set of {code!r} {each!r}; give a text, in quotes.")
            found[code] = own
    return dict(sorted(found.items()))
