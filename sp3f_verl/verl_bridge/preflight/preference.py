"""The part of the preflight that reads the settings, rows and stored references of preference training."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.data.preference_rows import read_answers
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.fingerprint import model_digest
from sp3f_verl.losses.objective import Objective
from sp3f_verl.training.guard import GuardSettings
from sp3f_verl.training.objective_record import ObjectiveRecord
from sp3f_verl.training.preference.reference_store import check_model
from sp3f_verl.verl_bridge.preflight.files import enough, files, named
from sp3f_verl.verl_bridge.preflight.run import resumed, sequence_parallel


def objective_of(config: DictConfig) -> Objective:
    return Objective(**OmegaConf.to_container(config.sp3f.preference.objective, resolve=True))


def preference(config: DictConfig) -> None:
    mode, length = config.trainer.v1.trainer_mode, config.sp3f.preference.max_length
    wanted, does = ("selfplay", "generates") if "selfplay" in config.sp3f else ("dpo", "trains on given responses")
    if mode != wanted:
        raise BadInput(f"trainer.v1.trainer_mode={mode}, but the recipe {does}; set it to {wanted}.")
    objective_of(config)
    GuardSettings.read(OmegaConf.to_container(config.sp3f.guard, resolve=True), "sp3f.guard")
    if not isinstance(length, int) or length < 2:
        raise BadInput(f"sp3f.preference.max_length={length}; set it to a number of tokens, at least 2.")
    for name in ("dropout", "share_under_flash"):
        if not isinstance(value := config.sp3f.preference[name], bool):
            raise BadInput(f"sp3f.preference.{name}={value} is neither true nor false; give one of them.")
    if not config.sp3f.preference.reference_dir:
        raise BadInput("sp3f.preference.reference_dir is empty; give a folder for the reference's log-probs.")
    if config.trainer.get("max_actor_ckpt_to_keep") == 1:
        raise BadInput(
            "trainer.max_actor_ckpt_to_keep=1 removes the old checkpoint before the new one is whole; set it to 2."
        )


def group_batches(config: DictConfig) -> None:
    """With groups kept together, verl counts micro-batches in groups and fails on the first that does not divide."""
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    groups, workers = config.data.train_batch_size, config.trainer.n_gpus_per_node * config.trainer.nnodes
    if actor.use_dynamic_bsz != rollout.log_prob_use_dynamic_bsz:
        raise BadInput("actor.use_dynamic_bsz and rollout.log_prob_use_dynamic_bsz differ; set both to the same.")
    sequence_parallel(config)
    ranks = workers // actor.ulysses_sequence_parallel_size
    if groups % ranks:
        raise BadInput(f"data.train_batch_size={groups} is not a multiple of the {ranks} workers; set it to one.")
    if not actor.use_dynamic_bsz:
        size = actor.ppo_micro_batch_size_per_gpu
        if (groups // ranks) % size:
            raise BadInput(
                f"actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu={size} does not divide the {groups // ranks} "
                "prompts of a worker; set it to a divisor."
            )
        return
    longest = len(objective_of(config).roles) * config.sp3f.preference.max_length
    for key in ("actor.ppo_max_token_len_per_gpu", "rollout.log_prob_max_token_len_per_gpu"):
        limit = OmegaConf.select(config.actor_rollout_ref, key)
        if limit * actor.ulysses_sequence_parallel_size < longest:
            raise BadInput(
                f"actor_rollout_ref.{key}={limit} is less than a group of sp3f.preference.max_length tokens a "
                f"response; set it to at least {longest}."
            )


def rows(config: DictConfig) -> None:
    rows_of_roles(config, objective_of(config).roles)


def rows_of_roles(config: DictConfig, roles: Sequence[str]) -> None:
    """BadInput where the files do not hold rows with these roles, or too few of them to train on."""
    for key, paths in files(config):
        limit = OmegaConf.select(config, key.replace("files", "max_samples"))
        with named(key):
            answers = read_answers(paths, roles, limit)[0] if paths else []
        if key == "data.train_files":
            enough(config, key, len(answers))


def stored_reference(config: DictConfig) -> None:
    node = config.actor_rollout_ref.model
    check_model(Path(config.sp3f.preference.reference_dir), model_digest(node.path, node.get("lora_adapter_path")))


def same_objective(config: DictConfig) -> None:
    """A checkpoint goes on with the objective that it was trained with. Runs that began earlier have no record."""
    step, folder = resumed(config)
    record = ObjectiveRecord.read(folder) if step else None
    if record is None:
        return
    alone = {"mix": None}  # of a record, or a run, of one loss
    kept, now = {**alone, "loss": record.loss, **record.settings}, alone | objective_of(config).mapping
    for name, value in kept.items():
        if name in now and now[name] != value:
            raise BadInput(
                f"the checkpoint of step {step} in {folder} was trained with sp3f.preference.objective.{name}={value}, "
                f"not {now[name]}; set that back, or trainer.default_local_dir to a new folder to begin anew."
            )
