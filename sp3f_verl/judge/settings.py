"""What `judge=<name>` sets under `sp3f.judge`: every wrong value is one sentence (BadInput).

recipes/judge/shared/asking.yaml holds the same defaults and says what each setting is for. `sp3f_verl.judge.
read_settings` reads them, since what fits together depends on the kind of judge.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sp3f_verl.judge.prompt import Prompt, load_prompt
from sp3f_verl.llm.options import Headers
from sp3f_verl.llm.price import Price, answers_of, longest_answer, price_of
from sp3f_verl.settings import Flag, Number, Settings, Text, Whole, mend

NONE = "none"  # the name of no judge
LEAST_CHARS = 200  # of a response that is shortened to fit; a question in which it would be shorter is not asked
GROUP_SCHEDULES = ("listwise", "language")  # no pairs: one question a group, or one a response

NULL_IS_EMPTY = BeforeValidator(lambda value: value or {})
AtLeastOne = Annotated[Whole, Field(ge=1), mend("set it to a whole number from 1")]
AtLeastZero = Annotated[Whole, Field(ge=0), mend("set it to a whole number from 0")]
Positive = Annotated[Number, Field(ge=1e-6), mend("set it to a number above 0")]
Limit = Annotated[Number | None, Field(ge=1e-6), mend("set it to a number above 0, or null for no limit")]
Share = Annotated[Number, Field(ge=0, le=1), mend("set it to a share from 0 to 1")]


class Transcript(Settings):
    """Where the judge's questions and answers are written down, and how many of them."""

    path: Text | None = None
    share: Share = 0.0
    max_mb: Number = 64.0
    files: Whole = 4


class JudgeSettings(Settings):
    """One judge. `panel` members inherit from it what they do not say themselves."""

    name: Text = NONE
    kind: Text | None = None
    """package.module:Class of a judge that is not in the package's table."""
    weight: Positive = 1.0
    privileged: Flag = True
    verdict: Literal["text", "logprob"] = "text"
    prompt: Text | None = None
    system_part: Literal["system", "user"] = "system"
    schedule: Literal["all_pairs", "one_order", "ring", "opponents", "listwise", "language"] = "all_pairs"
    offsets: AtLeastOne = 3
    opponents: AtLeastOne = 7
    credit: Literal["both", "a_only"] = "both"
    model: Text | None = None
    base_url: Text | None = None
    base_url_env: Text | None = None
    api_key_env: Text | None = None
    headers: Headers = ()
    proxy: Text | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    max_tokens: AtLeastOne = 1024
    extra_body: Annotated[dict[str, Any], NULL_IS_EMPTY] = Field(default_factory=dict)
    context_tokens: Annotated[Whole | None, Field(ge=1), mend("set it to a number above 0, or null")] = None
    bytes_per_token: Positive = 3.0
    fence: Literal["request", "group"] = "request"
    response_chars: Annotated[Whole, Field(ge=LEAST_CHARS), mend(f"set it to at least {LEAST_CHARS} characters")] = (
        12000
    )
    concurrency: AtLeastOne = 64
    requests_per_minute: Limit = None
    tokens_per_minute: Limit = None
    request_seconds: Positive = 120.0
    group_seconds: Positive = 540.0
    retries: AtLeastZero = 8
    malformed_retries: AtLeastZero = 2
    min_valid: Share = 0.5
    on_jam: Literal["drop", "loss", "lowest", "neutral"] = "drop"
    failure_ceiling: Share = 0.5
    budget_usd: Limit = None
    spending_file: Text | None = None
    price: Price | None = None
    prices: Annotated[dict[str, Price], NULL_IS_EMPTY] = Field(default_factory=dict)
    store: Text | None = None
    transcript: Annotated[Transcript, NULL_IS_EMPTY] = Transcript()
    seed: Whole = 1
    panel: tuple["JudgeSettings", ...] = ()

    def members(self) -> tuple["JudgeSettings", ...]:
        """The judges of the run: this one and its panel."""
        return (self, *self.panel) if self.name != NONE else ()

    def changed(self, **values: Any) -> "JudgeSettings":
        """A copy with these values, which are not checked."""
        return self.model_copy(update=values)

    def known_price(self) -> Price | None:
        return self.price or price_of(self.prices, self.model or "")

    def longest_answer(self) -> int:
        """Tokens that an answer may have at most: what the request says, `extra_body` included."""
        limit = 1 if self.verdict == "logprob" else self.max_tokens
        return longest_answer(limit, self.extra_body) or limit

    def most_generated(self) -> int:
        """Tokens that a request may make at most: several answers, where `extra_body` asks for them."""
        return answers_of(self.extra_body) * self.longest_answer()

    def load_prompt(self) -> Prompt:
        """The prompt file at `prompt`, or the one that comes with the package for this schedule and verdict."""
        if self.prompt:
            return load_prompt(self.prompt, privileged=self.privileged)
        if self.schedule == "language":
            return load_prompt("language")
        if self.schedule == "listwise":
            return load_prompt("listwise" if self.privileged else "listwise_plain")
        name = "privileged" if self.privileged else "plain"
        return load_prompt(name if self.verdict == "text" else f"{name}_token")
