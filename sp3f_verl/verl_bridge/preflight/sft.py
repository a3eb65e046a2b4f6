"""The part of the preflight about supervised fine-tuning: rows, batches, and which tokens will be trained on."""

import contextlib
import io
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.data.check import check_sft
from sp3f_verl.errors import BadInput
from sp3f_verl.log import log
from sp3f_verl.training.conversations import (
    Unmaskable,
    end_of_turn,
    find_turns,
    messages_of,
    run_renderer,
    short,
)
from sp3f_verl.training.sft.mask import fault
from sp3f_verl.verl_bridge.preflight.files import enough, files, first_process, named
from sp3f_verl.verl_bridge.preflight.run import positions

FIRST = 8  # rows of a file whose tokens are checked, beside the first row of each sequence of roles
KINDS = 32  # at most
NO_CUT = 2**30  # tokens
SECONDS = 60.0  # for all rows of a file as they are trained on; those that come after are not looked at


def rows(config: DictConfig) -> None:
    """Every row."""
    for key, paths in files(config):
        if not paths:
            if config.trainer.test_freq != -1:
                raise BadInput(
                    f"trainer.test_freq={config.trainer.test_freq} without data.val_files; give them, or set it to -1."
                )
            continue
        with named(key):
            count = sum(check_sft(path, config.data.messages_key).count for path in paths)
        limit = OmegaConf.select(config, key.replace("files", "max_samples"))
        enough(config, key, min(count, limit) if limit > 0 else count)
    if config.data.pad_mode != "no_padding":
        raise BadInput(
            f"data.pad_mode={config.data.pad_mode}, which verl's SFT loss cannot read; set it to no_padding."
        )


def mask(config: DictConfig) -> None:
    """Asks the dataset class of the run for the tokens of some rows: is the loss on the assistant's, and on no others?
    And of every row: is there a loss at all, once it is cut?

    Some rows are the first ones of each file and the first of each sequence of roles.
    """
    from verl.utils.config import omega_conf_to_dataclass

    with contextlib.redirect_stdout(io.StringIO()):
        model = omega_conf_to_dataclass(config.model)  # as the run loads it, a custom template included
    for key, paths in files(config):
        for path in paths:
            if _pictures(config, path):
                continue  # verl's own way: sft/dataset.py
            with named(key):
                _check_file(config, model, path)
                line = _labels(config, model, path) if first_process() else ""
            if line and key == "data.train_files" and path == paths[0]:
                log.info(f"{key}, {line}")


def _pictures(config: DictConfig, path: str) -> bool:
    import pyarrow.parquet as pq

    names = {config.data.get("image_key", "images"), config.data.get("video_key", "videos")}
    return bool(names & set(pq.read_schema(Path(path).expanduser()).names))


def _check_file(config: DictConfig, model, path: str) -> None:
    """BadInput where a row's tokens are not right."""
    import pyarrow.parquet as pq

    table = pq.read_table(Path(path).expanduser())
    kinds = list(check_sft(path, config.data.messages_key).kinds.values())[:KINDS]
    numbers = sorted({*range(min(FIRST, table.num_rows)), *kinds})
    sample, end, expected = table.take(numbers), end_of_turn(model.tokenizer), []
    for number, row in zip(numbers, sample.to_pylist(), strict=True):
        tools, thinking = row.get(config.data.tools_key), row.get(config.data.enable_thinking_key)
        try:
            render = run_renderer(model.tokenizer, model.processor, config.data, tools, thinking)
            expected.append(find_turns(render, messages_of(row[config.data.messages_key]), end))
        except Unmaskable as error:
            raise BadInput(f"{path}, row {number}: {error}") from None
    encoded = _tokens(config, model, sample)
    for number, (whole, turns), (ids, marks) in zip(numbers, expected, encoded, strict=True):
        if wrong := fault(model.tokenizer, whole, turns, ids, marks):
            raise BadInput(f"{path}, row {number}: {wrong}; leave data.custom_cls as the recipe has it.")


def _labels(config: DictConfig, model, path: str) -> str:
    """A line about the file's first row as it is trained on; BadInput where no row has a label once it is cut."""
    dataset, start, without, longest = _dataset(config.data, model, path), time.monotonic(), 0, 0
    read = getattr(dataset, "cut_row", dataset.__getitem__)
    for number in range(len(dataset)):
        with _refused_by_the_dataset():
            row = read(number)
        without, longest = without + (not row["loss_mask"].any()), max(longest, len(row["input_ids"]))
        if time.monotonic() - start > SECONDS:
            log.info(f"{path}: {number + 1} of {len(dataset)} rows were looked at.")
            break
    if without == number + 1:
        raise BadInput(
            f"{path}: cut to data.max_length={config.data.max_length}, no row keeps a token that is trained on; raise "
            "it, or set data.truncation=left."
        )
    if (room := positions(config.model)) is not None and longest > room:
        raise BadInput(
            f"{path} has rows of {longest} tokens, and the model {room} positions; set data.max_length={room}."
        )
    if without:
        log.warning(f"{path}: {without} of {number + 1} rows keep no token to train on; others take their place.")
    ids, marks = (read(0)[name].tolist() for name in ("input_ids", "loss_mask"))
    stretches, place = [], 0
    for label, stretch in itertools.groupby(marks):
        length = len(list(stretch))
        if label:
            stretches.append(short(model.tokenizer.decode(ids[place : place + length])))
        place += length
    return f"row 0: trained on are {sum(marks)} of {len(ids)} tokens, {', '.join(stretches)}"


@contextlib.contextmanager
def _refused_by_the_dataset() -> Iterator[None]:
    try:
        yield
    except (BadInput, Unmaskable) as error:
        raise BadInput(str(error)) from None
    except Exception as error:  # stock verl lets a template's and its own errors through
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadInput(
            f"the dataset class cannot read the rows ({reason}); leave data.custom_cls as the recipe has it."
        ) from None


def _dataset(settings: DictConfig, model, path: str):
    from verl.trainer.sft_trainer import create_sft_dataset

    with contextlib.redirect_stdout(io.StringIO()):
        return create_sft_dataset(path, settings, model.tokenizer, model.processor)


def _tokens(config: DictConfig, model, sample) -> list[tuple[list[int], list[int]]]:
    """(ids, mask) of each row of the sample, uncut, from the dataset class that verl would train on."""
    import pyarrow.parquet as pq

    settings = OmegaConf.merge(config.data, {"max_length": NO_CUT})
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(sample, f"{folder}/rows.parquet")
        with _refused_by_the_dataset():
            dataset = _dataset(settings, model, f"{folder}/rows.parquet")
            rows = [dataset[place] for place in range(sample.num_rows)]
    return [(row["input_ids"].tolist(), row["loss_mask"].tolist()) for row in rows]
