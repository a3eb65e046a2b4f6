"""What a stream of questions came to: counts, tokens, price, and when to give up."""

import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.llm.ask import Answer, Status
from sp3f_verl.llm.outcome import FailureKind, Usage
from sp3f_verl.llm.price import Price

FEWEST = 50  # answers before a share of failures says anything
ALIKE = 8  # first answers that are all one refusal of every request: then no later one fares better
RECENT = 1000  # answers of which the share is: an endpoint that dies late is noticed as soon as one that never lived
MOST_REASONS = 200  # different sentences that are counted; a server that never repeats itself fills no memory


OF_EVERY_REQUEST = frozenset({FailureKind.NOT_FOUND, FailureKind.FORBIDDEN, FailureKind.BAD_REQUEST})


class Reasons:
    """Sentences by kind of failure. Those that differ in their numbers alone (tokens, ids) count as one."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._sentences: dict[tuple[str, str], str] = {}  # the first of those that count as one

    def add(self, kind: str, sentence: str) -> None:
        """Counts one failure."""
        key = str(kind), re.sub(r"\w*\d\w*", "#", sentence)
        if key in self._counts or len(self._counts) < MOST_REASONS:
            self._counts[key] += 1
            self._sentences.setdefault(key, sentence)

    def is_one(self) -> bool:
        """Whether all that was counted is one sentence."""
        return len(self._counts) == 1

    def commonest(self, kinds: Iterable[str] | None = None) -> str:
        """The sentence that came most often, of these kinds or of all; "" where there is none."""
        wanted = None if kinds is None else {str(kind) for kind in kinds}
        counts = [(count, key) for key, count in self._counts.items() if wanted is None or key[0] in wanted]
        return self._sentences[max(counts, key=lambda pair: (pair[0], pair[1][1]))[1]] if counts else ""


class TooManyFailures(BadInput):
    """More requests failed than --max-failure-share allows, or no request can succeed. What was answered is kept."""


@dataclass
class Totals:
    """Counts of what a backend has answered; usage and usd are of fresh answers, those that were paid for."""

    price: Price | None = None
    max_failure_share: float = 0.1
    statuses: Counter[Status] = field(default_factory=Counter)
    failures: Counter[FailureKind] = field(default_factory=Counter)
    fresh: int = 0
    reused: int = 0
    usage: Usage = field(default_factory=Usage)
    _recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    _recent_failures: int = 0
    reasons: Reasons = field(default_factory=Reasons, compare=False)

    def add(self, answer: Answer) -> None:
        """Counts the answer; TooManyFailures where it is one failure too many."""
        self.statuses[answer.status] += 1
        is_error = answer.status is Status.ERROR
        if len(self._recent) == RECENT:
            self._recent_failures -= self._recent[0]
        self._recent.append(is_error)  # also what is reused: a run that resumes asks for little but what cannot succeed
        self._recent_failures += is_error
        if answer.reused:
            self.reused += 1
            return
        self.fresh += 1
        self.usage = self.usage + answer.usage + answer.wasted
        if answer.failure is not None:
            self.failures[answer.failure] += 1
            self.reasons.add(answer.failure, answer.message)
        if is_error:
            if answer.failure is FailureKind.AUTHENTICATION:
                raise TooManyFailures(f"The server does not take the key ({answer.message}): mend --api-key-env.")
            if answer.failure is FailureKind.NO_MONEY:
                raise TooManyFailures(
                    f"The account or the key has nothing left on it ({answer.message}): pay or raise its limit and "
                    "start again, what was answered is kept and not asked for again."
                )
            if self._is_hopeless():
                raise self._too_many()
            if len(self._recent) >= FEWEST and self._recent_failures > self.max_failure_share * len(self._recent):
                raise self._too_many()

    def finish(self) -> None:
        """TooManyFailures where not one answer was any good, however few they were."""
        if self._recent and self.statuses[Status.ERROR] == self.fresh + self.reused:
            raise self._too_many()

    def _is_hopeless(self) -> bool:
        """Whether a server turns every request down in the same words, as for a model that it does not have."""
        all_failed = len(self._recent) == self._recent_failures == self.failures.total() >= ALIKE
        of_the_request = self.failures.keys() <= OF_EVERY_REQUEST and self.max_failure_share < 1
        return all_failed and of_the_request and self.reasons.is_one()

    def _too_many(self) -> TooManyFailures:
        return TooManyFailures(
            f"{self._recent_failures} of the last {len(self._recent)} requests failed "
            f"({self.failed()}), "
            f"more than --max-failure-share={self.max_failure_share:g}: mend the cause and start again, "
            "what was answered is kept and not asked for again."
        )

    def failed(self) -> str:
        """The errors by kind, and what the server said most often about them; "" where there are none."""
        counts = Counter({kind: count for kind, count in self.failures.items() if kind is not FailureKind.REFUSED})
        return self._with_reason(counts)

    def without_text(self) -> str:
        """The same, refusals included."""
        return self._with_reason(self.failures)

    def _with_reason(self, failures: Counter[FailureKind]) -> str:
        counts = ", ".join(f"{kind} {count}" for kind, count in failures.most_common())
        return f"{counts}; most often: {self.reasons.commonest(failures)}" if counts else ""

    @property
    def usd(self) -> float | None:
        """Price of the fresh answers, None without a --price-in and --price-out."""
        return None if self.price is None else self.price.usd(self.usage)

    def expected_usd(self, total: int) -> float | None:
        """What `total` answers will have cost in the end, judged by the fresh ones so far; None where none is known."""
        if self.price is None or not self.fresh:
            return None
        return self.usd * max(1.0, (total - self.reused) / self.fresh)

    def as_dict(self) -> dict[str, Any]:
        """For a manifest: plain JSON."""
        usage = self.usage
        return {
            "answers": {str(status): count for status, count in sorted(self.statuses.items())},
            "failures": {str(kind): count for kind, count in sorted(self.failures.items())},
            "reasons": {str(kind): self.reasons.commonest([kind]) for kind in sorted(self.failures)},
            "asked": self.fresh,
            "from_store": self.reused,
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "completion_tokens": usage.completion_tokens,
            "usd": self.usd,
        }
