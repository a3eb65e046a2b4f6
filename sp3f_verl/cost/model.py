"""A model as arithmetic sees it, counted on the meta device: exact for every architecture, in no memory."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sp3f_verl.errors import BadInput

_EXPERT = re.compile(r"\bexperts\b")


@dataclass(frozen=True)
class ModelSize:
    """parameters: all of them. active: those that multiply a token: of experts the share that it is routed to, and no
    input embedding but where it is the head, too. largest: of one weight. attention, keys: width of all query heads,
    and of all keys and values together. context: positions that the model takes, if it says.
    """

    parameters: int
    active: int
    largest: int
    layers: int
    hidden: int
    intermediate: int
    attention: int
    keys: int
    vocabulary: int
    context: int | None = None

    @classmethod
    def of(cls, path: str, trust_remote_code: bool = False) -> "ModelSize":
        """Of a model folder or a name on the Hub; only its config is read. Raises BadInput."""
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        except (OSError, ValueError) as error:
            reason = (str(error).strip() or "no message").splitlines()[0]
            raise BadInput(f"{path} has no config that loads ({reason}); give a model folder or name.") from None
        return cls.of_config(config, trust_remote_code)

    @classmethod
    def of_config(cls, config, trust_remote_code: bool = False) -> "ModelSize":
        """config: of transformers."""
        import torch
        from transformers import AutoModelForCausalLM

        text = config.get_text_config()
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(text, trust_remote_code=trust_remote_code)
        weights = dict(model.named_parameters())
        routed = sum(weight.numel() for name, weight in weights.items() if _EXPERT.search(name))
        total = sum(weight.numel() for weight in weights.values())
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        unused = 0 if head is None or head.weight is embedding.weight else embedding.weight.numel()
        heads = getattr(text, "num_attention_heads", None) or 0  # none: layers with a state
        width = getattr(text, "head_dim", None) or text.hidden_size // max(1, heads)
        return cls(
            parameters=total,
            active=total - unused - round(routed * (1 - _routed_share(text))),
            largest=max(weight.numel() for weight in weights.values()),
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
            attention=heads * width,
            keys=2 * (getattr(text, "num_key_value_heads", None) or heads) * width,
            vocabulary=text.vocab_size,
            context=getattr(text, "max_position_embeddings", None),
        )

    def forward_flops(self, lengths: Sequence[float], pack: float | None = None) -> float:
        """Of causal sequences of so many tokens: 2 a weight and token, and 2 x layers x width x length^2 of attention.

        pack: tokens of a micro-batch whose attention is computed whole, other sequences and later tokens masked, as
        transformers' sdpa does with packed rows. A backward pass takes twice as many, checkpointing one forward more.
        """
        squares = sum(length * length for length in lengths) if pack is None else 2 * pack * sum(lengths)
        return 2 * self.active * sum(lengths) + 2 * self.layers * self.attention * squares

    def activation_bytes(self) -> int:
        """What one layer keeps of a token for its backward pass, in bf16 with attention that keeps no scores.

        Within 15 % of what autograd saves for Llama, Qwen2 and Qwen3 (tests/cost/test_model.py).
        """
        return 2 * (7 * self.hidden + 4 * self.intermediate + 4 * self.attention + 2 * self.keys)


def _routed_share(config) -> float:
    """Share of a layer's experts that a token goes through; 1 where there are none."""
    chosen = getattr(config, "num_experts_per_tok", None)
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    experts = next((count for name in names if (count := getattr(config, name, None))), None)
    return chosen / experts if chosen and experts else 1.0
