"""One parquet for SFT and RL, split by problem, from translated questions and English worked solutions.

From what `data_prep.translate` wrote:
  python -m data_prep.sp3f --translated data/es/translated.parquet data/sw/translated.parquet --output data/sp3f
From MGSM's files and GSM8K's solutions, rows i of all files being the same problem:
  python -m data_prep.sp3f --questions es=mgsm_es.tsv sw=mgsm_sw.tsv --solutions gsm8k_test.jsonl --output data/mgsm
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sp3f_verl.boundary import Parser, parse
from sp3f_verl.data.assembly.contamination import CHARACTERS, WORDS, Contamination
from sp3f_verl.data.assembly.problems import Problems
from sp3f_verl.data.assembly.rl import rl_batch
from sp3f_verl.data.output import Output, run_step
from sp3f_verl.data.schemas import RL, SFT, TRANSLATED
from sp3f_verl.data.sets.mgsm import join
from sp3f_verl.data.tables import as_batches, open_file, scan
from sp3f_verl.data.tables.order import Keys, in_order
from sp3f_verl.data.tables.prefetch import ahead
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.problems import QuestionFile
from sp3f_verl.rewards.answers.checkers import checker_of


class Rows:
    """The translated rows, wherever they come from: gone through twice, the second time in the order of their ids."""

    unasked = 0  # solutions without a question

    def __init__(self, options: argparse.Namespace):
        if options.translated:
            self.paths, self._made = options.translated, []
            if len(self.paths) == 1:
                self._keys = scan(self.paths, TRANSLATED)
                return
            for path in self.paths:
                scan([path], TRANSLATED)
            self._keys = Keys(("id",))
            for batch in self.columns(("id", "language")):
                self._keys.add(batch)
            self._keys.check(" and ".join(map(str, self.paths)))
            return
        questions = dict(options.questions)
        if len(questions) < len(options.questions):
            raise BadInput("--questions names a language twice; join its files into one.")
        self.paths, self._keys = [*questions.values(), options.solutions], Keys(("id",))
        made, self.unasked = join(questions, options.solutions)
        self._made = list(as_batches(made, TRANSLATED, "the joined questions"))
        for batch in self._made:
            self._keys.add(batch)
        self._keys.check(options.solutions)

    def batches(self, schema: pa.Schema = TRANSLATED) -> Iterator[pa.RecordBatch]:
        if self._made:
            yield from (batch.select(schema.names) for batch in self._made)
        else:
            copied: set[str] = set()  # every output of data_prep.translate may hold English, and the same
            for path in self.paths:
                theirs: set[str] = set()
                wanted = schema if {"id", "language"} <= {*schema.names} else TRANSLATED
                for batch in open_file(path).batches(wanted):
                    english = pc.equal(batch.column("language"), "en")
                    again = pc.and_(english, pc.is_in(batch.column("id"), pa.array(copied, pa.string())))
                    theirs.update(batch.column("id").filter(english).to_pylist())
                    if "checker" in batch.schema.names:
                        _check_checkers(batch.column("checker"), path)
                    yield batch.filter(pc.invert(again)).select(schema.names)
                copied |= theirs

    def columns(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        return self.batches(pa.schema([TRANSLATED.field(name) for name in names]))

    def ordered(self, scratch: Path) -> Iterator[pa.RecordBatch]:
        return in_order(self.batches(), TRANSLATED, self._keys, scratch)


def _check_checkers(names: pa.Array, path: Path) -> None:
    for name in pc.unique(names).to_pylist():
        try:
            checker_of({"checker": name})
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from None


def assemble(rows: Rows, out: Output, options: argparse.Namespace) -> None:
    """Writes train, validation and, where only some rows have a solution in their own language, sft."""
    if rows.unasked:
        out.drop("solution without a question", rows.unasked)
    problems = Problems(rows.columns, _contamination(options))
    held_out = pa.array(sorted(problems.held_out(options.validation, options.seed)), pa.string())
    bad = {}
    for problem, (name, kind) in problems.contaminated.items():
        bad.setdefault(f"{kind} match with {name}", []).append(problem)
    with out.writer("train", RL, "none") as train, out.writer("validation", RL) as validation:
        start = 0
        for batch in ahead(rows.ordered(out.path(""))):
            for reason, dropped in sorted(bad.items()):
                is_bad = pc.is_in(batch.column("problem"), pa.array(dropped, pa.string()))
                out.drop(reason, pc.sum(is_bad).as_py() or 0)
                batch = batch.filter(pc.invert(is_bad))
            held = pc.is_in(batch.column("problem"), held_out)
            for side, writer in ((pc.invert(held), train), (held, validation)):
                rows_of_side = batch.filter(side)
                writer.write(rl_batch(rows_of_side, start))
                start += rows_of_side.num_rows
        for benchmark in options.validation_files:
            _check_distinct(benchmark)
            for batch in as_batches(benchmark.rows(), RL, str(benchmark.path)):
                validation.write(batch)
    with_solution = train.written.rows - train.written.nulls["messages"]
    if 0 < with_solution < train.written.rows:
        out.write("sft", _for_sft(out), SFT)


def _check_distinct(benchmark: QuestionFile) -> None:
    """BadInput where a row comes twice: the ids that are written are hashes, which tell nobody the row."""
    seen = set()
    for row in benchmark.questions():
        name = "question" if row["id"] is None else "id"
        if (key := (name, row[name])) in seen:
            raise BadInput(
                f"{benchmark.path} has the {name} {row[name]!r:.80} in two rows; keep one, or give each an id."
            )
        seen.add(key)


def _contamination(options: argparse.Namespace) -> Contamination | None:
    files = [*options.validation_files, *options.evaluation_files]
    if not files:
        return None
    contamination = Contamination(options.ngram, options.characters)
    for benchmark in files:
        texts = (row.get(name) for row in benchmark.questions() for name in ("question", "query_en"))
        contamination.add(benchmark.name, (text for text in texts if text))
    return contamination


def _for_sft(out: Output) -> Iterable[pa.RecordBatch]:
    for batch in open_file(out.path("train.parquet")).batches(SFT_COLUMNS):
        yield batch.filter(pc.is_valid(batch.column("messages")))


SFT_COLUMNS = pa.schema([RL.field(name) for name in SFT.names])


def _pair(text: str) -> tuple[str, Path]:
    code, equals, path = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not LANGUAGE=FILE, such as es=mgsm_es.tsv")
    return code, Path(path)


def _question_file(text: str) -> QuestionFile:
    try:
        return QuestionFile.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(options: argparse.Namespace) -> None:
    if not 0 <= options.validation < 1 or not (options.validation or options.validation_files):
        raise BadInput(f"--validation is {options.validation}; give a share in (0, 1), or 0 with --validation-files.")
    names = ("validation", "seed", "ngram", "characters")
    settings = {name: getattr(options, name) for name in names}
    if options.questions:
        settings["languages"] = [code for code, _ in options.questions]
    for name in ("validation_files", "evaluation_files"):
        settings[name] = [f"{benchmark.name}:{benchmark.language}" for benchmark in getattr(options, name)]
    rows = Rows(options)
    tested = [benchmark.path for benchmark in (*options.validation_files, *options.evaluation_files)]
    with Output(options.output, "sp3f", settings, [*rows.paths, *tested]) as out:
        assemble(rows, out, options)
    train, validation = (sum(out.rows[name].values()) for name in ("train", "validation"))
    print(f"{train} training and {validation} validation rows in {options.output}")
    if "sft" in out.rows:
        print(f"{sum(out.rows['sft'].values())} of the training rows have a solution in their language: sft.parquet")


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--translated", type=Path, nargs="+", metavar="FILE", help="what data_prep.translate wrote")
    given.add_argument("--questions", nargs="+", type=_pair, metavar="LANGUAGE=FILE", help="TSV files (MGSM)")
    parser.add_argument("--solutions", type=Path, help="JSON lines: question, answer ending in #### N (GSM8K)")
    parser.add_argument("--output", type=Path, required=True, help="folder for train.parquet, validation.parquet")
    parser.add_argument("--validation", type=float, default=0.1, help="share of the problems (default: 0.1)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the split (default: 1)")
    files = {"nargs": "+", "type": _question_file, "default": [], "metavar": "NAME:LANGUAGE=FILE"}
    parser.add_argument("--validation-files", **files, help="benchmarks to add to the validation rows")
    parser.add_argument("--evaluation-files", **files, help="more benchmarks that training must not contain")
    parser.add_argument("--ngram", type=int, default=WORDS, help=f"words in a row that match (default: {WORDS})")
    text = f"characters in a row, in scripts without spaces (default: {CHARACTERS})"
    parser.add_argument("--characters", type=int, default=CHARACTERS, help=text)
    options = parse(parser, arguments)
    if bool(options.questions) != bool(options.solutions):
        parser.error("--questions and --solutions go together")
    return run_step("sp3f", _run, options)


if __name__ == "__main__":
    raise SystemExit(main())
