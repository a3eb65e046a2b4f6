"""What the numbers on a command line may be: one range for an option's name, whichever command has it."""

import argparse
import math

from sp3f_verl.errors import BadInput

INF = math.inf
COUNTS = "n max_tokens samples candidates limit first sample count max_length ngram characters pairs iterations"
SHARES = "max_left_out min_language_share threshold min_numbers min_back_translation"
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(COUNTS.split(), (1, INF)),
    **dict.fromkeys(SHARES.split(), (0, 1)),
    "iteration": (0, INF),
    "comet_gpus": (0, INF),
    "temperature": (0, 10),  # servers refuse it from 2 on, or sample noise
    "top_p": (1e-6, 1),
    "seed": (0, 2**63 - 1),  # what vLLM and OpenAI take
    "data_seed": (0, 2**32 - 1),  # and numpy
    "train_seed": (0, 2**32 - 1),
    "min_margin": (0, INF),
    "max_length_ratio": (1, INF),
}


def check_ranges(options: argparse.Namespace) -> None:
    """BadInput for the first number that is out of its option's range, or is none."""
    for name, value in vars(options).items():
        if name not in RANGES or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least, most = RANGES[name]
        if not (least <= value <= most and value < INF):
            bound = f"from {least:g} to {most:.6g}" if most < INF else f"of at least {least:g}"
            written = value if isinstance(value, int) else f"{value:g}"
            raise BadInput(f"--{name.replace('_', '-')}={written}: give a number {bound}.")
