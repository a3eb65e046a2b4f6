"""Join translated questions (MGSM layout) with English problems and worked solutions (GSM8K layout), row by row.

Row i of every file is the same problem. The files carry no id, so the gold answers of row i must agree in all of them
and the question files be equally long: a shuffled or shortened file is refused instead of being joined wrongly (SPEC
1g-15). Two rows with the same answer that changed places cannot be noticed.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sp3f_verl import languages
from sp3f_verl.data.rows import finite, is_nan, question_of, row_id, text_of
from sp3f_verl.data.tables import open_file
from sp3f_verl.data.tables.forms import TEXT, form_of
from sp3f_verl.data.tables.jsonl import text_lines
from sp3f_verl.errors import BadInput
from sp3f_verl.languages.written import LABELS, is_other
from sp3f_verl.rewards.answers.accuracy import answers_match

_CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K marks: <<48/2=24>>
# Columns of options beside a question: MMLU's and ARC's, Global-MMLU's, C-Eval's
OPTIONS = ("choices", "options", *(f"option_{letter}" for letter in "abcd"), *"ABCD")
_FINAL = re.compile(r"\n?#### *(.+?)\s*$")


def question_rows(path: Path, optional: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, row) of a file of questions: `question` and `answer` as texts, and those of `optional`.

    MGSM's TSV (question, tab, answer), or parquet, JSON lines or an array with these columns; MGSM's parquet on the Hub
    has the answer in `answer_number`. BadInput where a row lacks one of the two.
    """
    if form_of(path) == TEXT:
        for number, line in enumerate(_lines(path), 1):
            parts = line.split("\t")
            if number == 1 and [part.strip().lower() for part in parts] == ["question", "answer"]:
                continue  # as pandas heads it
            if len(parts) != 2 or not parts[0].strip() or not parts[1].strip():
                raise BadInput(f"{path}, line {number}: {len(parts)} columns; make it question, tab, answer.")
            place = f"{path}, line {number}"
            question = question_of(parts[0], f"{place}: the question, which stands before the tab,")
            yield place, {"question": question, "answer": _final(parts[1].strip())}
        return
    file = open_file(path)
    answer = "answer_number" if "answer_number" in file.columns else "answer"
    file.require(("question", answer))
    if not file.count:
        raise BadInput(f"{path} has no rows; give a file with at least one.")
    for number, row in file.rows({"question", answer, *optional}):
        place = file.place(number)
        others = {name: row[name] for name in optional if row.get(name) is not None and not is_nan(row[name])}
        for name, read in (("query_en", question_of), ("solution_en", text_of)):
            if not isinstance(others.get(name, ""), str):
                others[name] = read(others[name], f"{place}: {name!r}")
        question = question_of(row["question"], f"{place}: 'question'")
        yield place, {**others, "question": question, "answer": _final(text_of(row[answer], f"{place}: {answer!r}"))}


def _final(answer: str) -> str:
    """The number of a worked answer of GSM8K: the text before it is no answer's equal."""
    solved = worked_out(answer)
    return solved[1] if solved else answer


def check_options(row: Mapping[str, Any], place: str) -> None:
    """BadInput where the answer is the letter or number of an option of which the question does not tell."""
    options = [text for name in OPTIONS for text in _texts(row.get(name))]
    if len(options) > 1 and not all(text in row["question"] for text in options) and row["answer"] not in options:
        raise BadInput(
            f"{place}: the question does not tell its options ({options[0]!r:.40}, ...), and the answer is "
            f"{row['answer']!r:.40}; write them into 'question' and give the checker multiple_choice, or the option's "
            "text as the answer."
        )


def _texts(value: Any) -> list[str]:
    """The texts of options: one, a list of them, or ARC's {text, label}."""
    value = value.get("text") if isinstance(value, Mapping) else value
    values = value if isinstance(value, list) else [value]
    return [str(each).strip() for each in values if finite(each) or (isinstance(each, str) and each.strip())]


def check_label(row: Mapping[str, Any], code: str, place: str) -> None:
    """BadInput where a row says that it is in another language than `code`, under whatever name."""
    for name in LABELS:
        written = row.get(name)
        if written is not None and not is_nan(written) and is_other(written, code, unknown=True):
            raise BadInput(f"{place} says that it is {written}, not {code}; mend the label of the file.")


