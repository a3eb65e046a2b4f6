"""Asks a model the problems of benchmarks, scores its answers, and writes output.jsonl by language and summary.json."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sp3f_verl.data.output import Output
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.problems import Problem, folder_of
from sp3f_verl.evaluation.results import BenchmarkResult, Decoding, Measures
from sp3f_verl.evaluation.scores import Scored, score
from sp3f_verl.evaluation.summary import Column, describe, merged
from sp3f_verl.llm import Answer, Ask
from sp3f_verl.rewards.answers.checkers import Checker, CheckerFailed

# SP3F's paper: 8 samples, temperature 0.7, top_p 0.8, prompt and answer in 2048 tokens.
PAPER = Decoding(samples=8, temperature=0.7, top_p=0.8, max_tokens=2048, seed=1)


@dataclass
class Cell:
    """A benchmark in a language. others: the languages that an answer is looked for in, beside its own."""

    benchmark: str
    language: str
    problems: list[Problem]
    others: tuple[str, ...]
    checkers: Mapping[str, Checker]
    scored: dict[str, dict[str, Scored]] = field(default_factory=dict)  # variant -> problem -> what it came to

    @property
    def file(self) -> str:
        return f"{folder_of(self.benchmark)}/{self.language}/output.jsonl"


def asks(cells: Sequence[Cell], decoding: Decoding) -> Iterator[Ask]:
    """All samples of a problem after one another; the id says which cell and problem."""
    drawn = {"temperature": decoding.temperature, "top_p": decoding.top_p}
    for at, cell in enumerate(cells):
        for number, problem in enumerate(cell.problems):
            seed = seed_of(decoding.seed, f"{cell.benchmark}:{cell.language}:{problem.id}")
            for sample in range(decoding.samples):
                yield Ask(f"{at}:{number}", problem.messages, decoding.max_tokens, seed=seed, number=sample, **drawn)


def seed_of(seed: int, problem: str) -> int:
    """31 bits for each problem: with one seed for all, a sampler draws the same noise for every problem, whose answers
    then go right and wrong together, and intervals by problem promise too much."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{problem}".encode()).digest()[:4]) >> 1


def collect(
    answers: Iterable[Answer], cells: Sequence[Cell], samples: int, threshold: float, out: Output
) -> Counter[str]:
    """Scores a problem once all its answers are there, and writes the cells' files, in the order of their ids. Answers
    how many answers are whole, cut off, empty, or failed.

    Only the problems that wait for an answer are in memory. BadInput where a checker of the user's fails.
    """
    waiting: dict[str, dict[int, Answer]] = {}
    kinds: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        files: dict[int, IO[str]] = {}
        for answer in answers:
            kinds[_kind(answer)] += 1
            of_problem = waiting.setdefault(answer.id, {})
            of_problem[answer.number] = answer
            if len(of_problem) < samples:
                continue
            at, number = map(int, answer.id.split(":"))
            cell, problem = cells[at], cells[at].problems[number]
            drawn = [answer for _, answer in sorted(waiting.pop(answer.id).items())]
            try:
                line, scored = score(problem, drawn, cell.others, threshold, cell.checkers)
            except CheckerFailed as error:
                raise BadInput(f"{cell.benchmark}, problem {problem.problem!r} in {cell.language}: {error}.") from None
            if at not in files:
                files[at] = stack.enter_context(_opened(out.path(f"{cell.file}.unsorted")))
            files[at].write(_as_line(line))
            cell.scored.setdefault(problem.variant, {})[problem.problem] = scored
    for cell in cells:
        lines = out.path(f"{cell.file}.unsorted").read_text(encoding="utf-8").split("\n")[:-1]
        lines.sort(key=lambda line: json.loads(line)["id"])
        out.write_text(cell.file, "".join(line + "\n" for line in lines))
    return kinds


def _kind(answer: Answer) -> str:
    if answer.text is None:
        return "failed"
    if not answer.text.strip():
        return "empty"
    return "cut off" if answer.finish_reason == "length" else "whole"


def prompts(cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    """What was asked, as rows of PROMPTS: for the arena, and for data_prep.generate. Each variant has an id."""
    for cell in cells:
        for problem in cell.problems:
            yield {
                "id": problem.key(cell.benchmark),
                "source": cell.benchmark,
                "prompt_lang": cell.language,
                "prompt": problem.messages,
                "task": cell.benchmark,
                "ground_truth": problem.gold,
            }


def _as_line(value: Mapping[str, Any]) -> str:
    """JSON in one line for every reader: Python's splitlines also ends one at these three, which JSON lets stand."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for end in "\x85\u2028\u2029":
        text = text.replace(end, f"\\u{ord(end):04x}")
    return text + "\n"


def _opened(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "w", encoding="utf-8", errors="replace")  # a server may send half a character


def summarise(cells: Sequence[Cell], samples: int) -> dict[str, BenchmarkResult]:
    """benchmark -> its languages and their mean; a language with several variants has them, too."""
    languages: dict[str, dict[str, Measures]] = {}
    columns: dict[str, list[Column]] = {}
    for cell in cells:
        variants = list(cell.scored.values())
        measures = describe(variants, samples)
        if len(variants) > 1:
            described = {name: describe([column], samples) for name, column in sorted(cell.scored.items())}
            measures = measures.model_copy(update={"variants": described})
        languages.setdefault(cell.benchmark, {})[cell.language] = measures
        columns.setdefault(cell.benchmark, []).append(merged(variants))
    return {
        name: BenchmarkResult(languages=languages[name], mean=describe(columns[name], samples)) for name in languages
    }
