"""Schedules: who meets whom, how often, and in which slot."""

import random
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.judge.questions.schedule import SCHEDULES, all_pairs, one_order, opponents, order, ring

sizes = st.integers(0, 12)
randoms = st.randoms(use_true_random=False)


def slots(pairs, n):
    """How often each response is A, and how often B."""
    first, second = Counter(i for i, _ in pairs), Counter(j for _, j in pairs)
    return [first[i] for i in range(n)], [second[i] for i in range(n)]


def assert_sound(pairs, n):
    """Indices of the group, nobody against itself, no question twice, the same A together."""
    assert all(0 <= i < n and 0 <= j < n and i != j for i, j in pairs)
    assert len(set(pairs)) == len(pairs)
    assert pairs == sorted(pairs)


@given(sizes, st.integers(1, 15), st.integers(1, 15), randoms)
def test_every_schedule_is_sound(n, offsets, k, rng):
    settings = SimpleNamespace(offsets=offsets, opponents=k)
    for schedule in SCHEDULES.values():
        assert_sound(schedule(n, settings, rng), n)


def test_the_names_are_those_of_the_settings():
    settings, n = SimpleNamespace(offsets=2, opponents=3), 6
    asked = {name: len(schedule(n, settings, random.Random(0))) for name, schedule in SCHEDULES.items()}
    assert asked == {"all_pairs": 30, "one_order": 15, "ring": 12, "opponents": 18}


@given(sizes)
def test_all_pairs_is_balanced(n):
    assert slots(all_pairs(n), n) == ([max(n - 1, 0)] * n, [max(n - 1, 0)] * n)


class TestOneOrder:
    @given(sizes, randoms)
    def test_every_unordered_pair_once(self, n, rng):
        pairs = one_order(n, rng)
        assert sorted(tuple(sorted(pair)) for pair in pairs) == [(i, j) for i in range(n) for j in range(i + 1, n)]

    @given(sizes, randoms)
    def test_slots_are_as_even_as_can_be(self, n, rng):
        first, second = slots(one_order(n, rng), n)
        assert all(abs(a - b) == (n - 1) % 2 for a, b in zip(first, second, strict=True))

    @pytest.mark.parametrize("n", [2, 5, 8])
    def test_either_order_is_as_likely(self, n):
        """Of 2000 draws of one pair, about half show 0 as A (spread 0.011)."""
        rng = random.Random(0)
        share = sum((0, 1) in one_order(n, rng) for _ in range(2000)) / 2000
        assert share == pytest.approx(0.5, abs=0.06)


class TestRing:
    @given(sizes, st.integers(1, 15), randoms)
    def test_each_is_equally_often_a_and_b(self, n, offsets, rng):
        meetings = max(min(offsets, n - 1), 0)
        assert slots(ring(n, offsets, rng), n) == ([meetings] * n, [meetings] * n)

    @given(sizes, st.integers(0, 5), randoms)
    def test_the_widest_ring_is_all_pairs(self, n, more, rng):
        assert ring(n, max(n - 1, 1) + more, rng) == all_pairs(n)

    @given(st.integers(3, 12), randoms)
    def test_half_a_circle_meets_nobody_twice(self, n, rng):
        met = [frozenset(pair) for pair in ring(n, (n - 1) // 2, rng)]
        assert len(set(met)) == len(met)

    def test_one_offset_is_one_circle(self):
        following = dict(ring(7, 1, random.Random(4)))
        place, visited = 0, []
        for _ in range(7):
            visited.append(place)
            place = following[place]
        assert sorted(visited) == list(range(7))

    def test_no_offsets_are_refused(self):
        with pytest.raises(ValueError, match="offsets=0"):
            ring(4, 0, random.Random(0))


class TestOpponents:
    @given(sizes, st.integers(1, 15), randoms)
    def test_each_is_a_against_k_others(self, n, k, rng):
        assert slots(opponents(n, k, rng), n)[0] == [max(min(k, n - 1), 0)] * n

    @given(sizes, st.integers(0, 5), randoms)
    def test_all_others_is_all_pairs(self, n, more, rng):
        assert opponents(n, max(n - 1, 1) + more, rng) == all_pairs(n)

    def test_no_opponents_are_refused(self):
        with pytest.raises(ValueError, match="k=0"):
            opponents(4, 0, random.Random(0))


@given(sizes, randoms)
def test_order_holds_everybody(n, rng):
    assert sorted(order(n, rng)) == list(range(n))


@pytest.mark.parametrize(
    "draw", [one_order, lambda n, rng: ring(n, 2, rng), lambda n, rng: opponents(n, 2, rng), order]
)
def test_a_seed_decides(draw):
    assert draw(9, random.Random(7)) == draw(9, random.Random(7))
    assert len({str(draw(9, random.Random(seed))) for seed in range(10)}) > 1
