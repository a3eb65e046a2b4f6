"""A parallel corpus of templated arithmetic: the same problem in every language, and what is held out of it.

A problem is a fact (`7+5`) in a template (a story with a name and an object, or a plain sum). The texts come from the
`quickstart` blocks of the language table. Everything is a function of the settings and `data_seed`.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from sp3f_verl import languages
from sp3f_verl.languages.entry import Quickstart

NAMES = OBJECTS = 3  # entries of each list in a `quickstart` block


@dataclass(frozen=True)
class Problem:
    """`kind` is add or sub (stories) or sum (plain); `a` and `b` are its operands, `-` only where a >= b."""

    kind: str
    sign: str
    a: int
    b: int
    name: int = 0
    object: int = 0

    @property
    def result(self) -> int:
        return self.a + self.b if self.sign == "+" else self.a - self.b

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.a}{self.sign}{self.b}:{self.name}:{self.object}"


def _fill(template: str, problem: Problem, block: Quickstart, work: str) -> str:
    values = {
        "{name}": block.names[problem.name],
        "{object}": block.objects[problem.object],
        "{a}": str(problem.a),
        "{b}": str(problem.b),
        "{work}": work,
    }
    for slot, value in values.items():
        template = template.replace(slot, value)
    return template


def question(problem: Problem, language: str) -> str:
    block = languages.get(language).quickstart
    return _fill(getattr(block, f"{problem.kind}_question"), problem, block, f"{problem.a}{problem.sign}{problem.b}")


def answer(problem: Problem, language: str, boxed: bool = True) -> str:
    """One worked line and the box: `After that, Anna has 7+5=12 apples. \\boxed{12}`."""
    block = languages.get(language).quickstart
    work = f"{problem.a}{problem.sign}{problem.b}={problem.result}"
    line = _fill(getattr(block, f"{problem.kind}_answer"), problem, block, work)
    return f"{line} \\boxed{{{problem.result}}}" if boxed else line


def facts(largest: int) -> list[tuple[str, int, int]]:
    pairs = [(a, b) for a in range(1, largest + 1) for b in range(1, largest + 1)]
    return [("+", a, b) for a, b in pairs] + [("-", a, b) for a, b in pairs if a >= b]


def split(settings: dict) -> dict[str, list[tuple[str, tuple[str, int, int]]]]:
    """Disjoint lists of (language, fact) pairs.

    sft, rl_only       training; the facts of `rl_only` stand in no SFT row: RL alone can teach them
    validation, test   held-out pairs of facts that SFT shows in other languages
    rl_only_test       held-out pairs of facts that RL, and only RL, meets in other languages
    unseen_sums        pairs of facts that no training row holds
    """
    rng = random.Random(f"split:{settings['data_seed']}")
    corpus = settings["corpus"]
    every = facts(corpus["largest"])
    rng.shuffle(every)
    unseen = round(len(every) * corpus["unseen_facts"])
    rl_only = unseen + round(len(every) * corpus["rl_only_facts"])
    parts: dict[str, list] = {"sft": [], "rl_only": [], "validation": [], "test": [], "rl_only_test": []}
    parts["unseen_sums"] = [(language, fact) for language in settings["languages"] for fact in every[:unseen]]
    for language in settings["languages"]:
        for known, train, held_out in (
            (every[rl_only:], "sft", ("validation", "test")),
            (every[unseen:rl_only], "rl_only", ("rl_only_test",)),
        ):
            rng.shuffle(known)
            size = round(len(known) * corpus["unseen_pairs"]) // len(held_out)
            for name in held_out:
                parts[name] += [(language, fact) for fact in known[:size]]
                known = known[size:]
            parts[train] += [(language, fact) for fact in known]
    return parts


def problems(pairs: list, rng: random.Random, story_share: float) -> Iterator[tuple[str, Problem]]:
    """An endless stream of (language, problem), in shuffled rounds so that each pair comes equally often."""
    while True:
        order = list(pairs)
        rng.shuffle(order)
        for language, (sign, a, b) in order:
            if rng.random() < story_share:
                kind = "add" if sign == "+" else "sub"
                yield language, Problem(kind, sign, a, b, rng.randrange(NAMES), rng.randrange(OBJECTS))
            else:
                yield language, Problem("sum", sign, a, b)


def sft_answer(problem: Problem, language: str, rng: random.Random, faults: dict) -> str:
    """The answer of an SFT row, with the faults of the settings, drawn independently of each other."""
    weak = language in faults["weak_languages"]
    in_english = rng.random() < faults["english"][weak]
    boxed = rng.random() >= faults["no_box"][weak]
    return answer(problem, "en" if in_english else language, boxed)
