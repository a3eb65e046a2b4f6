"""The command `sp3f`."""

import argparse
import importlib
import sys
from pathlib import Path

from sp3f_verl.boundary import Parser, exit_status, expanded, parse
from sp3f_verl.ranges import check_ranges

# flag -> module whose `run(options)`, the options being those of its `parser()`, writes a summary.json into --output
EVALUATE_MODES: dict[str | None, str] = {
    None: "sp3f_verl.evaluation.command",
    "--arena": "sp3f_verl.evaluation.arena.command",
    "--harness": "sp3f_verl.evaluation.harness.command",
}


def _quickstart(arguments: argparse.Namespace) -> int:
    from sp3f_verl.quickstart.progress import StageFailed
    from sp3f_verl.quickstart.run import quickstart

    try:
        seeds = {"data_seed": arguments.data_seed, "train_seed": arguments.train_seed}
        quickstart(arguments.output, arguments.preset, pretrained=arguments.model, **seeds)
    except StageFailed as error:
        print(f"sp3f quickstart: {error}", file=sys.stderr)
        return 1
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from sp3f_verl.verl_bridge.doctor import doctor

    return doctor()


def _judge_check(arguments: argparse.Namespace) -> int:
    from sp3f_verl.errors import BadInput
    from sp3f_verl.verl_bridge.judge_check import judge_check

    report, doubt = judge_check(
        arguments.overrides, arguments.pairs, arguments.replay, arguments.output, arguments.seed
    )
    print(report)
    if doubt:
        raise BadInput(f"do not train with it yet: {doubt}.")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from sp3f_verl.report.command import report

    folders = arguments.folders or ([] if arguments.paper else [Path("runs/quickstart")])
    print(report(folders, arguments.output, arguments.paper, arguments.fail_if))
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from sp3f_verl.verl_bridge.plan import run

    print(run(arguments))
    return 0


def _parser() -> Parser:
    epilog = "--debug with any command: the whole stack trace of an error"
    parser = Parser(prog="sp3f", description=__doc__, epilog=epilog)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("quickstart", help="train a tiny model end to end on a CPU and write a report")
    command.add_argument("--output", type=Path, default=Path("runs/quickstart"), help="folder (default: %(default)s)")
    presets = (
        "default; smoke: a few steps that learn nothing; real: from a pretrained model; "
        "grpo, token_credit, copsd, copsd_initial: another method on the default's task (default: %(default)s)"
    )
    command.add_argument("--preset", default="default", help=presets)
    command.add_argument(
        "--model", help="of --preset real: a folder or a name on the Hub (default: SmolLM2-135M-Instruct)"
    )
    command.add_argument("--data-seed", type=int, help="seed of problems, splits and prompts (default: 1)")
    command.add_argument("--train-seed", type=int, help="seed of weights, batches and sampling (default: 1)")
    command.set_defaults(run=_quickstart)

    command = commands.add_parser("doctor", help="check the installation and say what to mend")
    command.set_defaults(run=_doctor)

    command = commands.add_parser("judge-check", help="measure the judge of a run before it costs money")
    command.add_argument("--pairs", type=int, default=100, help="labelled pairs, each in both orders (default: 100)")
    command.add_argument("--replay", type=Path, help="measure this judge transcript instead of asking")
    output = Path("judge_check.jsonl")
    command.add_argument("--output", type=Path, default=output, help="its transcript (default: %(default)s)")
    command.add_argument("--seed", type=int, default=1, help="of the pairs (default: 1)")
    what = "arguments of the run: +recipe=sp3f judge=openai data.train_files=train.parquet ..."
    command.add_argument("overrides", nargs="*", help=what)
    command.set_defaults(run=_judge_check)

    command = commands.add_parser("plan", help="what a run will take, of time, memory and money: counted, not measured")
    command.add_argument("--gpu", help="e.g. H100, with device=gpu (default: what is here, else L40S)")
    command.add_argument("--memory-gib", type=float, help="of a GPU, where it is not the usual size")
    command.add_argument("--prompt-tokens", type=int, help="mean (default: a quarter of the recipe's limit)")
    command.add_argument("--response-tokens", type=int, help="mean (default: half of the recipe's limit)")
    command.add_argument("--latency", type=float, default=2.0, help="seconds of a judge's answer (default: 2)")
    command.add_argument("--gpu-price", type=float, help="USD of a device and hour")
    what = "arguments of the run: +recipe=sp3f device=gpu actor_rollout_ref.model.path=..."
    command.add_argument("overrides", nargs="*", help=what)
    command.set_defaults(run=_plan)

    # `sp3f evaluate` reads its own options, by mode: see main
    commands.add_parser("evaluate", help="measure a model; --arena and --harness are modes with options of their own")

    what = "report.md and report.html of a run, a data set or an evaluation, or of several side by side"
    command = commands.add_parser("report", help=what)
    folders = "a quickstart's or evaluation's --output, a data set, a run's folder (default: runs/quickstart)"
    command.add_argument("folders", type=Path, nargs="*", help=folders)
    output = "FILE.md (and FILE.html beside it) or a folder (default: into the run's folder; for several, the screen)"
    command.add_argument("--output", type=Path, metavar="FILE.md", help=output)
    papers = ("sp3f", "croco", "tspin", "mdpo")
    command.add_argument("--paper", choices=papers, help="beside the numbers that this paper published")
    text = "exit status 1 where the second of two evaluations is so much worse: 'mgsm/accuracy < -0.01 at 95 %%'"
    command.add_argument("--fail-if", action="append", default=[], metavar="RULE", help=text)
    command.set_defaults(run=_report)
    return parser


def evaluate(words: list[str]) -> Path:
    """Answers the folder that it wrote to. Each mode has a parser of its own: they share no option but --output."""
    from sp3f_verl.data.output import AlreadyDone

    mode = next((word for word in words if word in EVALUATE_MODES), None)
    module = importlib.import_module(EVALUATE_MODES[mode])
    options = parse(module.parser(), [word for word in words if word != mode])
    check_ranges(options)
    try:
        module.run(options)
    except AlreadyDone as done:
        print(done)
    return options.output


def _evaluate(words: list[str]) -> int:
    folder = evaluate(words)
    from sp3f_verl.report.command import report, tables

    print(tables(folder))
    print(f"report: {report([folder])}")
    return 0


def main() -> int:
    words = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(words) < len(sys.argv[1:])
    if words[:1] == ["evaluate"]:
        return exit_status("sp3f", lambda: _evaluate(words[1:]), debug)
    parser = _parser()
    arguments, rest = parser.parse_known_args(words)
    overrides = [word for word in rest if not word.startswith("-")]  # Hydra's, between options
    if len(overrides) < len(rest) or (rest and not hasattr(arguments, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if overrides:
        arguments.overrides += overrides
    expanded(arguments, parser)
    return exit_status("sp3f", lambda: check_ranges(arguments) or arguments.run(arguments), debug)


if __name__ == "__main__":
    sys.exit(main())
