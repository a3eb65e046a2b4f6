"""The command `sp3f`."""

import argparse
import sys
from pathlib import Path


def _quickstart(arguments: argparse.Namespace) -> int:
    from sp3f_verl.quickstart.progress import StageFailed
    from sp3f_verl.quickstart.run import quickstart

    try:
        quickstart(arguments.output, arguments.preset, arguments.data_seed, arguments.train_seed)
    except StageFailed as error:
        print(f"sp3f quickstart: {error}", file=sys.stderr)
        return 1
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from sp3f_verl.verl_bridge.doctor import doctor

    return doctor()


def _judge_check(arguments: argparse.Namespace) -> int:
    from sp3f_verl.verl_bridge.judge_check import judge_check

    print(judge_check(arguments.overrides, arguments.pairs, arguments.replay, arguments.output, arguments.seed))
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from sp3f_verl.evaluation.evaluate import evaluate
    from sp3f_verl.evaluation.generate import Decoding
    from sp3f_verl.evaluation.measure import MEASURES

    names = ("samples", "temperature", "top_p", "max_new_tokens", "seed")
    decoding = Decoding(**{name: getattr(arguments, name) for name in names})
    summary = evaluate(arguments.model, arguments.data, arguments.output, decoding)
    for decoding in ("greedy", "sampled"):
        for language, values in summary[decoding].items():
            print(decoding, language, *(f"{name}={values[name]:.3f}" for name in MEASURES if name in values))
    print(f"written to {arguments.output}")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from sp3f_verl.evaluation.dispatch import report

    print(report(arguments.folders, arguments.output))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sp3f", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("quickstart", help="train a tiny model end to end on a CPU and write a report")
    command.add_argument("--output", type=Path, default=Path("runs/quickstart"), help="folder (default: %(default)s)")
    command.add_argument("--preset", default="default", help="default, or smoke: a few steps that learn nothing")
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

    command = commands.add_parser("evaluate", help="accuracy and language fidelity of a checkpoint, per language")
    command.add_argument("--model", required=True, help="a Hugging Face model folder or name")
    command.add_argument("--data", type=Path, required=True, help="a parquet file with RL rows (docs/data.md)")
    command.add_argument("--output", type=Path, required=True, help="the summary, a .json file")
    command.add_argument("--samples", type=int, default=4, help="sampled responses a prompt (default: 4; paper: 8)")
    command.add_argument("--temperature", type=float, default=1.0, help="of the samples (default: 1; paper: 0.7)")
    command.add_argument("--top-p", type=float, default=1.0, help="of the samples (default: 1; paper: 0.8)")
    command.add_argument("--max-new-tokens", type=int, default=1024, help="length of a response (default: 1024)")
    command.add_argument("--seed", type=int, default=1, help="seed of the sampling (default: 1)")
    command.set_defaults(run=_evaluate)

    what = "report.md of a finished quickstart or of a preference or self-play run, or a table over several"
    command = commands.add_parser("report", help=what)
    folders = "a quickstart's --output, or a run's trainer.default_local_dir (default: runs/quickstart)"
    command.add_argument("folders", type=Path, nargs="*", default=[Path("runs/quickstart")], help=folders)
    command.add_argument("--output", type=Path, help="file for the table of several folders (default: the screen)")
    command.set_defaults(run=_report)
    return parser


def main() -> int:
    parser = _parser()
    arguments, rest = parser.parse_known_args()
    overrides = [each for each in rest if not each.startswith("-")]  # Hydra's, between options
    if len(overrides) < len(rest) or (rest and not hasattr(arguments, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if overrides:
        arguments.overrides += overrides
    try:
        return arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"sp3f: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
