"""Pair selection at CroCo's size: 20,000 prompts x 64 candidates x 7 languages, in-language and cross-language.

Simulated: a reward of prompt + language offset + noise, lengths that go with it, 3 % off-language, 4 % truncated, 2 %
duplicate candidates. Beside it `select_pair`, one prompt at a time, on some of the same pools: both have to agree on
every one of them. Fails where they do not, where a run (columns, selection and diagnostics) takes more than SECONDS,
or above GIB (peak of this process). Seconds are the processor's, one thread: what the clock (in brackets) shows on an
idle core, and not what the neighbours do.
"""

import itertools
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from sp3f_verl.selection import Candidates, Pairs, Settings, best_of_n, choose, pool_diagnostics, select_pair

PROMPTS, N, LANGUAGES = 20_000, 64, "da de en es fr it nl".split()
OFFSETS = (-0.5, 0.2, 1.0, 0.5, 0.3, 0.0, -0.2)
SINGLE_POOLS = 2_000  # that are chosen one at a time
SECONDS, GIB = 60.0, 4.0


def columns(seed: int = 1) -> dict:
    random = np.random.default_rng(seed)
    n = PROMPTS * N * len(LANGUAGES)
    prompt = np.repeat(np.arange(PROMPTS, dtype=np.int32), N * len(LANGUAGES))
    language = np.tile(np.repeat(np.arange(len(LANGUAGES)), N), PROMPTS)
    noise = random.standard_normal(n)
    length = np.exp(6 + 0.3 * noise + 0.5 * random.standard_normal(n)).astype(np.int32) + 1
    texts = random.integers(0, 2**63, n, dtype=np.uint64)
    again = np.flatnonzero(random.random(n) < 0.02)
    texts[again] = texts[again - again % N]
    return {
        "ids": prompt,
        "languages": [LANGUAGES[at] for at in language.tolist()],
        "numbers": np.tile(np.arange(N, dtype=np.int16), PROMPTS * len(LANGUAGES)),
        "scores": random.standard_normal(PROMPTS)[prompt] + np.array(OFFSETS)[language] + noise,
        "lengths": length,
        "truncated": random.random(n) < 0.04,
        "shares": np.where(random.random(n) < 0.03, 0.1, 1.0).astype(np.float32),
        "texts": texts,
    }


def timed(name: str, function: Callable, *arguments, **named):
    clock, start = time.perf_counter(), time.process_time()
    result = function(*arguments, **named)
    clock, seconds = time.perf_counter() - clock, time.process_time() - start
    print(f"  {name:<44}{seconds:7.2f} s ({clock:.2f})")
    return result, seconds


def one_at_a_time(candidates: Candidates, pairs: Pairs) -> tuple[float, int]:
    """(seconds for all pools at the pace of some, how many of those differ)"""
    play = np.flatnonzero(pairs.in_play)
    begins = np.searchsorted(pairs.pool_of[play], np.arange(SINGLE_POOLS + 1))
    limits = {"min_margin": pairs.settings.min_margin, "max_length_ratio": pairs.settings.max_length_ratio}
    chosen = []
    start = time.process_time()
    for begin, end in itertools.pairwise(begins):
        members = play[begin:end]
        pair = select_pair(pairs.ranking[members], pairs.settings.rule, lengths=candidates.length[members], **limits)
        chosen.append(pair and tuple(members[list(pair)].tolist()))
    seconds = (time.process_time() - start) * pairs.pools / SINGLE_POOLS
    sides = zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True)
    by_pool = dict(zip(pairs.pool.tolist(), sides, strict=True))
    return seconds, sum(by_pool.get(pool) != pair for pool, pair in enumerate(chosen))


def main() -> None:
    table = columns()
    print(f"{PROMPTS} prompts x {N} candidates x {len(LANGUAGES)} languages = {len(table['scores'])} candidates")
    candidates, loading = timed("columns to candidates", Candidates.of, **table)
    del table
    differing, slowest = 0, 0.0
    for settings in (
        Settings(),
        Settings(min_margin=0.5, max_length_ratio=2.0, length_residual=True),
        Settings(pool="cross_language", scale="raw"),
        Settings(pool="cross_language", scale="z_prompt", consistency="prompt"),
    ):
        how = f"{settings.pool}, {settings.scale}, {settings.consistency}"
        how += ", length control" if settings.length_residual else ""
        pairs, seconds = timed(how, choose, candidates, settings)
        diagnostics, more = timed("  its diagnostics", pool_diagnostics, candidates, pairs)
        slowest = max(slowest, loading + seconds + more)
        reference, differ = one_at_a_time(candidates, pairs)
        differing += differ
        same = diagnostics["same_language"]
        print(f"    {len(pairs)} pairs of {pairs.pools} pools, same language {100 * same:.1f} %; ", end="")
        print(f"one prompt at a time, selection alone: {reference:.1f} s, {differ} of {SINGLE_POOLS} differ")
    best, _ = timed("best of n", best_of_n, candidates)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(best)} SFT choices")
    print(f"slowest run {slowest:.1f} s (bound {SECONDS:.0f}), peak {peak:.2f} GiB (bound {GIB:g})")
    if differing or slowest > SECONDS or peak > GIB:
        sys.exit("pair selection is too slow, too large or differs from select_pair; see above.")


if __name__ == "__main__":
    main()
