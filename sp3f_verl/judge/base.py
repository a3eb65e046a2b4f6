"""A judge is a class: it compares the responses of a group, and returns their win rates with what it was asked.

    class LongerWins(Judge):
        '''Prefers the longer response.'''

        async def judge(self, responses, row):
            n = len(responses)
            lengths = [len(response) for response in responses]
            return Judged.of(n, [(i, j, Verdict.A if lengths[i] > lengths[j] else Verdict.B) for i, j in all_pairs(n)])

A kind of your own is such a class, where Python and Ray's processes find it (PYTHONPATH), and a YAML,
`judge/longer.yaml` in a folder that the command line names (`judge=longer hydra.searchpath=[file:///the/folder]`):

    # @package sp3f
    judge:
      name: longer
      kind: my_package.my_module:LongerWins
    reward:
      weights:
        judge: 1.0

The kinds that come with the package stand in the table of `sp3f_verl/judge/__init__.py`. A judge that asks a model
subclasses `ModelJudge`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sp3f_verl.judge.budget import Budget
from sp3f_verl.judge.metrics import StepMetrics
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.judge.verdicts.verdict import Verdict
from sp3f_verl.judge.verdicts.win_rates import NEUTRAL, Comparison, win_rates
from sp3f_verl.llm.outcome import Usage
from sp3f_verl.llm.store import Store

NO_USAGE = Usage()


class GroupNotJudged(RuntimeError):
    """Too few of a group's comparisons have a verdict. The group must not train. The message is one sentence.

    records: of the questions that were asked all the same.
    """

    def __init__(self, sentence: str, records: Sequence["Asked"] = ()):
        super().__init__(sentence)
        self.records = list(records)


class JudgeStopped(RuntimeError):
    """The judges answer no more: wrong key, budget, or too many failures. The message is one sentence."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to a judge, and what came of it.

    value: a Verdict, P(the first is better), a ranking or a language code; None where it failed. failure: why (a
    FailureKind's value, "malformed" or "cut_off"). answer: what the judge wrote, or the server said. usage: tokens of
    all attempts, also where a stored answer took none now. seconds: of the last answer. calls: answers that came now.
    retries: the failures (a FailureKind's value) after which it was sent again.
    responses: indices in the group of what was shown, in that order; equal texts are asked about once, under the first.
    texts: the same as texts, without thoughts. usd: what it cost at the judge's price, None where that is not known.
    """

    value: Any
    failure: str | None = None
    answer: str = ""
    usage: Usage = NO_USAGE
    seconds: float = 0.0
    calls: int = 0
    retries: tuple[str, ...] = ()
    responses: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    usd: float | None = None


@dataclass(frozen=True)
class Judged:
    """What a judge says of a group of n.

    rates: a win rate in [0, 1] for each response. valid: how many valid comparisons, settled without a question or not,
    each response was in. comparisons: those that were made, a list for each judge (the language judge makes none).
    records: a question each; empty for a judge that asks none.
    """

    rates: list[float]
    comparisons: list[list[Comparison]] = field(default_factory=list)
    valid: list[int] = field(default_factory=list)
    records: list[Asked] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        n: int,
        comparisons: Sequence[Comparison],
        credit: str = "both",
        settled: Sequence[Comparison] = (),
        credited: Sequence[Comparison] | None = None,
    ) -> "Judged":
        """The win rates of the comparisons that a judge made and those that were settled without it (`win_rates`).

        credited: the comparisons as the rates take them, where that is not as they were made.
        """
        valid = [0] * n
        for i, j, verdict in (*comparisons, *settled):
            if verdict is not Verdict.FAILED:
                valid[i] += 1
                valid[j] += 1
        return cls(win_rates(n, (*(credited or comparisons), *settled), credit), [list(comparisons)], valid)


def average(results: Sequence[Judged], weights: Sequence[float]) -> Judged:
    """Several judges on one group: win rates averaged by weight, for each response over the judges that have a valid
    comparison of it: a judge that failed says nothing, and its 0.5 must not pull the others' rates to the middle."""
    if len(results) == 1:
        return results[0]
    rates = []
    for index in range(len(results[0].rates)):
        rated = [
            (weight, result.rates[index])
            for weight, result in zip(weights, results, strict=True)
            if result.valid[index]
        ]
        total = sum(weight for weight, _ in rated)
        rates.append(sum(weight * rate for weight, rate in rated) / total if rated else NEUTRAL)
    return Judged(
        rates,
        [comparisons for result in results for comparisons in result.comparisons],
        [sum(counts) for counts in zip(*(result.valid for result in results), strict=True)],
        [record for result in results for record in result.records],
    )


@dataclass
class Run:
    """What the judges of a run share.

    served: base URLs of the models that the run itself serves, by `Judge.served_by`; control_tokens: of their
        tokenizers.
    metrics: counts since the last step; a judge that asks a model adds to them as it goes.
    """

    served: Mapping[str, Sequence[str]] = field(default_factory=dict)
    control_tokens: Mapping[str, Sequence[str]] = field(default_factory=dict)
    metrics: StepMetrics = field(default_factory=StepMetrics)
    budget: Budget = field(default_factory=Budget)
    store: Store | None = None


class Judge:
    """One judge of a run. A subclass must have `judge`; the rest tells others what it needs, and has defaults.

    Settings: what its YAML may hold; a subclass of JudgeSettings adds fields of its own.
    asks_a_model: whether tokens, calls and latencies are logged of it.
    served_by: "reward_model" or "rollout", the servers of a training run that it asks where it has no URL; else None.
    """

    Settings: ClassVar[type[JudgeSettings]] = JudgeSettings
    asks_a_model: ClassVar[bool] = False
    served_by: ClassVar[str | None] = None

    def __init__(self, settings: JudgeSettings | None = None):
        self.settings = self.Settings() if settings is None else settings

    async def judge(self, responses: Sequence[str], row: Mapping[str, Any]) -> Judged:
        """Win rates of the responses (n,) to the prompt of a canonical row (sp3f_verl/data/rows.py).

        Raises GroupNotJudged where this group must not train, JudgeStopped where no further one can be judged.
        """
        raise NotImplementedError

    def check(self, place: str) -> None:
        """Do the settings fit together? `place` is where they stand, as in sp3f.judge. Raises BadInput."""

    def needed_fields(self) -> tuple[str, ...]:
        """The fields of a canonical row without which it cannot judge."""
        return ()

    def needed_variables(self) -> tuple[str, ...]:
        """The environment variables that it reads."""
        return ()

    def is_served_by_the_run(self) -> bool:
        """Whether it can be asked only once the servers of a training run are up."""
        return False

    def asks_pairs(self) -> bool:
        """Whether it is asked about two responses at a time, the first shown as A."""
        return True

    async def open(self, run: Run) -> None:
        """Get ready, and ask one short question where there is somebody to ask. Raises BadInput where that fails."""

    async def close(self) -> None:
        """Called once, after the last group."""

    async def model(self) -> str:
        """The name of the model that answers, as its server has it; the judge's own name where none does."""
        return self.settings.name

    def label(self) -> str:
        """Its name in tables."""
        return self.settings.name

    def identity(self) -> dict[str, Any]:
        """What shapes its answers, as JSON; not where it is or how fast it is asked."""
        return {"judge": self.settings.name, "weight": self.settings.weight}
