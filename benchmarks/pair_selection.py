"""Pair selection at CroCo's size: 20,000 prompts x 64 candidates x 7 languages, in-language and cross-language.

Simulated: a reward of prompt + language offset + noise, lengths that go with it, 3 % off-language, 4 % truncated, 2 %
duplicate candidates. Beside it the plain function, one prompt at a time, on some of the same pools: both have to agree
on every one of them. Fails where they do not, where a run (columns, selection and diagnostics) takes more than SECONDS,
or above GIB (peak of this process). Seconds are the processor's, one thread: what the clock (in brackets) shows on an
idle core, and not what the neighbours do.
"""

import itertools
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from sp3f_verl.selection import Candidates, Pairs, Settings, best_of_n, choose, pool_diagnostics
from sp3f_verl.selection.pair import pair_or_reason
from sp3f_verl.selection.pairs import REASONS

PROMPTS, N, LANGUAGES = 20_000, 64, "da de en es fr it nl".split()
OFFSETS = (-0.5, 0.2, 1.0, 0.5, 0.3, 0.0, -0.2)
PLAIN_POOLS = 2_000  # that the plain function is timed on
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


def plain(candidates: Candidates, pairs: Pairs) -> tuple[float, int]:
    """(seconds for all pools at the pace of some, how many of those differ)"""
    play = np.flatnonzero(pairs.in_play)
    begins = np.searchsorted(pairs.pool_of[play], np.arange(PLAIN_POOLS + 1))
    rules = {"rule": pairs.settings.rule, "min_margin": pairs.settings.min_margin}
    ratio, found = pairs.settings.max_length_ratio, []
    start = time.process_time()
    for begin, end in itertools.pairwise(begins):
        some = play[begin:end]
        lengths = candidates.length[some].tolist() if ratio else None
        found.append(pair_or_reason(pairs.ranking[some], lengths=lengths, max_length_ratio=ratio, **rules))
    seconds = (time.process_time() - start) * pairs.pools / PLAIN_POOLS
    place = dict(zip(pairs.pool.tolist(), zip(pairs.chosen, pairs.rejected, strict=True), strict=True))
    differ = 0
    for pool, (begin, one) in enumerate(zip(begins, found, strict=False)):
        two = place.get(pool, REASONS[pairs.reason[pool]])
        differ += (one if isinstance(one, str) else (play[begin + one[0]], play[begin + one[1]])) != two
    return seconds, differ


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
        found, more = timed("  its diagnostics", pool_diagnostics, candidates, pairs)
        slowest = max(slowest, loading + seconds + more)
        reference, differ = plain(candidates, pairs)
        differing += differ
        same = found["same_language"]
        print(f"    {len(pairs)} pairs of {pairs.pools} pools, same language {100 * same:.1f} %; ", end="")
        print(f"one prompt at a time, selection alone: {reference:.1f} s, {differ} of {PLAIN_POOLS} differ")
    best, _ = timed("best of n", best_of_n, candidates)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(best)} SFT choices")
    print(f"slowest run {slowest:.1f} s (bound {SECONDS:.0f}), peak {peak:.2f} GiB (bound {GIB:g})")
    if differing or slowest > SECONDS or peak > GIB:
        sys.exit("pair selection is too slow, too large or differs from the plain function; see above.")


if __name__ == "__main__":
    main()
