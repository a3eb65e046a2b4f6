"""The checks every entry of a language table passes before it becomes a `Language`.

Each failure is a ValueError of one sentence that names the file, the language and the field.
"""

import re

#: Every field of an entry and the type YAML gives it.
FIELDS = {
    "iso639_3": str,
    "flores": str,
    "locale": str,
    "scripts": list,
    "english_name": str,
    "native_name": str,
    "decimal_comma": bool,
    "confusables": list,
    "instruction": str,
    "answer_sentence": str,
    "labels": list,
    "markers": list,
    "quickstart": dict,
}
OPTIONAL = {"labels", "markers", "quickstart"}
#: The two lists of a quickstart block; they run parallel across languages, so their length is the same in all.
QUICKSTART_LISTS = ("names", "objects")
QUICKSTART_LENGTH = 3
#: The templates of a quickstart block and the placeholders each holds (a placeholder may stand twice).
QUICKSTART_TEMPLATES = {
    "add_question": {"name", "object", "a", "b"},
    "add_answer": {"name", "object", "work"},
    "sub_question": {"name", "object", "a", "b"},
    "sub_answer": {"name", "object", "work"},
    "sum_question": {"work"},
    "sum_answer": {"work"},
}
_TYPE_NAMES = {str: "text", list: "a list", bool: "true or false", dict: "a block of fields"}
_CODE = re.compile(r"[a-z]{2,3}")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def check_entry(file, code, entry):
    """Raise ValueError unless `entry`, read from `file` under the key `code`, is a well-formed language entry."""

    def fail(field, problem):
        raise ValueError(f"{file}: language {code!r}, field {field!r}: {problem}.")

    if not isinstance(code, str) or not _CODE.fullmatch(code):
        fail("(key)", "the key must be a code of two or three small letters (quote the code 'no')")
    if not isinstance(entry, dict):
        fail("(entry)", f"the entry must be a block of fields, not {entry!r}")
    _check_fields(entry, FIELDS, OPTIONAL, fail)
    for field in ("scripts", "confusables", "labels", "markers"):
        if not all(isinstance(item, str) and item for item in entry.get(field, ())):
            fail(field, f"every item must be text (quote the code 'no'), not {entry[field]!r}")
    if not entry["scripts"]:
        fail("scripts", "at least one script must be named")
    for other in entry["confusables"]:
        if not _CODE.fullmatch(other) or other == code:
            fail("confusables", f"{other!r} is not the code of another language")
    if r"\boxed{}" not in entry["instruction"]:
        fail("instruction", r"it must hold the command \boxed{} exactly so")
    if entry["answer_sentence"].count("{answer}") != 1:
        fail("answer_sentence", "it must hold the placeholder {answer} exactly once")
    if "quickstart" in entry:
        _check_quickstart(entry["quickstart"], fail)


def _check_fields(block, types, optional, fail, prefix=""):
    """Every field of `types` is there (bar the `optional`), no other is, each has its type and no text is empty."""
    for field in block:
        if field not in types:
            fail(f"{prefix}{field}", f"the field is unknown (known are {', '.join(types)})")
    for field, kind in types.items():
        if field not in block:
            if field not in optional:
                fail(prefix + field, "the field is missing")
        elif not isinstance(block[field], kind) or block[field] == "":
            fail(prefix + field, f"it must be {_TYPE_NAMES[kind]}, not {block[field]!r}")


def _check_quickstart(block, fail):
    """The lists have the one length, and every template holds exactly its placeholders and no other brace."""
    types = dict.fromkeys(QUICKSTART_LISTS, list) | dict.fromkeys(QUICKSTART_TEMPLATES, str)
    _check_fields(block, types, (), fail, prefix="quickstart.")
    for field in QUICKSTART_LISTS:
        if len(block[field]) != QUICKSTART_LENGTH or not all(isinstance(x, str) and x for x in block[field]):
            fail(f"quickstart.{field}", f"it must be a list of {QUICKSTART_LENGTH} words, not {block[field]!r}")
    for field, wanted in QUICKSTART_TEMPLATES.items():
        template = block[field]
        if set(_PLACEHOLDER.findall(template)) != wanted or re.search(r"[{}\n]", _PLACEHOLDER.sub("", template)):
            named = " ".join(f"{{{name}}}" for name in sorted(wanted))
            fail(f"quickstart.{field}", f"it must be one line with exactly the placeholders {named}, not {template!r}")
