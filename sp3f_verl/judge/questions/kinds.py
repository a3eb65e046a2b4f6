"""The kinds of question, a class each: which questions a group needs, how an answer is read, what the answers say of
pairs of responses. `sp3f.judge.schedule` and `verdict` choose one; the `kind:` of a prompt file names it.

Texts are responses without their thoughts, in the group's order. Identical ones are asked about once and tie with each
other, and an empty one loses to any other without a question.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sp3f_verl.judge.questions.schedule import SCHEDULES, Pairs
from sp3f_verl.judge.verdicts.verdict import (
    Verdict,
    parse_language,
    parse_ranking,
    parse_score,
    parse_verdict,
    preference_for_a,
)
from sp3f_verl.judge.verdicts.win_rates import NEUTRAL, Comparison
from sp3f_verl.llm.outcome import Completion
from sp3f_verl.rewards.fidelity.thinking import parts

Shown = tuple[str, ...]  # a question: the texts to show, in their order
TOP_LOGPROBS = 20  # the most that OpenAI and vLLM give
COMPARED = frozenset({"query", "responses", "fence"})


class Kind:
    """needed, optional: the variables of a prompt's user part. prompts: the names of those that come with the package,
    with and without the solution. reference: the field of a row that {{solution}} stands for. of_pairs: whether two
    responses at a time are shown, the first as A. tie: the value of two that look the same. longest: tokens of an
    answer, where the kind says it. top_logprobs: what it asks for besides. term: the reward term that the rates are.
    after_rules: whether what is asked hangs on the rule terms of the responses, which then come first.
    """

    name: ClassVar[str]
    prompts: ClassVar[tuple[str, str]]
    needed: ClassVar[frozenset[str]] = COMPARED
    optional: ClassVar[frozenset[str]] = frozenset({"solution", "count", "language"})
    reference: ClassVar[str] = "solution_en"
    of_pairs: ClassVar[bool] = False
    tie: ClassVar[Verdict | float | None] = None
    longest: ClassVar[int | None] = None
    top_logprobs: ClassVar[int | None] = None
    term: ClassVar[str] = "judge"
    after_rules: ClassVar[bool] = False

    def asked_about(self, responses: Sequence[str], rules: Sequence[Mapping[str, float]]) -> list[str]:
        """Of a group's responses, with their rule terms where `after_rules`: the text that the judge is shown of each;
        "" where it is not asked."""
        return list(responses)

    def term_values(self, rates: Sequence[float], valid: Sequence[int], rules: Sequence[Mapping[str, float]]):
        """The term of each response: of its rate, and of how many questions had an answer."""
        return list(rates)

    def labels(self, count: int) -> list[str] | None:
        """The names of so many shown responses; None where the kind cannot show so many."""
        return [str(number + 1) for number in range(count)] if count >= 2 else None

    def questions(self, texts: Sequence[str], settings: Any, rng: random.Random) -> tuple[list[Shown], Pairs | None]:
        """(the distinct questions, the pairs of responses that they decide; None where they decide none)."""
        raise NotImplementedError

    def is_cut_off(self, completion: Completion) -> bool:
        """Whether a text ended at its limit of tokens: it has not come to its verdict."""
        return completion.finish_reason == "length"

    def read(self, completion: Completion, count: int) -> Any:
        """The value in an answer about so many responses; None where there is none."""
        raise NotImplementedError

    def verdict(self, a: str, b: str, values: Mapping[Shown, Any]) -> Verdict | float | None:
        """What the values of the questions say of a pair that is not settled; None where they say nothing."""
        raise NotImplementedError


class Pairwise(Kind):
    """Two responses, a text that ends in a box with A or B."""

    name, prompts = "pairwise", ("privileged", "plain")
    of_pairs, tie = True, Verdict.TIE

    def labels(self, count):
        return ["A", "B"] if count == 2 else None

    def questions(self, texts, settings, rng):
        pairs = SCHEDULES[settings.schedule](len(texts), settings, rng)
        needed = ((texts[i], texts[j]) for i, j in pairs if not is_settled(texts[i], texts[j]))
        return sorted(set(needed)), pairs  # the same A together, for fence=group

    def read(self, completion, count):
        verdict = Verdict.FAILED if self.is_cut_off(completion) else parse_verdict(completion.text)
        return None if verdict is Verdict.FAILED else verdict

    def verdict(self, a, b, values):
        return values[a, b]


class Token(Pairwise):
    """Two responses, P(A) from the log-probabilities of one token."""

    name, prompts = "token", ("privileged_token", "plain_token")
    tie, longest, top_logprobs = 0.5, 1, TOP_LOGPROBS

    def is_cut_off(self, completion):
        return False  # one token is all it has

    def read(self, completion, count):
        return preference_for_a(completion.top_logprobs)


class Listwise(Kind):
    """All different responses at once, a box with their ranking."""

    name, prompts = "listwise", ("listwise", "listwise_plain")

    def questions(self, texts, settings, rng):
        distinct = sorted({text for text in texts if text})
        rng.shuffle(distinct)
        pairs = [(i, j) for i in range(len(texts)) for j in range(i + 1, len(texts))]
        return [tuple(distinct)] if len(distinct) > 1 else [], pairs

    def read(self, completion, count):
        return None if self.is_cut_off(completion) else parse_ranking(completion.text, count)

    def verdict(self, a, b, values):
        ((shown, ranking),) = values.items()
        if ranking is None:
            return None
        places = [ranking.index(shown.index(text)) for text in (a, b)]
        return Verdict.A if places[0] < places[1] else Verdict.B


class Language(Kind):
    """One response, a box with the code of its language."""

    name, prompts = "language", ("language", "language")
    needed, optional = frozenset({"responses", "fence"}), frozenset()

    def labels(self, count):
        return ["1"] if count == 1 else None

    def questions(self, texts, settings, rng):
        return [(text,) for text in sorted({text for text in texts if text})], None

    def read(self, completion, count):
        return None if self.is_cut_off(completion) else parse_language(completion.text)

    def rate(self, value: Any, row: Mapping[str, Any]) -> float:
        """The rate in [0, 1] that the value of a response's question comes to."""
        return float(value == row["language"])


