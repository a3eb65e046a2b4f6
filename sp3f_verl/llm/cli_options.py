"""The command line of every step that asks a model, and the backend that it describes."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.llm.ask import Answer
from sp3f_verl.llm.backends import Backend
from sp3f_verl.llm.batch_api import BatchBackend
from sp3f_verl.llm.endpoint import Endpoint
from sp3f_verl.llm.openai_backend import OpenAIBackend
from sp3f_verl.llm.outcome import AskFailed
from sp3f_verl.llm.price import Price
from sp3f_verl.llm.rate_limit import Pace
from sp3f_verl.llm.ray_pool import Pool
from sp3f_verl.llm.score import Scorer, TransformersScorer, VLLMScorer
from sp3f_verl.llm.store import Store
from sp3f_verl.llm.totals import Totals
from sp3f_verl.llm.transformers_backend import TransformersBackend
from sp3f_verl.llm.vllm_backend import VLLMBackend
from sp3f_verl.progress import track

OPENAI = "https://api.openai.com/v1"


def add_backend_arguments(parser: argparse.ArgumentParser, default: str = "openai") -> None:
    """Adds the options that `backend_of` reads; `default` is the backend."""
    group = parser.add_argument_group("the model that is asked")
    group.add_argument(
        "--backend",
        choices=("openai", "vllm", "transformers"),
        default=default,
        help=f"an OpenAI-compatible URL, or vLLM or transformers in process (default: {default})",
    )
    group.add_argument("--model", help="name at the endpoint (default: the first that it serves), or folder")
    group.add_argument("--store", type=Path, help="file of answers already got (default: beside --output)")
    group.add_argument(
        "--max-failure-share", type=float, default=0.1, metavar="SHARE", help="of failed requests, above which to stop"
    )
    group = parser.add_argument_group("--backend openai")
    group.add_argument("--base-url", nargs="+", default=[OPENAI], metavar="URL", help="several serve the same model")
    group.add_argument(
        "--api-key-env",
        metavar="NAME",
        help="variable that holds the key (default: OPENAI_API_KEY for OpenAI)",
    )
    group.add_argument("--concurrency", type=int, default=64, help="requests in flight (default: 64)")
    group.add_argument("--requests-per-minute", type=float, metavar="N", help="default: no limit")
    group.add_argument("--price-in", type=float, metavar="USD", help="per million prompt tokens")
    group.add_argument("--price-out", type=float, metavar="USD", help="per million generated tokens")
    group.add_argument("--batch", action="store_true", help="OpenAI's batch endpoint: half the price, within a day")
    group = _vllm_arguments(parser)
    group.add_argument("--adapter", type=Path, metavar="FOLDER", help="LoRA adapter on top of --model")


def add_scorer_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `scorer_of` reads."""
    group = parser.add_argument_group("the reward model")
    group.add_argument("--backend", choices=("vllm", "transformers"), default="vllm")
    group.add_argument("--model", required=True, help="folder or hub id; sequence classification with one label")
    group.add_argument("--store", type=Path, help="file of scores already got (default: beside --output)")
    _vllm_arguments(parser)


def _vllm_arguments(parser: argparse.ArgumentParser) -> Any:
    group = parser.add_argument_group("--backend vllm, transformers")
    group.add_argument("--dtype", default="auto", help="of the weights (default: the model's)")
    group.add_argument("--max-model-len", type=int, metavar="TOKENS", help="prompt and answer (default: the model's)")
    group.add_argument("--workers", type=int, metavar="N", help="copies of the model (default: one per GPU)")
    group.add_argument("--tensor-parallel", type=int, default=1, metavar="N", help="GPUs of each copy (default: 1)")
    return group


def backend_of(options: argparse.Namespace) -> Backend:
    """The backend, with its store open. BadInput in one sentence where the options do not fit together."""
    if not 0 <= options.max_failure_share <= 1:
        raise BadInput(f"--max-failure-share={options.max_failure_share:g} is no share: give a number from 0 to 1.")
    totals = Totals(_price(options), options.max_failure_share)
    if options.backend != "openai":
        if options.batch:
            raise BadInput(f"--batch is a service of the endpoint: leave it out with --backend {options.backend}.")
        if options.model is None:
            raise BadInput(f"--model is missing: name the folder of the model that {options.backend} loads.")
        loaded = {name: getattr(options, name) for name in ("dtype", "max_model_len", "adapter")}
        loaded |= {"store": Store(store_of(options)), "totals": totals}
        if options.backend == "transformers":
            return TransformersBackend(options.model, **loaded)
        return VLLMBackend(options.model, pool=Pool(options.workers, options.tensor_parallel), **loaded)
    key = options.api_key_env or ("OPENAI_API_KEY" if options.base_url == [OPENAI] else None)
    endpoint = Endpoint(tuple(options.base_url), options.model, key, concurrency=options.concurrency)
    if options.batch:
        if options.model is None:
            raise BadInput("--model is missing: a batch names its model.")
        store = store_of(options)
        return BatchBackend(endpoint, Store(store), totals, folder=store.with_name(store.name + ".batches"))
    pace = Pace(requests_per_minute=options.requests_per_minute)
    try:
        return OpenAIBackend(endpoint, Store(store_of(options)), totals, pace)
    except AskFailed as error:
        raise BadInput(f"--model is missing, and {endpoint.base_urls[0]} does not name one: {error}") from None


def scorer_of(options: argparse.Namespace) -> Scorer:
    """The scorer, with its store open. BadInput in one sentence where --model is none."""
    loading = {"dtype": options.dtype, "max_model_len": options.max_model_len}
    if options.backend == "transformers":
        return TransformersScorer(options.model, store=Store(store_of(options)), **loading)
    pool = Pool(options.workers, options.tensor_parallel)
    return VLLMScorer(options.model, store=Store(store_of(options)), pool=pool, **loading)


def store_of(options: argparse.Namespace) -> Path:
    """--store, or else answers.sqlite beside --output: the same command again finds it, another output may name it."""
    if options.store is not None:
        return options.store
    output = getattr(options, "output", None)
    return Path("answers.sqlite") if output is None else Path(f"{Path(output)}.answers.sqlite")


def watched(answers: Iterable[Answer], backend: Backend, total: int | None = None) -> Iterator[Answer]:
    """The answers, with a progress bar on stderr: how many, how many failed, what they cost and will cost."""
    return track(answers, backend.model, total, lambda: _note(backend.totals, total))


def _note(totals: Totals, total: int | None) -> str:
    notes = [f"{count} {status}" for status, count in totals.statuses.items() if status != "ok"]
    if totals.reused:
        notes.append(f"{totals.reused} from the store")
    if totals.usd is not None:
        expected = totals.expected_usd(total) if total else None
        notes.append(f"${totals.usd:.2f}" + (f" of about ${expected:.2f}" if expected else ""))
    return ", ".join(notes)


def _price(options: argparse.Namespace) -> Price | None:
    if options.price_in is None and options.price_out is None:
        return None
    given = {"input": options.price_in, "output": options.price_out}
    price = Price.read({name: value for name, value in given.items() if value is not None}, "--price")
    return Price(input=price.input / 2, output=price.output / 2) if options.batch else price
