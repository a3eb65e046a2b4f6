"""`sp3f report BASE OTHER --fail-if RULE`: a rule over the paired difference of two evaluations, for CI.

    mgsm/accuracy < -0.01 at 95 %     the mean of languages; the whole interval of OTHER - BASE lies below -0.01
    mgsm/sw/fidelity < -0.05          one language; the difference itself, certain or not

What cannot be told holds nobody up in silence: it fails, too.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.evaluation.results import BenchmarkSummary
from sp3f_verl.log import log
from sp3f_verl.report.benchmarks import METRICS, difference
from sp3f_verl.report.folders import Folder
from sp3f_verl.report.side_by_side import labels
from sp3f_verl.report.values import MEAN
from sp3f_verl.stats.bootstrap import Difference

FORM = "write it like 'mgsm/accuracy < -0.01 at 95 %'"
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_RULE = re.compile(
    rf"(?P<place>.+)/(?P<metric>[^/\s]+)\s*(?P<sign>[<>])\s*(?P<bound>[+-]?(?:{_NUMBER}))(?:\s+at\s+(?P<level>{_NUMBER})\s*%)?"
)


@dataclass(frozen=True)
class Rule:
    """place: BENCHMARK, or BENCHMARK/LANGUAGE. bound: a share. level: of the interval; None: no interval."""

    text: str
    place: str
    metric: str
    below: bool
    bound: float
    level: float | None

    @classmethod
    def of(cls, text: str) -> Self:
        """BadInput, one sentence, where the text is no rule."""
        match = _RULE.fullmatch(" ".join(text.split()))
        if match is None:
            raise BadInput(f"--fail-if {text!r} is no rule; {FORM}.")
        metric, bound, level = match["metric"], float(match["bound"]), match["level"]
        if metric not in METRICS:
            known = " and ".join(METRICS)
            raise BadInput(f"--fail-if {text!r}: {metric!r}{nearest(metric, METRICS)} has no pairs; {known} have.")
        if abs(bound) >= 1:
            raise BadInput(f"--fail-if {text!r}: {bound:g} is no difference of shares; 0.01 is one point of 100.")
        if level is not None and not 50 <= float(level) < 100:
            raise BadInput(f"--fail-if {text!r}: at {level} % there is no interval; give 50 to below 100, such as 95.")
        return cls(text, match["place"], metric, match["sign"] == "<", bound, level and float(level) / 100)

    def place_in(self, summary: BenchmarkSummary) -> tuple[str, str]:
        """(benchmark, language). A benchmark's name may hold slashes, too. BadInput where there is none such."""
        benchmark, slash, language = self.place.rpartition("/")
        if self.place in summary.benchmarks:
            return self.place, MEAN
        if slash and benchmark in summary.benchmarks:
            if language in (known := summary.benchmarks[benchmark].languages):
                return benchmark, language
            raise BadInput(f"--fail-if {self.text!r}: {benchmark} has no {language!r}; it has {', '.join(known)}.")
        names = ", ".join(summary.benchmarks) or "no benchmark"
        near = nearest(self.place, summary.benchmarks)
        raise BadInput(f"--fail-if {self.text!r}: there is no {self.place!r}{near}; the first folder has {names}.")

    def holds(self, gap: Difference) -> bool:
        edge = gap.mean if self.level is None else gap.high if self.below else gap.low
        return edge < self.bound if self.below else edge > self.bound


def check(rules: Sequence[Rule], folders: Iterable[Folder]) -> None:
    """BadInput, one sentence, where a rule holds for one of the evaluations against the first, or cannot be told."""
    folders = [folder for folder in folders if folder.kind == "evaluate"]
    if rules and len(folders) < 2:
        raise BadInput("--fail-if compares evaluations; give the baseline's folder, and behind it the other one's.")
    names = labels([folder.path for folder in folders])
    sentences = []
    for rule in rules:
        for name, folder in zip(names[1:], folders[1:], strict=True):
            held, text = _held(rule, _side(folders[0]), _side(folder))
            text = f"--fail-if {rule.text!r}: {name} minus {names[0]} {text}"
            sentences += [text] if held else []
            if not held:
                log.info("%s: it does not hold", text)
    if sentences:
        raise BadInput(f"{'; and '.join(sentences)}.")


def _side(folder: Folder) -> tuple[Path, BenchmarkSummary]:
    return folder.path, folder.content


def _held(rule: Rule, base: tuple[Path, BenchmarkSummary], other: tuple[Path, BenchmarkSummary]) -> tuple[bool, str]:
    """(whether it fails, the difference in words)."""
    level = rule.level or 0.95
    benchmark, language = rule.place_in(base[1])
    gap = difference(other, base, benchmark, language, rule.metric, level)
    if gap is None or (rule.level is not None and gap.n < 2):
        return True, "cannot be told, as they have not the answers (output.jsonl) to the same problems in common"
    interval = f"[{gap.low:+.4f}; {gap.high:+.4f}] at {100 * level:g} %"
    held = rule.holds(gap)
    return held, f"is {gap.mean:+.4f} {interval} over {gap.n} problems" + (", so that it holds" if held else "")
