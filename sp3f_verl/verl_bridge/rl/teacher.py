"""A privileged teacher in the agent-loop worker: a server's log-probs of a response under another prompt than its own.

verl 0.9.1 asks a teacher about the student's own sequence (`AgentLoopWorker._compute_teacher_logprobs`). Here the
sequence is c + y (training/distill/prompt.py); the rows come back as verl's trainer has its logits (rows.py), and go
along with the rollout under verl's names. One prefill a rollout, while the judge reads. A request that fails costs its
sample's rows and nothing else: they are NaN, and the trainer counts them.
"""

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import torch
from omegaconf import DictConfig, OmegaConf

from sp3f_verl.data.rows import canonical
from sp3f_verl.log import log
from sp3f_verl.training.distill.prompt import TeacherPrompt, load_prompt
from sp3f_verl.training.distill.rows import WrongRows, empty_rows, response_rows
from sp3f_verl.training.distill.settings import RLSD, Distill

IDS, LOGPS = "teacher_ids", "teacher_logprobs"  # verl's names: it pads rows that fill up a batch under these alone


class Teacher:
    """client: verl's, of the servers that answer. encode: messages -> token ids, as the student's prompt was made.
    k: the most likely tokens that are asked for; 0: the response's own. asked_at: is it asked at a step?"""

    def __init__(
        self,
        client,
        encode: Callable[[list[dict[str, Any]]], list[int]],
        prompt: TeacherPrompt,
        k: int,
        seconds: float,
        asked_at: Callable[[int], bool] = lambda step: True,
    ):
        self.client, self.encode, self.prompt, self.k = client, encode, prompt, k
        self.seconds, self.asked_at = seconds, asked_at
        self._told: set[str] = set()

    async def teach(self, outputs: Sequence[Any], row: Mapping[str, Any]) -> None:
        """The rows of each of verl's outputs of a rollout, put where verl takes them from."""
        answers = await asyncio.gather(*(self._rows(output.prompt_ids, output.response_ids, row) for output in outputs))
        for output, (ids, logps) in zip(outputs, answers, strict=True):
            output.extra_fields[IDS], output.extra_fields[LOGPS] = ids, logps

    async def _rows(self, prompt_ids, response_ids, row) -> tuple[torch.Tensor, torch.Tensor]:
        nothing = empty_rows(len(prompt_ids), len(response_ids), self.k)
        if not self.asked_at(int(row["global_steps"])):
            return nothing
        try:
            return await asyncio.wait_for(self._ask(prompt_ids, response_ids, row), self.seconds)
        except Exception as error:  # of whatever kind: the sample goes on without a teacher
            kind = type(error).__name__
            if kind not in self._told:
                self._told.add(kind)
                log.warning("a teacher's request failed (%s: %s); its sample goes on without rows.", kind, error)
            return nothing

    async def _ask(self, prompt_ids, response_ids, row) -> tuple[torch.Tensor, torch.Tensor]:
        messages = self.prompt.messages(list(row["raw_prompt"]), canonical(row))
        privileged = await asyncio.get_running_loop().run_in_executor(None, self.encode, messages)
        sampling = {"max_tokens": 1, "temperature": 1.0, "prompt_logprobs": self.k, "detokenize": False}
        answer = await self.client.generate(
            uuid4().hex, prompt_ids=[*privileged, *response_ids], sampling_params=sampling
        )
        fields = answer.extra_fields
        if "prompt_logprobs" not in fields:
            raise WrongRows(f"no log-probs ({answer.stop_reason})")
        return response_rows(
            fields["prompt_ids"], fields["prompt_logprobs"], len(privileged), len(prompt_ids), response_ids, self.k
        )


def token_credit_of(config: DictConfig) -> RLSD | None:
    """The settings of `sp3f.token_credit=rlsd`; None where it is off. Raises BadInput."""
    sp3f = config.get("sp3f") or {}
    return RLSD.read(OmegaConf.to_container(sp3f.rlsd, resolve=True)) if sp3f.get("token_credit") else None


def distill_of(config: DictConfig) -> Distill | None:
    """The settings of `+recipe=copsd`; None for another run. Raises BadInput."""
    node = (config.get("sp3f") or {}).get("distill")
    return None if node is None else Distill.read(OmegaConf.to_container(node, resolve=True))


def prompt_of(config: DictConfig) -> TeacherPrompt | None:
    """What the run's teacher reads; None where it has none. Raises BadInput."""
    if settings := distill_of(config):
        return load_prompt(settings.prompt, "sp3f.distill.prompt")
    settings = token_credit_of(config)
    return load_prompt(settings.prompt, "sp3f.rlsd.prompt") if settings else None


def teacher_of(config: DictConfig, rollouts, teachers, tokenizer, vocabulary: int) -> Teacher | None:
    """The teacher that a run's settings ask for; None where they ask for none.

    rollouts: verl's client of the rollout servers. teachers: those of verl's own teachers, by name.
    """
    prompt = prompt_of(config)
    if prompt is None:
        return None
    encode = functools.partial(prompt_ids_of, tokenizer, config.data.get("apply_chat_template_kwargs") or {})
    seconds = float(config.sp3f.group.deadline_seconds)
    if distill := distill_of(config):
        client = rollouts if distill.teacher == "live" else next(iter(teachers.values()))
        return Teacher(client, encode, prompt, distill.asked(vocabulary), seconds)
    credit = token_credit_of(config)
    return Teacher(rollouts, encode, prompt, 0, seconds, lambda step: credit.strength_at(step) > 0)


def prompt_ids_of(tokenizer, template: Mapping[str, Any], messages: list[dict[str, Any]]) -> list[int]:
    """As verl's agent loop makes a prompt of messages."""
    ids = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False, **template
    )
    return list(ids)
