"""What `judge=<name>` sets under `sp3f.judge`: every wrong value is one sentence (BadInput).

recipes/judge/shared/asking.yaml holds the same defaults and says what each setting is for.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sp3f_verl.errors import BadInput
from sp3f_verl.judge.questions.kinds import Kind, kind_of
from sp3f_verl.judge.questions.prompt import Prompt, load_prompt
from sp3f_verl.llm.options import Headers
from sp3f_verl.llm.price import Price, answers_of, longest_answer, price_of
from sp3f_verl.settings import Flag, Number, Settings, Text, Whole, mend

NONE = "none"  # the name of no judge
OF_THE_RUN = ("failure_ceiling", "budget_usd", "spending_file", "store", "transcript", "panel")  # one for all judges
WHERE_IT_IS = ("name", "kind", "base_url", "base_url_env")
OF_THE_ENDPOINT = ("model", "price", "base_url", "base_url_env", "api_key_env", "headers", "extra_body")
LEAST_CHARS = 200  # of a response that is shortened to fit; a question in which it would be shorter is not asked

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
    schedule: Literal["all_pairs", "one_order", "ring", "opponents", "listwise", "language", "consistency"] = (
        "all_pairs"
    )
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
    probe: Literal["stop", "warn"] = "stop"
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

    @staticmethod
    def from_mapping(values: Any, place: str = "sp3f.judge") -> "JudgeSettings":
        """Settings of a plain mapping (a resolved config): of the named judge's own class of settings, since what
        fits together depends on the judge. Raises BadInput that names the field, value and mend."""
        if not isinstance(values, Mapping):
            return JudgeSettings.read(values, place)
        values = dict(values)
        panel = values.pop("panel", None) or []
        if not isinstance(panel, list | tuple):
            raise BadInput(f"{place}.panel={panel!r} is not a list; write {place}.panel=[{{name: value}}].")
        settings = _read_one(values, place)
        if panel and settings.name == NONE:
            raise BadInput(f"{place}.panel has judges, but judge=none; make one of them the first, judge=<name>.")
        members = [_read_member(values, overrides, f"{place}.panel[{k}]") for k, overrides in enumerate(panel)]
        return settings.changed(panel=tuple(members))

    def members(self) -> tuple["JudgeSettings", ...]:
        """The judges of the run: this one and its panel."""
        return (self, *self.panel) if self.name != NONE else ()

    def changed(self, **values: Any) -> "JudgeSettings":
        """A copy with these values, which are not checked."""
        return self.model_copy(update=values)

    @property
    def question(self) -> Kind:
        """What a model is asked."""
        return kind_of(self.schedule, self.verdict)

    @property
    def term(self) -> str:
        """The reward term that its rates are."""
        return self.question.term

    def known_price(self) -> Price | None:
        return self.price or price_of(self.prices, self.model or "")

    def longest_answer(self) -> int:
        """Tokens that an answer may have at most: what the request says, `extra_body` included."""
        limit = self.question.longest or self.max_tokens
        return longest_answer(limit, self.extra_body) or limit

    def most_generated(self) -> int:
        """Tokens that a request may make at most: several answers, where `extra_body` asks for them."""
        return answers_of(self.extra_body) * self.longest_answer()

    def load_prompt(self) -> Prompt:
        """The prompt file at `prompt`, or the one that comes with the package for this schedule and verdict."""
        return load_prompt(self.prompt or self.question.prompts[not self.privileged], privileged=self.privileged)


def _read_one(values: dict[str, Any], place: str) -> JudgeSettings:
    from sp3f_verl.judge import judge_class  # here: the judges stand above their settings

    named = JudgeSettings.read({key: values[key] for key in ("name", "kind") if key in values}, place)
    if named.name == NONE:
        if named.kind is not None:
            raise BadInput(f"{place}.kind={named.kind} has no {place}.name; give the judge one.")
        return JudgeSettings.read(values, place)
    judge = judge_class(named, place)
    settings = judge.Settings.read(values, place)
    judge(settings).check(place)
    return settings


def _read_member(first: dict[str, Any], overrides: Any, place: str) -> JudgeSettings:
    """A judge of the panel: the first one's settings, but for what it says itself; one that is elsewhere inherits
    nothing OF_THE_ENDPOINT."""
    if not isinstance(overrides, Mapping):
        raise BadInput(f"{place}={overrides!r} is not a mapping; give the settings in which this judge differs.")
    if shared := [name for name in OF_THE_RUN if name in overrides]:
        raise BadInput(f"{place}.{shared[0]} would hold for one judge, but the run has one for all; remove it.")
    if overrides.get("name", first["name"]) != first["name"]:
        overrides = {"kind": None, **overrides}
    moved = () if overrides.get("model", first.get("model")) == first.get("model") else ("price",)
    if any(name in overrides and overrides[name] != first.get(name) for name in WHERE_IT_IS):
        moved = OF_THE_ENDPOINT  # above all, a key goes to no other host
    inherited = {name: value for name, value in first.items() if name not in moved}
    if first.get("kind") is not None and "kind" in overrides:  # settings of another class
        inherited = {name: value for name, value in inherited.items() if name in JudgeSettings.model_fields}
    return _read_one({**inherited, **overrides}, place)
