r"""Candidates: n answers of a model to each prompt, as `data_prep.score` and `data_prep.croco` read them.

  python -m data_prep.generate --prompts prompts.parquet --output data/candidates \
    --backend vllm --model utter-project/EuroLLM-9B-Instruct-2512 --n 64

--prompts: parquet or JSON lines with `id` (the same for one prompt in several languages), `prompt_lang` or `language`,
and `prompt` or `messages`. The same command again goes on where it was stopped, and asks nothing twice.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from sp3f_verl import languages
from sp3f_verl.architectures.model import check_places, filled
from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.candidate_files import DUPLICATE
from sp3f_verl.data.notes import ASKED
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.prompts import PROMPTS, Prompts
from sp3f_verl.data.schemas import CANDIDATE
from sp3f_verl.data.tables import as_batches, read_batches
from sp3f_verl.data.tables.writer import open_writer
from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Answer, Ask, Status
from sp3f_verl.llm.cli_options import add_model_options, model_options, open_model, store_of, watched
from sp3f_verl.rewards import UnsupportedLanguage
from sp3f_verl.rewards.fidelity.detect import language_found
from sp3f_verl.selection import text_key

SUFFIX = "Please respond in {language} and in no other language."
SAMPLING = ("max_tokens", "temperature", "top_p", "seed", "suffix")


def asks(prompts: Prompts, options: argparse.Namespace) -> Iterator[Ask]:
    """n asks for each prompt; an id in a language has the name `language:id`, as codes hold no colon."""
    for prompt_id, code in prompts:
        messages = prompts.messages(prompt_id, code)
        if options.suffix:
            suffix = filled(options.suffix, {"language": languages.get(code).english_name})
            messages[-1] = messages[-1] | {"content": f"{messages[-1]['content']}\n\n{suffix}"}
        for number in range(options.n):
            drawn = {"temperature": options.temperature, "top_p": options.top_p, "seed": options.seed}
            yield Ask(f"{code}:{prompt_id}", messages, options.max_tokens, number=number, **drawn)


class Rows:
    """Answers as rows of schemas.CANDIDATE. A candidate's number is in its `cand_id`, behind its language."""

    def __init__(self, prompts: Prompts, options: argparse.Namespace):
        self._codes, self._least = prompts.languages, options.min_language_share
        self._adapter = str(options.adapter) if options.adapter else None
        self._digits = len(str(options.n - 1))
        self.unrecognised: set[str] = set()
        self.without_text: Counter[str] = Counter()  # status -> rows

    def row(self, answer: Answer) -> dict:
        code, _, prompt_id = answer.id.partition(":")
        share, detected = self._language(answer.text, code)
        status = answer.status
        if status is Status.OK and share is not None and share < self._least:
            status = Status.OFF_LANGUAGE
        if not answer.text:
            self.without_text["empty" if status is Status.OK else str(status)] += 1
        return {
            "id": prompt_id,
            "cand_id": f"{code}-{answer.number:0{self._digits}}",
            "lang_declared": code,
            "status": str(status),
            "lang_detected": detected,
            "lang_share": share,
            "text": answer.text,
            "model": answer.model,
            "adapter": self._adapter,
            "finish_reason": answer.finish_reason,
            "n_tokens": answer.usage.completion_tokens or None,
        }

    def _language(self, text: str | None, code: str) -> tuple[float | None, str | None]:
        if not text or code in self.unrecognised:
            return None, None
        try:
            return language_found(text, code, self._codes)
        except UnsupportedLanguage:
            self.unrecognised.add(code)
            return None, None


