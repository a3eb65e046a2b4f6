"""The judges of a run, in one named Ray actor that all reward workers ask.

One process asks, so rate limits, budget and counts hold for the run and not for each worker, and there is one event
loop and one connection pool for its whole life. The trainer makes it before anything else, tells it where the models
are that the run itself serves, takes its metrics every step and stops when it says so.
"""

import ray
from omegaconf import DictConfig, OmegaConf
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sp3f_verl.judge.metrics import GroupRecord
from sp3f_verl.judge.service import Desk
from sp3f_verl.judge.settings import JudgeSettings

NAME = "sp3f_judge"  # in the namespace of the run's Ray job
GROUPS_AT_ONCE = 20_000  # calls that may wait inside the actor; Ray's default of 1000 would hide the rest from it


class JudgeActor:
    """A Desk behind Ray. Its methods run in the actor's event loop."""

    def __init__(self, settings: JudgeSettings):
        self._desk = Desk(settings)

    async def open(self, served: dict[str, list[str]]) -> None:
        await self._desk.open(served)

    async def judge(self, responses: list[str], row: dict):
        return await self._desk.judge(responses, row)

    async def observe(self, record: GroupRecord) -> None:
        self._desk.observe(record)

    async def take_step(self) -> tuple[dict[str, float], str | None, str | None]:
        """(metrics of the step, why the judges stopped, why this should be the last step)."""
        metrics = self._desk.take_step()
        return metrics, self._desk.stop_reason, self._desk.last_affordable()

    async def stop_reason(self) -> str | None:
        return self._desk.stop_reason

    async def close(self) -> None:
        await self._desk.close()


def settings_of(config: DictConfig) -> JudgeSettings:
    """The checked settings under `sp3f.judge`. Raises BadInput."""
    return JudgeSettings.from_mapping(OmegaConf.to_container(config.sp3f.judge, resolve=True))


def judge_actor(config: DictConfig):
    """Handle of the run's judge actor; None for judge=none.

    The trainer is the first to call this, so the actor stands on its node, beside the checkpoints: the record of what
    was spent must be found again by a run that goes on.
    """
    settings = settings_of(config)
    if settings.name == "none":
        return None
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"name": NAME, "get_if_exists": True, "num_cpus": 0, "max_concurrency": GROUPS_AT_ONCE}
    return ray.remote(JudgeActor).options(**options, scheduling_strategy=here).remote(settings)
