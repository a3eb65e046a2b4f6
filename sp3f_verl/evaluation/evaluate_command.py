"""The command line of `sp3f evaluate`: accuracy and language fidelity of a checkpoint, per language."""

import argparse
from pathlib import Path

from sp3f_verl.evaluation.evaluate import evaluate
from sp3f_verl.evaluation.generate import Decoding
from sp3f_verl.evaluation.measure import MEASURES


def main(options: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="sp3f evaluate", description=__doc__)
    parser.add_argument("--model", required=True, help="a Hugging Face model folder or name")
    parser.add_argument("--data", type=Path, required=True, help="a parquet file with RL rows (docs/data.md)")
    parser.add_argument("--output", type=Path, required=True, help="the summary, a .json file")
    parser.add_argument("--samples", type=int, default=4, help="sampled responses a prompt (default: 4; paper: 8)")
    parser.add_argument("--temperature", type=float, default=1.0, help="of the samples (default: 1; paper: 0.7)")
    parser.add_argument("--top-p", type=float, default=1.0, help="of the samples (default: 1; paper: 0.8)")
    parser.add_argument("--max-new-tokens", type=int, default=1024, help="length of a response (default: 1024)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sampling (default: 1)")
    arguments = parser.parse_args(options)

    names = ("samples", "temperature", "top_p", "max_new_tokens", "seed")
    decoding = Decoding(**{name: getattr(arguments, name) for name in names})
    summary = evaluate(arguments.model, arguments.data, arguments.output, decoding)
    for drawn in ("greedy", "sampled"):
        for language, values in summary[drawn].items():
            print(drawn, language, *(f"{name}={values[name]:.3f}" for name in MEASURES if name in values))
    print(f"written to {arguments.output}")
    return 0
