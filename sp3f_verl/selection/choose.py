"""Pairs and best-of-n choices for a whole data set of scored candidates (CroCo, SPEC 2c), with a reason for every gap.

A pool is what a pair is chosen from: the candidates of a prompt in one language ("in_language"), or all of a prompt
("cross_language"). First the exclusions, then the scale, then `select_pairs`. Every result hangs on a prompt's own
candidates and, with scale "z" or length_residual, on sums over the data set; never on the order of rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.selection.candidates import EXCLUSIONS, Candidates, exclusions, seeded
from sp3f_verl.selection.pairs import REASONS, RULES, check_limits, firsts_of_best, select_pairs
from sp3f_verl.selection.scale import SCALES, ranking_scores

VALUES = {
    "pool": ("in_language", "cross_language"),
    "scale": SCALES,
    "rule": tuple(RULES),
    "consistency": ("none", "pair", "prompt"),
    "prompt_language": ("chosen", "rejected", "random"),
}


@dataclass(frozen=True)
class Settings:
    """How pairs are chosen. The values of `original` are CroCo's own; these are ours where they differ."""

    pool: str = "in_language"
    rule: str = "mean_minus_2sigma"
    scale: str = "z"  # raw, z (per language, over the data set), z_prompt (per language and prompt)
    # Of a cross-language pair: none; "pair": both sides in the language of the best candidate; "prompt": both in the
    # prompt's language, which is given or drawn with the seed.
    consistency: str = "none"
    prompt_language: str = "chosen"  # of a cross-language pair without consistency: whose language the prompt is in
    min_margin: float = 0.0  # in units of the scale
    max_length_ratio: float | None = None  # longer side / shorter side
    length_residual: bool = False  # rank by what the length does not explain
    min_language_share: float | None = 0.7  # the language term's threshold; None: off-language candidates take part
    keep_truncated: bool = False
    keep_duplicates: bool = False
    seed: int = 1

    def __post_init__(self):
        for field, known in VALUES.items():
            value = getattr(self, field)
            if value not in known:
                raise BadInput(f"{field} is {value!r}{nearest(value, known)}; give one of {', '.join(known)}.")
        if self.consistency != "none" and self.pool == "in_language":
            raise BadInput(f"consistency={self.consistency!r} is for cross-language pools; in_language pairs have it.")
        check_limits(self.min_margin, self.max_length_ratio, True)

    @classmethod
    def original(cls, pool: str = "in_language", **others) -> "Settings":
        """CroCo's: raw scores, and every candidate takes part."""
        values = {"scale": "raw", "min_language_share": None, "keep_truncated": True, "keep_duplicates": True}
        return cls(pool=pool, **(values | others))


@dataclass(frozen=True)
class Pairs:
    """(pairs,) arrays in the order of the pools; `chosen` and `rejected` are indexes into the candidates."""

    chosen: np.ndarray
    rejected: np.ndarray
    prompt_language: np.ndarray  # index into the candidates' languages
    pool: np.ndarray  # which pool each pair is of
    margin: np.ndarray  # chosen - rejected, in units of the scale
    pools: int  # prompts, or prompts x languages: pairs + skipped
    reason: np.ndarray  # (pools,) code into pairs.REASONS; 0: a pair
    pool_size: np.ndarray  # (pools,) candidates that the pair is chosen from
    pool_of: np.ndarray  # (n,) the pool of each candidate
    excluded: np.ndarray  # (n,) code into candidates.EXCLUSIONS
    ranking: np.ndarray  # (n,) what candidates are ranked by; NaN where excluded
    in_play: np.ndarray  # (n,) bool: neither excluded nor in another language than the pair has to be in
    settings: Settings

    def __len__(self) -> int:
        return len(self.chosen)

    def skipped(self) -> dict[str, int]:
        """Pools without a pair, by reason."""
        return {name: int(n) for name, n in zip(REASONS[1:], _counts(self.reason, REASONS)[1:], strict=True) if n}

    def dropped(self) -> dict[str, int]:
        """Candidates that take no part, by reason."""
        counts = _counts(self.excluded, EXCLUSIONS)[1:]
        return {name: int(n) for name, n in zip(EXCLUSIONS[1:], counts, strict=True) if n}

    def reasons(self, candidates: Candidates) -> list[tuple[str, str | None, str]]:
        """(prompt id, language or None for all of them, reason) of every pool that is skipped."""
        first = np.unique(self.pool_of, return_index=True)[1]
        one = self.settings.pool == "in_language"
        names = (candidates.name(first[pool])[:2] for pool in np.flatnonzero(self.reason))
        why = (REASONS[code] for code in self.reason[self.reason > 0])
        return [(key, language if one else None, reason) for (key, language), reason in zip(names, why, strict=True)]


