"""A teacher beside the agent loop, and what its rows do to verl's advantages; the servers are faked to fail."""

import asyncio
from types import SimpleNamespace

import pytest
import torch

from helpers.group_worker import TRAIN, VALIDATION, Worker, rollout
from sp3f_verl.training.distill.prompt import TeacherPrompt
from sp3f_verl.verl_bridge.rl import group as bridge
from sp3f_verl.verl_bridge.rl.teacher import IDS, LOGPS, Teacher
from sp3f_verl.verl_bridge.rl.token_credit import divided

ROW = {"raw_prompt": [{"role": "user", "content": "xy"}], "language": "sw", "global_steps": 3}
PRIVILEGED = TeacherPrompt({"default": "{{question}}!"})


class Server:
    """verl's client: the log-prob of a token is -token, of the token itself; or whatever `fault` does."""

    def __init__(self, fault=None):
        self.fault, self.asked = fault, []

    async def generate(self, request_id, *, prompt_ids, sampling_params):
        self.asked.append((prompt_ids, sampling_params))
        if self.fault is not None:
            return await self.fault()
        following = [*prompt_ids[1:], 0]
        found = {"prompt_ids": [[token] for token in following], "prompt_logprobs": [[-float(t)] for t in following]}
        return SimpleNamespace(extra_fields=found, stop_reason="completed")


def teacher(server, seconds=60.0, **options) -> Teacher:
    tokens = lambda messages: [ord(c) for c in messages[-1]["content"]]  # noqa: E731
    return Teacher(server, tokens, PRIVILEGED, 0, seconds, **options)


def output(prompt="xy", response="ab") -> SimpleNamespace:
    return SimpleNamespace(prompt_ids=list(map(ord, prompt)), response_ids=list(map(ord, response)), extra_fields={})


def test_it_reads_its_own_prompt_and_the_students_response():
    server, one = Server(), output()
    asyncio.run(teacher(server).teach([one], ROW))
    [(asked, sampling)] = server.asked
    assert "".join(map(chr, asked)) == "xy!ab" and sampling["prompt_logprobs"] == 0 and sampling["max_tokens"] == 1
    logps = one.extra_fields[LOGPS][:, 0]
    assert logps[1:3].tolist() == [-97.0, -98.0] and logps[[0, 3]].isnan().all()
    assert one.extra_fields[IDS].shape == one.extra_fields[LOGPS].shape == (4, 1)


async def refuse():
    raise ValueError("Prompt length leaves no room")


async def abort():
    return SimpleNamespace(extra_fields={}, stop_reason="aborted")


async def hang():
    await asyncio.sleep(30)


async def answer_for_another():
    rows = [[5]] * 5
    return SimpleNamespace(extra_fields={"prompt_ids": rows, "prompt_logprobs": [[-1.0]] * 5}, stop_reason="completed")


@pytest.mark.parametrize("fault", [refuse, abort, hang, answer_for_another])
def test_a_request_that_fails_costs_its_rows_alone(fault):
    one = output()
    asyncio.run(teacher(Server(fault), seconds=0.2 if fault is hang else 60.0).teach([one], ROW))
    assert one.extra_fields[LOGPS].shape == (4, 1) and one.extra_fields[LOGPS].isnan().all()


def test_it_is_not_asked_at_a_step_at_which_it_counts_for_nothing():
    server, one = Server(), output()
    asyncio.run(teacher(server, asked_at=lambda step: step < 3).teach([one], ROW))
    assert server.asked == [] and one.extra_fields[LOGPS].isnan().all()


