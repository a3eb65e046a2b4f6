"""An encoder-decoder translator (NLLB, M2M100, MADLAD) as a backend: transformers in this process, a batch at a time.

It is no chat model: of an Ask it takes the last message as the text, and from `extra` the languages `source` and
`target`, as the tokenizer names them (FLORES codes for NLLB), and `num_beams`. Decoding is greedy without it.
"""

from collections.abc import Generator, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.llm.ask import Answer, Ask, answered, failed
from sp3f_verl.llm.backends.base import Backend, Batch, Keyed
from sp3f_verl.llm.backends.transformers import load
from sp3f_verl.llm.fingerprint import fingerprint
from sp3f_verl.llm.outcome import FailureKind, Usage
from sp3f_verl.llm.store import Store
from sp3f_verl.llm.totals import Totals

BATCH = 32  # texts


class Seq2SeqBackend(Backend):
    """Loads the model at once, on the GPU where there is one. BadInput where it is none, or knows a language not."""

    def __init__(
        self, model: str | Path, *, store: Store | None = None, totals: Totals | None = None, dtype: str = "auto"
    ):
        super().__init__(store, totals)
        self.model = fingerprint(model)
        try:
            kind = "AutoModelForSeq2SeqLM"
            self._net, self._tokenizer = load(kind, str(model), dtype, str(model), "encoder-decoder model")
        except BaseException:
            self.close()
            raise

    def _ask(self, fresh: Iterator[Keyed]) -> Generator[Batch, None, None]:
        for chunk in fresh:
            alike = sorted(chunk, key=lambda keyed: (_settings(keyed[1]), len(keyed[1].messages[-1]["content"])))
            for _, group in groupby(alike, key=lambda keyed: _settings(keyed[1])):
                asks = list(group)
                for start in range(0, len(asks), BATCH):
                    part = asks[start : start + BATCH]
                    answers = self._answers([ask for _, ask in part])
                    batch = [(key, answer) for (key, _), answer in zip(part, answers, strict=True)]
                    self._keep(batch)
                    yield batch

    def _answers(self, asks: list[Ask]) -> list[Answer]:
        import torch

        extra = dict(asks[0].extra or {})
        source, target = self._code(extra.pop("source", None)), self._code(extra.pop("target", None))
        self._tokenizer.src_lang = source
        texts = [ask.messages[-1]["content"] for ask in asks]
        lengths = [len(ids) for ids in self._tokenizer(texts, verbose=False)["input_ids"]]
        longest = min(self._tokenizer.model_max_length, getattr(self._net.config, "max_position_embeddings", 1 << 30))
        fits = [index for index, length in enumerate(lengths) if length <= longest]
        answers = {
            index: failed(asks[index], FailureKind.TOO_LONG, f"{lengths[index]} tokens of {longest}", self.model)
            for index in set(range(len(asks))) - set(fits)
        }
        if fits:
            inputs = self._tokenizer([texts[index] for index in fits], return_tensors="pt", padding=True)
            first = self._tokenizer.convert_tokens_to_ids(target)
            with torch.inference_mode():
                out = self._net.generate(
                    **inputs.to(self._net.device), forced_bos_token_id=first, max_new_tokens=asks[0].max_tokens, **extra
                )
            for index, ids in zip(fits, out.tolist(), strict=True):
                answers[index] = self._answer(asks[index], ids, lengths[index])
        return [answers[index] for index in range(len(asks))]

    def _answer(self, ask: Ask, ids: list[int], length: int) -> Answer:
        ended = self._tokenizer.eos_token_id in ids[1:]  # the decoder begins with it
        count = ids.index(self._tokenizer.eos_token_id, 1) if ended else len(ids) - 1
        text = self._tokenizer.decode(ids, skip_special_tokens=True)
        return answered(ask, text, "stop" if ended else "length", Usage(length, 0, count), self.model)

    def _code(self, code: Any) -> str:
        known = self._tokenizer.convert_tokens_to_ids(code) if isinstance(code, str) else None
        if known is None or known == self._tokenizer.unk_token_id:
            raise BadInput(f"{self.model} has no language {code!r}: name another model for it.")
        return code


def _settings(ask: Ask) -> str:
    return repr((sorted((ask.extra or {}).items()), ask.max_tokens))
