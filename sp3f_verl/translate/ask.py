"""Texts through a translator: n candidates each, verified, measured, optionally translated back."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from sp3f_verl.llm.ask import Answer, Ask, Status
from sp3f_verl.rewards import language_share
from sp3f_verl.stats.chrf import chrf
from sp3f_verl.translate import gate
from sp3f_verl.translate.choose import Candidate, Criteria
from sp3f_verl.translate.features import Features, features, length
from sp3f_verl.translate.prompt import messages, read_answer
from sp3f_verl.translate.protect import Broken, Protected, protect, without_placeholders

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
    source: str

    @cached_property
    def protected(self) -> Protected:
        return protect(self.source)

    @cached_property
    def words(self) -> str:
        """The text without what is protected."""
        return without_placeholders(self.protected.text)

    @cached_property
    def is_formula(self) -> bool:
        """Whether there is nothing to translate: such a text stays as it is, and nobody is asked."""
        return not any(map(str.isalpha, self.words))

    @cached_property
    def has_language(self) -> bool:
        """Whether there are words enough to tell a language by."""
        return language_share(self.words, SOURCE) is not None


def asks(texts: Iterable[Text], sampling: Sampling) -> Iterator[Ask]:
    for text in texts:
        chat = messages(text.protected.text, SOURCE, text.language)
        for number in range(sampling.candidates):
            yield sampling.ask(text.name, chat, number)


def candidate(text: Text, answer: Answer, criteria: Criteria) -> Candidate:
    """What came of one answer: verified in the order of choose.REASONS."""
    if answer.status is not Status.OK:
        return Candidate(answer.number, str(answer.status))
    masked = read_answer(answer.text)
    if masked is None:
        return Candidate(answer.number, "no_translation")
    masked = gate.cleaned(masked, text.protected.text)
    try:
        restored = text.protected.restore(masked)
    except Broken as reason:
        return Candidate(answer.number, str(reason))
    if text.protected.is_added_to(masked):
        return Candidate(answer.number, "added_code_or_link")
    if criteria.keep_structure and lines(masked) != lines(text.protected.text):
        return Candidate(answer.number, "structure")
    if (reason := gate.fault(masked, text.protected.text, text.language)) is not None:
        return Candidate(answer.number, reason)
    measured = features(text.words, without_placeholders(masked), text.language)
    fault = criteria.fault(measured, length(text.words), text.has_language)
    if fault is not None:
        return Candidate(answer.number, fault, features=measured)
    return Candidate(answer.number, None, restored, masked, measured)


def lines(text: str) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for line in text.split("\n"))


def translate(
    texts: Mapping[str, Text],
    answers: Callable[[Iterable[Ask], int], Iterable[Answer]],
    sampling: Sampling,
    criteria: Criteria,
    back: bool = False,
) -> tuple[dict[str, list[Candidate]], dict[tuple[str, int], Answer]]:
    """(the candidates of each text, by number; their answers by name and number, without texts). Nothing depends on the
    order in which answers come. `answers(asks, how many)` asks the model. back: score good candidates by translating
    them back.
    """
    as_it_is = Features(None, 1.0, 1.0)
    candidates_of = {
        name: [Candidate(0, None, text.source, text.protected.text, as_it_is)] if text.is_formula else []
        for name, text in texts.items()
    }
    wanted, drawn = [text for text in texts.values() if not text.is_formula], {}
    for answer in answers(asks(wanted, sampling), len(wanted) * sampling.candidates):
        candidates_of[answer.id].append(candidate(texts[answer.id], answer, criteria))
        drawn[answer.id, answer.number] = replace(answer, text=None)
    for candidates in candidates_of.values():
        candidates.sort(key=lambda candidate: candidate.number)
    if back:
        _score_back(wanted, candidates_of, answers, sampling, criteria)
    return candidates_of, drawn


def _score_back(wanted: Iterable[Text], candidates_of, answers, sampling: Sampling, criteria: Criteria) -> None:
    """Adds back_translation to the features of good candidates; a fault where it is below its threshold or missing."""
    good = {
        f"{text.name}#{candidate.number}": (text, candidate)
        for text in wanted
        for candidate in candidates_of[text.name]
        if candidate.reason is None
    }
    back = (
        sampling.ask(key, messages(candidate.masked, text.language, SOURCE)) for key, (text, candidate) in good.items()
    )
    for answer in answers(back, len(good)):
        text, candidate = good[answer.id]
        reverse = read_answer(answer.text) if answer.status is Status.OK else None
        score = chrf(without_placeholders(reverse), text.words) if reverse is not None else None
        measured = replace(candidate.features, back_translation=score)
        fault = criteria.back_fault(measured)
        kept = None if fault else candidate.text
        candidates_of[text.name][candidate.number] = replace(candidate, reason=fault, text=kept, features=measured)