@pytest.mark.parametrize("trajectory", [TRAIN, VALIDATION])
def test_it_is_asked_while_the_group_is_scored_and_its_rows_are_there_before_verl_stores_them(monkeypatch, trajectory):
    began = []

    class Slow:
        async def teach(self, outputs, row):
            began.append(row["session_id"])
            await asyncio.sleep(0.02)
            outputs[-1].extra_fields[LOGPS] = row["session_id"]

    async def score(row, outputs):
        assert len(began) == (3 if trajectory is TRAIN else 0), "all are asked before the group's score is there"
        return await Worker.sessions_as_scores(row, outputs)

    async def behave(uid, session):
        return rollout()

    worker = Worker(monkeypatch, behave, score)
    worker.worker._teacher = Slow()
    scored = bridge._AgentLoopWorker._agent_loop_postprocess

    async def postprocess(self, output, validate, **kwargs):  # as verl's: scored, taught, stored
        await scored(self, output, validate, **kwargs)
        await self._compute_teacher_logprobs(output, [], [], validate, sample_kwargs=kwargs)

    monkeypatch.setattr(bridge._AgentLoopWorker, "_agent_loop_postprocess", postprocess)
    asyncio.run(worker.prompt("p", 3, trajectory))
    taught = [worker.written["p", session].extra_fields.get(LOGPS) for session in range(3)]
    assert taught == ([0, 1, 2] if trajectory is TRAIN else [None] * 3) and worker.worker._teaching == {}


def test_a_rollout_that_is_dropped_asks_no_longer(monkeypatch):
    cancelled = []

    class Endless:
        async def teach(self, outputs, row):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.append(row["session_id"])
                raise

    async def behave(uid, session):
        if session == 1:
            await asyncio.sleep(0.02)
            raise ValueError("injected")
        return rollout()

    worker = Worker(monkeypatch, behave)
    worker.worker._teacher = Endless()
    asyncio.run(worker.prompt("p", 3))
    assert sorted(cancelled) == [0, 2] and worker.worker._teaching == {}


def nested(*rows):
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


def batch(teacher_logps):
    """Two responses, of 3 and 2 tokens to prompts of 2 and 1, and one that fills up the batch, as verl makes it."""
    return {
        "advantages": nested([1.0, 1.0, 1.0], [-1.0, -1.0], [0.0]),
        "response_mask": nested([1, 1, 0], [1, 1], [0]),
        "rollout_log_probs": nested([-1.0, -2.0, -3.0], [-1.0, -2.0], [0.0]),
        LOGPS: nested(*teacher_logps),
    }


NAN = float("nan")
PAD = [[0.0], [0.0]]


def test_the_rows_before_each_token_are_taken():
    """Response 0: deltas .1, -.1 and one under the mask; response 1: A < 0, so that .1 counts less."""
    taught = [[[NAN], [-0.9], [-2.1], [-3.0], [NAN]], [[-0.9], [-2.0], [NAN]], PAD]
    advantages, metrics = divided(batch(taught), 1.0, 0.2, ["sw", "es", "sw"], [True, True, False])
    up, down = torch.tensor([0.1, -0.1]).exp().tolist()
    assert advantages.values().tolist() == pytest.approx([up, down, 1.0, -down, -1.0, 0.0])
    assert metrics["token_credit/failed"] == 0 and metrics["token_credit/up"] == 0.25
    assert metrics["token_credit/delta/sw"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["token_credit/delta/es"] == pytest.approx(0.05, abs=1e-6)


def test_a_sample_without_rows_keeps_its_credit_and_is_counted():
    taught = [[[NAN]] * 5, [[-0.9], [-2.1], [NAN]], PAD]
    advantages, metrics = divided(batch(taught), 0.5, 0.2, ["sw", "es", "sw"], [True, True, False])
    assert advantages.values()[:3].tolist() == [1.0, 1.0, 1.0] and metrics["token_credit/failed"] == 1
    assert "token_credit/delta/sw" not in metrics
    nobody = batch([[[NAN]] * 5, [[NAN]] * 3, PAD])
    advantages, metrics = divided(nobody, 0.5, 0.2, ["sw", "es", "sw"], [True, True, False])
    assert torch.equal(advantages.values(), nobody["advantages"].values()) and metrics["token_credit/failed"] == 2


def test_a_teacher_that_reads_what_the_student_read_leaves_it_as_it_was():
    same = [[[NAN], [-1.0], [-2.0], [-3.0], [NAN]], [[-1.0], [-2.0], [NAN]], PAD]
    advantages, metrics = divided(batch(same), 1.0, 0.2, ["sw", "es", "sw"], [True, True, False])
    assert torch.equal(advantages.values(), batch(same)["advantages"].values())
    assert metrics["token_credit/up"] == metrics["token_credit/down"] == 0
