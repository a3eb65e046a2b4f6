"""Checks a run before Ray and vLLM start (a Hydra callback of every recipe): one clear sentence instead of a stack.

Hydra swallows the exceptions of a callback, but not SystemExit.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.log import log
from sp3f_verl.training.metrics_log import next_file
from sp3f_verl.verl_bridge import sizes
from sp3f_verl.verl_bridge.cpu.platform import CHECK_VARIABLE
from sp3f_verl.verl_bridge.preflight import judge as preflight_judge
from sp3f_verl.verl_bridge.preflight import preference as preflight_preference
from sp3f_verl.verl_bridge.preflight import rl as preflight_rl
from sp3f_verl.verl_bridge.preflight import run as preflight_run
from sp3f_verl.verl_bridge.preflight import saving as preflight_saving
from sp3f_verl.verl_bridge.preflight import selfplay as preflight_selfplay
from sp3f_verl.verl_bridge.preflight import sft as preflight_sft
from sp3f_verl.verl_bridge.preflight import teacher as preflight_teacher
from sp3f_verl.verl_bridge.preflight.computed import cap_steps, computed, put_down
from sp3f_verl.verl_bridge.preflight.files import first_process
from sp3f_verl.verl_bridge.preflight.keys import built, keys, never_learns
from sp3f_verl.verl_bridge.preflight.model import model_settings
from sp3f_verl.verl_bridge.preflight.unread import unread
from sp3f_verl.verl_bridge.trainers import is_sft, keys_of, method_of
from sp3f_verl.verl_bridge.versions import check_versions

Check = Callable[[DictConfig], None]  # raises BadInput, one sentence

FILE_LOG = "VERL_FILE_LOGGER_PATH"  # verl's variable
SHARED_MEMORY = "/dev/shm"
SHARED_MEMORY_MIB = 256  # what a small run needs: Ray's object store and the buffer of a weight sync


class Preflight(Callback):
    """Runs every check in order; the first that fails ends the process with its sentence and exit code 1."""

    _changed: str | None = None  # told when every check has passed

    def on_run_start(self, config: DictConfig, **_kwargs) -> None:
        """The last moment at which the run takes what is set here: Hydra hands it a copy."""
        put_down(config)
        if method_of(config) in ("sft", "rl"):
            self._changed = cap_steps(config)

    def on_job_start(self, config: DictConfig, **_kwargs) -> None:
        for check in checks_of(config):
            try:
                check(config)
            except BadInput as error:
                self._stop(str(error))
            except Exception as error:  # Hydra would only warn, and the run go on unchecked
                reason = " ".join(str(error).split())
                self._stop(f"the check {check.__name__!r} failed with {type(error).__name__}: {reason}.")
        if self._changed and first_process():
            log.info(self._changed)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_kwargs) -> None:
        """What a trainer or a worker refused ends the run as what is refused here does, without the stacks of Ray."""
        error = job_return._return_value
        while isinstance(cause := getattr(error, "cause", None), Exception):  # Ray's, of the worker's own
            error = cause
        if isinstance(error, BadInput):
            self._stop(str(error))
        if not isinstance(error, BaseException) and (sentence := never_learns(config)):
            self._stop(f"the run is over and learned nothing: {sentence}")

    @staticmethod
    def _stop(sentence: str) -> NoReturn:
        if first_process():
            print(f"sp3f_verl: {sentence}", file=sys.stderr, flush=True)  # no level of logging hides why a run ended
        raise SystemExit(1)


def plugin_loaded(config: DictConfig) -> None:
    if "sp3f_verl.plugin" not in sys.modules:
        policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS")
        why = f"VERL_USE_EXTERNAL_PLUGINS={policy} keeps it from doing so" if policy else "run `sp3f doctor` for why"
        raise BadInput(f"verl did not load the plugin sp3f_verl, without which the recipe cannot run; {why}.")


def device(config: DictConfig) -> None:
    from verl.plugin.platform import get_platform

    wanted, present = config.sp3f.device, get_platform().device_name
    address = OmegaConf.select(config, "ray_kwargs.ray_init.address") or os.environ.get("RAY_ADDRESS")
    if wanted == "cpu" and present != "cpu":
        raise BadInput(f"device=cpu, but verl found {present}; set VERL_PLATFORM=cpu so that every process agrees.")
    if wanted == "gpu" and present == "cpu" and not address:
        raise BadInput("device=gpu, but verl finds no accelerator here; use device=cpu, or RAY_ADDRESS for a cluster.")
    place = keys_of(config).strategy
    if wanted == "cpu" and (strategy := OmegaConf.select(config, place)) != "fsdp2":
        raise BadInput(f"{place}={strategy} takes an accelerator; set it to fsdp2 with device=cpu.")
    os.environ["SP3F_DEVICE"] = wanted  # inherited by Ray and handed on to a Ray that runs elsewhere
    judges = OmegaConf.select(config, "reward.reward_model")
    judge_gpus = judges.n_gpus_per_node if judges and judges.enable and judges.enable_resource_pool else 0
    teachers = OmegaConf.select(config, "distillation")
    teacher_gpus = teachers.n_gpus_per_node * teachers.nnodes if teachers and teachers.enabled else 0
    os.environ["SP3F_LOGICAL_GPUS"] = str(config.trainer.n_gpus_per_node + judge_gpus + teacher_gpus)
    if wanted == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(1)  # with one process a worker, more threads wait for each other: 20 times slower, seen


def learning(config: DictConfig) -> None:
    """Told at the start; at its end such a run is not taken for a good one (`Preflight.on_job_end`)."""
    if (sentence := never_learns(config)) and first_process():
        log.warning(f"nothing will be learned, and the run will end with exit code 1: {sentence}")


def engine_check(config: DictConfig) -> None:
    """Hands `sp3f.check.engine` on to the workers."""
    from sp3f_verl.verl_bridge.engine.check import MODES

    mode = config.sp3f.check.engine
    mode = "off" if mode is False else mode  # YAML's
    if mode not in MODES:
        raise BadInput(f"sp3f.check.engine={mode}; use one of {', '.join(MODES)}{nearest(str(mode), MODES)}.")
    os.environ[CHECK_VARIABLE] = mode


def shared_memory(config: DictConfig, path: str = SHARED_MEMORY) -> None:
    mend = "give the container shared memory (docker run --shm-size=8g)"
    if not os.path.isdir(path) or not os.access(path, os.W_OK):
        raise BadInput(f"{path} cannot be written, but verl syncs weights through it; {mend}.")
    free = shutil.disk_usage(path).free // 2**20
    if free < SHARED_MEMORY_MIB:
        raise BadInput(f"{path} has {free} MiB free and a run needs {SHARED_MEMORY_MIB}; {mend}.")


def model(config: DictConfig) -> None:
    from transformers import AutoTokenizer

    node, key = sizes.model_node(config), f"{keys_of(config).model}.path"
    path = str(Path(node.path).expanduser())
    looks_local = path.startswith(("/", ".")) or path.count("/") != 1
    if looks_local and not Path(path).is_dir():
        raise BadInput(f"{key}={node.path} does not exist; give a Hugging Face model folder or name.")
    if Path(path).is_dir() and not (Path(path) / "config.json").is_file():
        raise BadInput(f"{key}={node.path} has no config.json; give a Hugging Face model folder.")
    source, key = (node.tokenizer_path, f"{key[:-4]}tokenizer_path") if node.tokenizer_path else (path, key)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=node.trust_remote_code)
    except Exception as error:  # transformers raises what its files make it raise, KeyError among others
        reason = f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
        raise BadInput(f"{key}={source} has no tokenizer that loads ({reason}); mend the model folder.") from None
    if tokenizer.chat_template is None and node.custom_chat_template is None:
        raise BadInput(f"the tokenizer of {key}={source} has no chat template; set custom_chat_template beside it.")


def batches(config: DictConfig) -> None:
    """verl cuts a worker's rows into micro-batches of equal size, and fails on the first batch where that cannot be."""
    workers, data = config.trainer.n_gpus_per_node * config.trainer.nnodes, config.data
    # (key of the micro-batch, rows of all workers, sequence-parallel size, whether it is cut by tokens instead)
    if is_sft(config):
        workers = int(os.environ.get("WORLD_SIZE", workers))  # torchrun decides
        split = config.engine.ulysses_sequence_parallel_size
        cuts = [("data.micro_batch_size_per_gpu", data.train_batch_size, split, data.use_dynamic_bsz)]
    else:
        actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
        split, dynamic = actor.ulysses_sequence_parallel_size, rollout.log_prob_use_dynamic_bsz
        key = "actor_rollout_ref.{}_micro_batch_size_per_gpu"
        cuts = [
            (key.format("actor.ppo"), actor.ppo_mini_batch_size * rollout.n, split, actor.use_dynamic_bsz),
            (key.format("rollout.log_prob"), data.train_batch_size * rollout.n, split, dynamic),
        ]
    preflight_run.sequence_parallel(config)
    for key, rows, split, dynamic in cuts:
        size, sequences = OmegaConf.select(config, key), rows * split / workers
        if size and not dynamic and sequences % size:
            raise BadInput(
                f"{key}={size} does not divide the {sequences:g} sequences of a worker; set it to a divisor."
            )


