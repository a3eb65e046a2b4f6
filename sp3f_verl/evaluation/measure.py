"""What is measured on a response, and the means over rows. Rates are shares in [0, 1]."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sp3f_verl.data.rows import canonical
from sp3f_verl.rewards.accuracy import answers_match
from sp3f_verl.rewards.boxed import extract_boxed
from sp3f_verl.rewards.checkers import checker_of
from sp3f_verl.rewards.terms import rule_terms

# The last number after an equals sign outside the box: the answer that was worked out, whether it was boxed or not.
_WORKED = re.compile(r"=\s*(-?\d+(?:[.,]\d+)?)")
MEASURES = ("accuracy", "lenient_accuracy", "fidelity", "parseable")


def lenient_match(response: str, gold: str, language: str | None = None) -> bool:
    """The box is right, or the last number after `=` is: what the model can work out, whatever the format."""
    if answers_match(extract_boxed(response), gold, language=language):
        return True
    worked = _WORKED.findall(response)
    return bool(worked) and answers_match(worked[-1], gold, language=language)


def measure(response: str, row: dict, languages: Sequence[str], threshold: float = 0.7) -> dict[str, float]:
    """`fidelity` is 1 where the share of the row's language reaches the threshold (SP3F's language fidelity)."""
    row = canonical(row)
    gold = row["reward_model"]["ground_truth"]
    checker = checker_of(row["extra_info"])
    terms = rule_terms(response, gold, row["language"], threshold, languages, checker=checker)
    return {
        "accuracy": terms["accuracy"],
        "lenient_accuracy": max(terms["accuracy"], float(lenient_match(response, gold, row["language"]))),
        "fidelity": terms["language"],
        "parseable": terms["parseable"],
    }


def mean_by_language(measured: Iterable[tuple[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """(language, measures) of every response -> language -> measure -> mean, and `all`, the mean of the languages."""
    by_language: dict[str, list[dict[str, float]]] = defaultdict(list)
    for language, values in measured:
        by_language[language].append(values)
    means = {
        language: {name: sum(each[name] for each in rows) / len(rows) for name in MEASURES}
        for language, rows in by_language.items()
    }
    every = list(means.values())
    means["all"] = {name: sum(each[name] for each in every) / len(every) for name in MEASURES} if every else {}
    return means
