"""The numbers that show, every step, what the judge did: failures, money, bias, and agreement with the rule rewards."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sp3f_verl.judge.verdicts.jamming import is_of_the_way
from sp3f_verl.judge.verdicts.win_rates import Comparison, credit_of_a, judge_metrics
from sp3f_verl.llm.outcome import FailureKind, Usage
from sp3f_verl.llm.totals import Reasons

MALFORMED = "malformed"  # every answer to a question held no verdict; the other failures are FailureKinds
CUT_OFF = "cut_off"  # the answer reached max_tokens before its verdict; the same limit would cut another off, too
FAILURES = (*(kind.value for kind in FailureKind), MALFORMED, CUT_OFF)
REMEDIES = {
    CUT_OFF: "answers are cut off before their verdict: raise sp3f.judge.max_tokens",
    MALFORMED: "answers hold no verdict: see them in the transcript",
}


@dataclass(frozen=True)
class ScoredGroup:
    """A judged group as the reward manager saw it: the comparisons of each judge, and one entry a response in the
    other lists, in the group's order."""

    comparisons: list[list[Comparison]]
    correct: list[bool]
    scores: list[float]
    chars: list[int]


@dataclass
class StepMetrics:
    """Counts since the last step. `questions` are comparisons put to a model, `calls` the answers that came back: a
    question may take several (asked again after a malformed one, or shortened), or none (a stored answer)."""

    questions: int = 0
    failed: Counter = field(default_factory=Counter)  # questions without a verdict, by kind
    reasons: Reasons = field(default_factory=Reasons)  # what the servers said
    calls: int = 0
    malformed: int = 0  # calls whose answer held no verdict
    retries: Counter = field(default_factory=Counter)  # transport retries, by kind
    stored: int = 0
    skipped: int = 0  # pairs settled without a question: identical or empty responses
    shortened: int = 0  # questions with a response of which the middle was left out
    groups_failed: int = 0
    groups_jammed: int = 0  # in which failures of the question gather on a response
    concentration: list[float] = field(default_factory=list)  # of the groups with failures of the question
    usage: Usage = field(default_factory=Usage)
    usd: float = 0.0
    seconds: list[float] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)  # of all groups and judges, responses numbered through
    responses: int = 0
    groups: int = 0
    zero_variance: int = 0
    agreed: float = 0.0
    differing: int = 0
    cyclic: int = 0
    triads: int = 0
    chars: dict[str, list[int]] = field(default_factory=lambda: {"preferred": [], "other": []})

    def failure_share(self) -> float:
        """Share of the questions that ended without a verdict."""
        return self.failed.total() / self.questions if self.questions else 0.0

    def fail(self, kind: str, sentence: str) -> None:
        """Count a question without a verdict; sentence: what the server said, or the answer."""
        self.failed[kind] += 1
        self.reasons.add(kind, REMEDIES.get(kind, sentence))

    def start_step(self) -> None:
        """Begin anew, in place: the judges hold on to this object."""
        vars(self).update(vars(StepMetrics()))

    def observe(self, group: ScoredGroup) -> None:
        """Take in a group that was judged and scored."""
        self.groups += 1
        self.zero_variance += max(group.scores) - min(group.scores) < 1e-9
        for comparisons in group.comparisons:
            self._observe(group, comparisons)

    def _observe(self, group: ScoredGroup, comparisons: list[Comparison]) -> None:
        n = len(group.correct)
        self.comparisons += [(i + self.responses, j + self.responses, verdict) for i, j, verdict in comparisons]
        self.responses += n
        for i, j, verdict in comparisons:
            credit = credit_of_a(verdict)
            if credit is None:
                continue
            if group.correct[i] != group.correct[j]:
                self.differing += 1
                self.agreed += credit if group.correct[i] else 1 - credit
            if credit != 0.5:
                better, worse = (i, j) if credit > 0.5 else (j, i)
                self.chars["preferred"].append(group.chars[better])
                self.chars["other"].append(group.chars[worse])
        cyclic, triads = intransitive_triads(n, comparisons)
        self.cyclic, self.triads = self.cyclic + cyclic, self.triads + triads

    def of_groups(self) -> dict[str, float]:
        """What the verdicts say. A rate of nothing is left out, so that no made-up value is averaged."""
        pooled = judge_metrics(self.responses, self.comparisons)
        valid = {(i, j) for i, j, verdict in self.comparisons if credit_of_a(verdict) is not None}
        rates = {
            "tie_rate": (pooled["ties"], pooled["pairs"] - pooled["failed"]),
            "slot_a_rate": (pooled["slot_a_rate"], pooled["pairs"] > pooled["failed"] + pooled["ties"]),
            "swap_consistency": (pooled["swap_consistency"], any((j, i) in valid for i, j in valid)),
            "agreement_with_accuracy": (self.agreed, self.differing),
            "intransitive_triads": (self.cyclic, self.triads),
            "zero_variance_groups": (self.zero_variance, self.groups),
            "chars_preferred": (sum(self.chars["preferred"]), len(self.chars["preferred"])),
            "chars_other": (sum(self.chars["other"]), len(self.chars["other"])),
        }
        return {"judge/groups": float(self.groups), **_rates(rates)}

    def of_questions(self) -> dict[str, float]:
        """What asking models took: always the same keys but for rates and latencies of nothing."""
        seconds = sorted(self.seconds)
        latencies = {"latency_p50": 0.5, "latency_p95": 0.95} if seconds else {}
        counts = {
            "questions": self.questions,
            "calls": self.calls,
            "stored": self.stored,
            "skipped_pairs": self.skipped,
            "shortened": self.shortened,
            "retries": self.retries.total(),
            "groups_failed": self.groups_failed,
            "groups_jammed": self.groups_jammed,
            "tokens_in": self.usage.prompt_tokens,
            "tokens_in_cached": self.usage.cached_tokens,
            "tokens_out": self.usage.completion_tokens,
            **{name: quantile(seconds, share) for name, share in latencies.items()},
            **{f"failed/{kind}": self.failed[kind] for kind in FAILURES},
            "failed_of_the_way": sum(count for kind, count in self.failed.items() if is_of_the_way(kind)),
            "failed_of_the_question": sum(count for kind, count in self.failed.items() if not is_of_the_way(kind)),
        }
        rates = {
            "failed_rate": (self.failed.total(), self.questions),
            "malformed_rate": (self.malformed, self.calls),
            "failure_concentration": (sum(self.concentration), len(self.concentration)),
        }
        return {f"judge/{name}": float(value) for name, value in counts.items()} | _rates(rates)


def _rates(rates: dict[str, tuple[float, float]]) -> dict[str, float]:
    return {f"judge/{name}": value / count for name, (value, count) in rates.items() if count}


def intransitive_triads(n: int, comparisons: Sequence[Comparison]) -> tuple[int, int]:
    """(cycles a > b > c > a, triads in which all three pairs are decided), by the summed credit of each pair."""
    lead = [[0.0] * n for _ in range(n)]
    for i, j, verdict in comparisons:
        credit = credit_of_a(verdict)
        if credit is not None:
            lead[i][j] += credit - 0.5
            lead[j][i] -= credit - 0.5
    cyclic = decided = 0
    for a in range(n):
        for b in range(a + 1, n):
            for c in range(b + 1, n):
                edges = (lead[a][b], lead[b][c], lead[c][a])
                if all(edges):
                    decided += 1
                    cyclic += all(edge > 0 for edge in edges) or all(edge < 0 for edge in edges)
    return cyclic, decided


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of a sorted, non-empty list lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
