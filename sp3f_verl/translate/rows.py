"""From the best candidates to the rows of the output; what has no translation is left out and counted by reason."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

from sp3f_verl.data.rows import row_id
from sp3f_verl.data.schemas import CANDIDATE, NUMBER, SFT, TEXT, TRANSLATED, extended
from sp3f_verl.llm.ask import Answer
from sp3f_verl.translate.ask import SOURCE, Sampling, Text
from sp3f_verl.translate.choose import Candidate, Criteria, choose
from sp3f_verl.translate.features import worse
from sp3f_verl.translate.repair import repair, without_final_box
from sp3f_verl.translate.sources import VERBATIM, Chat, Problem

PROBLEMS = extended(TRANSLATED, solution_status=TEXT)
CHATS = extended(SFT, problem=TEXT)  # `problem`: what the languages of a chat have in common, as in TRANSLATED
CANDIDATES = extended(
    CANDIDATE, reason=TEXT, chosen=TEXT, length_ratio=NUMBER, numbers_kept=NUMBER, back_translation=NUMBER
)

Drop = Callable[[str], None]


def own_id(row: Problem | Chat, language: str) -> str:
    return row_id("translate", [language, row.id])


def texts_of(row: Problem | Chat, language: str, solutions: bool) -> Iterator[Text]:
    """The texts of a row that are to be translated; none for English."""
    ident = own_id(row, language)
    if language == SOURCE:
        return
    if isinstance(row, Problem):
        yield Text(f"{ident}/question", language, row.question)
        if solutions:
            yield Text(f"{ident}/solution", language, without_final_box(row.solution))
        return
    for number, (role, content) in enumerate(row.messages):
        if role not in VERBATIM:
            yield Text(f"{ident}/{number}", language, content)


def problem_row(row: Problem, language: str, best: Mapping[str, Candidate], model: str, drop: Drop) -> dict | None:
    """A row of PROBLEMS; None, counted by `drop`, without a question. A solution that failed is null with a status."""
    ident = own_id(row, language)
    same = {"id": ident, "problem": row.id, "language": language, "query_en": row.question, "solution": row.solution}
    same |= {"answer": row.answer, "source": row.source, "checker": row.checker}
    if language == SOURCE:
        return {**same, "question": row.question}
    question, solution = best[f"{ident}/question"], best.get(f"{ident}/solution")
    if question.reason is not None:
        drop(f"question: {question.reason}")
        return None
    repaired = None
    if solution is not None and solution.reason is None:
        repaired = repair(solution.text, row.answer, language)
    elif solution is not None:
        drop(f"solution: {solution.reason}")
    measured = worse(question.features, solution.features if repaired is not None else None)
    status = {"solution_status": solution and (solution.reason or "ok"), "model": model}
    return {**same, **status, "question": question.text, "translated_solution": repaired, **asdict(measured)}


def chat_row(row: Chat, language: str, best: Mapping[str, Candidate], drop: Drop) -> dict | None:
    """A row of CHATS; None, counted by `drop`, where a turn has no translation."""
    ident, turns = own_id(row, language), []
    for number, (role, content) in enumerate(row.messages):
        turn = best.get(f"{ident}/{number}")
        if turn is not None and turn.reason is not None:
            drop(f"turn of a chat: {turn.reason}")
            return None
        turns.append({"role": role, "content": content if turn is None else turn.text})
    return {"id": ident, "messages": turns, "language": language, "problem": row.id}


def candidate_rows(
    texts: Mapping[str, Text],
    candidates_of: Mapping[str, Sequence[Candidate]],
    best: Mapping[str, Candidate],
    answers: Mapping[tuple[str, int], Answer],
    sampling: Sampling,
) -> Iterator[dict]:
    """Every candidate, as a row of CANDIDATES. The text of one that failed is null."""
    drawn = json.dumps(asdict(sampling), sort_keys=True)
    for name, candidates in candidates_of.items():
        ident, _, part = name.partition("/")
        for candidate in candidates:
            answer = answers.get((name, candidate.number))  # None for a formula that stays as it is
            yield {
                "id": ident,
                "cand_id": f"{part}-{candidate.number}",
                "lang_declared": texts[name].language,
                "status": candidate.status,
                "reason": candidate.reason,
                "text": candidate.text,
                "model": answer and answer.model,
                "finish_reason": answer and answer.finish_reason,
                "sampling": answer and drawn,
                "n_tokens": answer and answer.usage.completion_tokens,
                **(asdict(candidate.features) if candidate.features else {}),
                "chosen": "yes" if candidate.reason is None and candidate is best[name] else "no",
            }


def best_of(candidates_of: Mapping[str, Sequence[Candidate]], criteria: Criteria) -> dict[str, Candidate]:
    return {name: choose(candidates, criteria) for name, candidates in candidates_of.items()}
