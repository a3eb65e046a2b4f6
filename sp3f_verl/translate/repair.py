r"""The gold answer into the final box of a translated solution, with the language's sentence where there is no box."""

import re

from sp3f_verl import languages
from sp3f_verl.rewards.text import brace_pairs

_BOX = re.compile(r"\\boxed\s*(?=\{)")


def repair(solution: str, answer: str, language: str) -> str:
    r"""The solution whose last complete `\boxed{...}` holds the answer as it is written in the source.

    Without a complete box: the solution, a blank line, and "Thus, the answer is \boxed{answer}." in the language.
    """
    place = _last_box(solution)
    if place is not None:
        _, opening, closing = place
        return f"{solution[: opening + 1]}{answer}{solution[closing:]}"
    sentence = languages.get(language).answer_sentence.replace("{answer}", f"\\boxed{{{answer}}}")
    return f"{solution.rstrip()}\n\n{sentence}"


def without_final_box(solution: str) -> str:
    """The solution without a last line that is nothing but a box: the localised sentence takes its place."""
    place = _last_box(solution)
    if place is None:
        return solution.strip()
    start, _, closing = place
    after, line = solution[closing + 1 :].strip(" .$\n"), solution[:start].rpartition("\n")[2].strip(" $")
    return solution[:start].rstrip(" $\n") if not after and not line and solution[:start].strip() else solution.strip()


def _last_box(text: str) -> tuple[int, int, int] | None:
    """Where the last complete box begins, and its braces."""
    pairs = brace_pairs(text)
    for match in reversed(list(_BOX.finditer(text))):
        if match.end() in pairs:
            return match.start(), match.end(), pairs[match.end()]
    return None