def file_log(config: DictConfig) -> None:
    """Where verl's file logger writes (trainer.logger=[..., file]): into the run's folder, a file an attempt, which is
    where `sp3f report` looks.

    A variable that is set stays. It reaches the processes that this one starts, not those of a cluster.
    """
    if "file" not in config.trainer.logger or os.environ.get(FILE_LOG):
        return
    folder = Path(config.trainer.default_local_dir).expanduser().absolute() / "metrics"
    os.environ[FILE_LOG] = str(next_file(folder))


class Method(NamedTuple):
    """What is asked about a way of training, beside what is asked about all of them."""

    settings: tuple[Check, ...]
    rows: Check
    with_model: tuple[Check, ...]  # what takes the model's files, the run's folder or a server to say


METHODS: dict[str, Method] = {
    "rl": Method(
        (
            preflight_rl.reward,
            preflight_judge.judge,
            preflight_teacher.distill,
            preflight_teacher.token_credit,
            preflight_rl.group,
            preflight_rl.rollout,
            preflight_rl.declared_languages,
            batches,
        ),
        preflight_rl.rows,
        (
            *(preflight_run.kv_cache, preflight_judge.room, preflight_teacher.vocabulary, preflight_teacher.room),
            *(preflight_judge.judge_answers, file_log),
        ),
    ),
    "preference": Method(
        (preflight_preference.preference, preflight_preference.group_batches),
        preflight_preference.rows,
        (preflight_preference.stored_reference, preflight_preference.same_objective),
    ),
    "selfplay": Method(
        (preflight_preference.preference, preflight_selfplay.selfplay, preflight_preference.group_batches),
        preflight_selfplay.annotated_rows,
        (preflight_selfplay.positions, preflight_run.kv_cache, preflight_selfplay.recorded_run),
    ),
    "sft": Method((batches,), preflight_sft.rows, (preflight_sft.mask, file_log)),
}


def checks_of(config: DictConfig) -> tuple[Check, ...]:
    """Every check of a run in the order in which all runs are asked: what costs least comes first."""
    method = METHODS[method_of(config)]
    machine = (
        plugin_loaded,
        check_versions,
        keys,
        unread,
        computed,
        built,
        device,
        shared_memory,
        engine_check,
        learning,
    )
    of_the_model = (
        model,
        model_settings,
        preflight_run.attention,
        preflight_run.adapter,
        preflight_run.longest_row,
        sizes.fits,
        preflight_run.vocabulary,
    )
    of_the_model = (*of_the_model, preflight_saving.saving)
    resume = (preflight_run.goes_on, preflight_run.same_data)
    resume = resume[:1] if method_of(config) == "selfplay" else resume  # that has a record of its own
    return (*machine, *method.settings, preflight_run.loggers, method.rows, *of_the_model, *method.with_model, *resume)
