"""The part of the preflight that reads the settings, pairs and stored references of preference training."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.preference.objective import Objective
from sp3f_verl.verl_bridge.preference.reference import check_model, fingerprint
from sp3f_verl.verl_bridge.preference.rows import read_pairs


def preference(config: DictConfig) -> None:
    settings, mode = config.sp3f.preference, config.trainer.v1.trainer_mode
    if mode != "dpo":
        raise BadInput(f"trainer.v1.trainer_mode={mode}, but the recipe trains on pairs; set it to dpo.")
    objective = Objective.from_mapping(OmegaConf.to_container(settings.objective, resolve=True))
    if len(objective.roles) != 2:
        raise BadInput(f"sp3f.preference.objective.loss={objective.loss} needs triplets; use dpo, simpo or spin.")
    length = settings.max_length
    if not isinstance(length, int) or length < 2:
        raise BadInput(f"sp3f.preference.max_length={length}; set it to a number of tokens, at least 2.")


def pair_batches(config: DictConfig) -> None:
    """With groups kept together, verl counts micro-batches in groups and fails on the first that does not divide."""
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    pairs, workers = config.data.train_batch_size, config.trainer.n_gpus_per_node * config.trainer.nnodes
    if actor.use_dynamic_bsz != rollout.log_prob_use_dynamic_bsz:
        raise BadInput("actor.use_dynamic_bsz and rollout.log_prob_use_dynamic_bsz differ; set both to the same.")
    ranks = workers // actor.ulysses_sequence_parallel_size
    if pairs % ranks:
        raise BadInput(f"data.train_batch_size={pairs} is not a multiple of the {ranks} workers; set it to one.")
    if not actor.use_dynamic_bsz:
        if (pairs // ranks) % actor.ppo_micro_batch_size_per_gpu:
            raise BadInput(
                f"actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu={actor.ppo_micro_batch_size_per_gpu} does not "
                f"divide the {pairs // ranks} pairs of a worker; set it to a divisor."
            )
        return
    for key in ("actor.ppo_max_token_len_per_gpu", "rollout.log_prob_max_token_len_per_gpu"):
        limit, longest = OmegaConf.select(config.actor_rollout_ref, key), 2 * config.sp3f.preference.max_length
        if limit * actor.ulysses_sequence_parallel_size < longest:
            raise BadInput(
                f"actor_rollout_ref.{key}={limit} is less than a pair of 2 x sp3f.preference.max_length tokens; set it "
                f"to at least {longest}."
            )


def pairs(config: DictConfig) -> None:
    for key in ("train_files", "val_files"):
        files = config.data[key]
        if not files and key == "train_files":
            raise BadInput("data.train_files is empty; give a parquet file of pairs.")
        try:
            found = len(read_pairs(files if isinstance(files, str) else list(files))[0]) if files else None
        except BadInput as error:
            raise BadInput(f"data.{key}: {error}") from None
        if key == "train_files" and found < config.data.train_batch_size:
            size = config.data.train_batch_size
            raise BadInput(f"data.train_batch_size={size}, but there are {found} usable pairs; set it lower.")


def stored_reference(config: DictConfig) -> None:
    node = config.actor_rollout_ref.model
    check_model(Path(config.sp3f.preference.reference_dir), fingerprint(node.path, node.get("lora_adapter_path")))
