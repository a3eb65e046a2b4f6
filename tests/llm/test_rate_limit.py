"""Limits per minute, waits before retries, and prices: without a network, and with a clock that the test moves."""

import asyncio
import itertools
import random
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Price, RateLimit, Usage
from sp3f_verl.llm.requests.retry import backoff_seconds, retry_after_seconds

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Clock:
    """Time that the test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def sent(rate_limit, clock, arrivals):
    """When each of the arrivals (seconds since the one before, tokens) is sent."""
    times = []
    for gap, tokens in arrivals:
        clock.now += gap
        times.append(clock.now + rate_limit.reserve(tokens))
    return times


ARRIVALS = st.lists(
    st.tuples(st.one_of(st.just(0.0), st.floats(0, 5), st.floats(0, 300)), st.integers(0, 3000)), max_size=40
)
RATES = st.floats(0.5, 20_000)


class TestRateLimit:
    @given(arrivals=ARRIVALS, requests=st.none() | RATES, tokens=st.none() | RATES)
    def test_no_window_holds_more_than_the_rate_and_a_burst(self, arrivals, requests, tokens):
        clock = Clock()
        times = sent(RateLimit(requests, tokens, clock), clock, arrivals)
        assert all(later > earlier - 1e-6 for earlier, later in itertools.pairwise(times))  # first come, first served
        for first, last in itertools.combinations_with_replacement(range(len(times)), 2):
            seconds, window = times[last] - times[first], [tokens for _, tokens in arrivals[first : last + 1]]
            if requests is not None:
                assert len(window) <= requests / 60 * seconds + max(1, requests / 60) + 1e-6
            if tokens is not None:  # a request of more than a second's worth goes after its wait, so it comes first
                assert sum(window) <= tokens / 60 * seconds + max(tokens / 60, window[0]) + 1e-3

    @given(st.lists(st.integers(1, 3000), min_size=1, max_size=40), RATES)
    def test_it_waits_no_longer_than_the_rate_asks(self, tokens, rate):
        clock = Clock()
        times = sent(RateLimit(None, rate, clock), clock, [(0.0, count) for count in tokens])
        for index, time in enumerate(times):
            assert time - clock.now == pytest.approx(max(0, sum(tokens[: index + 1]) / (rate / 60) - 1), abs=1e-6)

    @given(st.integers(1, 40), RATES)
    def test_nor_than_the_rate_of_requests_asks(self, count, rate):
        clock = Clock()
        times = sent(RateLimit(rate, None, clock), clock, [(0.0, 0)] * count)
        burst = max(1, rate / 60)
        expected = [max(0, index + 1 - burst) / (rate / 60) for index in range(count)]
        assert [time - clock.now for time in times] == pytest.approx(expected, abs=1e-6)

    def test_without_limits_nobody_waits(self):
        assert [RateLimit().reserve(10**9) for _ in range(3)] == [0.0, 0.0, 0.0]

    def test_slow_rates_send_one_at_once_and_the_next_after_the_interval(self):
        clock = Clock()
        assert sent(RateLimit(6, None, clock), clock, [(0, 0), (0, 0), (0, 0)]) == pytest.approx([1000, 1010, 1020])

    def test_a_request_beyond_a_minutes_tokens_goes_after_the_proportionate_wait(self):
        """600 per minute is 10 per second; 1210 are 121 s, less the second of unused rate."""
        clock = Clock()
        assert sent(RateLimit(None, 600, clock), clock, [(0, 1210), (0, 10)]) == pytest.approx([1120, 1121])

    def test_what_was_not_used_is_given_back_and_what_was_used_beyond_is_taken(self):
        clock = Clock()
        rate_limit = RateLimit(None, 600, clock)
        assert rate_limit.reserve(100) == pytest.approx(9)
        clock.now += 9
        rate_limit.settle(100, 40)  # 60 tokens are 6 s, of which no more than the burst of one second can be saved up
        assert rate_limit.reserve(20) == pytest.approx(1)
        rate_limit.settle(20, 50)
        assert rate_limit.reserve(10) == pytest.approx(1 + 3 + 1)

    def test_a_hold_postpones_all_and_keeps_their_distances(self):
        clock = Clock()
        rate_limit = RateLimit(60, None, clock)
        rate_limit.reserve(0)
        rate_limit.hold(10)
        assert [rate_limit.reserve(0) for _ in range(2)] == pytest.approx([11, 12])
        clock.now += 4
        rate_limit.hold(7)  # one second more than what is left of the first
        assert rate_limit.reserve(0) == pytest.approx(12 + 1 - 4 + 1)
        rate_limit.hold(1)  # less than what is left
        assert rate_limit.reserve(0) == pytest.approx(12 + 1 - 4 + 2)

    def test_a_hold_lets_nobody_overtake(self):
        clock = Clock()
        rate_limit = RateLimit(None, 600, clock)
        assert rate_limit.reserve(100) == pytest.approx(9)
        rate_limit.settle(100, 0)  # of another request: the rate is free, but the one that waits comes first
        rate_limit.hold(5)
        assert rate_limit.reserve(1) >= 9 + 5

    @pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
    def test_a_rate_must_be_one(self, rate):
        with pytest.raises(BadInput, match="tokens_per_minute"):
            RateLimit(tokens_per_minute=rate)

    def test_those_who_wait_see_a_hold_that_begins_meanwhile(self):
        async def main():
            rate_limit, loop = RateLimit(requests_per_minute=1200), asyncio.get_running_loop()  # 20 per second
            started, times = loop.time(), []

            async def one():
                await rate_limit.turn(0)
                times.append(loop.time() - started)

            tasks = [asyncio.create_task(one()) for _ in range(24)]
            await asyncio.sleep(0.01)  # 20 are sent at once, 4 wait for 0.05, 0.10, ... seconds
            rate_limit.hold(0.3)
            await asyncio.gather(*tasks)
            return times

        times = asyncio.run(main())
        assert max(times[:20]) < 0.3 <= min(times[20:])
        assert times[23] - times[20] >= 0.14

    def test_a_cancelled_turn_gives_its_tokens_back(self):
        async def main():
            clock = Clock()
            rate_limit = RateLimit(None, 600, clock)
            rate_limit.reserve(10)
            task = asyncio.create_task(rate_limit.turn(1000))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            clock.now += 100
            return rate_limit.reserve(20)

        assert asyncio.run(main()) == pytest.approx(1)


class TestWaits:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "7"}, 7.0),
            ({"retry-after": "0.25"}, 0.25),
            ({"retry-after": "-3"}, 0.0),
            ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
            ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
            ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
            ({"retry-after": format_datetime(NOW.astimezone(timezone(timedelta(hours=9))))}, 0.0),
            ({"retry-after": format_datetime(NOW - timedelta(days=3), usegmt=True)}, 0.0),
            ({"retry-after": format_datetime(NOW + timedelta(days=3), usegmt=True)}, None),
            ({"retry-after": "86401"}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "inf"}, None),
            ({"retry-after": "1e999"}, None),
            ({"retry-after": "9" * 10_000}, None),
            ({"retry-after": "tomorrow"}, None),
            ({"retry-after": "Mon, 99 Zzz 99999 99:99:99"}, None),
            ({"retry-after": ""}, None),
        ],
    )
    def test_retry_after(self, headers, seconds):
        assert retry_after_seconds(headers, NOW) == seconds

    @given(st.text(max_size=40))
    def test_retry_after_takes_any_text(self, text):
        seconds = retry_after_seconds({"retry-after": text}, NOW)
        assert seconds is None or 0 <= seconds <= 24 * 3600

    @given(st.integers(0, 10**6), st.randoms(use_true_random=False))
    def test_backoff_doubles_up_to_its_ceiling_and_half_of_it_is_random(self, attempt, rng):
        longest = min(30.0, 0.5 * 2.0 ** min(attempt, 50))
        assert longest / 2 <= backoff_seconds(attempt, rng) <= longest

    def test_backoff_spreads(self):
        rng = random.Random(0)
        waits = [backoff_seconds(3, rng) for _ in range(1000)]
        assert min(waits) < 2.1 and max(waits) > 3.9 and sum(waits) / 1000 == pytest.approx(3, abs=0.1)


class TestPrice:
    USAGE = Usage(prompt_tokens=1_000_000, cached_tokens=400_000, completion_tokens=100_000)

    def test_usd_per_million(self):
        assert Price(input=0.15, output=0.60).usd(self.USAGE) == pytest.approx(0.15 + 0.06)
        assert Price(input=0.15, output=0.60, cached_input=0.075).usd(self.USAGE) == pytest.approx(
            0.6 * 0.15 + 0.4 * 0.075 + 0.06
        )
        assert (
            Price(input=0.15, output=0.60, cached_input=0.0).usd(Usage(10, 50, 0)) == 0.0
        )  # a server that counts wrongly earns nothing

    def test_usage_adds_up(self):
        assert sum([self.USAGE, self.USAGE], Usage()) == Usage(2_000_000, 800_000, 200_000)

    def test_read(self):
        assert Price.read({"input": 1, "output": 2}, "judge.price") == Price(input=1, output=2)
        mapping = {"input": 0, "output": 2.5, "cached_input": None}
        assert Price.read(mapping, "judge.price") == Price(input=0, output=2.5)

    @pytest.mark.parametrize(
        ("mapping", "sentence"),
        [
            (
                {"input": 1, "output": 2, "cached_imput": 1},
                r"p\.cached_imput does not exist \(did you mean 'cached_input'",
            ),
            ({"input": 1}, r"p\.output is missing"),
            ({"input": -1, "output": 2}, r"p\.input=-1 is no price"),
            ({"input": 1, "output": "2"}, r"p\.output='2' is no price"),
            ({"input": True, "output": 2}, r"p\.input=True is no price"),
            ({"input": None, "output": 2}, r"p\.input is null"),
            ({"input": 1, "output": float("nan")}, r"p\.output=nan is no price"),
            ({"input": 1, "output": 2, "cached_input": float("inf")}, r"p\.cached_input=inf is no price"),
            (3, r"p=3 is not a mapping"),
        ],
    )
    def test_read_says_what_is_wrong(self, mapping, sentence):
        with pytest.raises(BadInput, match=sentence):
            Price.read(mapping, "p")
