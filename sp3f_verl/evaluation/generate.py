"""Responses of a Hugging Face model to the prompts of a parquet file: one greedy, and `samples` at temperature 1."""

from collections.abc import Iterator
from pathlib import Path

BATCH = 64  # prompts generated together


def _encode(tokenizer, prompts: list):
    tokenizer.padding_side = "left"
    return tokenizer.apply_chat_template(
        prompts, add_generation_prompt=True, tokenize=True, padding=True, return_dict=True, return_tensors="pt"
    )


def generate(
    model_path: Path | str, prompts: list, samples: int, max_new_tokens: int, seed: int
) -> Iterator[list[str]]:
    """For each prompt (a list of chat messages), in order: [greedy, sample 1, ..., sample n].

    The same seed gives the same texts on the same machine. Raises OSError where there is no model at `model_path`.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # of loading weights; the caller shows progress over the prompts
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype="auto").eval()
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    for start in range(0, len(prompts), BATCH):
        batch = _encode(tokenizer, prompts[start : start + BATCH]).to(model.device)
        texts = _decode(model, tokenizer, batch, max_new_tokens, do_sample=False)
        answers = [[text] for text in texts]
        if samples:
            settings = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
            sampled = _decode(model, tokenizer, batch, max_new_tokens, num_return_sequences=samples, **settings)
            for index, own in enumerate(answers):
                own += sampled[index * samples : (index + 1) * samples]
        yield from answers


def _decode(model, tokenizer, batch, max_new_tokens: int, **settings) -> list[str]:
    import torch

    with torch.inference_mode():
        output = model.generate(**batch, max_new_tokens=max_new_tokens, pad_token_id=tokenizer.pad_token_id, **settings)
    return tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
