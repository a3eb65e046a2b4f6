"""A model of an architecture's config: what it is, how it is asked, and the backend that asks it."""

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sp3f_verl import languages
from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Answer, Ask, Backend, Store
from sp3f_verl.llm.cli_options import add_backend_arguments, backend_of, watched

PROMPTS = Path(__file__).parent / "prompts"
DECODING = {
    **{"temperature": float, "top_p": float, "max_tokens": int, "seed": int, "stop": list, "extra": dict},
    **{"system": str, "template": str},
}
BACKENDS = ("openai", "vllm", "seq2seq")


@dataclass(frozen=True)
class Text:
    """A text to translate; source and target are language codes."""

    id: str
    text: str
    source: str
    target: str


@dataclass(frozen=True)
class Model:
    """One entry of `models`.

    model: a name, or one per target language (X-ALMA has a model per group of languages). template: a file of
    prompts/, or one's own, with {source}, {target} and {text}. options: those of the command line of every step.
    """

    name: str
    model: str | Mapping[str, str] | None
    backend: str = "openai"
    options: Mapping[str, Any] = field(default_factory=dict)
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int = 2048
    seed: int | None = None
    stop: tuple[str, ...] = ()
    extra: Mapping[str, Any] | None = None
    system: str | None = None
    template: str = "translate"

    @classmethod
    def of(cls, where: str, name: str, told: Mapping[str, Any], options: Mapping[str, argparse.Action]) -> "Model":
        """Of the YAML's mapping, whose keys are known. BadInput where a value is of another kind."""
        fields: dict[str, Any] = {}
        for key, kind in DECODING.items():
            if (value := told.get(key)) is None:
                continue
            fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
            if not fits or isinstance(value, bool) or (key == "max_tokens" and value < 1):
                raise BadInput(f"{where}.{key} is {value!r}; give it as {kind.__name__}.")
            fields[key] = tuple(map(str, value)) if key == "stop" else value
        model = told.get("model")
        if not isinstance(model, str | dict | None):
            raise BadInput(f"{where}.model is {model!r}; give a name, or one per language.")
        backend = told.get("backend", "openai")
        if backend not in BACKENDS:
            raise BadInput(f"{where}.backend is {backend!r}; it is one of {', '.join(BACKENDS)}.")
        own = {key: value for key, value in told.items() if key in options and key not in ("model", "backend")}
        made = cls(name, model, backend, own, **fields)
        made.namespace(None, where)
        if not made.template_file.is_file():
            raise BadInput(f"{where}.template is {made.template!r}, which is neither a file nor shipped; name one.")
        return made

    @property
    def template_file(self) -> Path:
        shipped = PROMPTS / f"{self.template}.txt"
        return shipped if shipped.is_file() else Path(self.template)

    def settings(self) -> dict[str, Any]:
        """What shapes the answers: not where the model is served, how fast and at what price."""
        names = ("model", "backend", *DECODING)
        shaping = {name: self.options[name] for name in ("adapter", "dtype", "max_model_len") if name in self.options}
        return {name: getattr(self, name) for name in names} | shaping

    def languages(self) -> set[str] | None:
        """The target languages that have a model of their own; None where one model is for all."""
        return set(self.model) if isinstance(self.model, Mapping) else None

    def model_for(self, language: str) -> str | None:
        return self.model[language] if isinstance(self.model, Mapping) else self.model

    def namespace(self, model: str | None, where: str = "") -> argparse.Namespace:
        """The options as the command line would give them. BadInput where one is none."""
        parser = _Parser(where or f"models.{self.name}")
        add_backend_arguments(parser)
        words = [] if self.backend == "seq2seq" else ["--backend", self.backend]
        for key, value in ({"model": model} | dict(self.options)).items():
            flag = f"--{key.replace('_', '-')}"
            values = value if isinstance(value, list) else [value]
            if value is True:
                words.append(flag)
            elif value not in (None, False):
                words += [flag, *map(str, values)]
        return parser.parse_args(words)

    def open(self, model: str | None, store: Path) -> Backend:
        options = self.namespace(model)
        options.store = store
        if self.backend == "seq2seq":
            from sp3f_verl.llm.seq2seq_backend import Seq2SeqBackend

            if model is None:
                raise BadInput(f"models.{self.name}.model is missing: name the folder or hub id of the translator.")
            return Seq2SeqBackend(model, store=Store(store), dtype=options.dtype)
        return backend_of(options)

    def translations(self, texts: Iterable[Text], backend: Backend) -> Iterator[Answer]:
        """Answers by the texts' ids. Whoever translates otherwise (protected spans, candidates) replaces this."""
        return watched(backend.answers(self.translation(text) for text in texts), backend)

    def translation(self, text: Text) -> Ask:
        if self.backend == "seq2seq":  # no chat: the text as it is, and the languages by their FLORES codes
            codes = {"source": languages.get(text.source).flores, "target": languages.get(text.target).flores}
            return self._ask(text.id, text.text, dict(self.extra or {}) | codes)
        names = {key: languages.get(getattr(text, key)).english_name for key in ("source", "target")}
        template = self.template_file.read_text(encoding="utf-8").rstrip("\n")
        return self._ask(text.id, _filled(template, names | {"text": text.text}), self.extra)

    def generation(self, ident: str, prompt: list[dict[str, str]], language: str) -> Ask:
        """The question to continue a conversation; {language} in the system message is the name in English."""
        head = []
        if self.system is not None:
            system = _filled(self.system, {"language": languages.get(language).english_name})
            head = [{"role": "system", "content": system}]
        return self._ask(ident, [*head, *prompt], self.extra)

    def _ask(self, ident: str, messages: str | list[dict[str, str]], extra: Mapping[str, Any] | None) -> Ask:
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        decoding = {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        return Ask(ident, messages, self.max_tokens, **decoding, stop=self.stop, extra=extra)


def _filled(template: str, values: Mapping[str, str]) -> str:
    """All at once: what a text says in braces is no place to fill."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


class _Parser(argparse.ArgumentParser):
    def __init__(self, where: str):
        super().__init__(add_help=False, allow_abbrev=False)
        self.where = where

    def error(self, message: str) -> None:
        raise BadInput(f"{self.where}: {message}; mend it.")
