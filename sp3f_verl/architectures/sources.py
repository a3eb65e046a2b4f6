r"""The five English preference sets, each read from its own file format; one function a source.

A reader takes the rows of a source's files and gives `Pair`s, or tells why a row makes none. Text keeps its structure:
line breaks, indentation and backslashes are what lists, code and LaTeX are made of.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sp3f_verl.data.preference_rows import Unusable, as_turns, content_of
from sp3f_verl.data.rows import finite, row_id

Drop = Callable[[str], None]
Message = dict[str, str]


@dataclass(frozen=True)
class Pair:
    id: str  # of the source and of what identifies the row in it
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    chosen_score: float | None = None
    rejected_score: float | None = None

    @property
    def texts(self) -> list[str]:
        """The whole prompt as one text, then the sides."""
        return ["\n".join(turn["content"] for turn in self.prompt), self.chosen, self.rejected]


@dataclass(frozen=True)
class Source:
    """Where a set is on the Hub, the columns of its files that are read, and what its rows are for."""

    hub: str
    split: str
    columns: tuple[str, ...]
    task: str
    read: Callable[[Iterable[Mapping[str, Any]], str, Drop], Iterator[Pair]]


def text_of(value: Any) -> str:
    """The text, without what surrounds it; "" for what is no text."""
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""


def ready_pairs(rows: Iterable[Mapping[str, Any]], name: str, drop: Drop) -> Iterator[Pair]:
    """Columns prompt, chosen, rejected; the rows have no id of their own, so their texts are it."""
    for row in rows:
        prompt, chosen, rejected = (text_of(row[key]) for key in ("prompt", "chosen", "rejected"))
        yield Pair(row_id(name, [prompt, chosen, rejected]), _user(prompt), chosen, rejected)


def whole_solutions(rows: Iterable[Mapping[str, Any]], name: str, drop: Drop) -> Iterator[Pair]:
    """Math-Step-DPO with whole solutions as sides. Its chosen and rejected are single steps out of their middle."""
    wholes = ({"prompt": row["prompt"], "chosen": row["full_chosen"], "rejected": row["full_rejected"]} for row in rows)
    return ready_pairs(wholes, name, drop)


def arena(rows: Iterable[Mapping[str, Any]], name: str, drop: Drop) -> Iterator[Pair]:
    """Chatbot Arena: English, one question and one answer on each side, and a winner: both kinds of tie have none."""
    for row in rows:
        if str(row["language"]).lower() not in ("english", "en"):
            drop("not_english")
        elif row["winner"] not in ("model_a", "model_b"):
            drop("tie" if str(row["winner"]).startswith("tie") else "no_winner")
        else:
            sides = [_one_turn(row[f"conversation_{side}"]) for side in "ab"]
            if None in sides:
                drop("not_one_turn")
            elif sides[0][0] != sides[1][0]:
                drop("sides_answer_different_prompts")
            else:
                won = sides[row["winner"] == "model_b"]
                lost = sides[row["winner"] == "model_a"]
                yield Pair(row_id(name, row["question_id"]), _user(won[0]), won[1], lost[1])


def helpsteer(rows: Iterable[Mapping[str, Any]], name: str, drop: Drop) -> Iterator[Pair]:
    """HelpSteer2: prompts with two answers, the one with more helpfulness + correctness + coherence chosen.

    The same answer twice counts once. Its prompts hold earlier turns behind marks of their own.
    """
    groups: dict[str, dict[str, float | None]] = defaultdict(dict)
    for row in rows:
        grades = [row[name] for name in ("helpfulness", "correctness", "coherence")]
        graded = all(map(finite, grades))
        answers = groups[text_of(row["prompt"])]
        answer, score = text_of(row["response"]), float(sum(grades)) if graded else None
        if answers.get(answer, score) != score:
            score = None  # graded twice, and not alike
        answers[answer] = score
    for prompt, answers in groups.items():
        scores = list(answers.values())
        turns = _turns(prompt)
        if len(answers) != 2:
            drop("not_two_answers")
        elif None in scores:
            drop("no_score")
        elif scores[0] == scores[1]:
            drop("equal_scores")
        elif turns is None:
            drop("broken_turns")
        else:
            (chosen, high), (rejected, low) = sorted(answers.items(), key=lambda item: -item[1])
            yield Pair(row_id(name, prompt), turns, chosen, rejected, high, low)


_MARK = re.compile(r"\s*<extra_id_1>(User|Assistant)\n")


def _turns(prompt: str) -> tuple[Message, ...] | None:
    """The turns of a HelpSteer2 prompt: user, assistant, ..., user; None where they do not alternate."""
    first, *rest = _MARK.split(prompt)
    roles, texts = ["user", *(role.lower() for role in rest[::2])], [first, *rest[1::2]]
    wanted = list(itertools.islice(itertools.cycle(("user", "assistant")), len(roles)))
    if roles != wanted or roles[-1] != "user" or (len(texts) > 1 and not all(text.strip() for text in texts)):
        return None
    return tuple({"role": role, "content": text.strip()} for role, text in zip(roles, texts, strict=True))


def _user(prompt: str) -> tuple[Message, ...]:
    return ({"role": "user", "content": prompt},)


def _one_turn(conversation: Any) -> tuple[str, str] | None:
    """(question, answer) of a list of messages, numpy's kind included; None for anything else."""
    try:
        turns = [(turn["role"], text_of(content_of(turn["content"]))) for turn in as_turns(conversation)]
    except (TypeError, KeyError, Unusable):
        return None
    return (turns[0][1], turns[1][1]) if [role for role, _ in turns] == ["user", "assistant"] else None


_PAIR = ("prompt", "chosen", "rejected")
SOURCES = {
    "tasksource": Source("tasksource/tasksource_dpo_pairs", "test", _PAIR, "discriminative_tasks", ready_pairs),
    "arena": Source(
        "lmsys/chatbot_arena_conversations",
        "train",
        ("question_id", "language", "winner", "conversation_a", "conversation_b"),
        "question_answering",
        arena,
    ),
    "gutenberg": Source("jondurbin/gutenberg-dpo-v0.1", "train", _PAIR, "generative_writing_tasks", ready_pairs),
    "math_step": Source("xinlai/Math-Step-DPO-10K", "train", _PAIR, "mathematical_reasoning", ready_pairs),
    "helpsteer2": Source(
        "nvidia/HelpSteer2",
        "train",
        ("prompt", "response", "helpfulness", "correctness", "coherence"),
        "helpfulness_preference",
        helpsteer,
    ),
}
# The same set with whole solutions in place of single steps.
WHOLE = Source(
    SOURCES["math_step"].hub,
    "train",
    ("prompt", "full_chosen", "full_rejected"),
    "mathematical_reasoning",
    whole_solutions,
)
