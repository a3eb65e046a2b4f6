"""The annotated rows of a self-play run, and what is written and measured of its responses."""

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
    found, data = {}, config.data
    for name, files in (("train", data.train_files), ("validation", data.val_files)):
        if files:
            rows, dropped = read_answers(files if isinstance(files, str) else list(files), ROLES)
            found[name], counts = _encoded(tokenizer, rows, config.sp3f.preference.max_length)
            told = ", ".join(f"{count} {reason}" for reason, count in sorted((dropped + counts).items())) or "none"
            say(f"{name}: {len(found[name])} annotated prompts; left out or cut: {told}")
            least = data.train_batch_size if name == "train" else 1
            if len(found[name]) < least:
                raise BadInput(
                    f"{name}: {len(found[name])} rows are left ({told}) and {least} are needed; set "
                    "sp3f.preference.max_length higher or data.train_batch_size lower."
                )
    _check_end(tokenizer, found["train"], end_tokens(tokenizer, config.actor_rollout_ref.model))
    return found


def _encoded(tokenizer, rows, max_length: int) -> tuple[list[Annotated], Counter[str]]:
    found, counts = [], Counter()
    for row in rows:
        group = tokens.encode(tokenizer, row.prompt, row.responses)
        room = max_length - len(group.prompt)
        if room < 1:
            counts["prompt_too_long"] += 1
            continue
        cut = len(group.responses[0]) > room
        counts["response_cut"] += cut
        found.append(Annotated(row, group.prompt, group.responses[0][:room], cut))
    return found, +counts


def end_tokens(tokenizer, model: DictConfig) -> frozenset[int]:
    """The ids at which generation stops: the tokenizer's and those of the model's generation config."""
    from transformers import GenerationConfig

    ends = {tokenizer.eos_token_id}
    try:
        told = GenerationConfig.from_pretrained(str(Path(model.path).expanduser())).eos_token_id
    except OSError:  # a model folder without one
        told = None
    ends |= set(told) if isinstance(told, list) else {told}
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
    found, status = [], iter(triplets.status)
    for iteration, responses in sorted(generated.items()):
        for index, (row, own, first) in enumerate(zip(rows, responses, proto, strict=True)):
            found.append(
                {
                    "id": row.row.id or str(index),
                    "iteration": iteration,
                    "prompt": list(row.row.prompt),
                    "real": row.row.responses[0],
                    "generated": text_of(tokenizer, own),
                    "proto": text_of(tokenizer, first),
                    "generated_complete": own.complete,
                    "proto_complete": first.complete,
                    "generated_ids": own.ids.tolist(),
                    "proto_ids": first.ids.tolist(),
                    "status": next(status),
                }
            )
    return found


def exact_match(tokenizer, rows: Sequence[Annotated], greedy: Sequence[Response]) -> dict[str, float]:
    """Shares of greedy responses that are the annotated text, and that were cut; their mean tokens."""
    same = [
        text_of(tokenizer, own).strip() == row.row.responses[0].strip() for row, own in zip(rows, greedy, strict=True)
    ]
    return {
        "generation/exact_match": float(np.mean(same)),
        "generation/greedy_truncated": float(np.mean([not each.complete for each in greedy])),
        "generation/greedy_tokens": float(np.mean([len(each.ids) for each in greedy])),
    }
