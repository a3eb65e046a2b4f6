"""The annotated rows of a self-play run, and what is written and measured of the responses to them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from sp3f_verl.data.preference_rows import read_answers
from sp3f_verl.errors import BadInput
from sp3f_verl.training.preference import tokens
from sp3f_verl.training.selfplay.triplets import Annotated, Response, Triplets

ROLES = ("real",)


def annotated(config: DictConfig, tokenizer, say: Callable[[str], None]) -> dict[str, list[Annotated]]:
    """`train` and, where there are files, `validation`: the rows that leave room for a response.

    BadInput where no row is left, and where the chat template ends a response otherwise than generation would.
    """
    splits, data = {}, config.data
    for name, files, limit in (
        ("train", data.train_files, data.get("train_max_samples", -1)),
        ("validation", data.val_files, data.get("val_max_samples", -1)),
    ):
        if files:
            rows, dropped = read_answers(files if isinstance(files, str) else list(files), ROLES, limit)
            splits[name], counts = _encoded(tokenizer, rows, config.sp3f.preference.max_length, data)
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted((dropped + counts).items())) or "none"
            say(f"{name}: {len(splits[name])} annotated prompts; left out or cut: {reasons}")
            least = data.train_batch_size if name == "train" else 1
            if len(splits[name]) < least:
                raise BadInput(
                    f"{name}: {len(splits[name])} rows are left ({reasons}) and {least} are needed; set "
                    "sp3f.preference.max_length higher or data.train_batch_size lower."
                )
    _check_end(tokenizer, splits["train"], end_tokens(tokenizer, config.actor_rollout_ref.model))
    return splits


def _encoded(tokenizer, rows, max_length: int, data: Mapping) -> tuple[list[Annotated], Counter[str]]:
    annotated, counts = [], Counter()
    for row, group in tokens.encoded_rows(tokenizer, rows, max_length, counts, data):
        room = max_length - len(group.prompt)
        cut = len(group.responses[0]) > room
        counts["response_cut"] += cut
        annotated.append(Annotated(row, group.prompt, group.responses[0][:room], cut))
    return annotated, +counts


def end_tokens(tokenizer, model: DictConfig) -> frozenset[int]:
    """The ids at which generation stops: the tokenizer's and those of the model's generation config."""
    from transformers import GenerationConfig

    ends = {tokenizer.eos_token_id}
    try:
        configured = GenerationConfig.from_pretrained(str(Path(model.path).expanduser())).eos_token_id
    except OSError:  # a model folder without one
        configured = None
    ends |= set(configured) if isinstance(configured, list) else {configured}
    return frozenset(ends - {None})


def _check_end(tokenizer, rows: Sequence[Annotated], ends: frozenset[int]) -> None:
    """With one template for generation and training, y must end as y' does: else the loss learns the ending."""
    if not ends:
        raise BadInput("the tokenizer has no end-of-sequence token; set eos_token in its tokenizer_config.json.")
    for row in rows:
        if int(row.real[-1]) not in ends and not row.cut:
            last, stop = tokenizer.decode(row.real[-1:].tolist()), tokenizer.decode(sorted(ends)[:1])
            raise BadInput(
                f"the chat template ends a response with {last!r}, but generation ends with {stop!r}; set eos_token in "
                "tokenizer_config.json (and eos_token_id in generation_config.json) to the template's end."
            )


def digest(rows: Sequence[Annotated]) -> str:
    """SHA-256 over prompts and annotated responses."""
    return tokens.digest([tokens.Group(row.prompt, (row.real,)) for row in rows])


def text_of(tokenizer, response: Response) -> str:
    return tokenizer.decode(response.ids.tolist(), skip_special_tokens=True)


def table(
    tokenizer,
    rows: Sequence[Annotated],
    generated: Mapping[int, Sequence[Response]],
    proto: Sequence[Response],
    triplets: Triplets,
) -> list[dict]:
    """A row for every response asked for, those that are left out too: `status` tells. Loads as stored triplets."""
    written, status = [], iter(triplets.status)
    for iteration, responses in sorted(generated.items()):
        for index, (annotated, response, first) in enumerate(zip(rows, responses, proto, strict=True)):
            written.append(
                {
                    "id": annotated.row.id or str(index),
                    "iteration": iteration,
                    "prompt": list(annotated.row.prompt),
                    "real": annotated.row.responses[0],
                    "generated": text_of(tokenizer, response),
                    "proto": text_of(tokenizer, first),
                    "generated_complete": response.complete,
                    "proto_complete": first.complete,
                    "generated_ids": response.ids.tolist(),
                    "proto_ids": first.ids.tolist(),
                    "status": next(status),
                }
            )
    return written


def generation_metrics(rows: Sequence[Annotated], generated: Sequence[Response], usable: int) -> dict[str, float]:
    """Of the responses of one policy to all rows, `usable` of which are trained on."""
    identical = [np.array_equal(row.real, response.ids) for row, response in zip(rows, generated, strict=True)]
    return {
        "generation/rows": len(generated),
        "generation/usable": usable,
        "generation/tokens": float(np.mean([len(response.ids) for response in generated])),
        "generation/truncated": float(np.mean([not response.complete for response in generated])),
        "generation/identical": float(np.mean(identical)),
    }


def exact_match(tokenizer, rows: Sequence[Annotated], greedy: Sequence[Response]) -> dict[str, float]:
    """Shares of greedy responses that are the annotated text, and that were cut; their mean tokens."""
    same = [
        text_of(tokenizer, response).strip() == row.row.responses[0].strip()
        for row, response in zip(rows, greedy, strict=True)
    ]
    return {
        "generation/exact_match": float(np.mean(same)),
        "generation/greedy_truncated": float(np.mean([not response.complete for response in greedy])),
        "generation/greedy_tokens": float(np.mean([len(response.ids) for response in greedy])),
    }
