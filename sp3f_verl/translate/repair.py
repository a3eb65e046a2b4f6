r"""The gold answer into the final box of a translated solution, with the language's sentence where there is no box."""

from sp3f_verl import languages
from sp3f_verl.rewards.boxed import last_box


def repair(solution: str, answer: str, language: str) -> str:
    r"""The solution whose last complete `\boxed{...}` holds the answer as it is written in the source.

    Without a complete box: the solution, a blank line, and "Thus, the answer is \boxed{answer}." in the language.
    """
    box = last_box(solution)
    if box is not None:
        return f"{solution[: box.opening + 1]}{answer}{solution[box.end - 1 :]}"
    sentence = languages.get(language).answer_sentence.replace("{answer}", f"\\boxed{{{answer}}}")
    return f"{solution.rstrip()}\n\n{sentence}"


def without_final_box(solution: str) -> str:
    """The solution without a last line that is nothing but a box: the localised sentence takes its place."""
    box = last_box(solution)
    if box is None:
        return solution.strip()
    before, after = solution[: box.start], solution[box.end :].strip(" .$\n")
    line = before.rpartition("\n")[2].strip(" $")
    return before.rstrip(" $\n") if before.strip() and not line and not after else solution.strip()
