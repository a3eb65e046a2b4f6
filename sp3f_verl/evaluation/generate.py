"""Responses of a Hugging Face model to prompts: one greedy, and some sampled."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BATCH = 64  # prompts generated together


def _encode(tokenizer, prompts: list):
    tokenizer.padding_side = "left"
    return tokenizer.apply_chat_template(
        prompts, add_generation_prompt=True, tokenize=True, padding=True, return_dict=True, return_tensors="pt"
    )


@dataclass(frozen=True)
class Decoding:
    """How responses are drawn: one greedy, and `samples` at `temperature` and `top_p`, of at most `max_new_tokens`.

    The SP3F paper evaluates with 8 samples, temperature 0.7 and top_p 0.8.
    """

    samples: int = 4
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 1024
    seed: int = 1


def generate(model_path: Path | str, prompts: list, decoding: Decoding) -> Iterator[list[str]]:
    """For each prompt (a list of chat messages), in order: [greedy, sample 1, ..., sample n].

    The same seed gives the same texts on the same machine. Raises OSError where there is no model at `model_path`.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # of loading weights; the caller shows progress over the prompts
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype="auto").eval()
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    # Only what `decoding` says: a checkpoint may bring a repetition penalty and other habits along.
    model.generation_config = GenerationConfig(eos_token_id=model.generation_config.eos_token_id)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(decoding.seed)
    for start in range(0, len(prompts), BATCH):
        batch = _encode(tokenizer, prompts[start : start + BATCH]).to(model.device)
        texts = _decode(model, tokenizer, batch, decoding.max_new_tokens, do_sample=False)
        answers = [[text] for text in texts]
        if n := decoding.samples:
            settings = {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0, "do_sample": True}
            sampled = _decode(model, tokenizer, batch, decoding.max_new_tokens, num_return_sequences=n, **settings)
            for index, own in enumerate(answers):
                own += sampled[index * n : (index + 1) * n]
        yield from answers


def _decode(model, tokenizer, batch, max_new_tokens: int, **settings) -> list[str]:
    import torch

    with torch.inference_mode():
        output = model.generate(**batch, max_new_tokens=max_new_tokens, pad_token_id=tokenizer.pad_token_id, **settings)
    return tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
