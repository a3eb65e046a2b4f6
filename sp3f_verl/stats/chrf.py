"""chrF (Popović 2015) of one text against another, by sacrebleu: within one language only, as it compares letters."""

import functools

_DIGITS = 12  # equal agreement is a tie, whatever the order in which sacrebleu's floats were added


def chrf(text: str, reference: str) -> float:
    """In [0, 1]: F-score, beta 2, of precision and recall averaged over character n-grams up to 6, without white space.

    Orders for which one of the texts is too short are left out; 0 where one is empty. sacrebleu's signature is
    `nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no`.
    """
    return round(_metric().sentence_score(text, [reference]).score / 100, _DIGITS)


@functools.cache
def _metric():
    from sacrebleu.metrics import CHRF  # here: the package is imported by whoever starts a trainer

    return CHRF()
