"""CroCo's step 2.5 (JSON lines): pairs with languages and scores, and the best answers for SFT."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.layouts.form import Drop, Form, Row, answers_at, placed, preferences, turn
from sp3f_verl.data.preference_rows import Unusable
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.schemas import PREFERENCE, SFT
from sp3f_verl.data.tables import open_file
from sp3f_verl.errors import nearest

# ours -> theirs
_LANGUAGES = {"prompt_lang": "prompt_language", "chosen_lang": "chosen_language", "rejected_lang": "rejected_language"}


def code_of(name: Any, place: str = "the row") -> str:
    """The code of CroCo's language: an English name in any case (danish, Portuguese (Portugal)) or a code.
    UnknownLanguage for another, with `place`, where it stands."""
    wanted = str(name).partition("(")[0].strip().casefold()
    for language in languages.all_languages():
        if wanted in (language.code, language.english_name.casefold()):
            return language.code
    names = [language.english_name.casefold() for language in languages.all_languages()]
    raise languages.UnknownLanguage(
        f"{place}: unknown language {name!r:.60}{nearest(wanted, names)}; give its English name or code, or add it to "
        "the table."
    )


def read(path: Path, language: str | None, drop: Drop) -> Iterator[dict[str, Any]]:
    """Pairs of schemas.PREFERENCE; the languages are the file's. BadInput where it lacks one or cannot be read."""
    open_file(path).require(_LANGUAGES.values(), "CroCo's pairs tell the language of each side")

    def coded() -> Iterator[tuple[str, Row]]:
        for place, row in placed(path):
            yield place, row | {ours: code_of(row[theirs], place) for ours, theirs in _LANGUAGES.items()}

    def more(row: Row) -> dict[str, Any]:
        scores = row.get("chosen_score"), row.get("rejected_score")
        return {
            **{ours: row[ours] for ours in _LANGUAGES},
            "margin": None if None in scores else scores[0] - scores[1],
            "pool_size": row.get("pool_size"),
        }

    yield from preferences(coded(), "croco", "en", drop, more=more)


def row(pair: Row) -> dict[str, Any]:
    """A pair of schemas.PREFERENCE as CroCo's step 4 reads it."""
    names = ("id", "prompt", "chosen", "rejected", "chosen_score", "rejected_score", "pool_size")
    named = {
        theirs: languages.get(pair[ours]).english_name.lower() if pair.get(ours) else None
        for ours, theirs in _LANGUAGES.items()
    }
    return {name: pair.get(name) for name in names} | named


def read_sft(path: Path, language: str | None, drop: Drop) -> Iterator[dict[str, Any]]:
    """Best-of-n rows as schemas.SFT, with the `messages` that CroCo's own training step misses."""
    for place, line in placed(path, {"id", "prompt", "completion", "language", "tools"}):
        code = code_of(line["language"], place)
        try:
            answers, prompt = answers_at(place, line, ("completion",))
        except Unusable as reason:
            drop(str(reason))
            continue
        yield {
            "id": row_id("croco", [line.get("id"), line["prompt"], line["language"]]),
            "messages": [*prompt, *turn(answers.responses[0])],
            "language": code,
        }


FORMS = (
    Form(PREFERENCE, ("chosen", "rejected"), read, row=row),
    Form(SFT, ("prompt", "completion", "language"), read_sft),
)
