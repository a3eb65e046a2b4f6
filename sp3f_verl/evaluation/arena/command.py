r"""`sp3f evaluate --arena`: how often a judge prefers a model's answers to those of another, asked in both orders.

  sp3f evaluate --arena --candidate dpo=data/dpo --baseline base=data/base --output runs/arena \
    judge=openai sp3f.judge.model=gpt-4o-mini

Outputs: a folder of data_prep.generate or of `sp3f evaluate`, or parquet or JSON lines with id, language, text and
optionally category. The same command again goes on where it was stopped, and pays for no answer twice.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sp3f_verl.boundary import Parser
from sp3f_verl.data.notes import ASKED
from sp3f_verl.data.output import Output
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.arena.judging import Judgement, Question, judge
from sp3f_verl.evaluation.arena.outputs import Outputs, read_outputs
from sp3f_verl.evaluation.arena.pairs import Pairing, pair_up, read_prompts_of
from sp3f_verl.evaluation.arena.settings import identity, judge_settings
from sp3f_verl.evaluation.arena.summary import PAIR, VERDICT, pair_rows, summarise, verdict_rows
from sp3f_verl.evaluation.results import FILE, ArenaCost, ArenaJudge
from sp3f_verl.judge import make_judge
from sp3f_verl.judge.metrics import MALFORMED
from sp3f_verl.llm.cli_options import store_of
from sp3f_verl.progress import ProgressBar
from sp3f_verl.stats.win_rates import TIES


def parser() -> Parser:
    parser = Parser(prog="sp3f evaluate --arena", description=__doc__, intermixed=True)
    parser.add_argument(
        "--candidate",
        action="append",
        required=True,
        metavar="[NAME=]PATH",
        help="outputs of a model; again for each further one, which is then compared with it on the same prompts",
    )
    parser.add_argument("--baseline", required=True, metavar="[NAME=]PATH", help="outputs that all are compared with")
    parser.add_argument(
        "--prompts",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="the prompts, where they did not come with the outputs (data_prep.prompts writes them); again for more",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for summary.json and every verdict")
    parser.add_argument(
        "--ties",
        choices=TIES,
        default="half",
        help="what a tie counts as: half a win (default), a win or a loss of the candidate",
    )
    parser.add_argument("--samples", type=int, default=1, help="answers to a prompt that are compared (default: 1)")
    parser.add_argument(
        "--min-language-share",
        type=float,
        default=0.7,
        metavar="SHARE",
        help="share of its language below which an answer is in the wrong one (default: 0.7)",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="count the prompts that one of the two did not answer, in place of refusing",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the intervals (default: 1)")
    parser.add_argument("--store", type=Path, help="file of answers already got (default: beside --output)")
    parser.add_argument(
        "judge",
        nargs="*",
        metavar="SETTING",
        help="judge=openai, judge=local or one of your own, and settings such as sp3f.judge.model=NAME (docs/judge.md)",
    )
    return parser


def run(options: argparse.Namespace) -> None:
    settings = judge_settings(options.judge)
    outputs = [read_outputs(given, options.samples) for given in (*options.candidate, options.baseline)]
    *candidates, baseline = outputs
    _check_names(outputs)
    prompts, files = read_prompts_of(options.prompts, outputs)
    pairing = pair_up(candidates, baseline, prompts, options.allow_missing)
    if any("solution_en" in make_judge(member).needed_fields() for member in settings.members()):
        _check_references(pairing)
    judges = identity(settings)
    recorded = {
        "candidates": [candidate.name for candidate in candidates],
        "baseline": baseline.name,
        "judge": judges,
        "ties": options.ties,
        "samples": options.samples,
        "min_language_share": options.min_language_share,
        "allow_missing": options.allow_missing,
        "seed": options.seed,
    }
    inputs = dict.fromkeys([*(file for output in outputs for file in output.files), *files])
    with Output(options.output, "arena", recorded, inputs) as out:
        spending = Path(f"{options.output}.judge_spending.json")
        with ProgressBar("pairs", len(pairing.pairs) * len(judges)) as bar:
            judgement = judge(settings, pairing.pairs, store_of(options), spending, bar.advance)
        _check_verdicts(judgement)
        summary = summarise(pairing, judgement, options.ties, options.min_language_share, options.seed)
        questions = judgement.questions
        out.models = list(judgement.models.values())
        first, *panel = [entry | {"model": model} for entry, model in zip(judges, out.models, strict=True)]
        summary = summary.model_copy(
            update={
                "baseline": baseline.name,
                "judge": ArenaJudge(**first, panel=panel),
                "cost": _cost(questions),
            }
        )
        out.write("preferences", verdict_rows(pairing, judgement, options.ties), VERDICT)
        out.write("pairs", pair_rows(pairing, judgement, options.ties), PAIR)
        out.write_text(FILE, summary.text())
        calls = {"calls": judgement.calls, "from_store": judgement.stored, "usd": judgement.usd}
        out.note(ASKED, calls)
    paid = "" if judgement.usd is None else f", {judgement.usd:.4f} USD"
    print(f"asked now: {judgement.calls} answers{paid}; {judgement.stored} from {store_of(options)}")
    if failed := sum(question.first is None and question.failure != MALFORMED for question in questions):
        print(f"{failed} questions failed; another --output with --store {store_of(options)} asks those alone")
    print(f"written to {options.output}")


def _check_names(outputs: Sequence[Outputs]) -> None:
    name, count = Counter(output.name for output in outputs).most_common(1)[0]
    if count > 1:
        raise BadInput(f"two outputs have the name {name!r}; give each its own, as NAME=PATH.")


def _check_references(pairing: Pairing) -> None:
    for pair in pairing.pairs:
        if not pair.reference_en:
            raise BadInput(
                f"sp3f.judge.privileged=true shows the judge a reference, but prompt {pair.id!r} in {pair.language!r} "
                "has no reference_en; add it, or leave privileged out."
            )


def _check_verdicts(judgement: Judgement) -> None:
    questions = judgement.questions
    if questions and all(question.first is None for question in questions):
        kinds = Counter(question.failure or "unknown" for question in questions).most_common()
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds)
        raise BadInput(
            f"the judge gave no verdict on any of {len(questions)} questions ({counts}); mend it and start again."
        )


def _cost(questions: Sequence[Question]) -> ArenaCost:
    """Of all answers that count, whenever they were paid for: the same for a run that was resumed."""
    costs = [question.usd for question in questions]
    return ArenaCost(
        questions=len(questions),
        tokens_in=sum(question.tokens_in for question in questions),
        tokens_out=sum(question.tokens_out for question in questions),
        usd=None if None in costs else sum(costs),
    )
