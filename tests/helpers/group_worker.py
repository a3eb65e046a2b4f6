"""A worker of agent loops without Ray, in which a test decides what a rollout and the reward worker do."""

import asyncio
from types import SimpleNamespace

from sp3f_verl.verl_bridge.rl import group as bridge
from sp3f_verl.verl_bridge.rl.group import SESSIONS, GroupAgentLoopWorker

TRAIN, VALIDATION = {"validate": False}, {"validate": True}


def rollout(text: str = "ab") -> SimpleNamespace:
    """What verl's agent loop hands on (AgentLoopOutput), reduced to what is used here."""
    ids = [ord(letter) for letter in text]
    return SimpleNamespace(
        response_ids=ids,
        response_mask=[1] * len(ids),
        response_logprobs=[0.0] * len(ids) or None,  # verl's agent loop leaves None for an empty response
        reward_score=None,
        extra_fields={},
        metrics=SimpleNamespace(compute_score=0.0),
    )


class Worker:
    """A GroupAgentLoopWorker without Ray: `behave` is the agent loop, `score` the reward worker behind verl's call."""

    def __init__(self, monkeypatch, behave, score=None, on_failed_sibling="drop_group", deadline=600.0):
        self.worker = object.__new__(GroupAgentLoopWorker)
        self.worker._groups, self.worker.background_tasks = {}, set()
        self.worker._drop_on_failure, self.worker._deadline = on_failed_sibling == "drop_group", deadline
        self.worker._log_probs = True
        self.worker._teacher, self.worker._teaching = None, {}
        self.worker.tokenizer = SimpleNamespace(eos_token_id=7)
        self.calls: list[tuple[dict, int]] = []
        self.written: dict[tuple[str, int], SimpleNamespace] = {}

        async def run_agent_loop(worker, sampling_params, trajectory, **kwargs):
            output = await behave(kwargs["uid"], kwargs["session_id"])
            return await worker._agent_loop_postprocess(output, trajectory["validate"], **kwargs)

        async def postprocess(worker, output, validate, **kwargs):
            outputs = output if isinstance(output, list) else [output]
            await worker._compute_score(outputs, kwargs=kwargs)
            self.written[kwargs["uid"], kwargs["session_id"]] = outputs[-1]

        async def compute_score(worker, outputs, kwargs):
            self.calls.append((kwargs, len(outputs)))
            scores = await (score or self.sessions_as_scores)(kwargs, outputs)
            outputs[-1].reward_score = scores
            outputs[-1].extra_fields["reward_extra_info"] = [{"score": each} for each in scores]

        base = bridge._AgentLoopWorker
        monkeypatch.setattr(base, "_run_agent_loop", run_agent_loop)
        monkeypatch.setattr(base, "_agent_loop_postprocess", postprocess)
        monkeypatch.setattr(base, "_compute_score", compute_score)

    @staticmethod
    async def sessions_as_scores(kwargs, outputs):
        return [10.0 + session for session in kwargs[SESSIONS]]

    async def prompt(self, uid: str, n: int, trajectory=TRAIN) -> list:
        """verl's `_run_prompt`: n tasks created without awaiting in between, errors gathered."""
        loop = self.worker._run_agent_loop
        tasks = [asyncio.create_task(loop({}, trajectory, uid=uid, session_id=session)) for session in range(n)]
        return await asyncio.gather(*tasks, return_exceptions=True)
