"""What a preference set teaches beside quality: length, language, copies, ties. For any set, whoever chose its pairs.

A model can lower the DPO loss by length, language or style alone where the sides differ in that (SPEC 4g-14). The rows
go through `PreferenceReport.add` one by one, so that a step can watch what it writes; `result()` is for manifest.json.
"""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from sp3f_verl import languages
from sp3f_verl.data.notes import PairReport
from sp3f_verl.data.preference_rows import Unusable, answers_of
from sp3f_verl.errors import BadInput
from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share
from sp3f_verl.rewards.repetition import repetition
from sp3f_verl.selection.candidates import text_key

SIDES = ("chosen", "rejected")
LANGUAGE_SHARE = 0.7  # a side with less of its language is off-language
NEAR_DUPLICATE = 0.8  # character 5-gram Jaccard from which two sides are near-duplicates
REPETITIVE = 0.5  # share of a text that stood in it before
UNKNOWN = "unknown"
# Where a row says what: SPEC 5's names, then those of the layouts we read.
SOURCES = ("source", "source_dataset", "data_source", "task")

GRAM = 5  # characters
MAX_CHARS = 20_000  # of a text that are looked at
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)


@dataclass
class _Group:
    """Sums over the pairs of one language, of one source, or all."""

    pairs: int = 0
    asked: Counter = field(default_factory=Counter)  # pairs of which a thing is known
    sums: Counter = field(default_factory=Counter)
    ratios: array = field(default_factory=lambda: array("d"))
    margins: array = field(default_factory=lambda: array("d"))


