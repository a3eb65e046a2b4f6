"""What asking costs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.llm.outcome import Usage


@dataclass(frozen=True)
class Price:
    """USD per million tokens: of the prompt, generated, and of the prompt's cached part (None: like the rest of it)."""

    input: float
    output: float
    cached_input: float | None = None

    def usd(self, usage: Usage) -> float:
        """Cost in USD. Cached tokens are a part of the prompt's, as the OpenAI API counts them."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        cached_price = self.input if self.cached_input is None else self.cached_input
        fresh = (usage.prompt_tokens - cached) * self.input
        return (fresh + cached * cached_price + usage.completion_tokens * self.output) / 1e6

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], field_name: str) -> "Price":
        """Price from `{input, output, cached_input}` of a configuration; BadInput names the field in it."""
        known = [each.name for each in fields(cls)]
        if not isinstance(mapping, Mapping):
            raise BadInput(
                f"{field_name}={mapping!r} is no mapping: give {', '.join(known)} in USD per million tokens."
            )
        for name in mapping:
            if name not in known:
                raise BadInput(f"{field_name}.{name} is unknown{nearest(name, known)}: it has {', '.join(known)}.")
        for name in ("input", "output"):
            if name not in mapping:
                raise BadInput(f"{field_name}.{name} is missing: give it in USD per million tokens.")
        for name, value in mapping.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and value >= 0 and math.isfinite(value)) and not (
                name == "cached_input" and value is None
            ):
                raise BadInput(f"{field_name}.{name}={value!r} is no price: give USD per million tokens, 0 or more.")
        return cls(**mapping)