class Consistency(Language):
    """The thoughts of one response, a box with 0 to 10: how far they agree with the policy's own English ones."""

    name, prompts = "consistency", ("consistency", "consistency")
    needed, optional = COMPARED | {"solution"}, frozenset()
    reference = "thinking_en"
    term, after_rules = "consistency", True

    def asked_about(self, responses, rules):
        """Thoughts of right answers that were thought and given in the language."""
        return [
            parts(response)[0] if term["accuracy_in_language"] else ""
            for response, term in zip(responses, rules, strict=True)
        ]

    def term_values(self, rates, valid, rules):
        """Where the judge failed it is the mean of the group's others, so that it moves no advantage between them; the
        original made it 0, the worst there is."""
        asked = [bool(term["accuracy_in_language"]) for term in rules]
        known = [rate for rate, count, own in zip(rates, valid, asked, strict=True) if own and count]
        neutral = sum(known) / len(known) if known else NEUTRAL
        return [
            0.0 if not own else rate if count else neutral for rate, count, own in zip(rates, valid, asked, strict=True)
        ]

    def read(self, completion, count):
        return None if self.is_cut_off(completion) else parse_score(completion.text)

    def rate(self, value, row):
        return value


KINDS: dict[str, Kind] = {kind.name: kind for kind in (Pairwise(), Token(), Listwise(), Language(), Consistency())}
JUDGED_TERMS = frozenset(kind.term for kind in KINDS.values())


def kind_of(schedule: str, verdict: str) -> Kind:
    """The kind that the settings ask for: a schedule of pairs says which pairs, another one is a kind by itself."""
    return KINDS[schedule if schedule not in SCHEDULES else "pairwise" if verdict == "text" else "token"]


def is_settled(a: str, b: str) -> bool:
    """Whether a comparison needs no judge."""
    return a == b or not a or not b


def compare(kind: Kind, texts: Sequence[str], pairs: Pairs, values: Mapping[Shown, Any]) -> list[Comparison]:
    """The pairs with their outcomes. values: what each question came to, None where it failed."""
    comparisons: list[Comparison] = []
    for i, j in pairs:
        a, b = texts[i], texts[j]
        if is_settled(a, b):
            outcome = Verdict.TIE if a == b else Verdict.A if a else Verdict.B
        else:
            outcome = kind.verdict(a, b, values)
        comparisons.append((i, j, Verdict.FAILED if outcome is None else outcome))
    return comparisons
