"""What asking costs."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from sp3f_verl.llm.outcome import Usage
from sp3f_verl.settings import Settings

_VERSION = re.compile(r"[-@:](20\d\d-?\d\d-?\d\d|\d{4}|latest|v\d+(:\d+)?)$")  # -2024-07-18, @20240620, -2411
_VENDOR = re.compile(r"^(.*/|((us|eu|apac)\.)?(anthropic|amazon|meta|mistral|cohere|ai21|deepseek|openai)\.)")
_BOUNDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "n_predict", "num_predict")
# Of thoughts, wherever in the request they stand: some providers count them beside the answer's bound.
_OF_THOUGHTS = ("thinking_budget", "budget_tokens", "max_thinking_tokens", "max_reasoning_tokens")


def _usd(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and value >= 0 and math.isfinite(value)):
        raise ValueError("is no price: give USD per million tokens, 0 or more")
    return float(value)


Usd = Annotated[float, BeforeValidator(_usd)]


class Price(Settings):
    """USD per million tokens: of the prompt, generated, and of the prompt's cached part (None: like the rest of it)."""

    input: Usd
    output: Usd
    cached_input: Usd | None = None

    def usd(self, usage: Usage) -> float:
        """Cost in USD. Cached tokens are a part of the prompt's, as the OpenAI API counts them."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        cached_price = self.input if self.cached_input is None else self.cached_input
        fresh = (usage.prompt_tokens - cached) * self.input
        return (fresh + cached * cached_price + usage.completion_tokens * self.output) / 1e6


def price_of(prices: Mapping[str, Price], model: str) -> Price | None:
    """The model's price in a table by name. A vendor's prefix does not count (openai/gpt-4o), and where the table has
    no price for a version's date, that of the name without it; the dearest where several fit."""
    if model in prices:
        return prices[model]
    name = _without_vendor(model.lower())
    tables = [(_without_vendor(other.lower()), price) for other, price in prices.items()]
    bare_tables = [(_without_version(other), price) for other, price in tables]
    for wanted, table in ((name, tables), (_without_version(name), tables), (_without_version(name), bare_tables)):
        if fitting := [price for other, price in table if other == wanted]:
            return max(fitting, key=lambda price: (price.output, price.input))
    return None


def _without_vendor(name: str) -> str:
    return _VENDOR.sub("", name)


def _without_version(name: str) -> str:
    while (shorter := _VERSION.sub("", name)) != name:
        name = shorter
    return name


def longest_answer(max_tokens: int, extra: Mapping[str, Any] | None) -> int | None:
    """Tokens that one answer may have at most: what the request says, `extra` included; None where it says nothing."""
    bounds = _counts({"max_tokens": max_tokens, **(extra or {})}, _BOUNDS)
    return max(bounds) + max(_of_thoughts(extra or {}), default=0) if bounds else None


def answers_of(extra: Mapping[str, Any] | None) -> int:
    """Answers that are made, and paid for, of one request: `n` and `best_of` in its extra fields."""
    return max([1, *_counts(extra or {}, ("n", "best_of"))])


def _of_thoughts(extra: Mapping[str, Any]) -> Iterator[int]:
    yield from _counts(extra, _OF_THOUGHTS)
    for name, value in extra.items():
        if isinstance(value, Mapping):
            yield from _of_thoughts(value)
            if name in ("reasoning", "thinking"):
                yield from _counts(value, ("max_tokens",))


def _counts(body: Mapping[str, Any], names: tuple[str, ...]) -> list[int]:
    """What these fields say, also as a text. 0 and -1 are no bound: some servers take them for none at all."""
    values = [body.get(name) for name in names]
    values = [int(value) if isinstance(value, str) and value.isdecimal() else value for value in values]
    return [math.ceil(value) for value in values if isinstance(value, int | float) and 0 < value < math.inf]
