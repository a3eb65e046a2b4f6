r"""Rewards of candidates: the raw logit of a reward model for each answer of `data_prep.generate`.

  python -m data_prep.score --candidates data/candidates/candidates.parquet --prompts data/candidates/prompts.parquet \
    --model Skywork/Skywork-Reward-V2-Qwen3-8B --output data/scored
  python -m data_prep.score ... --reward acc_parseable_threshold     # by the rules of training, without a model

Every answer with a text is scored, so that the diagnostics of `data_prep.croco` know why a candidate takes no part. A
score that is not a finite number is none. The manifest tells mean, spread and correlation with length by language.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.candidate_files import NOT_FINITE, SCORED, TAKING_PART, TOO_LONG, CandidateFiles
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.prompts import Prompts
from sp3f_verl.data.schemas import CANDIDATE
from sp3f_verl.llm import Status
from sp3f_verl.llm.cli_options import add_scorer_options, open_scorer, scorer_options, store_of
from sp3f_verl.llm.rule_scorer import RuleScorer, by_rules
from sp3f_verl.llm.score import Scorer
from sp3f_verl.report.document.blocks import listed
from sp3f_verl.report.document.terminal import shown
from sp3f_verl.report.values import shown as cell
from sp3f_verl.selection.diagnostics import plain
from sp3f_verl.selection.scale import levels, z_scores

STATUSES = (None, "ok", NOT_FINITE, TOO_LONG)
OF = {Status.OK: 1, Status.ERROR: 2, Status.TRUNCATED: 3}  # the scorer's status -> place in STATUSES


class Scores:
    """Arrays over the rows of the files, in the order of `CandidateFiles`."""

    def __init__(self, files: CandidateFiles):
        rows = len(files)
        self.raw, self.tokens, self.status = np.full(rows, np.nan), np.zeros(rows, np.int64), np.zeros(rows, np.uint8)
        self.length, self.language, self.cell = (np.zeros(rows, np.int64) for _ in range(3))
        self.languages: list[str] = []
        self.unscored: dict[str, int] = {}

    def conversations(self, files: CandidateFiles, prompts: Prompts, scratch: Path) -> Iterator[tuple]:
        """(row, messages) of what has a text, as a scorer takes it; languages and lengths are filled in on the way."""
        cells: dict[tuple[str, str], int] = {}
        for start, batch in files.batches(("id", "cand_id", "lang_declared", "status", "text"), scratch):
            columns = [batch.column(name).to_pylist() for name in ("id", "lang_declared", "status", "text")]
            for row, (prompt_id, code, status, text) in enumerate(zip(*columns, strict=True), start):
                if code not in self.languages:
                    self.languages.append(code)
                self.language[row] = self.languages.index(code)
                self.cell[row] = cells.setdefault((prompt_id, code), len(cells))
                self.length[row] = len((text or "").strip())
                if status not in TAKING_PART or not self.length[row]:
                    why = status if status not in TAKING_PART else "empty"
                    self.unscored[why] = self.unscored.get(why, 0) + 1
                    continue
                yield (
                    f"{code}:{prompt_id}",
                    row,
                    [*prompts.messages(prompt_id, code), {"role": "assistant", "content": text}],
                )

    def take(self, scorer: Scorer | RuleScorer, items: Iterator[tuple]) -> None:
        for score in scorer.scores(items):
            self.status[score.number], self.tokens[score.number] = OF[score.status], score.tokens
            if score.raw is not None:
                self.raw[score.number] = score.raw

    def z(self) -> np.ndarray:
        z, finite = np.full(len(self.raw), np.nan), np.isfinite(self.raw)
        z[finite] = z_scores(self.raw[finite], self.language[finite])
        return z

    def report(self) -> dict[str, dict]:
        """Language -> scored, mean, spread, correlations with log length."""
        finite = np.isfinite(self.raw)
        columns = (self.raw[finite], self.language[finite], self.cell[finite], self.length[finite])
        columns_by_name = levels(*columns, len(self.languages))
        return {
            code: {name: plain(values[self.languages.index(code)]) for name, values in columns_by_name.items()}
            for code in sorted(self.languages)
        }

    def rows(self, files: CandidateFiles, model: str, scratch: Path) -> Iterator[pa.RecordBatch]:
        z = self.z()
        for start, batch in files.batches(CANDIDATE.names, scratch):
            rows = slice(start, start + batch.num_rows)
            statuses = [STATUSES[code] for code in self.status[rows]]
            columns = dict(zip(CANDIDATE.names, batch.columns, strict=True))
            columns |= {"reward_raw": _given(self.raw[rows]), "reward_z": _given(z[rows])}
            columns["reward_model"] = [model if status else None for status in statuses]
            columns["reward_tokens"] = pa.array(self.tokens[rows], mask=self.tokens[rows] == 0)
            columns["reward_status"] = statuses
            yield pa.RecordBatch.from_pydict(columns, SCORED)


def _given(values: np.ndarray) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _run(options: argparse.Namespace) -> None:
    asked = None if options.reward else scorer_options(options)
    prompts, files = Prompts(options.prompts), CandidateFiles(options.candidates)
    with RuleScorer(options.reward, prompts) if asked is None else open_scorer(asked, store_of(options)) as scorer:
        settings, packages = {"reward": options.reward}, []
        if asked is not None:
            settings = {"backend": asked.backend, "model": scorer.model, "dtype": asked.dtype}
            settings["max_model_len"], packages = asked.max_model_len, [asked.backend]
        inputs = [*options.candidates, *options.prompts]
        with Output(options.output, "score", settings, inputs, models=[scorer.model], packages=packages) as out:
            scores = Scores(files)
            scores.take(scorer, scores.conversations(files, prompts, out.path("")))
            out.write("candidates", scores.rows(files, scorer.model, out.path("")), SCORED)
            for reason, count in sorted(scores.unscored.items()):
                out.drop(f"not scored: {reason}", count)
            for code, name in enumerate(STATUSES):
                if code > 1 and (count := int((scores.status == code).sum())):
                    out.drop(f"not scored: {name}", count)
            if not np.isfinite(scores.raw).any():
                out.refuse(f"not one of {len(files)} candidates has a score")
            report = scores.report()
            out.note("rewards", report)
    names = next(iter(report.values()))
    columns = {name: lambda row, name=name: cell(row[name]) for name in names}
    print(shown([listed("language", report, columns)]))


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--candidates", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--prompts", type=Path, nargs="+", required=True, metavar="FILE", help="what they answer")
    parser.add_argument("--output", type=Path, required=True, help="folder for candidates.parquet, with the rewards")
    parser.add_argument(
        "--reward",
        choices=sorted(by_rules()),
        metavar="PRESET",
        help="in place of a reward model: accuracy, box and language as a reward of recipes/rewards.yaml weighs them",
    )
    add_scorer_options(parser)
    options = parse(parser, arguments)
    if options.reward and options.model:
        parser.error("--reward scores without a model, and --model names one; leave one of them out.")
    return run_step("score", _run, options)


if __name__ == "__main__":
    raise SystemExit(main())
