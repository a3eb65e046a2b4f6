"""One line of ours among what verl, Ray and vLLM say."""

import sys


def say(sentence: str) -> None:
    print(f"sp3f_verl: {sentence}", file=sys.stderr, flush=True)
