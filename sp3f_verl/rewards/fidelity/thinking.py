"""Is a response thought and answered in the language asked for (M-Thinker, arXiv 2510.07300)?

The terms of language fidelity leave thoughts out (`text.strip_think`), so that a model may think in English and answer
in the language. Here the thoughts count as much as the answer, each by itself.
"""

from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share

OPEN, CLOSE = "<think>", "</think>"


def parts(response: str) -> tuple[str, str] | None:
    """(thoughts, answer) of a response with one `</think>` and at most one `<think>`, at its start (a chat template may
    have opened it in the prompt); None where it is not of that form."""
    thoughts, close, answer = response.partition(CLOSE)
    thoughts = thoughts.strip().removeprefix(OPEN)
    if not close or CLOSE in answer or OPEN in thoughts or OPEN in answer:
        return None
    return thoughts.strip(), answer.strip()


def thinks_in_language(response: str, language: str, threshold: float, others: tuple[str, ...] = ()) -> bool:
    """Do thoughts and answer each have enough letters to tell, at least the threshold's share of them in `language`?"""
    both = parts(response)
    if both is None:
        return False
    try:
        shares = [language_share(text, language, others) for text in both]
    except UnsupportedLanguage:
        return False
    return all(share is not None and share >= threshold for share in shares)
