"""What asking costs."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator

from sp3f_verl.llm.outcome import Usage
from sp3f_verl.settings import Settings


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
