"""The part of the preflight about supervised fine-tuning: rows, batches, and which tokens will be trained on."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.data.check import Conversations, check_sft
from sp3f_verl.errors import BadInput
from sp3f_verl.training.sft.turns import Unmaskable, end_of_turn, fault, find_turns, messages_of, short

FIRST = 8  # rows of a file whose tokens are checked, beside the first row of each sequence of roles
KINDS = 32  # at most
NO_CUT = 2**30  # tokens


def _files(config: DictConfig) -> Iterator[tuple[str, list[str]]]:
    for key in ("train_files", "val_files"):
        files = config.data[key]
        yield key, [files] if isinstance(files, str) else list(files or [])


def _checked(config: DictConfig, key: str, path: str) -> Conversations:
    try:
        return check_sft(path, config.data.messages_key)
    except BadInput as error:
        raise BadInput(f"data.{key}: {error}") from None


def rows(config: DictConfig) -> None:
    """Every row; and verl leaves out what does not fill a batch, down to none at all."""
    size = config.data.train_batch_size
    for key, files in _files(config):
        if not files:
            if key == "train_files":
                raise BadInput("data.train_files is empty; give a parquet file.")
            if config.trainer.test_freq != -1:
                raise BadInput(
                    f"trainer.test_freq={config.trainer.test_freq} without data.val_files; give them, or set it to -1."
                )
            continue
        count = sum(_checked(config, key, path).count for path in files)
        limit = config.data[key.replace("files", "max_samples")]
        if (found := min(count, limit) if limit > 0 else count) < size:
            raise BadInput(
                f"data.{key} has {found} rows, less than a batch of data.train_batch_size={size}; set that lower."
            )
    if config.data.pad_mode != "no_padding":
        raise BadInput(
            f"data.pad_mode={config.data.pad_mode}, which verl's SFT loss cannot read; set it to no_padding."
        )


def mask(config: DictConfig) -> None:
    """Asks the dataset class of the run for the tokens of some rows: is the loss on the assistant's, and on no others?

    The rows are the first ones of each file and the first of each sequence of roles.
    """
    from verl.utils.config import omega_conf_to_dataclass

    with contextlib.redirect_stdout(io.StringIO()):
        model = omega_conf_to_dataclass(config.model)  # as the run loads it, a custom template included
    for key, files in _files(config):
        for path in files:
            told = _check_file(config, model, key, path)
            if told and key == "train_files" and path == files[0] and int(os.environ.get("RANK", "0")) == 0:
                print(f"sp3f_verl: {told}", flush=True)


def _check_file(config: DictConfig, model, key: str, path: str) -> str:
    """A line about the file's first row; BadInput where a row's tokens are not right."""
    import pyarrow.parquet as pq

    table = pq.read_table(Path(path).expanduser())
    if {config.data.get("image_key", "images"), config.data.get("video_key", "videos")} & set(table.column_names):
        return ""  # verl's own way: sft/dataset.py
    kinds = list(_checked(config, key, path).kinds.values())[:KINDS]
    numbers = sorted({*range(min(FIRST, table.num_rows)), *kinds})
    sample, end, expected = table.take(numbers), end_of_turn(model.tokenizer), []
    for number, row in zip(numbers, sample.to_pylist(), strict=True):
        messages = messages_of(row[config.data.messages_key])
        try:
            expected.append(find_turns(_template(config, model, row), messages, end))
        except Unmaskable as error:
            raise BadInput(f"data.{key}: {path}, row {number}: {error}") from None
    found = _tokens(config, model, sample)
    for number, (whole, turns), (ids, marks) in zip(numbers, expected, found, strict=True):
        if wrong := fault(model.tokenizer, whole, turns, ids, marks):
            raise BadInput(f"data.{key}: {path}, row {number}: {wrong}; leave data.custom_cls as the recipe has it.")
    (whole, turns), (ids, marks) = expected[0], found[0]
    answers = ", ".join(short(whole[turn.start : turn.end]) for turn in turns)
    return f"data.{key}, row 0: trained on are {sum(marks)} of {len(ids)} tokens, {answers}"


def _template(config: DictConfig, model, row: dict):
    """The chat template as generation uses it for the row."""
    from sp3f_verl.verl_bridge.sft.dataset import template

    tools, thinking = row.get(config.data.tools_key), row.get(config.data.enable_thinking_key)
    return template(model.tokenizer, model.processor, config.data, tools, thinking)


def _tokens(config: DictConfig, model, sample) -> list[tuple[list[int], list[int]]]:
    """(ids, mask) of each row of the sample, uncut, from the dataset class that verl would train on."""
    import pyarrow.parquet as pq
    from verl.trainer.sft_trainer import create_sft_dataset

    settings = OmegaConf.merge(config.data, {"max_length": NO_CUT})
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        pq.write_table(sample, f"{folder}/rows.parquet")
        try:
            dataset = create_sft_dataset(f"{folder}/rows.parquet", settings, model.tokenizer, model.processor)
            found = [dataset[place] for place in range(sample.num_rows)]
        except Exception as error:  # stock verl lets a template's and its own errors through
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise BadInput(
                f"the dataset class cannot read the rows ({reason}); leave data.custom_cls as the recipe has it."
            ) from None
    return [(row["input_ids"].tolist(), row["loss_mask"].tolist()) for row in found]
