"""Checks a run before Ray and vLLM start (a Hydra callback of every recipe): one clear sentence instead of a stack.

Hydra swallows the exceptions of a callback, but not SystemExit.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from sp3f_verl.data.check import check_rl, check_sft
from sp3f_verl.errors import BadInput
from sp3f_verl.judge.registry import NEEDS_REFERENCE, load_judge
from sp3f_verl.languages import UnknownLanguage, get
from sp3f_verl.rewards.terms import check_weights
from sp3f_verl.verl_bridge.versions import check_versions

GROUP_MANAGER = "sp3f_verl.verl_bridge.group.GroupAgentLoopManager"
SHARED_MEMORY = "/dev/shm"
SHARED_MEMORY_MIB = 256  # what a small run needs: Ray's object store and the buffer of a weight sync


class Preflight(Callback):
    """Runs every check in order; the first that fails ends the process with its sentence and exit code 1."""

    def on_job_start(self, config: DictConfig, **_kwargs) -> None:
        try:
            for check in CHECKS:
                check(config)
        except (BadInput, UnknownLanguage) as error:
            if int(os.environ.get("RANK", "0")) == 0:  # torchrun starts one process a worker
                print(f"sp3f_verl: {error}", file=sys.stderr, flush=True)
            raise SystemExit(1) from None


def plugin_loaded(config: DictConfig) -> None:
    if "sp3f_verl.plugin" not in sys.modules:
        policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS")
        why = f"VERL_USE_EXTERNAL_PLUGINS={policy} keeps it from doing so" if policy else "run `sp3f doctor` for why"
        raise BadInput(f"verl did not load the plugin sp3f_verl, without which the recipe cannot run; {why}.")


def device(config: DictConfig) -> None:
    from verl.plugin.platform import get_platform

    wanted, found = config.sp3f.device, get_platform().device_name
    address = OmegaConf.select(config, "ray_kwargs.ray_init.address") or os.environ.get("RAY_ADDRESS")
    if wanted == "cpu" and found != "cpu":
        raise BadInput(f"device=cpu, but verl found {found}; set VERL_PLATFORM=cpu so that every process agrees.")
    if wanted == "gpu" and found == "cpu" and not address:
        raise BadInput("device=gpu, but verl finds no accelerator here; use device=cpu, or RAY_ADDRESS for a cluster.")
    os.environ["SP3F_DEVICE"] = wanted  # inherited by Ray and handed on to a Ray that runs elsewhere
    os.environ["SP3F_LOGICAL_GPUS"] = str(config.trainer.n_gpus_per_node)
    if wanted == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(1)  # with one process a worker, more threads wait for each other: 20 times slower, seen


def shared_memory(config: DictConfig, path: str = SHARED_MEMORY) -> None:
    mend = "give the container shared memory (docker run --shm-size=8g)"
    if not os.path.isdir(path) or not os.access(path, os.W_OK):
        raise BadInput(f"{path} cannot be written, but verl syncs weights through it; {mend}.")
    free = shutil.disk_usage(path).free // 2**20
    if free < SHARED_MEMORY_MIB:
        raise BadInput(f"{path} has {free} MiB free and a run needs {SHARED_MEMORY_MIB}; {mend}.")


def model(config: DictConfig) -> None:
    from transformers import AutoTokenizer

    node = config.model if config.sp3f.trainer == "sft_trainer" else config.actor_rollout_ref.model
    key = "model.path" if config.sp3f.trainer == "sft_trainer" else "actor_rollout_ref.model.path"
    path = str(Path(node.path).expanduser())
    looks_local = path.startswith(("/", ".")) or path.count("/") != 1
    if looks_local and not Path(path).is_dir():
        raise BadInput(f"{key}={node.path} does not exist; give a Hugging Face model folder or name.")
    if Path(path).is_dir() and not (Path(path) / "config.json").is_file():
        raise BadInput(f"{key}={node.path} has no config.json; give a Hugging Face model folder.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(node.tokenizer_path or path, trust_remote_code=node.trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(f"{key}={node.path} has no tokenizer that loads ({reason}); mend the model folder.") from None
    if tokenizer.chat_template is None and node.custom_chat_template is None:
        raise BadInput(f"the tokenizer of {key}={node.path} has no chat template; set model.custom_chat_template.")


def reward(config: DictConfig) -> None:
    if config.sp3f.trainer != "main_ppo" or config.reward.reward_manager.name != "sp3f":
        return
    settings = config.sp3f
    weights = OmegaConf.to_container(settings.reward.weights)
    try:
        check_weights(weights)
    except ValueError as error:
        raise BadInput(f"sp3f.reward.weights: {error}") from None
    try:
        judge = load_judge(settings.judge.name)
    except ValueError as error:
        raise BadInput(str(error)) from None
    if config.reward.custom_reward_function.path is not None:
        raise BadInput("reward.custom_reward_function is not added up with our terms yet; set it to null.")
    if config.reward.reward_model.enable:
        raise BadInput(
            "reward.reward_model is not asked by reward manager sp3f yet; set reward.reward_model.enable=False."
        )
    manager = config.actor_rollout_ref.rollout.agent.get("agent_loop_manager_class")
    if judge is not None and manager != GROUP_MANAGER:
        raise BadInput(
            f"agent_loop_manager_class={manager}, but a pairwise judge needs {GROUP_MANAGER}; set it to that."
        )
    weight = weights.get("judge", 0.0)
    if judge is None and weight:
        raise BadInput(f"sp3f.reward.weights.judge={weight} with judge=none; set it to 0 or name a judge.")
    if judge is not None and not weight:
        raise BadInput(f"judge={settings.judge.name} has sp3f.reward.weights.judge=0; raise it or use judge=none.")
    if judge is not None and config.actor_rollout_ref.rollout.n < 2:
        n = config.actor_rollout_ref.rollout.n
        raise BadInput(f"actor_rollout_ref.rollout.n={n}, but a pairwise judge compares siblings; set it to 2 or more.")


def batches(config: DictConfig) -> None:
    """verl cuts a worker's rows into micro-batches of equal size, and fails on the first batch where that cannot be."""
    workers = config.trainer.n_gpus_per_node * config.trainer.nnodes
    if config.sp3f.trainer == "sft_trainer":
        rows, keys = config.data.train_batch_size / workers, ["data.micro_batch_size_per_gpu"]
        dynamic, what = config.data.use_dynamic_bsz, "rows of a worker (data.train_batch_size / workers)"
    else:
        ref = config.actor_rollout_ref
        rows = config.data.train_batch_size * ref.rollout.n / workers
        keys = ["actor.ppo_micro_batch_size_per_gpu", "rollout.log_prob_micro_batch_size_per_gpu"]
        keys = [f"actor_rollout_ref.{key}" for key in keys]
        dynamic, what = ref.actor.use_dynamic_bsz, "rollouts of a worker (data.train_batch_size x rollout.n / workers)"
    for key in () if dynamic else keys:
        size = OmegaConf.select(config, key)
        if size and rows % size:
            raise BadInput(f"{key}={size} does not divide the {rows:g} {what}; set it to a divisor.")


def data(config: DictConfig) -> None:
    for key in ("train_files", "val_files"):
        files = config.data[key]
        if files is None:
            continue
        for path in [files] if isinstance(files, str) else files:
            try:
                if config.sp3f.trainer == "sft_trainer":
                    check_sft(path, config.data.messages_key)
                else:
                    check_rl(path, config.sp3f.judge.name in NEEDS_REFERENCE)
            except BadInput as error:
                raise BadInput(f"data.{key}: {error}") from None


def declared_languages(config: DictConfig) -> None:
    for code in config.sp3f.get("languages") or ():
        get(code)


CHECKS: tuple[Callable[[DictConfig], None], ...] = (
    plugin_loaded,
    check_versions,
    device,
    shared_memory,
    reward,
    declared_languages,
    batches,
    data,
    model,
)
