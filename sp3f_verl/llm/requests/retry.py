"""Which failures are worth another try, and how long to wait before it. Pure."""

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from sp3f_verl.llm.outcome import FailureKind

RETRIED = frozenset(
    {
        FailureKind.TIMEOUT,
        FailureKind.CONNECTION,
        FailureKind.RATE_LIMITED,
        FailureKind.SERVER_ERROR,
        FailureKind.INVALID_RESPONSE,
    }
)
_ABSURD = 24 * 3600.0  # seconds; more than a day is no advice


def backoff_seconds(attempt: int, rng: random.Random, base: float = 0.5, ceiling: float = 30.0) -> float:
    """Wait after the failed attempt number `attempt` (from 0): between half and all of min(ceiling, base * 2**attempt).

    Equal jitter: half of it is random, so that a thousand requests that failed together do not come back together, and
    half is certain, so that five retries always outlast a server's restart of some seconds.
    """
    longest = min(ceiling, base * 2.0 ** min(attempt, 60))
    return longest * (0.5 + 0.5 * rng.random())


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that `retry-after-ms` or `Retry-After` (RFC 9110: seconds or a date) asks for; None without sense.

    headers: looked up in lower case, so a case-insensitive mapping or names in lower case. now: with a time zone.
    What lies in the past is 0; more than a day, NaN and junk are None.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    value = headers.get("retry-after")
    seconds = _number(value) if milliseconds is None else milliseconds / 1000
    if seconds is None and value is not None:
        try:
            date = parsedate_to_datetime(value[:100])
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
        except (ValueError, OverflowError, TypeError):
            return None
    return max(seconds, 0.0) if seconds is not None and seconds <= _ABSURD else None


def _number(text: str | None) -> float | None:
    try:
        number = float((text or "")[:100])
    except ValueError:
        return None
    return None if math.isnan(number) else number
