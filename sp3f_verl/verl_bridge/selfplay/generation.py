"""Responses from verl's own rollout servers, which share the weights that are trained. No agent loop takes part."""

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence

import numpy as np
from omegaconf import DictConfig
from verl.checkpoint_engine import CheckpointEngineManager
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.rollout.llm_server import LLMServerManager

from sp3f_verl.llm.requests.retry import backoff_seconds
from sp3f_verl.training.selfplay.responses import Request
from sp3f_verl.training.selfplay.settings import Generation
from sp3f_verl.training.selfplay.triplets import Response

TRIES = 3
WAIT_SECONDS = 2.0  # at most, before the second try; twice that before the third


class GenerationFailed(RuntimeError):
    """A rollout server did not answer. What was finished before is kept."""


class RolloutServers:
    """verl's hybrid rollout servers for a worker group whose role includes `rollout`."""

    def __init__(self, config: DictConfig, worker_group, pool):
        self._manager = LLMServerManager.create(config=config, worker_group=worker_group, rollout_resource_pool=pool)
        settings = omega_conf_to_dataclass(config.actor_rollout_ref.rollout.checkpoint_engine)
        settings.backend = "naive"  # trainer and servers share their devices
        self._weights = CheckpointEngineManager(settings, worker_group, self._manager.get_replicas())
        self._client = self._manager.get_client()
        self._room = 2 * config.actor_rollout_ref.rollout.max_num_seqs * len(self._manager.get_replicas())
        self.sleep()

    def sleep(self) -> None:
        """Leave the device's memory to training."""
        self._weights.sleep_replicas()

    def take_weights(self, step: int) -> None:
        """Wake up with the workers' present weights."""
        self._weights.update_weights(step)

    def generate(
        self, requests: Sequence[Request], settings: Generation, done: Callable[[Request, Response], None]
    ) -> int:
        """Calls `done` with each request's response as it finishes; answers how many had to be asked again.

        GenerationFailed after TRIES failures of one request, a timeout among them.
        """
        return asyncio.run(self._generate(requests, settings.at_once or self._room, settings.timeout_seconds, done))

    async def _generate(self, requests, at_once, seconds, done) -> int:
        slots, asked_again = asyncio.Semaphore(at_once), 0

        async def answer(request: Request) -> None:
            nonlocal asked_again
            async with slots:
                for attempt in range(TRIES):
                    if attempt:
                        asked_again += 1
                        await asyncio.sleep(backoff_seconds(attempt - 1, random.Random(), base=WAIT_SECONDS))
                    try:
                        response = await asyncio.wait_for(self._ask(request), seconds)
                    except Exception as error:  # whatever the server or Ray raised; only the count of tries ends it
                        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                    else:
                        if response is not None:
                            return done(request, response)
                        reason = "the server aborted it"
            raise GenerationFailed(f"sp3f_verl: a response failed {TRIES} times, last with {reason}.")

        tasks = [asyncio.create_task(answer(request)) for request in requests]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return asked_again

    async def _ask(self, request: Request) -> Response | None:
        output = await self._client.generate(
            uuid.uuid4().hex, prompt_ids=request.prompt.tolist(), sampling_params=dict(request.sampling)
        )
        ids = np.asarray(output.token_ids, dtype=np.int32)
        if output.stop_reason == "aborted" or not len(ids):
            return None
        logp = float(np.sum(output.log_probs)) if output.log_probs is not None else float("nan")
        return Response(ids, logp, len(ids) < request.sampling["max_tokens"])
