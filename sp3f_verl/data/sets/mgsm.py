"""Join translated questions (MGSM layout) with English problems and worked solutions (GSM8K layout), row by row.

Row i of every file is the same problem. The files carry no id, so the gold answers of row i must agree in all of them
and the question files be equally long: a shuffled or shortened file is refused instead of being joined wrongly (SPEC
1g-15). Two rows with the same answer that changed places cannot be noticed.
"""

import json
import re
from pathlib import Path

from sp3f_verl import languages
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.tables.jsonl import text_lines
from sp3f_verl.errors import BadInput
from sp3f_verl.rewards.answers.accuracy import answers_match

_CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K marks: <<48/2=24>>
_FINAL = re.compile(r"\n?#### *(.+?)\s*$")


def read_questions(path: Path) -> list[tuple[str, str]]:
    """(question, answer) of each line of a TSV file."""
    rows = []
    for number, line in enumerate(_lines(path)):
        parts = line.split("\t")
        if len(parts) != 2 or not parts[0].strip() or not parts[1].strip():
            raise BadInput(f"{path}, line {number + 1}: {len(parts)} columns; make it question, tab, answer.")
        rows.append((parts[0].strip(), parts[1].strip()))
    return rows


def read_solutions(path: Path) -> list[tuple[str, str, str]]:
    """(question, worked solution ending in a box, gold answer) of each line of a GSM8K JSON-lines file."""
    rows = []
    for number, line in enumerate(_lines(path)):
        try:
            row = json.loads(line)
            question, answer = row["question"], row["answer"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise BadInput(f"{path}, line {number + 1}: {error!r}; make it {{question, answer}} as JSON.") from None
        final = _FINAL.search(answer)
        if final is None:
            raise BadInput(f"{path}, line {number + 1}: 'answer' does not end in `#### <number>`; add it.")
        steps = _CALCULATOR.sub("", answer[: final.start()]).strip()
        rows.append((question.strip(), f"{steps}\n\\boxed{{{final.group(1)}}}", final.group(1)))
    return rows


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise BadInput(f"{path} does not exist; give the path of a text file.")
    text = "".join(line for _, line in text_lines(path)).replace("\r\n", "\n")
    return text.rstrip("\n").split("\n")  # a blank line inside is an error: it shifts rows


def join(questions: dict[str, Path], solutions: Path) -> list[dict]:
    """Rows of schemas.TRANSLATED, language by language. Raises BadInput where files disagree."""
    solved = read_solutions(solutions)
    read = {code: read_questions(path) for code, path in questions.items() if languages.get(code)}
    lengths = {len(asked) for asked in read.values()}
    if len(lengths) > 1:
        counts = ", ".join(f"{questions[code]} has {len(asked)}" for code, asked in read.items())
        raise BadInput(f"the question files differ in length ({counts} rows); give files with the same rows.")
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
    return rows
