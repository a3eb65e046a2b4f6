"""No more requests and tokens per minute than a provider allows.

Virtual scheduling (the generic cell rate algorithm, ITU-T I.371, here with unequal costs): each limit has a clock that
a request moves on by the time its cost takes at the limit's rate, and a request is sent when the clocks have come to
it. Constant time and memory, and first come, first served, without a queue.
"""

import asyncio
import math
import time
from collections.abc import Callable

from sp3f_verl.errors import BadInput

BURST = 1.0  # seconds of unused rate that may be sent at once


class RateLimit:
    """The waits that keep a stream of requests below its limits. For one event loop; several clients may share it.

    In any window of w seconds, at most rate * w plus one second's worth is sent, or plus one request where that is more
    than a second's worth. requests_per_minute, tokens_per_minute: None means no limit; else positive.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        for name, rate in (("requests_per_minute", requests_per_minute), ("tokens_per_minute", tokens_per_minute)):
            if rate is not None and not (rate > 0 and math.isfinite(rate)):
                raise BadInput(f"{name}={rate!r} is no rate: give a positive number, or nothing for no limit.")
        self._clock = clock
        self._per_request = 60 / requests_per_minute if requests_per_minute else 0.0  # seconds
        self._per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._requests = self._tokens = -math.inf  # the times until which each limit's rate is spent
        self._last = -math.inf  # when the last reserved request is sent
        self._held_until = -math.inf
        self._shift = 0.0  # seconds by which holds have postponed everything, in all

    def reserve(self, tokens: int) -> float:
        """Seconds to wait before sending a request of so many tokens. The turn is taken: send, or `settle` it.

        A request larger than what a second, or even a minute, allows goes alone, after the time that its surplus takes.
        """
        now = self._clock()
        limits = (  # one request may always go at once, however slow the rate; of tokens a second's worth
            (self._requests, self._per_request, max(BURST, self._per_request)),
            (self._tokens, tokens * self._per_token, BURST),
        )
        send = arrival = max(now, self._last, self._held_until)
        for spent, cost, burst in limits:
            send = max(send, max(spent, arrival - burst) + cost)
        # Unused rate is lost beyond the burst, counted from the time of sending: another limit may have put that off.
        self._requests, self._tokens = (max(spent, send - max(BURST, cost)) + cost for spent, cost, _ in limits)
        self._last = send
        return send - now

    def settle(self, reserved: int, used: int) -> None:
        """Once the usage is known: what was reserved in excess is given back, what was used beyond it is taken."""
        self._tokens += (used - reserved) * self._per_token

    def hold(self, seconds: float) -> None:
        """Nothing is sent for so long (a 429 with Retry-After): who waits keeps the place and the distances."""
        now = self._clock()
        postponed = max(0.0, now + seconds - max(now, self._held_until))
        self._held_until = max(self._held_until, now + seconds)
        self._shift += postponed
        self._requests += postponed
        self._tokens += postponed
        self._last += postponed

    async def turn(self, tokens: int) -> None:
        """Reserves and waits, also through holds that begin meanwhile. Cancelled, it gives the tokens back."""
        if not (self._per_request or self._per_token) and self._held_until == -math.inf:
            return  # no limit, and no hold so far: most servers
        shift = self._shift
        wait = self.reserve(tokens)
        try:
            while wait > 0:
                await asyncio.sleep(wait)
                wait, shift = self._shift - shift, self._shift
        except asyncio.CancelledError:
            self.settle(tokens, 0)
            raise