def read_questions(path: Path, code: str) -> list[tuple[str, str]]:
    """(question, answer) of each row of a file of questions in the language `code`."""
    rows = []
    for place, row in question_rows(path, LABELS):
        check_label(row, code, place)
        rows.append((row["question"], row["answer"]))
    return rows


def read_solutions(path: Path) -> list[tuple[str, str, str]]:
    """(question, worked solution ending in a box, gold answer) of each row of a file in GSM8K's layout."""
    file, rows = open_file(path), []
    file.require(("question", "answer"), "GSM8K's files have question and answer")
    for number, row in file.rows({"question", "answer"}):
        place = file.place(number)
        question = question_of(row["question"], f"{place}: 'question'")
        answer = text_of(row["answer"], f"{place}: 'answer'")
        solved = worked_out(answer)
        if solved is None:
            raise BadInput(f"{place}: 'answer' does not end in `#### <number>`; add it.")
        rows.append((question, *solved))
    return rows


def worked_out(answer: str) -> tuple[str, str] | None:
    """(worked solution ending in a box, gold answer) of an answer of GSM8K; None where it has no `#### <number>`."""
    final = _FINAL.search(answer)
    if final is None:
        return None
    steps = _CALCULATOR.sub("", answer[: final.start()]).strip()
    return f"{steps}\n\\boxed{{{final.group(1)}}}", final.group(1)


def _lines(path: Path) -> list[str]:
    text = "".join(line for _, line in text_lines(path)).replace("\r\n", "\n")
    if "\r" in text.strip() and "\n" not in text:
        raise BadInput(f"{path} is a file whose lines end in CR alone; end them in LF, say by tr '\\r' '\\n'.")
    return text.rstrip("\n").split("\n")  # a blank line inside is an error: it shifts rows


def check_languages_differ(questions: Mapping[str, Sequence[str]]) -> None:
    """BadInput where most rows of two languages hold the same question: a label is wrong, or nobody translated.

    questions: language -> questions, row by row.
    """
    for (one, texts), (other, other_texts) in itertools.combinations(questions.items(), 2):
        same = sum(
            text == known and any(map(str.isalpha, text)) for text, known in zip(texts, other_texts, strict=False)
        )
        if 2 * same > min(len(texts), len(other_texts)):
            raise BadInput(f"{one} and {other} have the same question in {same} rows; mend the label of one file.")


def join(questions: dict[str, Path], solutions: Path) -> tuple[list[dict], int]:
    """(rows of schemas.TRANSLATED, language by language; how many solutions at the end have no question). Raises
    BadInput where files disagree."""
    solved = read_solutions(solutions)
    read = {code: read_questions(path, code) for code, path in questions.items() if languages.get(code, "--questions")}
    lengths = {len(asked) for asked in read.values()}
    if len(lengths) > 1:
        counts = ", ".join(f"{questions[code]} has {len(asked)}" for code, asked in read.items())
        raise BadInput(f"the question files differ in length ({counts} rows); give files with the same rows.")
    check_languages_differ({code: [question for question, _ in asked] for code, asked in read.items()})
    rows = []
    for code, path in questions.items():
        asked = read[code]
        if len(asked) > len(solved):
            raise BadInput(
                f"{path} has {len(asked)} rows and {solutions} {len(solved)}; give files with the same rows."
            )
        for number, ((question, answer), (query_en, solution_en, gold)) in enumerate(zip(asked, solved, strict=False)):
            if not answers_match(answer, gold):
                raise BadInput(
                    f"{path}, line {number + 1}: the answer is {answer!r}, but {gold!r} in {solutions}; "
                    "give files whose rows are the same problems in the same order."
                )
            rows.append(
                {
                    "id": row_id("mgsm", [code, query_en]),
                    "problem": row_id("gsm8k", query_en),
                    "source": "mgsm",
                    "language": code,
                    "question": question,
                    "query_en": query_en,
                    "solution": solution_en,
                    "answer": gold,
                }
            )
    return rows, len(solved) - max(lengths)
