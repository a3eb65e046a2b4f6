"""A step that keeps replacing failed groups ends with a sentence instead of generating for ever."""

from types import SimpleNamespace

import pytest

from sp3f_verl.verl_bridge.rl.trainer import stop_after_failures


class Buffer:
    """A replay buffer whose every group fails: each poll asks for as many prompts as failed."""

    def __init__(self, failures: int):
        self.failures, self.drawn = failures, 0
        self.refill_fn = self.draw

    def draw(self, count: int) -> None:
        self.drawn += count

    def sample(self, batch_size: int) -> SimpleNamespace:
        for _ in range(self.failures):
            self.refill_fn(1)
        return SimpleNamespace(size=batch_size)


def test_a_step_whose_groups_all_fail_ends_with_a_sentence():
    """8 prompts, ceiling 4: at most 32 groups of a step are replaced; the 33rd stops the run and draws no prompt."""
    buffer = Buffer(failures=10_000)
    stop_after_failures(buffer, 4.0, 8)
    with pytest.raises(
        RuntimeError, match=r"33 rollout groups failed in one step, more than sp3f\.group\.replacement_ceiling=4 x 8"
    ):
        buffer.sample(8)
    assert buffer.drawn == 32


def test_failures_are_counted_by_step():
    """20 a step stay below 32, however many steps there are."""
    buffer = Buffer(failures=20)
    stop_after_failures(buffer, 4.0, 8)
    for _ in range(10):
        assert buffer.sample(8).size == 8
    assert buffer.drawn == 200
