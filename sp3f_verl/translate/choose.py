"""Which of several translations is the best, by declared criteria; none where no one passes every threshold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.llm.ask import Status
from sp3f_verl.translate.features import Features

SHORTEST = 20  # characters of a source (features.length) below which its length ratio says nothing

# Why a candidate is none, from the earliest check to the last: of a text without a translation the last one counts.
REASONS = (
    *("error", "refused", "truncated", "no_translation", "placeholder_unknown", "placeholder_repeated"),
    *("placeholder_lost", "added_code_or_link", "structure", "marks", "refusal", "question_lost", "numbers", "length"),
    *("off_language", "back_translation"),
)
WEIGHTS = {"language": 1.0, "numbers": 1.0, "length": 0.25, "back": 1.0}


@dataclass(frozen=True)
class Criteria:
    """The least of each feature that passes, and the weights of the sum that decides among those that pass.

    length counts as min(ratio, 1 / ratio). A feature that is not known adds nothing.
    """

    language_share: float = 0.8
    numbers: float = 1.0
    length: tuple[float, float] = (0.4, 2.5)
    back_translation: float | None = None
    keep_structure: bool = False  # as many lines that are not blank as the source
    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))

    def __post_init__(self):
        shares = {"language_share": self.language_share, "numbers": self.numbers, "back": self.back_translation}
        for name, value in shares.items():
            if value is not None and not 0 <= value <= 1:
                raise BadInput(f"the threshold of {name} is {value:g}; give a share in [0, 1].")
        if not 0 < self.length[0] < self.length[1]:
            raise BadInput(f"--length-ratio is {self.length[0]:g} {self.length[1]:g}; give LOW < HIGH, both above 0.")
        for name, value in self.weights.items():
            if name not in WEIGHTS:
                raise BadInput(f"--weights has no {name!r}{nearest(name, WEIGHTS)}; it has {', '.join(WEIGHTS)}.")
            if not 0 <= value < math.inf:
                raise BadInput(f"--weights {name}={value:g}; give a number of 0 or more.")

    def fault(self, features: Features, source_length: int, has_words: bool) -> str | None:
        """The first reason why a candidate with these features is none, in the order of REASONS; None where it is fine.

        has_words: whether the source has words enough to tell a language by. Of a source that has, a translation
        whose language cannot be recognised is none.
        """
        if features.numbers_kept < self.numbers:
            return "numbers"
        low, high = self.length
        if source_length >= SHORTEST and not low <= (features.length_ratio or 0.0) <= high:
            return "length"
        unknown = features.lang_share is None
        if self.language_share and (has_words if unknown else features.lang_share < self.language_share):
            return "off_language"
        return None

    def back_fault(self, features: Features) -> str | None:
        least = self.back_translation
        return "back_translation" if least is not None and (features.back_translation or 0.0) < least else None

    def score(self, features: Features) -> float:
        ratio = features.length_ratio or 0.0
        values = {
            "language": features.lang_share or 0.0,
            "numbers": features.numbers_kept,
            "length": min(ratio, 1 / ratio) if ratio else 0.0,
            "back": features.back_translation or 0.0,
        }
        return sum(self.weights.get(name, 0.0) * value for name, value in values.items())


@dataclass(frozen=True)
class Candidate:
    """One translation: text with its spans restored and its features, or the reason why there is none.

    masked: the text with placeholders, which is what is translated back.
    """

    number: int
    reason: str | None = None
    text: str | None = None
    masked: str | None = None
    features: Features | None = None

    @property
    def status(self) -> str:
        """One of llm.Status, or "unfaithful"."""
        if self.reason is None:
            return Status.OK
        return self.reason if self.reason in set(Status) else "unfaithful"


def choose(candidates: Sequence[Candidate], criteria: Criteria) -> Candidate:
    """The best candidate, of equals the first. Where none has a text, the one that came furthest in REASONS."""
    good = [candidate for candidate in candidates if candidate.reason is None]
    if good:
        return max(good, key=lambda candidate: (criteria.score(candidate.features), -candidate.number))
    return max(candidates, key=lambda candidate: (REASONS.index(candidate.reason), -candidate.number))
