"""The notes of a manifest that have a form: steps write them, `sp3f report` reads them."""

from pydantic import BaseModel, TypeAdapter, ValidationError

from sp3f_verl.data.manifest import Manifest

ASKED, PAIR_REPORT, YIELD = "asked", "report", "yield"  # names of notes; ASKED: what asking models cost
Numbers = dict[str, int | float | None]


class PairReport(BaseModel):
    """What a preference set teaches beside quality (data.preference_report). Shares are of the pairs of which the thing
    is known, None where it is known of none."""

    rows: int
    unusable: dict[str, int]
    overall: Numbers
    by_language: dict[str, Numbers]
    by_source: dict[str, Numbers]
    prompts: int
    rows_with_a_repeated_prompt: int = 0
    repeated_rows: int = 0
    texts_chosen_and_rejected: int = 0
    not_recognised: list[str] = []
    warnings: list[str] = []


class LeftInEnglish(BaseModel):
    """Words of the source that stand in translations as they are."""

    rows: int = 0
    words: dict[str, int] = {}


class LanguageYield(BaseModel):
    """Of one language of a translated set: rows kept, of how many, means of what was measured, rows to look at."""

    rows: int
    of: int
    left_out: dict[str, int] = {}
    lang_share: float | None = None
    length_ratio: float | None = None
    numbers_kept: float | None = None
    back_translation: float | None = None
    left_in_english: LeftInEnglish = LeftInEnglish()
    side_by_side: list[tuple[str, str]] = []


SHARES = ("lang_share", "length_ratio", "numbers_kept", "back_translation")


def pair_report(manifest: Manifest) -> PairReport | None:
    """None where the step wrote none, or another version one of another form."""
    return _read(manifest, PAIR_REPORT, TypeAdapter(PairReport))


def yields(manifest: Manifest) -> dict[str, LanguageYield] | None:
    """By language, as `pair_report`."""
    return _read(manifest, YIELD, TypeAdapter(dict[str, LanguageYield]))


def _read(manifest: Manifest, name: str, form: TypeAdapter):
    try:
        return form.validate_python(manifest.notes[name])
    except (KeyError, ValidationError):
        return None
