"""The n rollouts of a prompt meet here and are scored as one group.

verl 0.9 has no slot for a group reward, but all rollouts of a prompt run on the event loop of one agent-loop worker
(`AgentLoopWorkerTQ._run_prompt`). So each rollout parks its finished response, the last one to arrive sends the whole
group to the reward manager in a single call, and each takes its own score home. Meanwhile other prompts generate.

Differs from stock verl in three more points: a rollout that failed is known to its siblings at once (those that still
generate are cancelled), an empty response is survived, and a reward worker that does not answer costs a deadline, not
the run.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import ray
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ

from sp3f_verl.verl_bridge.rl.teacher import teacher_of

# What the reward manager is told beside the data set's columns.
SESSIONS, VALIDATE, STEP = "sp3f_sessions", "sp3f_validate", "sp3f_step"


class SiblingFailed(RuntimeError):
    """Another rollout of the same prompt failed: the group does not train, and verl replaces its prompt."""


@dataclass
class Group:
    """The rollouts of one prompt. Only its event loop touches it, so there is no lock."""

    validate: bool
    step: int = 0  # of the training, for weights that change over it
    members: int = 0  # rollouts that began; all of them do before the first one can finish (see _run_agent_loop)
    left: int = 0
    failed: int = 0
    doomed: bool = False  # a failure ended it: nothing of it is scored
    running: dict[int, asyncio.Task] = field(default_factory=dict)
    arrived: dict[int, tuple[Any, dict, asyncio.Future]] = field(default_factory=dict)  # session -> output, row, score

    def complete(self) -> bool:
        return len(self.arrived) + self.left == self.members


# A Ray actor class cannot be subclassed; the class that it was made of can.
_AgentLoopWorker = AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__


class GroupAgentLoopWorker(_AgentLoopWorker):
    """An agent-loop worker in which the rollouts of a prompt are scored together."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.reward_loop_worker_handles is None:
            raise ValueError(
                "reward.reward_model.enable_resource_pool=False leaves no reward worker while rollouts run, but a "
                "group is scored there; set reward.reward_model.enable_resource_pool=True."
            )
        self._groups: dict[str, Group] = {}
        settings = self.config.sp3f.group
        self._drop_on_failure = settings.on_failed_sibling == "drop_group"
        self._deadline = float(settings.deadline_seconds)
        self._log_probs = bool(self.config.actor_rollout_ref.rollout.calculate_log_probs)
        vocabulary = self.model_config.hf_config.get_text_config().vocab_size
        self._teacher = teacher_of(self.config, self.llm_client, self.teacher_client, self.tokenizer, vocabulary)
        self._teaching: dict[tuple[str, int], asyncio.Task] = {}

    async def _run_agent_loop(self, sampling_params, trajectory, **kwargs):
        uid, session = str(kwargs["uid"]), int(kwargs["session_id"])
        group = self._groups.setdefault(uid, Group(bool(trajectory["validate"]), int(trajectory.get("step", 0))))
        group.members += 1
        group.running[session] = asyncio.current_task()
        try:
            # verl creates the n tasks of a prompt without awaiting in between, so one turn of the loop lets every
            # sibling register before any goes on. The size of the group is counted, not guessed from the config.
            await asyncio.sleep(0)
            return await super()._run_agent_loop(sampling_params, trajectory, **kwargs)
        except BaseException as error:
            if group.doomed and isinstance(error, asyncio.CancelledError):  # by _advance, below
                raise SiblingFailed(f"cancelled: another rollout of {uid} failed") from None
            group.failed += session not in group.arrived
            raise
        finally:
            group.running.pop(session)
            if session not in group.arrived:  # it failed, or its agent loop gave no output
                group.left += 1
                self._advance(uid, group)
            if group.complete() and all(future.done() for _, _, future in group.arrived.values()):
                self._groups.pop(uid, None)

    async def _agent_loop_postprocess(self, output, validate, **kwargs):
        outputs = output if isinstance(output, list) else [output]
        if not outputs:
            raise SiblingFailed("the agent loop returned no output")
        for sequence in outputs:
            if not sequence.response_ids:  # verl writes the score to the last response token: there must be one
                sequence.response_ids, sequence.response_mask = [self.tokenizer.eos_token_id], [0]
                # verl's agent loop leaves None for an empty response, but every row needs what the others have
                sequence.response_logprobs = [0.0] if self._log_probs else None
        if self._teacher is None or validate:
            return await super()._agent_loop_postprocess(output, validate, **kwargs)
        # while the group is scored
        teaching = asyncio.create_task(self._teacher.teach(outputs, kwargs))
        self._teaching[str(kwargs["uid"]), int(kwargs["session_id"])] = teaching
        try:
            return await super()._agent_loop_postprocess(output, validate, **kwargs)
        finally:
            del self._teaching[str(kwargs["uid"]), int(kwargs["session_id"])]
            teaching.cancel()

    async def _compute_teacher_logprobs(self, output, prompt_ids, response_ids, validate, sample_kwargs=None):
        """Called by verl once a rollout is scored, and before it is stored."""
        if self._teacher is None:
            return await super()._compute_teacher_logprobs(output, prompt_ids, response_ids, validate, sample_kwargs)
        if not validate:
            await self._teaching[str(sample_kwargs["uid"]), int(sample_kwargs["session_id"])]

    async def _compute_score(self, outputs, kwargs):
        """Called by verl for one rollout; `outputs[-1]` takes the score."""
        group, final = self._groups.get(str(kwargs["uid"])), outputs[-1]
        if group is None or final.reward_score is not None:
            return await super()._compute_score(outputs, kwargs)
        score_of_this = asyncio.get_running_loop().create_future()
        group.arrived[int(kwargs["session_id"])] = (final, kwargs, score_of_this)
        self._advance(str(kwargs["uid"]), group)
        start = asyncio.get_running_loop().time()
        final.reward_score, final.extra_fields["reward_extra_info"] = await score_of_this
        final.metrics.compute_score = asyncio.get_running_loop().time() - start

    def _advance(self, uid: str, group: Group) -> None:
        """Whoever arrives or leaves calls this: fail the group, score it, or let it wait for the others."""
        waiting = [future for _, _, future in group.arrived.values() if not future.done()]
        if group.failed and not group.validate and self._drop_on_failure:
            group.doomed = True
            for future in waiting:
                future.set_exception(SiblingFailed(f"{group.failed} of {group.members} rollouts of {uid} failed"))
            for session, task in group.running.items():  # no one waits for what a doomed rollout still generates
                if session not in group.arrived:
                    task.cancel()
        elif group.complete() and waiting:
            task = asyncio.create_task(self._score(group))
            self.background_tasks.add(task)
            task.add_done_callback(self.background_tasks.discard)

    async def _score(self, group: Group) -> None:
        sessions = sorted(group.arrived)
        finals, rows, futures = zip(*(group.arrived[session] for session in sessions), strict=True)
        row = {**rows[0], SESSIONS: sessions, VALIDATE: group.validate, STEP: group.step}
        # verl's own method builds the DataProto of all rows, asks a reward worker, and leaves the answer, here two
        # lists, on the last output.
        scoring = asyncio.ensure_future(super()._compute_score(list(finals), kwargs=row))
        try:
            await asyncio.wait([scoring], timeout=self._deadline)
            if not scoring.done():  # not wait_for: a timeout inside the reward worker is another error than this one
                raise TimeoutError(f"no reward worker scored the group within {self._deadline:g} s")
            scoring.result()
            scores, infos = finals[-1].reward_score, finals[-1].extra_fields["reward_extra_info"]
            answers = [(float(score), info) for score, info in zip(scores, infos, strict=True)]
            for future, answer in list(zip(futures, answers, strict=True)):  # a wrong answer is given to no one
                if not future.done():
                    future.set_result(answer)
        except BaseException as error:
            for future in futures:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            if not isinstance(error, Exception):
                raise
        finally:
            scoring.cancel()  # no effect on one that is done


class GroupAgentLoopManager(AgentLoopManagerTQ):
    """`actor_rollout_ref.rollout.agent.agent_loop_manager_class` of every recipe with rollouts."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(GroupAgentLoopWorker)