def choose(
    candidates: Candidates, settings: Settings | None = None, prompt_languages: Mapping[str, str] | None = None
) -> Pairs:
    """One pair a pool, or the reason why there is none: pairs + skipped = pools.

    prompt_languages: prompt id -> language, for consistency "prompt"; where it is not given, drawn from the seed and
    the prompt's id among the languages with at least two candidates.
    BadInput where the settings need a column or a prompt's language that is not there.
    """
    settings = settings or Settings()
    pool, pools, excluded, kept = _pools(candidates, settings)
    ranking = np.full(len(candidates), np.nan)
    ranking[kept] = ranking_scores(candidates, kept, settings.scale, settings.length_residual)
    wanted = _languages_of_pairs(candidates, settings, pool, pools, kept, ranking, prompt_languages)
    if wanted is not None:
        kept = kept[candidates.language[kept] == wanted[pool[kept]]]
    length = candidates.length[kept] if settings.max_length_ratio is not None else None
    limits = {"min_margin": settings.min_margin, "lengths": length, "max_length_ratio": settings.max_length_ratio}
    top, low, reason = select_pairs(pool[kept], ranking[kept], pools, settings.rule, **limits)
    with_pair = np.flatnonzero(reason == 0)
    chosen, rejected = kept[top[with_pair]], kept[low[with_pair]]
    in_play = np.zeros(len(candidates), bool)
    in_play[kept] = True
    return Pairs(
        chosen=chosen,
        rejected=rejected,
        prompt_language=_prompt_languages(candidates, settings, chosen, rejected, pool, kept),
        pool=with_pair,
        margin=ranking[chosen] - ranking[rejected],
        pools=pools,
        reason=reason,
        pool_size=np.bincount(pool[kept], minlength=pools),
        pool_of=pool,
        excluded=excluded,
        ranking=ranking,
        in_play=in_play,
        settings=settings,
    )


def best_of_n(candidates: Candidates, settings: Settings | None = None) -> np.ndarray:
    """Indexes of the best candidate of each pool that has any, for SFT (CroCo's Max-R), after the same exclusions.

    The prompt belongs in the candidate's own language.
    """
    settings = settings or Settings()
    pool, pools, _, kept = _pools(candidates, settings)
    ranking = ranking_scores(candidates, kept, settings.scale, settings.length_residual)
    best = firsts_of_best(pool[kept], ranking, pools)
    return kept[best[best >= 0]]


def _pools(candidates: Candidates, settings: Settings) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    """(pool of each candidate, pools, exclusion codes, indexes of those that take part)"""
    if candidates.length is None and (settings.length_residual or settings.max_length_ratio is not None):
        raise BadInput("length control needs the lengths of the candidates; give the column, or leave it out.")
    cell = candidates.cell if settings.pool == "in_language" else candidates.prompt.astype(np.int64)
    new = np.diff(cell, prepend=-1) > 0
    pool = np.cumsum(new) - 1
    excluded = exclusions(
        candidates,
        pool,
        min_language_share=settings.min_language_share,
        keep_truncated=settings.keep_truncated,
        keep_duplicates=settings.keep_duplicates,
    )
    return pool, int(new.sum()), excluded, np.flatnonzero(excluded == 0)


def _languages_of_pairs(candidates, settings, pool, pools, kept, ranking, given) -> np.ndarray | None:
    """(pools,): the language in which both sides have to be, None without consistency; -1 where there is none."""
    if settings.consistency == "none":
        return None
    wanted = np.full(pools, -1)
    if settings.consistency == "pair":
        best = firsts_of_best(pool[kept], ranking[kept], pools)
        wanted[best >= 0] = candidates.language[kept[best[best >= 0]]]
        return wanted
    if given is None:
        cells, sizes = np.unique(candidates.cell[kept], return_counts=True)
        return _drawn(candidates, settings, cells[sizes >= 2], pools)
    places = {code: place for place, code in enumerate(candidates.languages)}
    for at, key in enumerate(candidates.ids):
        if key not in given:
            raise BadInput(f"prompt_languages has no language for prompt {key!r}; give one for every prompt.")
        wanted[at] = places.get(given[key], -1)
    return wanted


def _drawn(candidates: Candidates, settings: Settings, cells: np.ndarray, prompts: int) -> np.ndarray:
    """(prompts,): one language of each prompt among `cells`, by its own id: another prompt's fate changes nothing."""
    drawn = np.full(prompts, -1)
    prompt, language = np.divmod(cells, len(candidates.languages))
    starts = np.flatnonzero(np.diff(prompt, prepend=-1))
    for start, size in zip(starts, np.diff(starts, append=len(prompt)), strict=True):
        at = prompt[start]
        drawn[at] = language[start + seeded(settings.seed, str(candidates.ids[at])) % int(size)]
    return drawn


def _prompt_languages(candidates, settings, chosen, rejected, pool, kept) -> np.ndarray:
    """(pairs,): the language the prompt is shown in."""
    if settings.prompt_language == "random" and settings.pool == "cross_language" and settings.consistency == "none":
        drawn = _drawn(candidates, settings, np.unique(candidates.cell[kept]), len(candidates.ids))
        return drawn[candidates.prompt[chosen]]
    return candidates.language[rejected if settings.prompt_language == "rejected" else chosen]


def _counts(codes: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return np.bincount(codes, minlength=len(names))
