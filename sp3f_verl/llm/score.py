"""Reward models: one number for a conversation, the raw logit. vLLM on the Ray cluster, or transformers here."""

import abc
import contextlib
import json
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from sp3f_verl.llm.ask import Status
from sp3f_verl.llm.backends.ray_pool import Pool, Spool
from sp3f_verl.llm.backends.transformers import load
from sp3f_verl.llm.backends.vllm_worker import Pooler, Rendering, engine_of, read_logit
from sp3f_verl.llm.fingerprint import fingerprint
from sp3f_verl.llm.store import Store, remembered, request_key


class ToScore(NamedTuple):
    """A conversation that ends with the assistant's turn. id and number name the candidate."""

    id: str
    number: int
    messages: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Score:
    """raw: the model's logit, without activation; None where it is not finite (status error) or the conversation is
    longer than the model's context (truncated: what is cut is not scored). tokens: of the conversation."""

    id: str
    number: int
    raw: float | None
    tokens: int
    status: Status


Rows = list[tuple[str, Score]]


class Scorer(abc.ABC):
    """Scores conversations with a reward model (sequence classification, one label). Closes its store; `with` does."""

    def __init__(self, model: str | Path, store: Store | None = None):
        self.model, self.store = fingerprint(model), store

    def scores(self, items: Iterable[tuple[str, int, list[dict[str, Any]]]]) -> Iterator[Score]:
        """A score for each (id, number, messages), as they come; what the store has is not scored again."""

        def key(item: ToScore) -> str:
            return request_key("score", self._identity(), item.messages)

        stream = remembered((ToScore(*item) for item in items), self.store, key, _recalled, _shared, self._score)
        with contextlib.closing(stream):
            yield from stream

    def close(self) -> None:
        if self.store is not None:
            self.store.close()

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abc.abstractmethod
    def _score(self, fresh: Iterator[list[tuple[str, ToScore]]]) -> Generator[Rows, None, None]:
        """The work of `remembered`."""

    @abc.abstractmethod
    def _identity(self) -> str:
        """What stands for the model in the store's keys."""

    def _keep(self, rows: Rows) -> None:
        if self.store is not None:
            kept = [(key, [score.raw, score.tokens]) for key, score in rows if score.status is Status.OK]
            self.store.put_many([(key, {"score": value}) for key, value in kept])


def _recalled(item: ToScore, value: dict[str, Any]) -> Score:
    return Score(item.id, item.number, *value["score"], Status.OK)


def _shared(item: ToScore, score: Score) -> Score:
    return replace(score, id=item.id, number=item.number)


class VLLMScorer(Scorer):
    """vLLM's pooling, data-parallel over the Ray cluster. All conversations are drawn before the first is scored."""

    def __init__(
        self,
        model: str | Path,
        *,
        store: Store | None = None,
        dtype: str = "auto",
        max_model_len: int | None = None,
        pool: Pool | None = None,
    ):
        super().__init__(model, store)
        self._pool = pool or Pool()
        self._engine = engine_of(model, dtype, max_model_len, self._pool.tensor_parallel)

    def _identity(self) -> str:
        return json.dumps(["vllm", self.model, self._engine["dtype"]])

    def _score(self, fresh: Iterator[list[tuple[str, ToScore]]]) -> Generator[Rows, None, None]:
        names: dict[str, tuple[str, int]] = {}
        spool = Spool(self._pool)
        for chunk in fresh:
            names |= {key: (item.id, item.number) for key, item in chunk}
            spool.add([json.dumps([key, item.messages]) for key, item in chunk])
            yield []
        for done in spool.work(Pooler, self._engine):
            rows = [
                (key, Score(*names.pop(key), raw, tokens, Status(status)))
                for key, raw, tokens, status in map(json.loads, done)
            ]
            self._keep(rows)
            yield rows


class TransformersScorer(Scorer):
    """transformers in this process: for a machine without vLLM, and as its check.

    Only texts of equal length are batched: with padding a model takes for the last token the last that is no padding,
    which is the wrong one where the text itself ends with the padding token.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        store: Store | None = None,
        dtype: str = "auto",
        max_model_len: int | None = None,
        batch: int = 16,
    ):
        super().__init__(model, store)
        self._path, self._dtype, self._most, self._batch = str(model), dtype, max_model_len, batch
        self._loaded = None

    def _identity(self) -> str:
        return json.dumps(["transformers", self.model, self._dtype])

    def _load(self) -> tuple[Any, Rendering]:
        if self._loaded is None:
            kind = "AutoModelForSequenceClassification"
            model, tokenizer = load(kind, self._path, self._dtype, self.model, "reward model")
            model.config.pad_token_id = -1  # no token: the last one counts, whatever it is
            self._loaded = model, Rendering(tokenizer, add_generation_prompt=False)
            self._most = self._most or getattr(model.config, "max_position_embeddings", None)
        return self._loaded

    def _score(self, fresh: Iterator[list[tuple[str, ToScore]]]) -> Generator[Rows, None, None]:
        for chunk in fresh:
            rows = self._score_chunk(chunk) if chunk else []
            self._keep(rows)
            yield rows

    def _score_chunk(self, chunk: list[tuple[str, ToScore]]) -> Rows:
        import torch

        model, rendering = self._load()
        rows, by_length = [], defaultdict(list)
        for key, item in chunk:
            ids = rendering.ids(item.messages)
            by_length[len(ids)].append((key, item, ids))
        for tokens, group in by_length.items():
            for start in range(0, len(group), self._batch):
                part, logits = group[start : start + self._batch], None
                if self._most is None or tokens <= self._most:
                    with torch.inference_mode():
                        ids = torch.tensor([token_ids for *_, token_ids in part], device=model.device)
                        logits = model(input_ids=ids).logits.float()
                for place, (key, item, _) in enumerate(part):
                    raw, _, status = read_logit(None if logits is None else logits[place], tokens)
                    rows.append((key, Score(item.id, item.number, raw, tokens, Status(status))))
        return rows
