"""How much of a text repeats itself."""

import re

SPAN_BYTES = 40  # of UTF-8: seven English words, a dozen Chinese characters. Shorter spans recur in any worked solution
MAX_BYTES = 50_000  # of a response that are looked at
_SPACE = re.compile(b" ")


def repetition(text: str) -> float:
    """Share in [0, 1] of the spans of `SPAN_BYTES` bytes that stood in the text before; 0 for a text without two spans.

    Spans begin at words, and at every byte of text that has hardly any spaces. White space is one space, so that empty
    lines are no repetition, and neither are they a way around it.
    """
    data = " ".join(text.split()).encode(errors="replace")[-MAX_BYTES:]
    last = len(data) - SPAN_BYTES
    starts = [0, *(match.end() for match in _SPACE.finditer(data, 0, max(0, last)))]
    if len(starts) * 16 < last:
        starts = range(last + 1)
    if last < 1 or len(starts) < 2:
        return 0.0
    return 1.0 - len({data[start : start + SPAN_BYTES] for start in starts}) / len(starts)
