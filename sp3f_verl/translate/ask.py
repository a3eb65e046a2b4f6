"""Texts through a translator: n candidates each, verified, measured, optionally translated back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sp3f_verl import languages
from sp3f_verl.llm.ask import Answer, Ask, Status
from sp3f_verl.rewards import language_share
from sp3f_verl.translate.choose import Candidate, Criteria
from sp3f_verl.translate.features import chrf, features, length
from sp3f_verl.translate.prompt import messages, read_answer
from sp3f_verl.translate.protect import Broken, Protected, adds_spans, protect, without_placeholders

SOURCE = "en"


@dataclass(frozen=True)
class Sampling:
    """How candidates are drawn; see llm.Ask."""

    candidates: int = 4
    max_tokens: int = 2048
    temperature: float | None = 1.0
    top_p: float | None = None
    seed: int | None = 1

    def ask(self, name: str, chat: list[dict[str, str]], number: int = 0) -> Ask:
        return Ask(name, chat, self.max_tokens, self.temperature, self.top_p, self.seed, number)


@dataclass(frozen=True)
class Text:
    """One English text that is to be in `language`. name: unique in the run."""

    name: str
    language: str
    source: str  # in English

    @cached_property
    def protected(self) -> Protected:
        return protect(self.source)


def asks(texts: Iterable[Text], sampling: Sampling) -> Iterator[Ask]:
    for text in texts:
        chat = messages(text.protected.text, SOURCE, text.language)
        for number in range(sampling.candidates):
            yield sampling.ask(text.name, chat, number)


def candidate(text: Text, answer: Answer, criteria: Criteria) -> Candidate:
    """What came of one answer: verified in the order of choose.REASONS."""
    if answer.status is not Status.OK:
        return Candidate(answer.number, str(answer.status))
    masked = read_answer(answer.text, text.language)
    if masked is None:
        return Candidate(answer.number, "no_translation")
    protected = text.protected
    try:
        restored = protected.restore(masked)
    except Broken as reason:
        return Candidate(answer.number, str(reason))
    if adds_spans(masked):
        return Candidate(answer.number, "added_code_or_link")
    source, words = without_placeholders(protected.text), without_placeholders(masked)
    found = features(source, words, text.language)
    fault = criteria.fault(found, length(source), language_share(source, SOURCE) is not None)
    if fault is not None:
        return Candidate(answer.number, fault, features=found)
    return Candidate(answer.number, None, restored, masked, found)


def translate(
    texts: Mapping[str, Text],
    answers: Callable[[Iterable[Ask], int], Iterable[Answer]],
    sampling: Sampling,
    criteria: Criteria,
    back: bool = False,
) -> tuple[dict[str, list[Candidate]], dict[tuple[str, int], Answer]]:
    """(the candidates of each text, by number; the answers by name and number). Nothing depends on the order in which
    answers come. `answers(asks, how many)` asks the model. back: score each good candidate by its back-translation.
    """
    drawn = {
        (answer.id, answer.number): answer
        for answer in answers(asks(texts.values(), sampling), len(texts) * sampling.candidates)
    }
    found = {
        name: [candidate(text, drawn[name, number], criteria) for number in range(sampling.candidates)]
        for name, text in texts.items()
    }
    if back:
        _score_back(texts, found, answers, sampling, criteria)
    return found, drawn


def _score_back(texts, found, answers, sampling: Sampling, criteria: Criteria) -> None:
    """Adds back_translation to the features of good candidates; a fault where it is below its threshold or missing."""
    good = {
        f"{name}#{each.number}": (text, each)
        for name, text in texts.items()
        for each in found[name]
        if each.reason is None
    }
    back = (sampling.ask(key, messages(each.masked, text.language, SOURCE)) for key, (text, each) in good.items())
    for answer in answers(back, len(good)):
        text, each = good[answer.id]
        said = read_answer(answer.text, SOURCE) if answer.status is Status.OK else None
        score = None
        if said is not None:
            score = chrf(without_placeholders(said), without_placeholders(text.protected.text))
        measured = replace(each.features, back_translation=score)
        fault = criteria.back_fault(measured)
        kept = None if fault else each.text
        found[text.name][each.number] = replace(each, reason=fault, text=kept, features=measured)


def check_languages(codes: Sequence[str]) -> None:
    """UnknownLanguage, or UnsupportedLanguage where the language of a text could not be told."""
    for code in codes:
        languages.get(code)
        language_share("", code)
