"""A problem of a benchmark: what is asked, and what is right; and the files that problems are read from."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.check import check_prompt
from sp3f_verl.data.rows import canonical, field, id_of, row_id
from sp3f_verl.data.sets.mgsm import OPTIONS, check_label, check_languages_differ, check_options, question_rows
from sp3f_verl.data.tables import open_file
from sp3f_verl.errors import BadInput
from sp3f_verl.languages.written import LABELS
from sp3f_verl.rewards.answers.accuracy import answers_match
from sp3f_verl.rewards.answers.checkers import checker_of

OPTIONAL = ("id", "checker", "query_en", "solution_en")  # columns of a QuestionFile (checker: docs/rewards.md)
LONGEST = 200  # bytes of a benchmark's name; file systems take 255


@dataclass(frozen=True)
class Problem:
    """id: unique in a benchmark and language. problem: the same in all languages and variants of a problem.

    variant: "" where the benchmark has the language once. messages: the prompt. choices: (letter, text) of each option.
    """

    id: str
    problem: str
    language: str
    messages: list[dict[str, str]]
    gold: str
    checker: str
    variant: str = ""
    choices: tuple[tuple[str, str], ...] = ()

    def key(self, benchmark: str) -> str:
        """The same in all languages, and unique in a run: what the prompt is known by elsewhere."""
        return prompt_key(benchmark, self.variant, self.problem)


def check_parallel(files: Mapping[tuple[str, str], tuple[Path, Sequence[Problem]]]) -> None:
    """BadInput where rows that are the same problems by position differ in number or gold answer, or where two
    languages have the same questions. files: (language, variant) -> (file, problems), of a benchmark without a key."""
    questions: dict[str, list[str]] = {}
    (first, known), *_ = files.values()
    for (language, variant), (path, problems) in files.items():
        if len(problems) != len(known):
            raise BadInput(f"{path} has {len(problems)} rows and {first} {len(known)}; give files with the same rows.")
        for row, (problem, other) in enumerate(zip(problems, known, strict=True), 1):
            golds = [gold.split("::")[0] if problem.choices else gold for gold in (problem.gold, other.gold)]
            if not answers_match(*golds):
                raise BadInput(
                    f"{path}, row {row}: the answer is {golds[0]!r}, but {golds[1]!r} in {first}; give files whose "
                    "rows are the same problems in the same order."
                )
        if variant in ("", next(iter(files))[1]):
            questions[language] = [problem.messages[-1]["content"] for problem in problems]
    check_languages_differ(questions)


def prompt_key(benchmark: str, variant: str | None, problem: str) -> str:
    return "/".join(part for part in (folder_of(benchmark), variant, problem) if part)


def folder_of(benchmark: str) -> str:
    """Where its answers lie in a run's folder: one level, though verl's own names have a slash (openai/gsm8k)."""
    return benchmark.replace("/", "_")


def distinct(problems: Iterable[Problem]) -> list[Problem]:
    """A row that comes twice gets an id, and is a problem, of its own each time."""
    ids, keys, distinct_ones = Counter(), Counter(), []
    for problem in problems:
        key = (problem.language, problem.variant, problem.problem)
        ids[problem.language, problem.id] += 1
        keys[key] += 1
        times = {"id": ids[problem.language, problem.id], "problem": keys[key]}
        renamed = {name: f"{getattr(problem, name)}-{count}" for name, count in times.items() if count > 1}
        distinct_ones.append(replace(problem, **renamed) if renamed else problem)
    return distinct_ones


def of_parquet(path: Path, checkers: Sequence[str]) -> Iterator[tuple[str, Problem]]:
    """(benchmark, problem) of each RL row of a parquet or JSON-lines file (docs/data.md); its `data_source` is the
    benchmark. BadInput where a row has no prompt, answer or known language, or a value of another type."""
    file = open_file(path)
    if not file.count:
        raise BadInput(f"{path} has no rows; give a file with at least one prompt.")
    for number, raw in file.rows(file.columns):
        place = file.place(number)
        _check_types(place, raw)
        row = canonical(raw, place)
        for name in ("prompt", "ground_truth", "language"):
            if not field(raw, name):
                raise BadInput(f"{place} has no {name!r}; write the file with data_prep (docs/data.md).")
        try:
            check_prompt(row["prompt"])
            languages.get(row["language"])
            checker = checker_of(row["extra_info"], dict.fromkeys(checkers))
        except ValueError as error:
            raise BadInput(f"{place}: {error}") from None
        yield (
            row["data_source"],
            Problem(
                id=row["id"],
                problem=id_of(raw.get("problem"), place) or row["id"],
                language=row["language"],
                messages=[{"role": turn["role"], "content": turn["content"]} for turn in row["prompt"]],
                gold=row["reward_model"]["ground_truth"],
                checker=checker,
            ),
        )


def _check_types(place: str, row: Mapping[str, Any]) -> None:
    prompt, extra, source = field(row, "prompt"), row.get("extra_info"), field(row, "data_source")
    if prompt is not None and not (isinstance(prompt, list) and all(map(_is_turn, prompt))):
        raise BadInput(f"{place}: 'prompt' is {prompt!r:.80}; give a list of turns {{role: text, content: text}}.")
    if extra is not None and not isinstance(extra, Mapping):
        raise BadInput(f"{place}: 'extra_info' is {extra!r:.80}; give a mapping, or leave it out.")
    if source is not None and not _is_name(source):
        mend = f"a name of at most {LONGEST} bytes, in which no part between slashes is empty or of dots alone"
        raise BadInput(f"{place}: 'data_source' is {source!r:.80}; give {mend}.")


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, Mapping) and all(isinstance(turn.get(name), str) for name in ("role", "content"))


def _is_name(source: Any) -> bool:
    """It becomes a folder's name."""
    if not isinstance(source, str) or not source.isprintable() or len(source.encode()) > LONGEST:
        return False
    return all(part.strip(". ") for part in source.split("/"))


