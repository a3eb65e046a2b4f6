"""The command line of every step that asks a model, and the backend or scorer that the options describe.

add_model_options(parser)
options = parser.parse_args()
with open_model(model_options(options), store_of(options)) as backend: ...
"""

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from sp3f_verl.errors import BadInput
from sp3f_verl.llm.ask import Answer
from sp3f_verl.llm.backends.base import Backend
from sp3f_verl.llm.backends.batch import BatchBackend
from sp3f_verl.llm.backends.openai import OpenAIBackend
from sp3f_verl.llm.backends.ray_pool import Pool
from sp3f_verl.llm.backends.transformers import TransformersBackend
from sp3f_verl.llm.backends.vllm import VLLMBackend
from sp3f_verl.llm.options import ENDPOINT, ENDPOINTS, LOADED, LoadedModel, ModelOptions, Named, Option, flag
from sp3f_verl.llm.outcome import AskFailed
from sp3f_verl.llm.requests.endpoint import Endpoint
from sp3f_verl.llm.requests.rate_limit import RateLimit
from sp3f_verl.llm.score import Scorer, TransformersScorer, VLLMScorer
from sp3f_verl.llm.store import Store
from sp3f_verl.llm.totals import Totals
from sp3f_verl.progress import track
from sp3f_verl.settings import sentence

Options = TypeVar("Options", bound=LoadedModel)


def add_model_options(parser: argparse.ArgumentParser, backend: str = "openai") -> None:
    """Adds the flags that `model_options` and `store_of` read; `backend` is the default of --backend."""
    _add(parser, ModelOptions, backend)
    parser.add_argument(
        "--batch", dest="backend", action="store_const", const="batch", help="the same as --backend batch"
    )


def add_scorer_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `scorer_options` and `store_of` read: those of a reward model."""
    _add(parser, LoadedModel, "vllm")


def model_options(options: argparse.Namespace) -> ModelOptions:
    """The flags, checked. BadInput, one sentence with the flag's name."""
    return _read(ModelOptions, options)


def scorer_options(options: argparse.Namespace) -> LoadedModel:
    """The flags, checked. BadInput, one sentence with the flag's name."""
    return _read(LoadedModel, options)


def open_model(options: ModelOptions, store: Path, named: Named = flag) -> Backend:
    """The backend, with its store open. BadInput where a model's folder is none, or an endpoint names no model."""
    try:
        return _open(options, store, named)
    except BadInput as error:  # an endpoint's sentences begin with the field's name
        field, colon, told = str(error).partition(":")
        raise BadInput(
            f"{named(field)}:{told}" if colon and field in ModelOptions.model_fields else str(error)
        ) from None


def _open(options: ModelOptions, store: Path, named: Named) -> Backend:
    totals = Totals(options.price(), options.max_failure_share)
    if options.backend in ENDPOINTS:
        return _open_endpoint(options, store, totals, named)
    loading = {"store": Store(store), "totals": totals, "dtype": options.dtype}
    if options.backend == "seq2seq":
        from sp3f_verl.llm.backends.seq2seq import Seq2SeqBackend

        return Seq2SeqBackend(options.model, **loading)
    loading |= {"max_model_len": options.max_model_len, "adapter": options.adapter}
    if options.backend == "transformers":
        return TransformersBackend(options.model, **loading)
    return VLLMBackend(options.model, pool=Pool(options.workers, options.tensor_parallel), **loading)


def open_scorer(options: LoadedModel, store: Path) -> Scorer:
    """The scorer, with its store open. BadInput where the model's folder is none."""
    loading = {"store": Store(store), "dtype": options.dtype, "max_model_len": options.max_model_len}
    if options.backend == "transformers":
        return TransformersScorer(options.model, **loading)
    return VLLMScorer(options.model, pool=Pool(options.workers, options.tensor_parallel), **loading)


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


def _add(parser: argparse.ArgumentParser, model: type[LoadedModel], backend: str) -> None:
    groups: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        option = _option(model, name)
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)] or None
        groups[option.group].add_argument(
            flag(name),
            type=_parse(field.annotation),
            choices=choices,
            nargs="+" if field.annotation == tuple[str, ...] else None,
            default=backend if name == "backend" else None,
            metavar=option.metavar,
            help=option.help.replace("%", "%%"),
        )
        if name == "model":
            text = "file of what was answered already (default: beside --output)"
            groups[option.group].add_argument("--store", type=Path, metavar="FILE", help=text)


def _parse(annotation: Any) -> type:
    """int, float or str, as the annotation has it, `| None` and what is `Annotated` aside."""
    parts = [annotation, *get_args(annotation), *(inner for part in get_args(annotation) for inner in get_args(part))]
    return next((kind for kind in (int, float) if kind in parts), str)


def _read(model: type[Options], options: argparse.Namespace) -> Options:
    values = {name: getattr(options, name) for name in model.model_fields}
    try:
        checked = model.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise BadInput(re.sub(r"^\w+", lambda name: flag(name[0]), sentence(model, error, ""))) from None
    checked.check(flag)
    other = LOADED if checked.backend in ENDPOINTS else ENDPOINT
    for name in checked.model_fields_set:
        if _option(model, name).group == other:
            raise BadInput(f"{flag(name)} is for {other}, and the backend here is {checked.backend}; leave one out.")
    return checked


def _option(model: type[LoadedModel], name: str) -> Option:
    return next(entry for entry in model.model_fields[name].metadata if isinstance(entry, Option))


def _open_endpoint(options: ModelOptions, store: Path, totals: Totals, named: Named) -> Backend:
    endpoint = Endpoint(
        options.base_url,
        options.model,
        options.key_variable(),
        concurrency=options.concurrency,
        headers=options.headers,
        proxy=options.proxy,
    )
    if options.backend == "batch":
        folder = store.with_name(store.name + ".batches")
        return BatchBackend(endpoint, Store(store), totals, folder=folder, requests=options.batch_requests)
    try:
        return OpenAIBackend(endpoint, Store(store), totals, RateLimit(requests_per_minute=options.requests_per_minute))
    except AskFailed as error:
        raise BadInput(f"{named('model')} is missing, and {endpoint.base_urls[0]} does not name one: {error}") from None
