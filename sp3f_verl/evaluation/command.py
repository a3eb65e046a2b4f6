r"""Accuracy and language fidelity of a model on benchmarks, by language, with intervals.

  sp3f evaluate --model CHECKPOINT --benchmark mgsm --languages es sw --output runs/eval
  sp3f evaluate --model NAME --backend openai --base-url http://localhost:8000/v1 --benchmark mgsm --output runs/eval
  sp3f evaluate --model CHECKPOINT --data validation.parquet --output runs/eval

The same command again goes on where it was stopped, and asks nothing twice. docs/evaluation.md says what is measured.
"""

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from sp3f_verl import languages
from sp3f_verl.boundary import Parser
from sp3f_verl.data.notes import ASKED
from sp3f_verl.data.output import Output
from sp3f_verl.data.prompts import PROMPTS
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.benchmark import Benchmark, names
from sp3f_verl.evaluation.checkpoints import check_chat_template, model_folder
from sp3f_verl.evaluation.problems import check_parallel, distinct, of_parquet
from sp3f_verl.evaluation.results import FILE, BenchmarkSummary, Decoding
from sp3f_verl.evaluation.run import PAPER, Cell, asks, collect, prompts, summarise
from sp3f_verl.llm.cli_options import add_model_options, model_options, open_model, store_of, watched
from sp3f_verl.log import log
from sp3f_verl.rewards.answers.checkers import BUILT_IN
from sp3f_verl.rewards.terms import THRESHOLD

CACHE = Path("~/.cache/sp3f_verl/benchmarks")


def run(options: argparse.Namespace) -> None:
    """BadInput, or UnknownLanguage, for what cannot be evaluated."""
    decoding = Decoding(**{name: getattr(options, name) for name in Decoding.model_fields})
    if decoding.samples > 1 and decoding.temperature == 0:
        raise BadInput("--temperature=0 gives the same answer every time; give --samples 1, or one above 0.")
    asked = model_options(options)
    given = asked.model
    if asked.engine != "openai":
        asked = asked.model_copy(update={"model": model_folder(asked.model, adapters=False)})
        check_chat_template(asked.model)
    cells, inputs, yamls, skipped = _cells(options)
    with open_model(asked, store_of(options)) as backend:
        settings = {**decoding.model_dump(), "threshold": options.threshold, "limit": options.limit}
        settings |= {"model": backend.model, "backend": asked.engine, "asked": _digest(cells)}
        packages = [] if asked.engine == "openai" else [asked.engine]
        recorded = {"models": [backend.model], "prompts": yamls, "packages": packages}
        with Output(options.output, "evaluate", settings, inputs, **recorded) as out:
            total = decoding.samples * sum(len(cell.problems) for cell in cells)
            out.write("prompts", prompts(cells), PROMPTS)
            answers = watched(backend.answers(asks(cells, decoding)), backend, total)
            kinds = collect(answers, cells, decoding.samples, options.threshold, out)
            if not kinds["whole"] and not (options.keep_truncated and kinds["cut off"]):
                told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
                raise BadInput(
                    f"not one of {total} answers is whole ({told}); raise --max-tokens where they are cut off, or "
                    "score them so by --keep-truncated, and see to the model where they are empty."
                )
            summary = BenchmarkSummary(
                kind="benchmarks",
                model=backend.model,
                model_path=given,
                decoding=decoding,
                threshold=options.threshold,
                limit=options.limit,
                skipped=skipped,
                benchmarks=summarise(cells, decoding.samples),
            )
            out.write_text(FILE, summary.text())
            out.note(ASKED, backend.totals.as_dict())
    if failed := sum(benchmark.mean.failed for benchmark in summary.benchmarks.values()):
        print(
            f"{failed} samples failed and are in no mean; another --output with --store {store_of(options)} asks again"
        )
    print(f"written to {options.output}")


