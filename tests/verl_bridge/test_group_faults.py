"""The group under any order of arrival and any set of faults, and under the rarer turns that a rollout can take."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.group_worker import TRAIN, Worker, rollout
from sp3f_verl.verl_bridge.rl import group as bridge
from sp3f_verl.verl_bridge.rl.group import SESSIONS, GroupAgentLoopWorker, SiblingFailed

FAULTS = {"raises": ValueError, "nothing": SiblingFailed}  # fault -> what verl sees of that rollout
ENDINGS = st.tuples(st.integers(0, 4), st.sampled_from(["good", "good", "good", "empty", *FAULTS]))


@settings(max_examples=150)
@given(
    prompts=st.lists(st.lists(ENDINGS, min_size=1, max_size=5), min_size=1, max_size=3),
    policy=st.sampled_from(["drop_group", "score_rest"]),
    validate=st.booleans(),
)
def test_whatever_happens_every_rollout_ends_and_no_score_goes_astray(prompts, policy, validate):
    """Time is counted in turns of the loop, so that hypothesis can try every interleaving and shrink it."""

    async def behave(uid, session):
        turns, ending = prompts[int(uid)][session]
        for _ in range(turns):
            await asyncio.sleep(0)
        if ending == "raises":
            raise ValueError("injected")
        return [] if ending == "nothing" else rollout("" if ending == "empty" else "ab")

    async def run(worker):
        every = asyncio.gather(*(worker.prompt(str(i), len(p), {"validate": validate}) for i, p in enumerate(prompts)))
        return await asyncio.wait_for(every, 60)

    with pytest.MonkeyPatch.context() as monkeypatch:
        worker = Worker(monkeypatch, behave, on_failed_sibling=policy)
        results = asyncio.run(run(worker))
    calls = {row["uid"]: row[SESSIONS] for row, _ in worker.calls}
    assert len(calls) == len(worker.calls), "one call a group at most"
    for uid, (prompt, result) in enumerate(zip(prompts, results, strict=True)):
        good = [session for session, (_, ending) in enumerate(prompt) if ending not in FAULTS]
        dropped = len(good) < len(prompt) and policy == "drop_group" and not validate
        scored = [] if dropped else good
        assert calls.get(str(uid), []) == scored
        assert [session for written, session in sorted(worker.written) if written == str(uid)] == scored
        assert all(worker.written[str(uid), session].reward_score == 10.0 + session for session in scored)
        ended = [type(each) if each is not None else None for each in result]
        for got, (_, ending) in zip(ended, prompt, strict=True):
            own = FAULTS.get(ending)  # a rollout of a dropped group may be cancelled before its own fault
            assert got in ({own, SiblingFailed} - {None} if dropped else {own})
        assert not dropped or any(FAULTS.get(ending) is got for got, (_, ending) in zip(ended, prompt, strict=True))
    assert worker.worker._groups == {} and worker.worker.background_tasks == set()


def test_the_last_rollout_failing_lets_the_others_go(monkeypatch):
    """Under score_rest it is the one that leaves, not one that arrives, who must send the group off."""

    async def behave(uid, session):
        await asyncio.sleep(0.02 * session)
        if session == 2:
            raise ValueError("injected")
        return rollout()

    worker = Worker(monkeypatch, behave, on_failed_sibling="score_rest")
    asyncio.run(asyncio.wait_for(worker.prompt("p", 3), 60))
    assert [row[SESSIONS] for row, _ in worker.calls] == [[0, 1]]


@pytest.mark.parametrize(("policy", "written"), [("drop_group", []), ("score_rest", [0])])
def test_a_rollout_that_is_cancelled_before_it_began_is_not_waited_for(monkeypatch, policy, written):
    async def behave(uid, session):
        return rollout()

    worker = Worker(monkeypatch, behave, on_failed_sibling=policy)

    async def run():
        loop = worker.worker._run_agent_loop
        tasks = [asyncio.create_task(loop({}, TRAIN, uid="p", session_id=session)) for session in range(2)]
        await asyncio.sleep(0)  # both are counted as members, neither has gone on
        tasks[1].cancel()
        done, pending = await asyncio.wait(tasks, timeout=20)
        for task in pending:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(done)

    assert asyncio.run(run()) == 2
    assert [session for _, session in worker.written] == written and worker.worker._groups == {}


def test_a_rollout_with_a_score_of_its_own_is_left_alone_and_the_others_meet_without_it(monkeypatch):
    async def behave(uid, session):
        output = rollout()
        if session == 1:
            output.reward_score = 0.25
        return output

    worker = Worker(monkeypatch, behave)
    base = bridge._AgentLoopWorker._compute_score  # the recorder

    async def like_verl(worker, outputs, kwargs):
        if outputs[-1].reward_score is None:
            await base(worker, outputs, kwargs)

    monkeypatch.setattr(bridge._AgentLoopWorker, "_compute_score", like_verl)
    asyncio.run(asyncio.wait_for(worker.prompt("p", 3), 60))
    assert [row[SESSIONS] for row, _ in worker.calls] == [[0, 2]]
    assert [worker.written["p", session].reward_score for session in range(3)] == [10.0, 0.25, 12.0]


def test_of_a_trajectory_in_several_parts_the_last_one_is_judged(monkeypatch):
    async def behave(uid, session):
        return [rollout("ab"), rollout(""), rollout("c")]

    judged = []

    async def score(kwargs, outputs):
        judged.extend(len(output.response_ids) for output in outputs)
        return [1.0] * len(outputs)

    worker = Worker(monkeypatch, behave, score)
    asyncio.run(asyncio.wait_for(worker.prompt("p", 2), 60))
    assert judged == [1, 1], "one row a rollout: its last part"


@pytest.mark.parametrize(("hangs", "message"), [(True, "within 0.1 s"), (False, "the judge's endpoint timed out")])
def test_the_deadline_is_told_from_a_timeout_inside_the_reward_worker(monkeypatch, hangs, message):
    """A judge whose own request times out at once must not be reported as 600 s of silence."""

    async def behave(uid, session):
        return rollout()

    given_up = []

    async def score(kwargs, outputs):
        if hangs:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                given_up.append(kwargs)
                raise
        raise TimeoutError("the judge's endpoint timed out")

    worker = Worker(monkeypatch, behave, score, deadline=0.1)

    async def run():
        results = await worker.prompt("p", 2)
        await asyncio.sleep(0.01)
        return results, len(given_up)

    results, cancelled = asyncio.run(run())
    assert cancelled == hangs, "a call that nobody waits for any more is not left running"
    assert [type(result) for result in results] == [TimeoutError] * 2
    assert all(message in str(result) for result in results)


@pytest.mark.parametrize("answer", [[1.0, "one", 1.0], [1.0, None, 1.0], 1.0], ids=["text", "none", "one number"])
def test_an_answer_that_is_not_a_number_a_rollout_reaches_no_one(monkeypatch, answer):
    """The first number is good, and must not be trained on beside siblings that have none."""

    async def behave(uid, session):
        return rollout()

    worker = Worker(monkeypatch, behave)

    async def like_verl(worker, outputs, kwargs):
        outputs[-1].reward_score, outputs[-1].extra_fields["reward_extra_info"] = answer, [{}] * len(outputs)

    monkeypatch.setattr(bridge._AgentLoopWorker, "_compute_score", like_verl)
    results = asyncio.run(asyncio.wait_for(worker.prompt("p", 3), 60))
    assert {type(result) for result in results} <= {ValueError, TypeError} and worker.written == {}


def test_without_a_reward_worker_the_group_has_nowhere_to_go_and_says_so(monkeypatch):
    def base(self, *args, **kwargs):
        self.reward_loop_worker_handles = None
        self.config = SimpleNamespace()

    monkeypatch.setattr(bridge._AgentLoopWorker, "__init__", base)
    with pytest.raises(ValueError, match=r"set reward\.reward_model\.enable_resource_pool=True"):
        GroupAgentLoopWorker()
