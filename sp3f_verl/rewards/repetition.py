"""How much of a text repeats itself."""

SPAN_BYTES = 40  # of UTF-8: seven English words, four Chinese ones. Shorter spans recur in any worked solution
MAX_BYTES = 50_000  # of a response that are looked at


def repetition(text: str) -> float:
    """Share in [0, 1] of the spans of `SPAN_BYTES` bytes that stood in the text before; 0 for a text without a span.

    White space is one space, so that empty lines are no repetition, and neither are they a way around it.
    """
    data = " ".join(text.split()).encode(errors="replace")[-MAX_BYTES:]
    spans = len(data) - SPAN_BYTES + 1
    if spans <= 1:
        return 0.0
    return 1.0 - len({data[start : start + SPAN_BYTES] for start in range(spans)}) / spans
