"""What the tests of judges share: a row, how to read a question, and a judge with a simple taste."""

import re

from sp3f_verl.judge.questions.client import PROBE

ROW = {
    "id": "sum-1",
    "language": "sw",
    "query_en": "How much is 2 + 2?",
    "solution_en": "2 + 2 = 4, so \\boxed{4}",
    "translated_solution": "",
    "reward_model": {"ground_truth": "4"},
}
_FENCE = re.compile(r"[Tt]oken is (\w{24})")


def shown(body: dict) -> list[str]:
    """The responses in a question, in the order in which the judge sees them: what stands between the announced
    fences. Empty for anything else, such as a desk's first question, to see whether the judge answers."""
    text = body["messages"][-1]["content"]
    if PROBE in text or "3 + 3 = 6, so" in text:
        return []
    fence = _FENCE.search(text)
    if fence is None:
        return []
    block = re.compile(
        rf"^----- {fence[1]} response (\w+) -----\n(.*?)\n----- {fence[1]} end of response \1 -----$", re.S | re.M
    )
    return [response for _, response in block.findall(text)]


def longer_wins(body: dict) -> str:
    if len(shown(body)) != 2:
        return "\\boxed{A}"
    a, b = shown(body)
    return f"analysis \\boxed{{{'A' if len(a) > len(b) else 'B'}}}"


def questions(server) -> list[list[str]]:
    """The responses of every question that a ModelServer got."""
    return [shown(entry["body"]) for entry in server.chats() if shown(entry["body"])]
