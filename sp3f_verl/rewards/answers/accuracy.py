"""Does a boxed answer equal the gold answer? Text, numbers and outlines first, math-verify last, in a worker."""

from sp3f_verl.rewards.answers import symbolic
from sp3f_verl.rewards.answers.compare import compare


def answers_match(answer: str | None, gold: str, *, language: str | None = None, reduced: bool = False) -> bool:
    """True where `answer` (the content of a box, or None) equals `gold`; never True on a partial parse.

    `language` (a code of the table) says what a comma means in the answer: 1.234,5 or 1,234.5. The gold answer is read
    as data sets write it in any language, 1,234.5. Without a language equality is symmetric; always, it is reflexive.
    reduced: where the gold answer is a number, an expression that is not worked out (16-3-4 for 9) is none.
    Blocks for at most `symbolic.DEADLINE_SECONDS` once the workers are up, plus the answers queued before this one.
    Raises `UnknownLanguage`; on no answer text.
    """
    verdict = compare(answer, gold, language, reduced=reduced)
    return symbolic.equal(answer, gold, language, reduced) if verdict is None else verdict


async def answers_match_async(
    answer: str | None, gold: str, *, language: str | None = None, reduced: bool = False
) -> bool:
    """`answers_match` without blocking the event loop."""
    verdict = compare(answer, gold, language, reduced=reduced)
    return await symbolic.equal_async(answer, gold, language, reduced) if verdict is None else verdict
