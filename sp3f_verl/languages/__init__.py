"""What sp3f_verl knows of each language: one table of data (`table.yaml`) and this loader.

`get("sw")` answers with a `Language`. The table is read at the first question and kept, so importing this package
costs nothing. The environment variable SP3F_LANGUAGES may name a second YAML file of the same shape: its entries are
added, and replace the entry of the same code. Templates are stored as they stand; fill them with `str.replace`.
"""

import difflib
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from .checks import check_entry

TABLE = Path(__file__).with_name("table.yaml")
EXTRA_VARIABLE = "SP3F_LANGUAGES"


class UnknownLanguage(ValueError):
    """A language no table has an entry for; its one sentence names the closest codes and the mend."""


@dataclass(frozen=True)
class Language:
    """One entry of the table; the head of `table.yaml` says what each field means."""

    code: str
    iso639_3: str
    flores: str
    locale: str
    scripts: tuple[str, ...]
    english_name: str
    native_name: str
    decimal_comma: bool
    confusables: tuple[str, ...]
    instruction: str
    answer_sentence: str
    labels: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    quickstart: dict | None = field(default=None, hash=False)  # a dict has no hash; the rest identifies the entry


def get(code):
    """The `Language` of an ISO 639-1 code such as "sw"; raises UnknownLanguage (a ValueError) for any other value."""
    table = _table()
    if not isinstance(code, str) or code not in table:
        raise UnknownLanguage(_unknown_sentence(code, table))
    return table[code]


def codes():
    """The codes of every known language, sorted."""
    return tuple(_table())


def all_languages():
    """Every known `Language`, in the order of `codes()`."""
    return tuple(_table().values())


def _table():
    """Code -> `Language`, sorted by code: the shipped table, then the file SP3F_LANGUAGES names at this moment."""
    return _load(os.environ.get(EXTRA_VARIABLE, ""))


@cache
def _load(extra):
    """The shipped table with the entries of the file `extra` ("" for none) over it; ValueError if one is malformed."""
    table = _read(TABLE) | (_read(Path(extra)) if extra else {})
    return dict(sorted(table.items()))


def _read(file):
    """Code -> `Language` for every entry of a YAML file; ValueError with one sentence if it cannot be used."""
    import yaml  # here, so that importing the package stays cheap in every worker

    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{file}: the language table cannot be read as YAML: {reason}.") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{file}: a language table maps language codes to entries, and this file does not.")
    for code, entry in entries.items():
        check_entry(file, code, entry)
    return {code: _language(code, entry) for code, entry in entries.items()}


def _language(code, entry):
    """The `Language` of a checked entry, with its lists as tuples (those inside `quickstart` stay lists)."""
    return Language(
        code=code, **{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    )


def _unknown_sentence(code, table):
    """One sentence: the value, the closest codes by code or name (all codes where none is close), and the mend."""
    spellings = {}
    for language in table.values():
        for spelling in (language.code, language.iso639_3, language.english_name, language.native_name):
            spellings[spelling.lower()] = language.code
    close = difflib.get_close_matches(str(code).lower(), spellings, n=3)
    near = dict.fromkeys(spellings[spelling] for spelling in close)
    known = ", ".join(f"{code} ({table[code].english_name})" for code in near) or ", ".join(table)
    return (
        f"unknown language {code!r}: the {'closest ' if near else ''}known codes are {known}; use one of them, "
        f"add an entry to sp3f_verl/languages/table.yaml or point {EXTRA_VARIABLE} at your own table."
    )
