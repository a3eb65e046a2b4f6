"""The settings of the RL recipes that no other room reads: `sp3f.reward`, `sp3f.group`, `sp3f.rollout`."""

from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import AfterValidator, Field

from sp3f_verl.errors import BadInput
from sp3f_verl.rewards.terms import check_weights
from sp3f_verl.settings import Flag, Number, Settings, Whole, mend


def _of_known_terms(weights: dict[str, Any]) -> dict[str, Any]:
    try:
        check_weights(weights)
    except ValueError as error:
        raise BadInput(f"sp3f.reward.weights: {error}") from None
    return weights


class Reward(Settings):
    weights: Annotated[dict[str, Any], AfterValidator(_of_known_terms)]
    checkers: dict[str, str] | None = None
    length_limits: Annotated[tuple[Number, Number] | None, mend("give two numbers of characters, [from, to]")] = None
    reduced: Flag = False
    language_threshold: Annotated[Number, Field(ge=0, le=1), mend("set it to a share from 0 to 1")] = 0.7


class Group(Settings):
    on_failed_sibling: Literal["drop_group", "score_rest"] = "drop_group"
    deadline_seconds: Annotated[Number, Field(gt=0), mend("set it to a number of seconds above 0")] = 600.0
    replacement_ceiling: Annotated[Number, Field(gt=0), mend("set it to a number above 0")] = 4.0


class Rollout(Settings):
    trust_rollout_log_probs: Flag = False
    check_every: Annotated[Whole, Field(ge=1), mend("set it to a whole number from 1")] = 10


SETTINGS: dict[str, type[Settings]] = {"reward": Reward, "group": Group, "rollout": Rollout}


def read(config: DictConfig, part: str) -> Any:
    """`sp3f.<part>` of a run's config. BadInput, one sentence, for what does not fit."""
    return SETTINGS[part].read(OmegaConf.to_container(config.sp3f[part], resolve=True), f"sp3f.{part}")
