"""Where the rollouts of a prompt meet, on a real event loop; verl's base methods are replaced to inject faults."""

import asyncio

import pytest

from helpers.group_worker import TRAIN, VALIDATION, Worker, rollout
from sp3f_verl.verl_bridge.rl.group import SESSIONS, VALIDATE, SiblingFailed


async def finish(uid, session):
    await asyncio.sleep(0.01 * (3 - session % 3))
    return rollout()


def test_a_group_is_scored_in_one_call_and_each_rollout_gets_its_own_score(monkeypatch):
    worker = Worker(monkeypatch, finish)
    asyncio.run(worker.prompt("p", 4))
    [(row, rows)] = worker.calls
    assert rows == 4 and row[SESSIONS] == [0, 1, 2, 3] and row[VALIDATE] is False
    for session in range(4):
        output = worker.written["p", session]
        assert (
            output.reward_score == 10.0 + session and output.extra_fields["reward_extra_info"]["score"] == 10 + session
        )
    assert worker.worker._groups == {}


@pytest.mark.parametrize("n", [1, 2, 8])
def test_prompts_that_interleave_do_not_mix(monkeypatch, n):
    worker = Worker(monkeypatch, finish)

    async def both():
        await asyncio.gather(*(worker.prompt(uid, n) for uid in ("a", "b", "c")))

    asyncio.run(both())
    assert sorted((row["uid"], rows) for row, rows in worker.calls) == [("a", n), ("b", n), ("c", n)]
    assert worker.worker._groups == {}


def test_a_failed_sibling_fails_the_group_at_once_and_no_one_is_scored(monkeypatch):
    """Rollout 0 is done, rollout 1 fails, rollout 2 would take 30 s: no one waits for 2, and 2 is cancelled."""
    waited = {}

    async def behave(uid, session):
        if session == 1:
            await asyncio.sleep(0.05)
            raise ValueError("injected")
        await asyncio.sleep(30 * (session == 2))
        return rollout()

    worker = Worker(monkeypatch, behave)

    async def run():
        loop = worker.worker._run_agent_loop
        tasks = [asyncio.create_task(loop({}, TRAIN, uid="p", session_id=session)) for session in range(3)]
        done, pending = await asyncio.wait(tasks, timeout=20)
        waited["done"] = [tasks.index(task) for task in done]
        waited["errors"] = [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)]
        assert not pending, "the straggler is cancelled, so that verl can replace the group now"

    asyncio.run(run())
    assert sorted(waited["done"]) == [0, 1, 2]
    assert waited["errors"] == [SiblingFailed, ValueError, SiblingFailed]
    assert worker.calls == [] and worker.worker._groups == {}


async def one_fails(uid, session):
    await asyncio.sleep(0.01 * session)
    if session == 1:
        raise ValueError("injected")
    return rollout()


def test_a_rollout_that_ends_after_its_sibling_failed_is_not_scored_either(monkeypatch):
    worker = Worker(monkeypatch, one_fails)
    results = asyncio.run(worker.prompt("p", 3))
    assert [type(result) for result in results] == [SiblingFailed, ValueError, SiblingFailed]
    assert worker.calls == [] and worker.written == {} and worker.worker._groups == {}


@pytest.mark.parametrize(("policy", "trajectory"), [("score_rest", TRAIN), ("drop_group", VALIDATION)])
def test_the_rest_is_scored_where_the_policy_says_so_and_always_in_validation(monkeypatch, policy, trajectory):
    worker = Worker(monkeypatch, one_fails, on_failed_sibling=policy)
    results = asyncio.run(worker.prompt("p", 3, trajectory))
    assert [isinstance(result, ValueError) for result in results] == [False, True, False]
    [(row, rows)] = worker.calls
    assert rows == 2 and row[SESSIONS] == [0, 2] and row[VALIDATE] is trajectory["validate"]
    assert worker.written["p", 2].reward_score == 12.0 and worker.worker._groups == {}


def test_an_agent_loop_without_output_is_a_failed_sibling(monkeypatch):
    async def behave(uid, session):
        return [] if session == 0 else rollout()

    worker = Worker(monkeypatch, behave)
    results = asyncio.run(worker.prompt("p", 3))
    assert all(isinstance(result, SiblingFailed) for result in results) and worker.calls == []


def test_an_empty_response_gets_one_token_that_is_not_trained_on(monkeypatch):
    async def behave(uid, session):
        return rollout("" if session == 0 else "ab")

    worker = Worker(monkeypatch, behave)
    asyncio.run(worker.prompt("p", 2))
    empty = worker.written["p", 0]
    assert (empty.response_ids, empty.response_mask, empty.response_logprobs) == ([7], [0], [0.0])
    assert empty.reward_score == 10.0


@pytest.mark.parametrize(
    ("score", "error"),
    [("raises", ConnectionError), ("hangs", TimeoutError), ("too few", ValueError), ("too many", ValueError)],
)
def test_a_broken_reward_worker_fails_the_group_and_misassigns_nothing(monkeypatch, score, error):
    async def broken(kwargs, outputs):
        if score == "raises":
            raise ConnectionError("the reward worker is gone")
        if score == "hangs":
            await asyncio.sleep(60)
        return [1.0] * (len(outputs) + (1 if score == "too many" else -1))

    worker = Worker(monkeypatch, finish, broken, deadline=0.2)
    results = asyncio.run(worker.prompt("p", 3))
    assert [type(result) for result in results] == [error] * 3
    assert worker.written == {} and worker.worker._groups == {}


def test_scoring_one_prompt_does_not_hold_up_another(monkeypatch):
    """The reward worker answers `slow` only once `fast` is done: waiting in line would never end."""
    fast_done = asyncio.Event()

    async def score(kwargs, outputs):
        if kwargs["uid"] == "slow":
            await fast_done.wait()
        return [1.0] * len(outputs)

    worker = Worker(monkeypatch, finish, score)

    async def run():
        slow = asyncio.create_task(worker.prompt("slow", 2))
        await worker.prompt("fast", 2)
        fast_done.set()
        await slow

    asyncio.run(run())
    assert set(worker.written) == {("slow", 0), ("slow", 1), ("fast", 0), ("fast", 1)}
