"""Which answers meet: those of a candidate and of the baseline to the same prompt, in the same language."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sp3f_verl.data.prompts import Prompts
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.arena.outputs import Answer, Key, Outputs
from sp3f_verl.rewards import UnsupportedLanguage, language_share
from sp3f_verl.rewards.text import strip_think


@dataclass(frozen=True, slots=True)
class Side:
    """An answer as it is measured: without its thoughts. share: of its language, None where that is not known."""

    text: str
    status: str
    share: float | None

    @property
    def characters(self) -> int:
        return len(self.text)


@dataclass(frozen=True, slots=True)
class Pair:
    candidate: str
    id: str
    language: str
    sample: int
    query: str
    reference_en: str | None
    category: str | None
    sides: tuple[Side, Side]  # the candidate's, the baseline's


@dataclass
class Pairing:
    """The pairs of a run, the prompts that lack an answer by candidate and language, and those that nobody answered."""

    pairs: list[Pair] = field(default_factory=list)
    missing: dict[str, Counter[str]] = field(default_factory=dict)
    not_answered: int = 0
    codes: tuple[str, ...] = ()
    unrecognised: set[str] = field(default_factory=set)


def pair_up(candidates: Sequence[Outputs], baseline: Outputs, prompts: Prompts, allow_missing: bool) -> Pairing:
    """The pairs, in the order of candidate, language, id and sample. BadInput where the outputs are not of the same
    prompts and `allow_missing` is false, or nothing is left."""
    for outputs in (*candidates, baseline):
        for ident, code, _ in outputs.answers:
            if (ident, code) not in prompts:
                raise BadInput(
                    f"{outputs.path} answers the id {ident!r} in {code!r}, which is not in the prompts; give the "
                    "--prompts that were answered."
                )
    answered = {(ident, code) for outputs in (*candidates, baseline) for ident, code, _ in outputs.answers}
    pairing = Pairing(not_answered=len(prompts) - len(answered), codes=tuple(sorted({code for _, code in answered})))
    sides: dict[tuple[str, Key], Side] = {}
    for candidate in candidates:
        usable = [
            {key for key, answer in outputs.answers.items() if answer.text is not None}
            for outputs in (candidate, baseline)
        ]
        wanted = candidate.answers.keys() | baseline.answers.keys()
        lacking = sorted(wanted - (usable[0] & usable[1]))
        if lacking and not allow_missing:
            raise BadInput(_unequal(candidate, baseline, lacking, len(_prompts_of(wanted))))
        pairing.missing[candidate.name] = Counter(code for _, code in _prompts_of(lacking))
        for key in sorted(usable[0] & usable[1], key=lambda key: (key[1], key[0], key[2])):
            pairing.pairs.append(_pair(candidate, baseline, key, prompts, pairing, sides))
    if not pairing.pairs:
        raise BadInput("no prompt is answered by both models; give outputs for the same prompts.")
    return pairing


def _prompts_of(keys: Iterable[Key]) -> set[tuple[str, str]]:
    return {(ident, code) for ident, code, _ in keys}


def _pair(candidate: Outputs, baseline: Outputs, key: Key, prompts: Prompts, pairing: Pairing, sides: dict) -> Pair:
    ident, code, sample = key
    both = []
    for outputs in (candidate, baseline):
        if (outputs.name, key) not in sides:
            sides[outputs.name, key] = _side(outputs.answers[key], code, pairing)
        both.append(sides[outputs.name, key])
    category = candidate.answers[key].category or baseline.answers[key].category or prompts.task(ident, code)
    return Pair(
        candidate.name, ident, code, sample, query_of(prompts.messages(ident, code)),
        prompts.reference(ident, code), category, tuple(both),
    )  # fmt: skip


def _side(answer: Answer, code: str, pairing: Pairing) -> Side:
    text = strip_think(answer.text).strip()
    share = None
    if code not in pairing.unrecognised:
        try:
            share = language_share(text, code, pairing.codes)
        except UnsupportedLanguage:
            pairing.unrecognised.add(code)
    return Side(text, answer.status, share)


def query_of(messages: Iterable[dict[str, str]]) -> str:
    """The conversation as one text: the user's words alone where they are all of it."""
    messages = list(messages)
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)


def read_prompts_of(given: Sequence[Path], outputs: Iterable[Outputs]) -> tuple[Prompts, list[Path]]:
    """--prompts, or else the prompts that came with the outputs. BadInput where some that came along ask something
    else under the same id: a row's position is the id of many benchmarks, and no two files need have the same order."""
    beside = list(dict.fromkeys(output.prompts for output in outputs if output.prompts))
    paths = list(given) or beside[:1]
    if not paths:
        raise BadInput("--prompts is missing: the judge must see what was asked; give the file that was answered.")
    prompts, others = Prompts(paths), [path for path in beside if path not in paths]
    for path in others:
        others_prompts = Prompts([path])
        for ident, code in others_prompts:
            if (ident, code) in prompts and others_prompts.messages(ident, code) != prompts.messages(ident, code):
                raise BadInput(
                    f"{path} asks something else than {', '.join(map(str, paths))} under the id {ident!r} in {code!r}; "
                    "compare answers to the same prompts."
                )
    return prompts, [*paths, *others]


def _unequal(candidate: Outputs, baseline: Outputs, lacking: list[Key], total: int) -> str:
    ident, code, _ = lacking[0]
    answers = [outputs.answers.get(lacking[0]) for outputs in (candidate, baseline)]
    outputs, answer = next(
        (outputs, answer)
        for outputs, answer in zip((candidate, baseline), answers, strict=True)
        if answer is None or answer.text is None
    )
    reason = "has no answer to" if answer is None else f"has no text ({answer.status}) for"
    return (
        f"{outputs.path} {reason} id {ident!r} in {code!r}, one of {len(_prompts_of(lacking))} of {total} prompts that "
        f"{candidate.name} and {baseline.name} do not both answer; answer them, or count them with --allow-missing."
    )
