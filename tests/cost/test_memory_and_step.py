"""Memory and time follow from counts: what must hold whatever the constants are."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.cost.devices import GIB, Device, find_device, known_device, this_cpu
from sp3f_verl.cost.memory import MOST_TOKENS, STEP, Training, state_bytes, tokens_that_fit, training_bytes
from sp3f_verl.cost.model import ModelSize
from sp3f_verl.cost.step import Machine, Rollouts, judge_seconds, rollout_seconds, update_seconds
from sp3f_verl.errors import BadInput

SEVEN = ModelSize(7_600_000_000, 7_070_000_000, 545_000_000, 28, 3584, 18944, 3584, 1024, 152_064)
H100 = find_device("H100")


def test_state_of_full_fine_tuning_is_sixteen_bytes_a_parameter():
    parts = state_bytes(SEVEN, Training(devices=1, longest=4096))
    assert sum(parts.values()) == pytest.approx(16 * SEVEN.parameters)
    assert state_bytes(SEVEN, Training(devices=1, longest=4096, lora_rank=16))["optimizer"] < 0.02 * parts["optimizer"]


@given(st.integers(1, 64), st.integers(16, 192), st.booleans(), st.booleans())
def test_the_tokens_that_fit_fit(devices, gib, checkpointing, fused):
    training = Training(devices, longest=4096, checkpointing=checkpointing, fused_head=fused)
    device = Device("any", 1e15, gib * GIB, 1e12)
    tokens = tokens_that_fit(SEVEN, training, device)
    assert tokens % STEP == 0 and 0 <= tokens <= MOST_TOKENS
    if tokens:
        assert sum(training_bytes(SEVEN, training, tokens).values()) <= device.memory
    assert tokens_that_fit(SEVEN, training, replace(device, memory=2 * device.memory)) >= tokens


def test_devices_are_found_by_the_drivers_name():
    assert known_device("NVIDIA H100 80GB HBM3").name == "H100"
    assert (
        known_device("NVIDIA A100-SXM4-40GB").memory == 40 * GIB and known_device("NVIDIA A100-PCIE").memory > 40 * GIB
    )
    assert known_device("Radeon") is None
    with pytest.raises(BadInput, match=r"--gpu H10 is not in the table; did you mean 'H100'\?|--gpu H10"):
        find_device("H10")


def test_twice_the_devices_halve_the_update_and_checkpointing_adds_a_third():
    lengths = [1000.0] * 64
    one, two = Machine(H100, 1), Machine(H100, 2)
    assert update_seconds(SEVEN, lengths, one, False) == pytest.approx(2 * update_seconds(SEVEN, lengths, two, False))
    assert update_seconds(SEVEN, lengths, one, True) == pytest.approx(
        update_seconds(SEVEN, lengths, one, False) * 4 / 3
    )


def test_a_rollout_takes_the_memory_at_least_and_grows_with_what_is_generated():
    rollouts = Rollouts(32, 8, 500.0, 500.0, 2048, 256)
    seconds = rollout_seconds(SEVEN, rollouts, Machine(H100, 8))
    weights_read = 1000 * 2 * SEVEN.active / H100.bandwidth
    assert seconds > weights_read
    assert rollout_seconds(SEVEN, replace(rollouts, response_tokens=1000.0), Machine(H100, 8)) > 1.9 * seconds
    assert rollout_seconds(SEVEN, replace(rollouts, at_once=8), Machine(H100, 8)) > 2 * seconds  # in four waves


def test_the_judge_is_waited_for_after_the_rollouts():
    assert judge_seconds(0, 64, 2.0, 100.0) == 0
    assert judge_seconds(1792, 64, 2.0, 1000.0) == 2.0  # all but the last group while others generate
    assert judge_seconds(1792, 64, 5.0, 20.0) == 28 * 5 - 20


def test_this_machine_is_measured():
    device = this_cpu(64, 64, 64)
    assert device.kind == "cpu" and device.peak > 1e8 and device.bandwidth > 1e8 and device.memory > GIB
