"""What is measured of a translation. Pure functions of the two texts, without their placeholders."""

import math
import unicodedata
from dataclasses import dataclass

from sp3f_verl.rewards import language_share
from sp3f_verl.translate.numbers import numbers_kept


@dataclass(frozen=True)
class Features:
    """lang_share: None where the text has too few letters. length_ratio: translation to source, None where the source
    is empty. numbers_kept: 1 where all numbers are there and no other. back_translation: chrF in [0, 1] of the text
    translated back; None where it was not asked for or did not come.
    """

    lang_share: float | None
    length_ratio: float | None
    numbers_kept: float
    back_translation: float | None = None


def features(source: str, translation: str, language: str) -> Features:
    """Of a translation from English; without back_translation."""
    kept = numbers_kept(source, translation, language)
    return Features(language_share(translation, language), length_ratio(source, translation), kept)


def length(text: str) -> int:
    """Characters that take room: no spaces and no marks, and an East Asian wide one for two, as it says as much."""
    wide = (2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text if _counts(char))
    return sum(wide)


def _counts(char: str) -> bool:
    return not char.isspace() and unicodedata.category(char)[0] not in "MC"


def length_ratio(source: str, translation: str) -> float | None:
    whole = length(source)
    return length(translation) / whole if whole else None


def worse(one: Features, other: Features | None) -> Features:
    """The worse of both, feature by feature; what is not known of one is that of the other."""
    if other is None:
        return one

    def least(name: str) -> float | None:
        values = [value for features in (one, other) if (value := getattr(features, name)) is not None]
        return min(values, default=None)

    ratios = [features.length_ratio for features in (one, other) if features.length_ratio]
    furthest = max(ratios, key=lambda ratio: abs(math.log(ratio)), default=one.length_ratio)
    return Features(least("lang_share"), furthest, least("numbers_kept"), least("back_translation"))