def _cells(options: argparse.Namespace) -> tuple[list[Cell], list[Path], list[Path], dict[str, list[str]]]:
    """(cells, the files of their problems, the benchmarks' YAML, benchmark -> languages asked for that it has not)."""
    if not options.benchmark and not options.data:
        raise BadInput("nothing to evaluate on: give --benchmark NAME, or --data FILE with RL rows.")
    wanted = None
    if options.languages != ["all"]:
        wanted = [languages.get(code, "--languages").code for code in options.languages]
    benchmarks = [Benchmark.load(name, options.allow_code) for name in options.benchmark]
    _give_files(options.file, {benchmark.name: benchmark for benchmark in benchmarks})
    cells, inputs, skipped = [], [], {}
    for benchmark in benchmarks:
        codes = [code for code in benchmark.languages if wanted is None or code in wanted]
        if lacking := sorted(set(wanted or ()) - set(codes)):
            skipped[benchmark.name] = lacking
        sources = benchmark.sources(codes, options.cache.expanduser())
        inputs += sources.values()
        problems_of = {place: benchmark.problems(*place, path) for place, path in sources.items()}
        if problems_of and "problem" not in benchmark.definition.columns:
            _check_parallel(benchmark, {place: (sources[place], problems) for place, problems in problems_of.items()})
        for code in codes:
            problems = []
            for variant in benchmark.variants[code]:
                problems += problems_of[code, variant][: options.limit]
            others = tuple(other for other in benchmark.every if other != code)
            cells.append(Cell(benchmark.name, code, problems, others, benchmark.checkers))
    for path in options.data:
        inputs.append(path)
        cells += _rows(path, wanted, options.limit)
    if not cells:
        there = "; ".join(f"{benchmark.name} has {', '.join(benchmark.languages)}" for benchmark in benchmarks)
        raise BadInput(
            f"--languages {' '.join(options.languages)}: none is there ({there or 'in the rows of --data'})."
        )
    twice = [cell.file for cell in cells if sum(cell.file == other.file for other in cells) > 1]
    if twice:
        raise BadInput(
            f"{twice[0].rsplit('/', 1)[0]} would be evaluated twice; name each benchmark once, and no two alike."
        )
    for name, codes in skipped.items():
        log.warning("%s is not there in %s: left out", name, ", ".join(codes))
    return cells, inputs, [benchmark.path for benchmark in benchmarks], skipped


def _check_parallel(benchmark: Benchmark, files: dict) -> None:
    try:
        check_parallel(files)
    except BadInput as error:
        if benchmark.files:
            raise
        log.warning("%s: %s", benchmark.name, error)  # as published: whoever evaluates it cannot mend it


def _digest(cells: list[Cell]) -> str:
    """Of all prompts and gold answers: the language table and the benchmarks' YAML have a part in them."""
    content = [
        [cell.file, [(problem.id, problem.messages, problem.gold, problem.checker) for problem in cell.problems]]
        for cell in cells
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _give_files(given: list[str], benchmarks: dict[str, Benchmark]) -> None:
    files = defaultdict(dict)
    for text in given:
        head, equals, path = text.partition("=")
        name, _, place = head.partition(":")
        if not (equals and path and place) or name not in benchmarks:
            raise BadInput(f"--file {text}: write NAME:LANGUAGE=FILE, with a NAME that --benchmark has, too.")
        files[name][place] = Path(path)
    for name, by_place in files.items():
        benchmarks[name].read_from(by_place)


def _rows(path: Path, wanted: list[str] | None, limit: int | None) -> Iterator[Cell]:
    groups = defaultdict(list)
    for name, problem in of_parquet(path, tuple(BUILT_IN)):
        groups[name, problem.language].append(problem)
    every = {code for _, code in groups}
    for (name, code), problems in sorted(groups.items()):
        if wanted is None or code in wanted:
            yield Cell(name, code, distinct(problems)[:limit], tuple(sorted(every - {code})), BUILT_IN)


def parser() -> Parser:
    parser = Parser(prog="sp3f evaluate", description=__doc__)
    parser.add_argument(
        "--benchmark", nargs="+", default=[], metavar="NAME", help=f"{', '.join(names())}, or the YAML file of your own"
    )
    parser.add_argument("--allow-code", action="store_true", help="run the checker that a YAML file of your own names")
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE", help="RL rows (docs/data.md)")
    parser.add_argument(
        "--languages",
        nargs="+",
        default=["all"],
        metavar="CODE",
        help="codes, or all (the default): those of the benchmark",
    )
    parser.add_argument(
        "--file",
        nargs="+",
        default=[],
        metavar="NAME:LANGUAGE=FILE",
        help="problems in place of the Hub's: mgsm:es=mgsm_es.tsv, or all=FILE; only languages so given are evaluated",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for summary.json and the answers")
    parser.add_argument("--samples", type=int, default=PAPER.samples, help="answers a problem (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=PAPER.temperature, help="default: %(default)s")
    parser.add_argument("--top-p", type=float, default=PAPER.top_p, help="default: %(default)s")
    parser.add_argument("--max-tokens", type=int, default=PAPER.max_tokens, help="of an answer (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=PAPER.seed, help="default: %(default)s")
    parser.add_argument(
        "--keep-truncated", action="store_true", help="go on where every answer was cut off at --max-tokens"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=THRESHOLD,
        help="share of the letters that must be in the language asked for (default: %(default)s)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N problems of each language, to try out")
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="folder for what the Hub gives (default: %(default)s)"
    )
    add_model_options(parser, "vllm")
    return parser