def with_duplicates(batches: Iterator[pa.RecordBatch], sampling: str, out: Output) -> Iterator[pa.RecordBatch]:
    """The sorted rows with `sampling`, where a good answer that a lower number gave before has the status duplicate."""
    pool, seen, counts = None, set(), {}
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in ("id", "lang_declared", "status", "text")]
        statuses = []
        for prompt_id, code, status, text in zip(*columns, strict=True):
            if pool != (prompt_id, code):
                pool, seen = (prompt_id, code), set()
            if status == Status.OK:
                key = text_key(text)
                status = DUPLICATE if key in seen else status
                seen.add(key)
            statuses.append(status)
            counts.setdefault(code, {}).setdefault(status, 0)
            counts[code][status] += 1
        for name, column in (("status", statuses), ("sampling", [sampling] * len(statuses))):
            at = CANDIDATE.get_field_index(name)
            batch = batch.set_column(at, CANDIDATE.field(name), pa.array(column, pa.string()))
        yield batch
    out.note("statuses", {code: dict(sorted(statuses.items())) for code, statuses in sorted(counts.items())})


def _check(options: argparse.Namespace) -> None:
    if options.n > 1 and options.temperature == 0:
        raise BadInput("--temperature=0 gives the same answer --n times; give one above 0, or --n 1.")
    if options.suffix is not None:
        check_places(options.suffix, ("language",), "--suffix")


def _run(options: argparse.Namespace) -> None:
    _check(options)
    left_out = []
    prompts = Prompts(options.prompts, left_out.append)
    asked = model_options(options)
    sampling = {name: getattr(options, name) for name in SAMPLING}
    with open_model(asked, store_of(options)) as backend:
        settings = {**sampling, "n": options.n, "min_language_share": options.min_language_share}
        settings |= {"model": backend.model, "backend": asked.engine}
        packages = [] if asked.engine == "openai" else [asked.engine]
        with Output(
            options.output, "generate", settings, options.prompts, models=[backend.model], packages=packages
        ) as out:
            for reason in left_out:
                out.drop(reason)
            out.write("prompts", [prompts.table], PROMPTS)
            rows = Rows(prompts, options)
            answers = watched(backend.answers(asks(prompts, options)), backend, len(prompts) * options.n)
            with open_writer(out.path("drawn.parquet"), CANDIDATE) as drawn:  # sorts; it stays in the working folder
                for batch in as_batches((rows.row(answer) for answer in answers), CANDIDATE, "the answers"):
                    drawn.write(batch)
            drawn_with = json.dumps(sampling, ensure_ascii=False, sort_keys=True)
            if rows.without_text.total() == len(prompts) * options.n:
                out.drops += rows.without_text
                out.refuse(f"not one of {rows.without_text.total()} answers has a text")
            candidates = with_duplicates(read_batches(drawn.path, CANDIDATE), drawn_with, out)
            out.write("candidates", candidates, CANDIDATE)
            out.note(ASKED, backend.totals.as_dict())
            out.note("language_not_recognised", sorted(rows.unrecognised))
    for code, counts in out.notes["statuses"].items():
        print(f"{code}: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    if failed := sum(counts.get(Status.ERROR, 0) for counts in out.notes["statuses"].values()):
        print(f"{failed} failed; another --output with --store {store_of(options)} asks for those alone")


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--prompts", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--output", type=Path, required=True, help="folder for candidates.parquet and prompts.parquet")
    parser.add_argument("--n", type=int, default=64, help="candidates a prompt and language (default: 64, the paper's)")
    parser.add_argument("--max-tokens", type=int, default=4096, help="of an answer (default: 4096, the paper's)")
    parser.add_argument("--temperature", type=float, default=1.0, help="default: 1")
    parser.add_argument("--top-p", type=float, default=1.0, help="default: 1")
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    text = "add to the last user turn which language to answer in; {language} is its English name"
    parser.add_argument("--suffix", nargs="?", const=SUFFIX, metavar="TEXT", help=f"{text} (default text: {SUFFIX})")
    text = "share of the language asked for below which an answer is off_language (default: 0.7)"
    parser.add_argument("--min-language-share", type=float, default=0.7, metavar="SHARE", help=text)
    add_model_options(parser)
    options = parse(parser, arguments)
    return run_step("generate", _run, options)


if __name__ == "__main__":
    raise SystemExit(main())
