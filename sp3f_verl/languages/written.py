"""Languages as published sets write them: a code of any standard, with a script or country, or an English name."""

from typing import Any

from sp3f_verl.languages import all_languages, get

# Codes of one language that sets write where the table has the macrolanguage's.
ALIASES = {"arb": "ar", "cmn": "zh", "pes": "fa", "zsm": "ms", "zlm": "ms", "swh": "sw", "npi": "ne"}
LABELS = ("language", "dialect")  # columns in which a row says what it is written in


def language_of(written: Any) -> str | None:
    """The table's code for a code or English name that a set writes; None for what the table does not know."""
    text = str(written).strip()
    code = ALIASES.get(text.lower(), text.lower().partition("-")[0].partition("_")[0])
    code = ALIASES.get(code, code)
    for language in all_languages():
        codes = (language.code, language.iso639_3, language.flores.partition("_")[0])
        if code in codes or text.lower() == language.english_name.lower():
            return language.code
    return None


def is_other(written: Any, code: str, unknown: bool) -> bool:
    """Is what a row says of its language another one than `code`? `unknown`: the answer where no table knows it."""
    known = language_of(written)
    if known is None:
        return unknown
    return known != code and get(known).flores != get(code).flores  # no and nb are one
