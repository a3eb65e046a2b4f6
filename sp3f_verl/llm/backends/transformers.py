"""transformers in this process as a backend: for small models, for a machine without vLLM, and as a check of vLLM.

Every answer is drawn with noise of its own seed, so what else is in a batch, and where a killed run goes on, changes an
answer by rounding alone.
"""

import json
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from sp3f_verl.llm.ask import Answer, Ask, answered, failed
from sp3f_verl.llm.backends.base import Backend, Batch, Keyed
from sp3f_verl.llm.backends.vllm_worker import Rendering
from sp3f_verl.llm.fingerprint import fingerprint, loading, lora_rank
from sp3f_verl.llm.outcome import FailureKind, Usage
from sp3f_verl.llm.store import Store
from sp3f_verl.llm.totals import Totals

AHEAD = 4096  # asks drawn before the first is answered, so that prompts of one length come together
Prepared = tuple[str, Ask, list[int]]  # key, ask, its prompt's token ids


def load(kind: str, path: str, dtype: str, name: str, what: str = "model") -> tuple[Any, Any]:
    """(the model on the GPU where there is one, its tokenizer). kind: one of transformers' Auto classes. BadInput, with
    the name that a user knows it by, where it is no such model."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()  # of loading weights; the caller shows progress over the answers
    with loading(name, what):
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        model = getattr(transformers, kind).from_pretrained(path, dtype=dtype)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


class TransformersBackend(Backend):
    """Asks a model that is loaded at the first question. Only prompts of one length are batched: nothing is padded.

    model, adapter: as `VLLMBackend`'s. BadInput where one is no model.
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
        batch: int = 64,
    ):
        super().__init__(store, totals)
        if adapter is not None:
            lora_rank(Path(adapter))
        self.model, self._adapter = fingerprint(model, adapter), adapter
        self._path, self._dtype, self._longest, self._batch = str(model), dtype, max_model_len, batch

    def _identity(self) -> str:
        return json.dumps(["transformers", self.model, self._dtype])

    def _ask(self, fresh: Iterator[Keyed]) -> Generator[Batch, None, None]:
        waiting: Keyed = []
        for chunk in fresh:
            waiting += chunk
            yield []
            if len(waiting) >= AHEAD:
                yield from self._answer(waiting)
                waiting = []
        if waiting:
            yield from self._answer(waiting)

    def _answer(self, keyed: Keyed) -> Iterator[Batch]:
        self._load()
        broken, alike = [], defaultdict(list)
        for key, ask in keyed:
            extra = dict(ask.extra or {})
            try:
                ids = self._rendering.ids(ask.messages, **extra.pop("chat_template_kwargs", {}))
                if extra or ask.stop:
                    raise ValueError(f"transformers takes no {', '.join([*extra, *['stop'] * bool(ask.stop)])} here")
            except Exception as error:  # a chat template may raise anything
                message = " ".join(str(error).split())[:200]
                broken.append((key, failed(ask, FailureKind.BAD_REQUEST, message, self.model)))
                continue
            if self._longest and len(ids) + ask.max_tokens > self._longest:
                message = f"{len(ids)} tokens and max_tokens={ask.max_tokens} exceed the context of {self._longest}"
                broken.append((key, failed(ask, FailureKind.TOO_LONG, message, self.model)))
            else:
                alike[len(ids), ask.max_tokens].append((key, ask, ids))
        yield broken
        for group in alike.values():
            for start in range(0, len(group), self._batch):
                batch = self._generate(group[start : start + self._batch])
                self._keep(batch)
                yield batch

    def _load(self) -> None:
        if hasattr(self, "_loaded"):
            return
        from transformers import GenerationConfig

        model, self._tokenizer = load("AutoModelForCausalLM", self._path, self._dtype, self.model)
        self._rendering = Rendering(self._tokenizer, add_generation_prompt=True)
        # Only what an ask says, and the ends, which are the tokenizer's too as in vLLM: a checkpoint may bring a
        # repetition penalty and other habits along.
        ends = model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or [])
        self._ends = list(dict.fromkeys(token for token in (*ends, self._tokenizer.eos_token_id) if token is not None))
        model.generation_config = GenerationConfig(eos_token_id=self._ends or None)
        self._longest = self._longest or getattr(model.config, "max_position_embeddings", None)
        if self._adapter is not None:
            from peft import PeftModel

            with loading(self._adapter, "LoRA adapter of this model"):
                model = PeftModel.from_pretrained(model, self._adapter).to(model.device).eval()
        self._loaded = model

    def _generate(self, group: list[Prepared]) -> Batch:
        import torch

        ids = torch.tensor([prompt for *_, prompt in group], device=self._loaded.device)
        filler = self._ends[0] if self._ends else 0  # after a row's end
        with torch.inference_mode():
            output = self._loaded.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=group[0][1].max_tokens,
                do_sample=False,  # the largest of the scores, to which `_Drawing` adds the noise
                logits_processor=[_Drawing([ask for _, ask, _ in group])],
                pad_token_id=filler,
            )
        generated = output[:, ids.shape[1] :].tolist()
        return [
            (key, self._read(ask, len(prompt), row)) for (key, ask, prompt), row in zip(group, generated, strict=True)
        ]

    def _read(self, ask: Ask, prompt: int, row: list[int]) -> Answer:
        end = next((at for at, token in enumerate(row) if token in self._ends), None)
        row = row if end is None else row[: end + 1]
        text = self._tokenizer.decode(row, skip_special_tokens=True)
        return answered(ask, text, "length" if end is None else "stop", Usage(prompt, 0, len(row)), self.model)


class _Drawing:
    """A logits processor that makes the largest score of each row a sample of its ask's distribution.

    The largest of log-probs with Gumbel noise is a sample (Gumbel 1954). Greedy rows stay as they are.
    """

    def __init__(self, asks: list[Ask]):
        import torch

        self._asks = asks
        self._noise = []
        for ask in asks:
            generator = torch.Generator()
            self._noise.append(generator)
            generator.manual_seed(ask.own_seed) if ask.own_seed is not None else generator.seed()

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        drawn = scores.float().clone()
        for row, (ask, generator) in enumerate(zip(self._asks, self._noise, strict=True)):
            temperature = 1.0 if ask.temperature is None else ask.temperature
            if temperature == 0:
                continue
            logits = drawn[row] / temperature
            if ask.top_p is not None and ask.top_p < 1:
                ordered, places = torch.sort(logits, descending=True)
                shares = ordered.softmax(-1)
                outside = shares.cumsum(-1) - shares >= ask.top_p  # what came before has the share already
                logits = logits.masked_fill(torch.zeros_like(outside).scatter(0, places, outside), -torch.inf)
            noise = torch.empty(logits.shape).exponential_(generator=generator)
            drawn[row] = logits - noise.log().to(logits.device)
        return drawn
