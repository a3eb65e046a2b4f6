"""The part of the preflight that reads the settings, rows and recorded run of self-play."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.errors import BadInput
from sp3f_verl.losses.table import LOSSES
from sp3f_verl.training.selfplay.rows import ROLES
from sp3f_verl.training.selfplay.settings import SelfPlay
from sp3f_verl.verl_bridge.preflight.preference import objective_of, rows_of_roles


def selfplay(config: DictConfig) -> None:
    """Settings of every iteration, before any of them begins."""
    settings = SelfPlay.read(OmegaConf.to_container(config.sp3f.selfplay, resolve=True))
    base, preference = objective_of(config), config.sp3f.preference
    if "generated" not in base.roles:
        known = ", ".join(name for name, row in LOSSES.items() if "generated" in row.roles)
        raise BadInput(f"sp3f.preference.objective.loss={base.loss} is not a self-play loss; use {known}.")
    for iteration in range(settings.iterations):
        try:
            settings.objective(base, iteration)
        except BadInput as error:
            raise BadInput(f"iteration {iteration} of sp3f.selfplay.schedule: {error}") from None
    limit = config.actor_rollout_ref.rollout.max_model_len
    if limit is not None and limit < preference.max_length:
        raise BadInput(
            f"actor_rollout_ref.rollout.max_model_len={limit} is less than sp3f.preference.max_length="
            f"{preference.max_length}; set it to at least that."
        )
    if settings.generation.max_tokens >= preference.max_length:
        raise BadInput(
            f"sp3f.selfplay.generation.max_tokens={settings.generation.max_tokens} leaves no room for a prompt within "
            f"sp3f.preference.max_length={preference.max_length}; raise that or lower it."
        )
    if config.trainer.total_training_steps is not None:
        raise BadInput(
            f"trainer.total_training_steps={config.trainer.total_training_steps} has no part in self-play; set "
            "sp3f.selfplay.iterations and sp3f.selfplay.epochs."
        )
    workers = config.trainer.n_gpus_per_node * config.trainer.nnodes
    size = config.actor_rollout_ref.rollout.tensor_model_parallel_size
    if workers % size:
        raise BadInput(f"actor_rollout_ref.rollout.tensor_model_parallel_size={size} does not divide {workers}.")


def positions(config: DictConfig) -> None:
    """vLLM refuses a longer context than the model was made for, but only once everything has started."""
    from transformers import AutoConfig

    node, length = config.actor_rollout_ref.model, config.sp3f.preference.max_length
    model = AutoConfig.from_pretrained(str(Path(node.path).expanduser()), trust_remote_code=node.trust_remote_code)
    room = getattr(model.get_text_config(), "max_position_embeddings", None)
    if room is not None and length > room:
        raise BadInput(f"sp3f.preference.max_length={length}, but {node.path} has {room} positions; set it lower.")


def annotated_rows(config: DictConfig) -> None:
    rows_of_roles(config, ROLES)


def recorded_run(config: DictConfig) -> None:
    """A checkpoint without its record could not go on; said here, before workers start."""
    from sp3f_verl.training.checkpoints import step_to_resume

    folder, step = Path(config.sp3f.selfplay.folder), step_to_resume(config.trainer)
    if step and not (folder / "run.json").is_file():
        raise BadInput(
            f"there is a checkpoint of step {step}, but {folder} has no run.json; put that folder back, or remove the "
            "checkpoints to begin anew."
        )