class PreferenceReport:
    """Counts over the rows of a preference set, in any layout that `sp3f_verl.data.preference_rows` reads."""

    def __init__(self, others: Iterable[str] = (), check_language: bool = True):
        """others: the languages of the set, for telling neighbours apart; check_language costs 1 to 3 ms a side."""
        self.others, self.check_language = tuple(sorted(others)), check_language
        self.rows, self.unusable, self.unrecognised = 0, Counter(), set()
        self.groups: dict[str, dict[str, _Group]] = {
            name: defaultdict(_Group) for name in ("all", "language", "source")
        }
        self.prompts, self.pairs, self.roles = Counter(), Counter(), {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Counts a row: prompt, chosen, rejected and, where they are there, languages, scores, tokens, source.

        Both sides alike, no prompt and what else cannot be trained on is counted as unusable, by reason.
        BadInput where a side is missing or a language has no entry in the table.
        """
        for side in SIDES:
            if side not in row:
                raise BadInput(f"row {self.rows} has no {side!r}; a preference row has prompt, chosen and rejected.")
        self.rows += 1
        codes = [self._code(row, side) for side in SIDES]
        prompt_code = row.get("prompt_language") or row.get("prompt_lang") or codes[0]
        try:
            answers = answers_of(row, SIDES)
        except Unusable as reason:
            self.unusable[str(reason)] += 1
            return
        source = next((str(row[name]) for name in SOURCES if row.get(name)), UNKNOWN)
        groups = (("all", "all"), ("language", prompt_code or UNKNOWN), ("source", source))
        facts = self._facts(row, answers.responses, codes)
        for kind, name in groups:
            _count(self.groups[kind][name], facts)
        self._remember("\n".join(f"{turn['role']}: {turn['content']}" for turn in answers.prompt), answers.responses)

    def result(self) -> dict:
        """JSON-ready; shares are of the pairs of which the thing is known, None where it is known of none."""
        groups = {
            kind: {name: _summary(group) for name, group in sorted(named.items())}
            for kind, named in self.groups.items()
        }
        overall = groups["all"].get("all") or _summary(_Group())
        repeated = Counter({key: n for key, n in self.prompts.items() if n > 1})
        report = PairReport(
            rows=self.rows,
            unusable=dict(sorted(self.unusable.items())),
            overall=overall,
            by_language=groups["language"],
            by_source=groups["source"],
            prompts=len(self.prompts),
            rows_with_a_repeated_prompt=repeated.total(),
            repeated_rows=sum(n - 1 for n in self.pairs.values()),
            texts_chosen_and_rejected=sum(roles == 3 for roles in self.roles.values()),
            not_recognised=sorted(self.unrecognised),
        )
        return report.model_copy(update={"warnings": warnings_of(report)}).model_dump()

    def _facts(
        self, row: Mapping[str, Any], sides: tuple[str, ...], codes: list[str | None]
    ) -> dict[str, float | None]:
        """Name -> number or None (not known); shares are the means of the 0 and 1 among them."""
        chosen, rejected = sides
        facts: dict[str, float | None] = {f"{side}_chars": len(text) for side, text in zip(SIDES, sides, strict=True)}
        facts["ratio"] = math.log(max(1, len(chosen)) / max(1, len(rejected)))
        facts["chosen_longer"] = _first_is_more(len(chosen), len(rejected))
        facts["near_duplicate"] = float(similarity(chosen, rejected) >= NEAR_DUPLICATE)
        for side, text, code in zip(SIDES, sides, codes, strict=True):
            facts[f"{side}_tokens"] = row.get(f"{side}_tokens")
            facts[f"{side}_repetitive"] = float(repetition(text) >= REPETITIVE)
            facts[f"{side}_off_language"] = self._off_language(text, code)
        facts["same_language"] = None if None in codes else float(codes[0] == codes[1])
        scores = [row.get(f"{side}_score") for side in SIDES]
        scored = None not in scores
        facts["margin"] = scores[0] - scores[1] if scored else None
        facts["tie"] = float(scores[0] == scores[1]) if scored else None
        facts["wrong_order"] = float(scores[0] < scores[1]) if scored else None
        return facts

    def _code(self, row: Mapping[str, Any], side: str) -> str | None:
        names = (f"{side}_language", f"{side}_lang", "language")
        code = next((row[name] for name in names if row.get(name)), None)
        if code is not None:
            languages.get(code, f"row {self.rows - 1}")
        return code

    def _off_language(self, text: str, code: str | None) -> float | None:
        if code is None or not self.check_language or code in self.unrecognised:
            return None
        try:
            share = language_share(text, code, self.others)
        except UnsupportedLanguage:
            self.unrecognised.add(code)
            return None
        return None if share is None else float(share < LANGUAGE_SHARE)

    def _remember(self, prompt: str, sides: tuple[str, ...]) -> None:
        key, texts = text_key(prompt), [text_key(side) for side in sides]
        self.prompts[key] += 1
        self.pairs[key, *texts] += 1
        for role, text in zip((1, 2), texts, strict=True):
            self.roles[key, text] = self.roles.get((key, text), 0) | role


def _count(group: _Group, facts: dict[str, float | None]) -> None:
    group.pairs += 1
    for name, value in facts.items():
        if value is not None:
            group.asked[name] += 1
            group.sums[name] += value
    group.ratios.append(facts["ratio"])
    if facts["margin"] is not None:
        group.margins.append(facts["margin"])


MEANS = (
    *(f"{side}_{what}" for what in ("chars", "tokens", "off_language", "repetitive") for side in SIDES),
    *("chosen_longer", "same_language", "near_duplicate", "tie", "wrong_order", "margin"),
)


def _summary(group: _Group) -> dict[str, float | None]:
    means = {name: group.sums[name] / group.asked[name] if group.asked[name] else None for name in MEANS}
    ratio = math.exp(median(group.ratios)) if group.ratios else None
    margin = median(group.margins) if group.margins else None
    if group.margins:
        means["margin"] = math.fsum(group.margins) / len(group.margins)  # the same in every order of the rows
    return {"pairs": group.pairs, "length_ratio": ratio, "median_margin": margin, **means}


def _first_is_more(one: float, other: float) -> float:
    return 0.5 if one == other else float(one > other)


def similarity(one: str, other: str) -> float:
    """Jaccard similarity in [0, 1] of the sets of character 5-grams; runs of white space count as one space.

    1 for equal texts, also where both are shorter than a 5-gram.
    """
    one, other = " ".join(one.split())[:MAX_CHARS], " ".join(other.split())[:MAX_CHARS]
    if one == other:
        return 1.0
    a, b = _grams(one), _grams(other)
    both = len(a) + len(b)
    common = both - len(np.union1d(a, b))
    return common / (both - common) if both > common else 0.0


def _grams(text: str) -> np.ndarray:
    """Distinct 64-bit hashes of the 5-grams of a text."""
    points = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.uint32).astype(np.uint64)
    count = len(points) - GRAM + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    hashes = points[:count].copy()
    for shift, factor in enumerate(_FACTORS, 1):
        hashes = hashes * factor + points[shift : shift + count]
    return np.unique(hashes)


FEWEST = 20  # pairs of a language below which its shares warn of nothing
# (number, when it warns, what to look at). Ours; no source has any. Shares in [0, 1].
LIMITS: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("chosen_longer", lambda value: not 0.35 <= value <= 0.65, "length tells the sides apart"),
    ("length_ratio", lambda value: not 2 / 3 <= value <= 3 / 2, "the sides differ in length"),
    ("chosen_off_language", lambda value: value > 0.02, "the pairs teach to leave the language"),
    ("rejected_off_language", lambda value: value > 0.10, "the pairs are won by language, not by quality"),
    ("same_language", lambda value: value < 0.5, "most pairs compare two languages"),
    ("chosen_repetitive", lambda value: value > 0.02, "chosen sides repeat themselves"),
    ("rejected_repetitive", lambda value: value > 0.10, "many rejected sides are broken: an easy lesson"),
    ("near_duplicate", lambda value: value > 0.05, "such pairs say little"),
    ("tie", lambda value: value > 0.0, "chosen and rejected have the same score"),
    ("wrong_order", lambda value: value > 0.0, "chosen has the lower score"),
)
COUNTS = {
    "rows_with_a_repeated_prompt": "a split has to keep them together",
    "repeated_rows": "they count twice in training",
    "texts_chosen_and_rejected": "the same answer to the same prompt wins in one row and loses in another",
}


def warnings_of(report: PairReport) -> list[str]:
    """One line for each number over its limit, of all pairs, or of a language or source where those of all are not."""
    overall = [limit for limit in LIMITS if _warns(report.overall, limit)]
    warnings = [_line("", report.overall, limit) for limit in overall]
    for kind, groups in (("language", report.by_language), ("source", report.by_source)):
        for name, group in groups.items():
            if group["pairs"] >= FEWEST:
                warnings += [
                    _line(f"{kind} {name}: ", group, limit)
                    for limit in LIMITS
                    if limit not in overall and _warns(group, limit)
                ]
    counts = ((name, getattr(report, name), what) for name, what in COUNTS.items())
    warnings += [f"{name} is {count}: {what}" for name, count, what in counts if count]
    warnings += [f"unusable: {n} rows {reason}" for reason, n in report.unusable.items()]
    warnings += [
        f"language {code} cannot be recognised, its off-language rate is not known" for code in report.not_recognised
    ]
    return warnings if report.overall["pairs"] else ["there is not one usable pair", *warnings]


def _warns(group: dict, limit: tuple) -> bool:
    name, over, _ = limit
    return group[name] is not None and over(group[name])


def _line(where: str, group: dict, limit: tuple) -> str:
    name, _, what = limit
    return f"{where}{name} is {group[name]:.3g}: {what}"
