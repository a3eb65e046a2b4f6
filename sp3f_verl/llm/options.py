"""How a user names a model and says how it is asked: the same fields as keys of YAML and as flags of every command.

    backend: openai                     # --backend: who answers
    model: Qwen/Qwen3-8B                # --model: its name at the endpoint, or the folder or hub id that is loaded here
    base_url: http://127.0.0.1:8000/v1  # --base-url: where the endpoint is

`ModelOptions.read(mapping, place)` takes the keys; `cli_options.py` makes the flags out of the same fields.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field

from sp3f_verl.errors import BadInput
from sp3f_verl.llm.price import Price, Usd
from sp3f_verl.llm.requests.endpoint import checked_header, checked_url
from sp3f_verl.settings import Filled, Number, Settings, Whole, mend

OPENAI = "https://api.openai.com/v1"
ENDPOINTS = ("openai", "batch")  # backends that ask over HTTP; the others load the model here

Named = Callable[[str], str]  # a field's name -> how the user wrote it: `--base-url`, `models.strong.base_url`


@dataclass(frozen=True)
class Option:
    """A field's line of --help. group: the heading that it stands under."""

    help: str
    metavar: str | None = None
    group: str = "the model that is asked"


def flag(field: str) -> str:
    """The field as the command line has it."""
    return f"--{field.replace('_', '-')}"


def _urls(value: Any) -> tuple[str, ...]:
    """One URL, several with commas between them, or a list of such texts."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("is no URL; give one like http://127.0.0.1:8000/v1, or several that serve the same model")
    return tuple(checked_url(url) for text in texts for url in text.replace(",", " ").split() or [text])


def _headers(value: Any) -> tuple[str, ...]:
    """A mapping, or NAME=VALUE texts; null for none."""
    texts = [f"{name}={text}" for name, text in value.items()] if isinstance(value, Mapping) else value or ()
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError("is no list of headers; give NAME=VALUE, or NAME=env:VARIABLE for what is secret")
    return tuple(map(checked_header, texts))


Headers = Annotated[tuple[str, ...], BeforeValidator(_headers)]
COUNT = (Field(ge=1), mend("give a whole number, 1 or more"))
LOADED = "--backend vllm, transformers"
ENDPOINT = "--backend openai, batch"


class LoadedModel(Settings):
    """A model that this machine or its Ray cluster loads."""

    moved: ClassVar[Mapping[str, str]] = {}  # an old spelling -> what to write in its place

    backend: Annotated[Literal["vllm", "transformers"], Option("what loads it (default: vllm)")] = "vllm"
    model: Annotated[Filled | None, Option("folder or hub id")] = None
    dtype: Annotated[Filled, Option("of the weights (default: the model's)", group=LOADED)] = "auto"
    max_model_len: Annotated[
        Whole | None, *COUNT, Option("prompt and answer (default: the model's)", "TOKENS", LOADED)
    ] = None
    workers: Annotated[Whole | None, *COUNT, Option("copies of the model (default: one per GPU)", "N", LOADED)] = None
    tensor_parallel: Annotated[Whole, *COUNT, Option("GPUs of each copy (default: 1)", "N", LOADED)] = 1

    @classmethod
    def read(cls, values: Any, place: str) -> Self:
        """As `Settings.read`; null is the default, and an old spelling is answered with the new one."""
        if isinstance(values, Mapping):
            if old := next((name for name in cls.moved if name in values), None):
                raise BadInput(f"{place}.{old} is now {cls.moved[old]}; write that.")
            values = {name: value for name, value in values.items() if value is not None}
        return super().read(values, place)

    def served(self) -> list[str | None]:
        """The names that are asked for, None for the one that the endpoint names."""
        return [self.model]

    def check(self, named: Named) -> None:
        """BadInput where the fields do not go together."""
        if None in self.served():
            raise BadInput(f"{named('model')} is missing: name the folder of the model that {self.backend} loads.")


class ModelOptions(LoadedModel):
    """A model that is asked: at an endpoint, or loaded here."""

    moved: ClassVar[Mapping[str, str]] = {"batch": "backend: batch"}

    backend: Annotated[
        Literal["openai", "batch", "vllm", "transformers"],
        Option("an OpenAI-compatible URL, OpenAI's batch endpoint (half the price, within a day), or loaded here"),
    ] = "openai"
    model: Annotated[
        Filled | None, Option("name at the endpoint (default: the first that it serves), or folder or hub id")
    ] = None
    max_failure_share: Annotated[
        Number,
        Field(ge=0, le=1),
        mend("give a share from 0 to 1"),
        Option("of failed requests, above which to stop (default: 0.1)", "SHARE"),
    ] = 0.1
    base_url: Annotated[
        tuple[str, ...],
        BeforeValidator(_urls),
        Option("default: OpenAI; several serve the same model", "URL", ENDPOINT),
    ] = (OPENAI,)
    api_key_env: Annotated[
        Filled | None, Option("variable that holds the key (default: OPENAI_API_KEY for OpenAI)", "NAME", ENDPOINT)
    ] = None
    headers: Annotated[
        Headers,
        Option("of every request; NAME=env:VARIABLE for a value that is secret", "NAME=VALUE", ENDPOINT),
    ] = ()
    proxy: Annotated[
        Filled | None, Option("URL, or `environment` for HTTPS_PROXY and NO_PROXY (default: none)", "URL", ENDPOINT)
    ] = None
    concurrency: Annotated[Whole, *COUNT, Option("requests in flight (default: 64)", "N", ENDPOINT)] = 64
    requests_per_minute: Annotated[
        Number | None,
        Field(gt=0),
        mend("give a positive number, or nothing for no limit"),
        Option("default: no limit", "N", ENDPOINT),
    ] = None
    batch_requests: Annotated[
        Whole, *COUNT, Option("in one batch, where the server's queue takes no more (default: 10000)", "N", ENDPOINT)
    ] = 10_000
    price_in: Annotated[Usd | None, Option("per million prompt tokens", "USD", ENDPOINT)] = None
    price_out: Annotated[Usd | None, Option("per million generated tokens", "USD", ENDPOINT)] = None
    adapter: Annotated[Filled | None, Option("LoRA adapter on top of the model", "FOLDER", LOADED)] = None

    @property
    def engine(self) -> str:
        """What makes the answers: `batch` asks the endpoint that `openai` asks, in another way."""
        return "openai" if self.backend in ENDPOINTS else self.backend

    def check(self, named: Named) -> None:
        if self.backend not in ENDPOINTS:
            super().check(named)
        elif self.adapter is not None:
            raise BadInput(
                f"{named('adapter')} is for {named('backend')} vllm and transformers: an endpoint serves one under a "
                f"{named('model')} of its own."
            )
        elif self.backend == "batch" and None in self.served():
            raise BadInput(f"{named('model')} is missing: a batch names its model.")
        if (self.price_in is None) != (self.price_out is None):
            missing = "price_in" if self.price_in is None else "price_out"
            raise BadInput(f"{named(missing)} is missing: give it in USD per million tokens.")

    def price(self) -> Price | None:
        """What a token costs, None where nobody said. A batch costs half."""
        if self.price_in is None or self.price_out is None:
            return None
        share = 0.5 if self.backend == "batch" else 1.0
        return Price(input=share * self.price_in, output=share * self.price_out)

    def key_variable(self) -> str | None:
        """The environment variable that holds the endpoint's key."""
        return self.api_key_env or ("OPENAI_API_KEY" if self.base_url == (OPENAI,) else None)
