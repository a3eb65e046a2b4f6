"""Pairs in other languages from English ones: every text by the role that its architecture gives it, joined by ids.

First all that is translated, then what is generated from the translated prompts; model by model, so that one is loaded
at a time. A text that is missing, cut off, refused or in another language takes its pair out, counted by the reason.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from sp3f_verl.architectures.model import Model, SourceText
from sp3f_verl.architectures.plan import Plan
from sp3f_verl.architectures.schema import ROLES, Role
from sp3f_verl.architectures.share import COPY, Job
from sp3f_verl.data.rows import row_id
from sp3f_verl.data.schemas import PREFERENCE, extended
from sp3f_verl.data.tables import read_rows
from sp3f_verl.data.turns import check_turns
from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Answer, Ask, Backend, Status
from sp3f_verl.llm.cli_options import watched
from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share

BY = {f"{role}_by": pa.string() for role in ROLES}
MADE = extended(PREFERENCE, source=pa.string(), task=pa.string(), **BY)

Rows = Mapping[str, dict[str, Any]]
Open = Callable[[str, str | None], Backend]  # name in the plan, name that is asked for


class Builder:
    """Makes the pairs of `jobs` from `rows` (English rows by id). `totals`: what each model was asked and cost."""

    def __init__(self, rows: Rows, jobs: list[Job], plan: Plan, open_model: Open):
        self.rows, self.jobs, self.plan, self._open = rows, jobs, plan, open_model
        self.dropped: Counter[str] = Counter()
        self.totals: dict[str, dict] = {}
        self.unchecked: set[str] = set()  # languages that nothing here recognises
        self._texts: dict[tuple[Job, str, int], str] = {}  # the turn 0 of an answer, or a turn of the prompt
        self._failed: dict[Job, str] = {}
        self._others = tuple(sorted(code for code, share in plan.languages.items() if share))

    def pairs(self) -> Iterator[dict[str, Any]]:
        """The rows of the new set, in the order of the jobs."""
        self._ask("translate", self._translations)
        self._ask("generate", self._generations)
        for job in self.jobs:
            pair = self._failed.get(job) or self._pair(job)
            if isinstance(pair, str):  # why there is none
                self.dropped[pair] += 1
            else:
                yield pair

    def role(self, job: Job, role: str) -> Role:
        if job.architecture == COPY:
            return Role("copy", of=role)
        planned = self.plan.roles[job.architecture][role]
        same = planned.how == "translate" and self.rows[job.id]["prompt_lang"] == job.language
        return Role("copy", of=planned.of, min_language_share=0) if same else planned

    def _ask(self, how: str, asks_of: Callable) -> None:
        wanted: dict[tuple[str, str | None], list[tuple[Job, str]]] = defaultdict(list)
        for job in self.jobs:
            for role in ROLES:
                planned = self.role(job, role)
                if planned.how == how and job not in self._failed:
                    model = self.plan.models[planned.model]
                    wanted[planned.model, model.model_for(job.language)].append((job, role))
        for (name, served), parts in sorted(wanted.items(), key=lambda item: (item[0][0], item[0][1] or "")):
            model, places = self.plan.models[name], {}
            with self._open(name, served) as backend:
                for answer in asks_of(model, backend, parts, places):
                    self._take(places[answer.id], answer)
                self.totals[name if served is None else f"{name}: {served}"] = backend.totals.as_dict()

    def _translations(self, model: Model, backend: Backend, parts: list, places: dict) -> Iterator[Answer]:
        def texts() -> Iterator[SourceText]:
            for job, role in parts:
                row = self.rows[job.id]
                source = self.role(job, role).of
                turns = [turn["content"] for turn in row["prompt"]] if role == "prompt" else [row[source]]
                language = row["prompt_lang"] if role == "prompt" else row[f"{source}_lang"] or row["prompt_lang"]
                for number, text in enumerate(turns):
                    ident = _ident(job, role, number)
                    places[ident] = (job, role, number)
                    yield SourceText(ident, text, language, job.language)

        return model.translations(texts(), backend)

    def _generations(self, model: Model, backend: Backend, parts: list, places: dict) -> Iterator[Answer]:
        def asks() -> Iterator[Ask]:
            for job, role in parts:
                ident = _ident(job, role, 0)
                places[ident] = (job, role, 0)
                yield model.generation(ident, self._prompt(job), job.language)

        return watched(backend.answers(asks()), backend, len(parts))

    def _take(self, place: tuple[Job, str, int], answer: Answer) -> None:
        job, role, _ = place
        text = (answer.text or "").strip()
        reason = None if answer.status is Status.OK and text else str(answer.status)
        if reason is None:
            self._texts[place] = text
        else:
            self._fail(job, role, "empty" if reason == "ok" else reason)

    def _fail(self, job: Job, role: str, reason: str) -> None:
        """A pair counts once, for its first role that failed, whatever came first."""
        failure = f"{role}_{reason}"
        known = self._failed.get(job)
        rank = lambda name: (ROLES.index(name.partition("_")[0]), name)  # noqa: E731
        self._failed[job] = failure if known is None else min(known, failure, key=rank)

    def _prompt(self, job: Job) -> list[dict[str, str]]:
        turns = self.rows[job.id]["prompt"]
        if self.role(job, "prompt").how == "copy":
            return [{"role": turn["role"], "content": turn["content"]} for turn in turns]
        return [
            {"role": turn["role"], "content": self._texts[job, "prompt", number]} for number, turn in enumerate(turns)
        ]

    def _pair(self, job: Job) -> dict[str, Any] | str:
        row, roles = self.rows[job.id], {role: self.role(job, role) for role in ROLES}
        prompt = self._prompt(job)
        pair = {"id": job.id, "pair_id": row_id(job.id, job.language), "prompt": prompt}
        for role, how in roles.items():
            copied = how.how == "copy"
            source = row["prompt_lang"] if role == "prompt" else row[f"{how.of}_lang"] or row["prompt_lang"]
            language = source if copied else job.language
            if role != "prompt":
                pair[role] = row[how.of] if copied else self._texts[job, role, 0]
            pair[f"{role}_lang"] = language
            text = pair[role] if role != "prompt" else "\n".join(turn["content"] for turn in prompt)
            if not copied and self._strange(text, language, how.min_language_share):
                return f"{role}_{Status.OFF_LANGUAGE}"
            model = self.plan.models[how.model].model_for(job.language) or how.model if how.model else ""
            pair[f"{role}_by"] = " ".join(filter(None, [how.how, model, "" if how.of in ("", role) else how.of]))
        if pair["chosen"] == pair["rejected"]:
            return "sides_identical"
        if all(roles[side] == Role("copy", of=side) for side in ("chosen", "rejected")) or job.architecture == COPY:
            pair |= {name: row.get(name) for name in ("chosen_score", "rejected_score", "margin", "pool_size")}
            pair |= {name: row.get(name) for name in ("len_chosen", "len_rejected")}
        return pair | {"recipe": job.architecture, "source": row.get("source"), "task": row.get("task")}

    def _strange(self, text: str, language: str, least: float) -> bool:
        if not least or language in self.unchecked:
            return False
        try:
            share = language_share(text, language, self._others)
        except UnsupportedLanguage:
            self.unchecked.add(language)
            return False
        return share is not None and share < least


def read_english(path: Path) -> dict[str, dict[str, Any]]:
    """The rows by id. BadInput where an id stands in two rows, as only one pair of it can be made in each language, and
    where a turn of a prompt is no text or says more."""
    rows: dict[str, dict[str, Any]] = {}
    for row in read_rows(path, extended(PREFERENCE, source=pa.string(), task=pa.string())):
        if row["id"] in rows:
            raise BadInput(f"{path} has the id {row['id']!r} in two rows; keep one pair of each prompt.")
        if not row["prompt"] or row["prompt"][-1]["role"] != "user":
            raise BadInput(f"{path}: the prompt of {row['id']!r} does not end with the user's turn; mend it.")
        rows[row["id"]] = row
    check_turns(path, PREFERENCE)
    return dict(sorted(rows.items()))


def _ident(job: Job, role: str, number: int) -> str:
    return f"{job.id}:{job.language}:{role}:{number}"
