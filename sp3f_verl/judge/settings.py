"""What `judge=<name>` sets under `sp3f.judge`, checked: every wrong value is one sentence (BadInput).

recipes/judge/shared/asking.yaml holds the defaults and says what each setting is for.
"""

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.judge.prompt import Prompt, load_prompt
from sp3f_verl.judge.schedule import SCHEDULES
from sp3f_verl.llm.endpoint import VARIABLE
from sp3f_verl.llm.price import Price

MODEL_JUDGES = ("openai", "local", "policy")  # these ask a model; they differ only in where it is
JUDGES = (*MODEL_JUDGES, "reference", "none")
CREDITS = ("both", "a_only")
VERDICTS = ("text", "logprob")
FENCES = ("request", "group")
LEAST_CHARS = 200  # of a response that is shortened to fit; a question in which it would be shorter is not asked
GROUP_SCHEDULES = ("listwise", "language")  # no pairs: one question a group, or one a response
OF_THE_RUN = ("failure_ceiling", "budget_usd", "spending_file", "store", "transcript", "panel")  # one for all judges
WHERE_IT_IS = ("name", "base_url", "base_url_env")
OF_THE_ENDPOINT = ("model", "price", "base_url", "base_url_env", "api_key_env", "extra_body")


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """Where the judge's questions and answers are written down, and how many of them."""

    path: str | None = None
    share: float = 0.0
    max_mb: float = 64.0
    files: int = 4


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """One judge. `panel` members inherit from it; one that is elsewhere not what is OF_THE_ENDPOINT."""

    name: str = "none"
    weight: float = 1.0
    privileged: bool = True
    verdict: str = "text"
    prompt: str | None = None
    schedule: str = "all_pairs"
    offsets: int = 3
    opponents: int = 7
    credit: str = "both"
    model: str | None = None
    base_url: str | None = None
    base_url_env: str | None = None
    api_key_env: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int = 1024
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    context_tokens: int | None = None
    bytes_per_token: float = 3.0
    fence: str = "request"
    response_chars: int = 12000
    concurrency: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    request_seconds: float = 120.0
    group_seconds: float = 540.0
    retries: int = 8
    malformed_retries: int = 2
    min_valid: float = 0.5
    failure_ceiling: float = 0.5
    budget_usd: float | None = None
    spending_file: str | None = None
    price: Price | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)
    store: str | None = None
    transcript: Transcript = Transcript()
    seed: int = 1
    panel: tuple["JudgeSettings", ...] = ()

    @property
    def asks_a_model(self) -> bool:
        return self.name in MODEL_JUDGES

    def members(self) -> tuple["JudgeSettings", ...]:
        """The judges of the run: this one and its panel."""
        return (self, *self.panel) if self.name != "none" else ()

    def known_price(self) -> Price | None:
        return self.price or self.prices.get(self.model or "")

    def longest_answer(self) -> int:
        """Tokens that an answer may have at most: what the request says, `extra_body` included."""
        limit = 1 if self.verdict == "logprob" else self.max_tokens
        body = {"max_tokens": limit, **self.extra_body}
        limits = [body.get(name) for name in ("max_tokens", "max_completion_tokens")]
        return max([each for each in limits if isinstance(each, int)], default=limit)

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

    def base_urls(self) -> tuple[str, ...]:
        """The endpoint's URLs from `base_url` or the environment (several, with commas, serve one model); empty where
        the run itself serves it."""
        urls = self.base_url or os.environ.get(self.base_url_env or "", "")
        if urls.strip():
            return tuple(urls.replace(",", " ").split())
        if self.name != "openai":
            return ()
        raise BadInput(
            "judge=openai has no URL; set sp3f.judge.base_url, or the environment variable named by "
            f"sp3f.judge.base_url_env ({self.base_url_env}), in the process that asks, too."
        )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "sp3f.judge") -> "JudgeSettings":
        """Settings of a plain mapping (a resolved config). Raises BadInput that names the field, value and mend."""
        values = dict(values)
        panel = values.pop("panel", None) or []
        if not isinstance(panel, list | tuple):
            raise BadInput(f"{where}.panel={panel!r} is not a list; write {where}.panel=[{{name: value}}].")
        settings = cls(**_fields(cls, values, where))
        settings._check(where)
        if panel and settings.name == "none":
            raise BadInput(f"{where}.panel has judges, but judge=none; make one of them the first, judge=<name>.")
        members = [settings._member(values, overrides, f"{where}.panel[{k}]") for k, overrides in enumerate(panel)]
        return dataclasses.replace(settings, panel=tuple(members))

    def _member(self, values: dict[str, Any], overrides: Any, where: str) -> "JudgeSettings":
        if not isinstance(overrides, Mapping):
            raise BadInput(f"{where}={overrides!r} is not a mapping; give the settings in which this judge differs.")
        if shared := [name for name in OF_THE_RUN if name in overrides]:
            raise BadInput(f"{where}.{shared[0]} would hold for one judge, but the run has one for all; remove it.")
        moved = () if overrides.get("model", self.model) == self.model else ("price",)
        if any(overrides.get(name, getattr(self, name)) != getattr(self, name) for name in WHERE_IT_IS):
            moved = OF_THE_ENDPOINT  # above all, a key goes to no other host
        kept = {name: value for name, value in values.items() if name not in moved}
        member = JudgeSettings(**_fields(JudgeSettings, {**kept, **overrides}, where))
        member._check(where)
        return member

    def _check(self, where: str) -> None:
        def one_of(name: str, known: tuple[str, ...]) -> None:
            value = getattr(self, name)
            if value not in known:
                raise BadInput(f"{where}.{name}={value}{nearest(value, known)}; it is one of {', '.join(known)}.")

        def at_least(name: str, least: float, mend: str) -> None:
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise BadInput(f"{where}.{name}={value}; set it to {mend}.")

        one_of("name", JUDGES)
        if self.name == "none":
            return
        if self.api_key_env is not None and not VARIABLE.fullmatch(self.api_key_env):  # the key itself, perhaps
            raise BadInput(
                f"{where}.api_key_env is not the name of an environment variable; give the name, never a key."
            )
        one_of("credit", CREDITS)
        if self.asks_a_model:
            one_of("verdict", VERDICTS)
            one_of("fence", FENCES)
            one_of("schedule", (*SCHEDULES, *GROUP_SCHEDULES))
            pairwise = "pairwise" if self.verdict == "text" else "token"
            wanted = self.schedule if self.schedule in GROUP_SCHEDULES else pairwise
            prompt = self.load_prompt()
            kind = prompt.kind
            if self.schedule in GROUP_SCHEDULES and self.credit != "both":
                raise BadInput(
                    f"{where}.credit={self.credit} needs pairs, but schedule={self.schedule} has none; use both."
                )
            if kind != "language" and prompt.privileged != self.privileged:
                raise BadInput(
                    f"{where}.prompt={self.prompt}, privileged={str(self.privileged).lower()} do not agree: "
                    "a prompt shows the solution to a privileged judge, and to no other."
                )
            if kind != wanted:
                raise BadInput(
                    f"{where}.prompt={self.prompt} is a prompt of kind {kind}, but schedule={self.schedule} with "
                    f"verdict={self.verdict} needs one of kind {wanted}; change one of them."
                )
        for name in ("offsets", "opponents", "max_tokens", "concurrency"):
            at_least(name, 1, "a whole number from 1")
        for name in ("retries", "malformed_retries"):
            at_least(name, 0, "a whole number from 0")
        at_least("response_chars", LEAST_CHARS, f"at least {LEAST_CHARS} characters")
        for name in ("weight", "request_seconds", "group_seconds", "bytes_per_token", "context_tokens"):
            at_least(name, 1e-6, "a number above 0")
        for name in ("requests_per_minute", "tokens_per_minute", "budget_usd"):
            at_least(name, 1e-6, "a number above 0, or null for no limit")
        for name in ("min_valid", "failure_ceiling"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{where}.{name}={getattr(self, name)}; set it to a share from 0 to 1.")
        if not 0 <= self.transcript.share <= 1:
            raise BadInput(f"{where}.transcript.share={self.transcript.share}; set it to a share from 0 to 1.")
        is_served = self.name != "openai" and not (self.base_url or self.base_url_env)  # by the run itself: no dollar
        if self.budget_usd is not None and self.asks_a_model and not is_served and self.known_price() is None:
            raise BadInput(
                f"{where}.budget_usd={self.budget_usd:g} needs the price of model {self.model!r}; give it in "
                f"USD per million tokens, as {where}.price={{input: 0.15, output: 0.6}}."
            )


def _fields(cls, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`values` with the types that the fields of `cls` declare."""
    known = {each.name: each for each in dataclasses.fields(cls)}
    result = {}
    for name, value in values.items():
        if name not in known:
            raise BadInput(f"{where}.{name} does not exist{nearest(name, known)}; remove it or rename it.")
        place = f"{where}.{name}"
        if name == "prices":
            prices = _mapping(value or {}, place)
            result[name] = {str(model): Price.read(each, f"{place}.{model}") for model, each in prices.items()}
        elif name == "price":
            result[name] = None if value is None else Price.read(value, place)
        elif name == "transcript":
            result[name] = Transcript(**_fields(Transcript, _mapping(value or {}, place), place))
        elif name == "extra_body":
            result[name] = _mapping(value or {}, place)
        else:
            declared = known[name].type
            result[name] = _scalar(value, getattr(declared, "__name__", str(declared)), place)
    return result


def _mapping(value: Any, place: str) -> dict:
    if not isinstance(value, Mapping):
        raise BadInput(f"{place}={value!r} is not a mapping; write {place}={{name: value}}.")
    return dict(value)


def _scalar(value: Any, declared: str, place: str) -> Any:
    if value is None:
        if "None" in declared:
            return None
        raise BadInput(f"{place} is null; give it a value.")
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if declared == "bool":
        if not isinstance(value, bool):
            raise BadInput(f"{place}={value!r} is neither true nor false; give one of them.")
        return value
    if declared.startswith("str"):
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise BadInput(f"{place}={value!r} is not a text; give one.")
        return str(value)
    if declared.startswith("int") and number and value == int(value):
        return int(value)
    if declared.startswith("float") and number:
        return float(value)
    wanted = "whole number" if declared.startswith("int") else "number"
    raise BadInput(f"{place}={value!r} is not a {wanted}; give one.")