@dataclass(frozen=True)
class QuestionFile:
    """Evaluation questions in a language, for data_prep: rows of validation, and texts that training must not contain.

    path: MGSM's TSV (question, tab, answer), or parquet or JSON lines with `question`, `answer` and those of OPTIONAL.
    """

    name: str
    language: str
    path: Path

    @classmethod
    def of(cls, text: str) -> "QuestionFile":
        """From `NAME:LANGUAGE=FILE`; ValueError otherwise."""
        head, equals, path = text.partition("=")
        name, colon, language = head.rpartition(":")
        if not (equals and colon and name and path):
            raise ValueError(f"{text!r} is not NAME:LANGUAGE=FILE, such as mgsm:es=mgsm_es.tsv")
        return cls(name, language, Path(path).expanduser())

    def questions(self) -> Iterator[dict[str, Any]]:
        """`question`, `answer` and those of OPTIONAL that the file has. BadInput where it cannot be read."""
        languages.get(self.language, f"{self.name}:{self.language}={self.path}")
        for place, row in question_rows(self.path, (*OPTIONAL, *LABELS, *OPTIONS)):
            check_label(row, self.language, place)
            known = {name: value for name, value in row.items() if name not in LABELS}
            yield known | {"id": id_of(row.get("id"), place)}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of schemas.RL; `data_source` is the file's name, by which verl tells validation scores apart."""
        instruction = languages.get(self.language).instruction
        for index, row in enumerate(self.questions()):
            check_options(row, f"{self.path}, question {index}")
            key = row["question"] if row["id"] is None else row["id"]
            extra = {"index": index, "lang": self.language, "checker": row.get("checker")}
            try:
                checker_of(extra)
            except BadInput as error:
                raise BadInput(f"{self.path}, question {index}: {error}") from None
            yield {
                "id": row_id(self.name, [self.language, key]),
                "problem": row_id(self.name, key),
                "data_source": self.name,
                "prompt": [{"role": "system", "content": instruction}, {"role": "user", "content": row["question"]}],
                "reward_model": {"style": "rule", "ground_truth": row["answer"]},
                "extra_info": extra,
                "language": self.language,
                "query_en": row.get("query_en"),
                "solution_en": row.get("solution_en"),
            }
