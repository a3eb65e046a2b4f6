"""What a pool of candidates and the pairs chosen from it look like, as numbers for a manifest, with warnings."""

from collections.abc import Sequence

import numpy as np

from sp3f_verl.selection.candidates import EXCLUSIONS, Candidates
from sp3f_verl.selection.choose import Pairs
from sp3f_verl.selection.pairs import select_pairs
from sp3f_verl.selection.scale import levels, z_scores

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SIZES = (2, 4, 8, 16, 32, 64, 128)
# Name of a number in the diagnostics -> above it a warning: what to look at. Ours, not the paper's.
LIMITS = {
    "off_language": (0.05, "the policy often leaves the language; see the languages below before training on them"),
    "truncated": (0.10, "raise the token limit of generation, or the pairs prefer short answers"),
    "duplicate": (0.20, "sampling is too cold for so many candidates"),
    "no_score": (0.01, "candidates went unscored; look at the scoring step's failures"),
    "score_not_finite": (0.0, "the reward model gives scores that are no numbers"),
    "top_language": (0.50, "most chosen sides are in one language: rank by z-scores, or ask for consistency"),
    "chosen_longer": (0.65, "the pairs teach length: length_residual or max_length_ratio"),
}


def pool_diagnostics(candidates: Candidates, pairs: Pairs, sizes: Sequence[int] = SIZES) -> dict:
    """Counts, shares, margins, lengths, languages and what fewer candidates would have given; JSON-ready.

    Shares of exclusions are of all candidates, each counted once, under its first reason (candidates.EXCLUSIONS).
    """
    names = candidates.languages
    diagnostics = {
        "candidates": len(candidates),
        "prompts": len(candidates.ids),
        "pools": pairs.pools,
        "pairs": len(pairs),
        "skipped": pairs.skipped(),
        "excluded": pairs.dropped(),
        "languages": _per_language(candidates, pairs),
        "margin": _distribution(pairs.margin),
        "score_margin": _distribution(candidates.score[pairs.chosen] - candidates.score[pairs.rejected]),
        "lengths": _lengths(candidates, pairs),
        "pool_sizes": by_pool_size(candidates, pairs, sizes),
    }
    one, other = candidates.language[pairs.chosen], candidates.language[pairs.rejected]
    diagnostics["same_language"] = _mean(one == other)
    for side, language in (("chosen", one), ("rejected", other)):
        shares = np.bincount(language, minlength=len(names)) / max(1, len(pairs))
        diagnostics[f"{side}_language"] = {name: float(share) for name, share in zip(names, shares, strict=True)}
    diagnostics["warnings"] = _warnings(diagnostics, pairs)
    return diagnostics


def by_pool_size(candidates: Candidates, pairs: Pairs, sizes: Sequence[int] = SIZES) -> list[dict]:
    """What the first k candidates a prompt and language would have given, for each k up to all there are.

    margin: mean, in units of the scale. chosen_z, rejected_z: mean place in the pool, in its standard deviations.
    worst, second: share of pairs whose rejected is the lowest, or the lowest but one (of equal ones, the best place).
    Margin and length limits are left aside. Where margin still grows from one k to the next, more candidates pay.
    """
    play = np.flatnonzero(pairs.in_play)
    cell = candidates.cell[play]
    rank = np.arange(len(play)) - np.searchsorted(cell, cell)
    most = int(rank.max(initial=-1)) + 1
    table = []
    for k in sorted({size for size in sizes if size < most} | ({most} if most >= 2 else set())):
        some = play[rank < k]
        table.append({"k": k, **_places(pairs.ranking[some], pairs.pool_of[some], pairs.pools, pairs.settings.rule)})
    return table


def _places(scores: np.ndarray, pool: np.ndarray, pools: int, rule: str) -> dict:
    top, low, reason = select_pairs(pool, scores, pools, rule)
    top, low = top[reason == 0], low[reason == 0]
    z = z_scores(scores, pool)
    bar = np.full(pools, -np.inf)
    bar[pool[low]] = scores[low]
    place = np.bincount(pool, scores < bar[pool], minlength=pools)[pool[low]] if len(low) else np.zeros(0)
    return {
        "pairs": len(top),
        "margin": _mean(scores[top] - scores[low]),
        "chosen_z": _mean(z[top]),
        "rejected_z": _mean(z[low]),
        **{name: _mean(place == at) for at, name in enumerate(("worst", "second", "third"))},
    }


def _per_language(candidates: Candidates, pairs: Pairs) -> dict:
    """Language -> candidates, reward (mean, spread, correlation with length) and shares of what is excluded."""
    finite = np.flatnonzero(np.isfinite(candidates.score))
    count, total = len(candidates.languages), np.bincount(candidates.language, minlength=len(candidates.languages))
    length = None if candidates.length is None else candidates.length[finite]
    rewards = levels(candidates.score[finite], candidates.language[finite], candidates.cell[finite], length, count)
    columns = {"candidates": total, **rewards}
    if candidates.share is not None:
        columns["language_unknown"] = np.bincount(candidates.language, np.isnan(candidates.share), count) / total
    for code, reason in enumerate(EXCLUSIONS[1:], 1):
        columns[reason] = np.bincount(candidates.language, pairs.excluded == code, minlength=count) / total
    return {
        name: {column: plain(values[at]) for column, values in columns.items()}
        for at, name in enumerate(candidates.languages)
    }


def _lengths(candidates: Candidates, pairs: Pairs) -> dict | None:
    if candidates.length is None:
        return None
    one, other = (candidates.length[side] for side in (pairs.chosen, pairs.rejected))
    ratio = np.log(np.maximum(one, 1)) - np.log(np.maximum(other, 1))
    return {
        "chosen": _mean(one),
        "rejected": _mean(other),
        "chosen_longer": _mean((one > other) + 0.5 * (one == other)),
        "ratio": float(np.exp(np.median(ratio))) if len(ratio) else None,
    }


def _distribution(values: np.ndarray) -> dict | None:
    if not len(values):
        return None
    quantiles = dict(zip((f"p{round(100 * q)}" for q in QUANTILES), np.quantile(values, QUANTILES), strict=True))
    return {name: float(value) for name, value in {"mean": values.mean(), "std": values.std(), **quantiles}.items()}


def _warnings(diagnostics: dict, pairs: Pairs) -> list[str]:
    total = max(1, diagnostics["candidates"])
    shares = {name: diagnostics["excluded"].get(name, 0) / total for name in EXCLUSIONS[1:]}
    if pairs.settings.pool == "cross_language":
        shares["top_language"] = max(diagnostics["chosen_language"].values(), default=0.0)
    if diagnostics["lengths"] and len(pairs):
        shares["chosen_longer"] = diagnostics["lengths"]["chosen_longer"]
    warnings = [
        f"{name} is {100 * shares[name]:.1f} % (limit {100 * limit:g} %): {mend}"
        for name, (limit, mend) in LIMITS.items()
        if shares.get(name, 0.0) > limit
    ]
    return warnings if len(pairs) else ["there is not one pair", *warnings]


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def plain(value: np.number) -> int | float | None:
    return None if np.isnan(value) else value.item()
