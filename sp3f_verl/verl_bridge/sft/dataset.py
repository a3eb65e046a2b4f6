"""verl's SFT dataset with the loss on exactly the assistant's tokens (`data.custom_cls` of the SFT recipes).

verl 0.9.1 (utils/dataset/multiturn_sft_dataset.py) renders every message alone and joins the tokens. It trains on the
newline that ChatML templates write after a turn's end, loses what a template writes for a conversation as a whole, and
cannot even start with templates that want user and assistant to alternate (Gemma, Mistral). Without padding it cuts at
the end whatever `truncation` says. Here the conversation is rendered as a whole: see training/conversations.py.
"""

from contextlib import suppress

import torch
from jinja2 import TemplateError
from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

from sp3f_verl.errors import BadInput
from sp3f_verl.training.conversations import (
    Unmaskable,
    encode,
    end_of_turn,
    find_turns,
    messages_of,
    run_renderer,
)


class AssistantTurnsDataset(MultiTurnSFTDataset):
    """Rows of text as input_ids, position_ids and loss_mask of at most `data.max_length` tokens, without padding.

    `data.truncation`: right keeps the beginning, left the end, error raises. The place of a row that is left without a
    label is taken by the next one that has one: a batch without any has no loss. The first token has no label: nothing
    comes before it that could predict it, and packed, that would be another row's end. Unmaskable for a row of which
    it cannot be told what the assistant's tokens are. Rows with images or videos go verl's own way.
    """

    def __init__(self, parquet_files, tokenizer, config, processor=None, max_samples=-1):
        super().__init__(parquet_files, tokenizer, config, processor, max_samples)
        self.end = end_of_turn(tokenizer)
        self.settings = config
        pictures = getattr(processor, "image_processor", None)
        self.rotary_rows = 4 if "Qwen2VLImageProcessor" in type(pictures).__name__ else 0  # as verl has them

    def _read_files_and_process(self):
        with suppress(TemplateError):  # its last step renders two user turns in a row, for what is not needed here
            super()._read_files_and_process()

    def __getitem__(self, item):
        if self.image_key in self.dataframe.columns or self.video_key in self.dataframe.columns:
            return super().__getitem__(item)
        if item >= len(self):
            raise IndexError(item)
        for further in range(len(self)):
            row = self.cut_row((item + further) % len(self))
            if row["loss_mask"].any():
                return row
        raise BadInput(f"no row keeps a token that is trained on within data.max_length={self.max_length}; raise it.")

    def cut_row(self, item: int) -> dict[str, torch.Tensor]:
        """The row itself, with labels or without."""
        try:
            ids, mask = self._encode(item)
        except Unmaskable as error:
            raise Unmaskable(f"row {item} of {', '.join(self.parquet_files)}: {error}") from None
        if len(ids) > self.max_length:
            if self.truncation == "error":
                raise BadInput(f"row {item} has {len(ids)} tokens and data.max_length={self.max_length}; raise it.")
            kept = slice(-self.max_length, None) if self.truncation == "left" else slice(self.max_length)
            ids, mask = ids[kept], mask[kept]
        mask = [0, *mask[1:]]
        positions = torch.arange(len(ids))
        return {
            "input_ids": torch.tensor(ids),
            "position_ids": positions.repeat(self.rotary_rows, 1) if self.rotary_rows else positions,
            "loss_mask": torch.tensor(mask),
        }

    def _encode(self, item: int) -> tuple[list[int], list[int]]:
        tools = self.tools[item] if self.tools is not None else None
        thinking = self.enable_thinking[item] if self.enable_thinking is not None else None
        render = run_renderer(self.tokenizer, self.processor, self.settings, tools, thinking)
        whole, turns = find_turns(render, messages_of(self.messages[item]), self.end)
        return encode(self.tokenizer, whole, turns)
