"""What candidates are ranked by: raw scores, scores per language, scores without the effect of length.

A reward model has a level and a spread for each language. Across languages, raw scores then say which language a text
is in before they say how good it is (docs/selection.md).
"""

import numpy as np

from sp3f_verl.selection.candidates import Candidates

SCALES = ("raw", "z", "z_prompt")
ROUNDING = 1e-12  # a spread below this share of the scores is none


def ranking_scores(candidates: Candidates, kept: np.ndarray, scale: str, length_residual: bool) -> np.ndarray:
    """(len(kept),): what the candidates `kept` (ascending indexes) are ranked by; nothing else has a say in it.

    scale "raw": the scores. "z": (score - mean) / population standard deviation over all candidates of the language in
    the data set. "z_prompt": over those of the language and the prompt. 0 where there is no spread.
    length_residual: first takes away slope * (log length - its mean in the language), the slope of the language being
    that within prompts, where harder questions with longer answers have no say.
    """
    score = candidates.score[kept].copy()
    language, cell = candidates.language[kept], candidates.cell[kept]
    if length_residual:
        length = np.log(np.maximum(candidates.length[kept], 1))
        score -= slopes(score, length, cell, language)[language] * _centred(length, language)
    if scale == "raw":
        return score
    return z_scores(score, language if scale == "z" else cell)


def z_scores(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(n,): values less the mean of their group (an integer >= 0), in its population standard deviations."""
    deviation = _centred(values, group)
    if not len(values):
        return deviation
    spread = np.sqrt(_means(deviation**2, group))
    size = np.zeros(len(spread))
    np.maximum.at(size, group, np.abs(values))
    spread[spread <= ROUNDING * size] = np.inf
    return deviation / spread[group]


def slopes(score: np.ndarray, length: np.ndarray, cell: np.ndarray, language: np.ndarray) -> np.ndarray:
    """(languages,): least-squares slope of score on length within the cells of each language; 0 where none is told."""
    x, y = _centred(length, cell), _centred(score, cell)
    squares = np.bincount(language, x * x)
    has_spread = squares > ROUNDING * np.maximum(np.bincount(language, length * length), 1)
    return np.divide(np.bincount(language, x * y), squares, out=np.zeros(len(squares)), where=has_spread)


def correlations(x: np.ndarray, y: np.ndarray, group: np.ndarray, within: np.ndarray) -> np.ndarray:
    """(groups,): Pearson correlation of x and y in each group, means of `within` taken away; NaN without spread."""
    x, y = _centred(x, within), _centred(y, within)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.bincount(group, x * y) / np.sqrt(np.bincount(group, x * x) * np.bincount(group, y * y))


def levels(
    score: np.ndarray, language: np.ndarray, cell: np.ndarray, length: np.ndarray | None, count: int
) -> dict[str, np.ndarray]:
    """Columns (count,) of what a reward model's scores are like in each language; NaN where there are none.

    mean, spread: population's. length_correlation: Pearson's, of score and log length; `..._within` the cells, means
    taken away.
    """
    scored = np.bincount(language, minlength=count)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(language, score, minlength=count) / scored
        spread = np.sqrt(np.bincount(language, (score - mean[language]) ** 2, minlength=count) / scored)
    columns = {"scored": scored, "mean": mean, "spread": spread}
    if length is not None:
        length = np.log(np.maximum(length, 1))
        for name, within in (("length_correlation", language), ("length_correlation_within", cell)):
            columns[name] = np.append(correlations(length, score, language, within), [np.nan] * count)[:count]
    return columns


def _centred(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    return values - _means(values, group)[group] if len(values) else values.astype(np.float64)


def _means(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    return np.bincount(group, values) / np.maximum(np.bincount(group), 1)
