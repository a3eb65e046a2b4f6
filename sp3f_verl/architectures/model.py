"""A model of an architecture's config: what it is, how it is asked, and the backend that asks it."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import PlainValidator

from sp3f_verl import languages
from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Answer, Ask, Backend
from sp3f_verl.llm.cli_options import open_model, watched
from sp3f_verl.llm.options import COUNT, ModelOptions, Named
from sp3f_verl.settings import Text, Whole

PROMPTS = Path(__file__).parent / "prompts"


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("is not a number; give one")
    return value


# 0 stays 0 and becomes no 0.0: the store's keys have it as it was written when its answers were bought.
AsWritten = Annotated[int | float, PlainValidator(_number)]


@dataclass(frozen=True)
class SourceText:
    """A text to translate; source and target are language codes. locale: of the target, where its variety counts."""

    id: str
    text: str
    source: str
    target: str
    locale: str = ""


class Model(ModelOptions):
    """One entry of `models`: the options of the command line, and how an answer is drawn.

    model_by_language: names in place of `model` for some target languages (X-ALMA has a model per group of them).
    system: the system message of what is generated; {language} in it is the answer's language.
    template: of what is translated: a file of prompts/, or one's own, with {source}, {target} and {text}.
    extra: more fields of each request.
    """

    backend: Literal["openai", "batch", "vllm", "transformers", "seq2seq"] = "openai"
    model_by_language: Mapping[str, Text] = {}
    temperature: AsWritten | None = None
    top_p: AsWritten | None = None
    max_tokens: Annotated[Whole, *COUNT] = 2048
    seed: Whole | None = None
    stop: tuple[Text, ...] = ()
    extra: Mapping[str, Any] | None = None
    system: Text | None = None
    template: Text = "translate"

    @classmethod
    def read(cls, values: Any, place: str) -> Self:
        if isinstance(values, Mapping) and isinstance(values.get("model"), Mapping):
            raise BadInput(f"{place}.model is one name; write {place}.model_by_language={values['model']} for several.")
        return super().read(values, place)

    def check(self, named: Named) -> None:
        super().check(named)
        if not self.template_file.is_file():
            raise BadInput(
                f"{named('template')}={self.template} is neither a file nor shipped; name one with {{text}}."
            )
        if "{text}" not in self.template_file.read_text(encoding="utf-8"):
            raise BadInput(
                f"{named('template')}={self.template} has no {{text}}, so that every question is the same; add it."
            )
        if self.system is not None:
            check_places(self.system, ("language",), named("system"))

    @property
    def template_file(self) -> Path:
        shipped = PROMPTS / f"{self.template}.txt"
        return shipped if shipped.is_file() else Path(self.template)

    def settings(self) -> dict[str, Any]:
        """What shapes the answers: not where the model is served, how fast and at what price."""
        shaping = ("temperature", "top_p", "max_tokens", "seed", "stop", "extra", "system", "template")
        loading = [name for name in ("adapter", "dtype", "max_model_len") if name in self.model_fields_set]
        others = {} if self.model is None else {"others": self.model}
        model = {**self.model_by_language, **others} if self.model_by_language else self.model
        return {"model": model, "backend": self.engine} | {name: getattr(self, name) for name in (*shaping, *loading)}

    def served(self) -> list[str | None]:
        others = [self.model] if self.model is not None or not self.model_by_language else []
        return [*self.model_by_language.values(), *others]

    def lacks(self, targets: Iterable[str]) -> list[str]:
        """The target languages, in order, for which there is no model."""
        everything = self.model is not None or not self.model_by_language
        return [] if everything else sorted(set(targets) - set(self.model_by_language))

    def model_for(self, language: str) -> str | None:
        return self.model_by_language.get(language, self.model)

    def open(self, served: str | None, store: Path, named: Named) -> Backend:
        """The backend of one of the names. BadInput as `open_model`."""
        return open_model(self.model_copy(update={"model": served}), store, named)

    def translations(self, texts: Iterable[SourceText], backend: Backend) -> Iterator[Answer]:
        """Answers by the texts' ids. Whoever translates otherwise (protected spans, candidates) replaces this."""
        return watched(backend.answers(self.translation(text) for text in texts), backend)

    def translation(self, text: SourceText) -> Ask:
        if self.backend == "seq2seq":  # no chat: the text as it is, and the languages by their FLORES codes
            target = languages.flores_of(text.target, text.locale)
            codes = {"source": languages.get(text.source).flores, "target": target}
            return self._ask(text.id, text.text, dict(self.extra or {}) | codes)
        source, target = languages.get(text.source).english_name, languages.variety(text.target, text.locale)
        names = {"source": source, "target": target}
        template = self.template_file.read_text(encoding="utf-8").rstrip("\n")
        return self._ask(text.id, filled(template, names | {"text": text.text}), self.extra)

    def generation(self, ident: str, prompt: list[dict[str, str]], language: str) -> Ask:
        """The question to continue a conversation; {language} in the system message is the name in English."""
        head = []
        if self.system is not None:
            system = filled(self.system, {"language": languages.get(language).english_name})
            head = [{"role": "system", "content": system}]
        return self._ask(ident, [*head, *prompt], self.extra)

    def _ask(self, ident: str, messages: str | list[dict[str, str]], extra: Mapping[str, Any] | None) -> Ask:
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        decoding = {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        return Ask(ident, messages, self.max_tokens, **decoding, stop=self.stop, extra=extra)


def filled(template: str, values: Mapping[str, str]) -> str:
    """All at once: what a text says in braces is no place to fill."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


def check_places(template: str, known: Iterable[str], name: str) -> None:
    r"""BadInput for a blank text, and for a place in braces that nothing fills; `\boxed{answer}` is none."""
    if not template.strip():
        raise BadInput(f"{name} is blank; give a text, or leave it out.")
    for place in re.findall(r"(?<![\w\\])\{(\w+)\}", template):
        if place not in known:
            places = ", ".join(f"{{{one}}}" for one in known)
            raise BadInput(f"{name} has {{{place}}}, which nothing fills; it may have {places}.")
