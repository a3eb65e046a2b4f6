"""What sp3f_verl knows of each language: one table of data (`table.yaml`) and this loader.

`get("sw")` answers with a `Language`. The table is read at the first question and kept, so importing this package
costs nothing. The environment variable SP3F_LANGUAGES may name a second YAML file of the same shape: its entries are
added, and replace the entry of the same code. Templates are stored as they stand; fill them with `str.replace`.
"""

import difflib
import os
from functools import cache
from pathlib import Path

from sp3f_verl.errors import BadInput
from sp3f_verl.languages.entry import CODE, Language
from sp3f_verl.settings import read_yaml

TABLE = Path(__file__).with_name("table.yaml")
EXTRA_VARIABLE = "SP3F_LANGUAGES"


class UnknownLanguage(BadInput):
    """A language no table has an entry for; its one sentence names the closest codes and the mend."""


def get(code: str, place: str = "") -> Language:
    """The `Language` of an ISO 639-1 code such as "sw"; raises UnknownLanguage (a BadInput) for any other value, whose
    sentence begins with `place`: the option, key or row that has it."""
    table = _table()
    if not isinstance(code, str) or code not in table:
        raise UnknownLanguage(f"{place}: {_unknown_sentence(code, table)}" if place else _unknown_sentence(code, table))
    return table[code]


# Locales of languages that have several standards: what a question or a page calls them, and their FLORES code.
_COUNTRIES = {
    "ar_EG": "Egypt",
    "ar_SA": "Saudi Arabia",
    "bn_BD": "Bangladesh",
    "bn_IN": "India",
    "de_AT": "Austria",
    "de_CH": "Switzerland",
    "es_ES": "Spain",
    "es_MX": "Mexico",
    "fr_CA": "Canada",
    "fr_FR": "France",
    "nl_BE": "Belgium",
    "pt_BR": "Brazil",
    "pt_PT": "Portugal",
    "sw_KE": "Kenya",
    "sw_TZ": "Tanzania",
    "zh_CN": "China, in Simplified characters",
    "zh_HK": "Hong Kong, in Traditional characters",
    "zh_TW": "Taiwan, in Traditional characters",
}
_FLORES = {"zh_HK": "zho_Hant", "zh_TW": "zho_Hant"}


def variety(code: str, locale: str = "") -> str:
    """The English name of a language as it is written in a locale such as pt_BR: `Portuguese (Brazil)`."""
    name = get(code).english_name
    return f"{name} ({_COUNTRIES[locale]})" if locale in _COUNTRIES else name


def flores_of(code: str, locale: str = "") -> str:
    """The FLORES-200 code of a language in a locale, whose script may be another than the language's usual one."""
    return _FLORES.get(locale, get(code).flores)


def codes() -> tuple[str, ...]:
    """The codes of every known language, sorted."""
    return tuple(_table())


def all_languages() -> tuple[Language, ...]:
    """Every known `Language`, in the order of `codes()`."""
    return tuple(_table().values())


def _table() -> dict[str, Language]:
    """Code -> `Language`, sorted by code: the shipped table, then the file SP3F_LANGUAGES names at this moment."""
    return _load(os.environ.get(EXTRA_VARIABLE, ""))


@cache
def _load(extra: str) -> dict[str, Language]:
    """The shipped table with the entries of the file `extra` ("" for none) over it; BadInput if one is malformed."""
    table = _read(TABLE) | (_read(Path(extra)) if extra else {})
    return dict(sorted(table.items()))


def _read(file: Path) -> dict[str, Language]:
    """Code -> `Language` for every entry of a YAML file; BadInput with one sentence if it cannot be used."""
    entries = read_yaml(file, "the language table")
    if not isinstance(entries, dict):
        raise BadInput(f"{file}: a language table maps language codes to entries, and this file does not.")
    return {code: _language(f"{file}: {code}", code, entry) for code, entry in entries.items()}


def _language(place: str, code: str, entry: dict) -> Language:
    if not isinstance(code, str) or not CODE.fullmatch(code):
        raise BadInput(f"{place} is no code of two or three small letters; write one (and quote the code 'no').")
    if not isinstance(entry, dict) or "code" in entry:
        raise BadInput(f"{place}={entry!r} is not a block of an entry's fields; write one as in {TABLE.name}.")
    return Language.read({"code": code} | entry, place)


def _unknown_sentence(code: object, table: dict[str, Language]) -> str:
    """One sentence: the value, the closest codes by code or name (all codes where none is close), and the mend."""
    if isinstance(code, str) and "," in code:
        return f"unknown language {code!r}: write codes with spaces between them, and no comma."
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
