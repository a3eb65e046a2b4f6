"""What scoring a group costs beside the cheapest thing one could do: decoding is left out, both sides see strings.

Prints the ratio of scoring (rule terms, reference judge, win rates) to the rule terms alone, measured in turn.
"""

import asyncio
import statistics
import time

from sp3f_verl.judge.reference import ReferenceJudge
from sp3f_verl.rewards.terms import rule_terms

ROUNDS = 30
ROW = {
    "reward_model": {"ground_truth": "72"},
    "solution_en": "In April she sold 48 clips. In May 48/2 = 24. Together 48+24 = 72. \\boxed{72}",
    "translated_solution": "En abril vendió 48 clips. En mayo 48/2 = 24. En total 48+24 = 72. \\boxed{72}",
    "language": "es",
}
RESPONSES = [
    f"En abril vendió 48 clips y en mayo la mitad, {24 + k % 3}. En total son 48+{24 + k % 3} = {72 + k % 3} clips. "
    + (f"\\boxed{{{72 + k % 3}}}" if k % 4 else "")
    for k in range(8)
]


def rules() -> None:
    for text in RESPONSES:
        rule_terms(text, "72", "es")


def judged() -> None:
    rules()
    asyncio.run(ReferenceJudge().judge(RESPONSES, ROW))


def milliseconds(function) -> float:
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    judged()  # loads the language identifier
    pairs = [(milliseconds(judged), milliseconds(rules)) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    a, b = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(f"a group of {len(RESPONSES)}: {a:.1f} ms with the reference judge, {b:.1f} ms without; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
