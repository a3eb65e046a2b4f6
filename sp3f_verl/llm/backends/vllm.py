"""vLLM in process as a backend, data-parallel over whatever the Ray cluster has."""

import dataclasses
import json
from collections.abc import Generator, Iterator
from pathlib import Path

from sp3f_verl.llm.ask import Answer, Ask
from sp3f_verl.llm.backends.base import Backend, Batch, Keyed
from sp3f_verl.llm.backends.ray_pool import Pool, Spool
from sp3f_verl.llm.backends.vllm_worker import Generator as Worker
from sp3f_verl.llm.backends.vllm_worker import engine_of
from sp3f_verl.llm.fingerprint import fingerprint, lora_rank
from sp3f_verl.llm.store import Store
from sp3f_verl.llm.totals import Totals

FIELDS = [field.name for field in dataclasses.fields(Ask)]


class VLLMBackend(Backend):
    """Asks a model that each worker of the pool loads. All asks are drawn before the first is answered.

    model: a folder, or a name of the Hugging Face hub. adapter: a LoRA adapter's folder; the store's keys hold
    fingerprints of both. BadInput where one is no model.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        store: Store | None = None,
        totals: Totals | None = None,
        dtype: str = "auto",
        max_model_len: int | None = None,
        adapter: str | Path | None = None,
        pool: Pool | None = None,
    ):
        super().__init__(store, totals)
        self._pool = pool or Pool()
        adapter = None if adapter is None else Path(adapter).resolve()
        rank = 0 if adapter is None else lora_rank(adapter)
        self.model = fingerprint(model, adapter)
        self._arguments = engine_of(model, dtype, max_model_len, self._pool.tensor_parallel)
        self._arguments |= {"name": self.model, "adapter": None if adapter is None else str(adapter), "rank": rank}

    def _identity(self) -> str:
        return json.dumps(["vllm", self.model, self._arguments["dtype"]])

    def _ask(self, fresh: Iterator[Keyed]) -> Generator[Batch, None, None]:
        asks: dict[str, tuple[str, int]] = {}  # id and number: all of an ask that stays here
        spool = Spool(self._pool)
        for chunk in fresh:
            asks |= {key: (ask.id, ask.number) for key, ask in chunk}
            spool.add([json.dumps([key, {name: getattr(ask, name) for name in FIELDS}]) for key, ask in chunk])
            yield []
        for rows in spool.work(Worker, self._arguments):
            batch = []
            for key, value in map(json.loads, rows):
                ident, number = asks.pop(key)
                answer = Answer.from_stored(Ask(ident, [], 0, number=number), value)
                batch.append((key, dataclasses.replace(answer, reused=False)))
            self._keep(batch)
            yield batch
