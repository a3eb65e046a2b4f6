"""What a composed recipe says of its model, devices and lengths, as `sp3f_verl.cost` takes it."""

from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.cost.devices import GIB, Device, find_device, known_device
from sp3f_verl.cost.memory import BF16, STEP, Training, kv_bytes, tokens_that_fit, training_bytes
from sp3f_verl.cost.model import ModelSize
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.trainers import keys_of, method_of

ASSUMED = "L40S"  # of a driver without a GPU: the paper's, the smallest that the recipes are written for
UNKNOWN_MODEL_TOKENS = 16_384  # of a micro-batch; the preflight says what is wrong with the model


def model_node(config: DictConfig) -> DictConfig:
    return keys_of(config).get(config, "model")


@cache
def _size(path: str, trust_remote_code: bool) -> ModelSize:
    return ModelSize.of(path, trust_remote_code)


def model_size(config: DictConfig) -> ModelSize:
    node = model_node(config)
    return _size(str(Path(node.path).expanduser()), bool(node.trust_remote_code))


@cache
def _present() -> tuple[str, float] | None:
    """Name and memory of the accelerator of this process, if it sees one."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return properties.name, float(properties.total_memory)


def gpu(config: DictConfig) -> Device:
    """The run's accelerator: sp3f.machine.gpu and memory_gib where set, else what this process sees, else ASSUMED."""
    name, gib = config.sp3f.machine.gpu, config.sp3f.machine.memory_gib
    present = _present()
    if name is None and present is not None:
        known = known_device(present[0])
        size = gib * GIB if gib else present[1]
        return Device(present[0], known.peak if known else 0.0, size, known.bandwidth if known else 0.0)
    return find_device(name or ASSUMED, gib)


def devices(config: DictConfig) -> int:
    return config.trainer.n_gpus_per_node * config.trainer.nnodes


def longest(config: DictConfig) -> int:
    """Tokens that one micro-batch must hold: a sequence, or all responses of a pair or triplet."""
    if (preference := config.sp3f.get("preference")) is None:
        return sum(OmegaConf.select(config, key) for key in keys_of(config).lengths)
    from sp3f_verl.losses.objective import Objective  # here: it takes torch

    try:
        roles = len(Objective(**OmegaConf.to_container(preference.objective, resolve=True)).roles)
    except BadInput:  # of which the preflight speaks
        roles = 2
    return roles * preference.max_length


def training_of(config: DictConfig) -> Training:
    node, engine = model_node(config), keys_of(config).get(config, "engine")
    return Training(
        devices=devices(config),
        longest=longest(config),
        checkpointing=node.enable_gradient_checkpointing,
        fused_head=bool(node.get("use_fused_kernels")),
        offload=bool(engine.param_offload),
        lora_rank=node.get("lora_rank") or 0,
        element=4 if config.sp3f.machine.dtype == "fp32" else 2,
    )


@cache
def _fitting(path: str, remote: bool, training: Training, device: Device) -> int:
    return tokens_that_fit(_size(path, remote), training, device)


def micro_tokens(config: DictConfig) -> int:
    """`${sp3f_tokens:}` of the recipes: tokens of a micro-batch that fit beside the model, at least a longest sequence.

    Asked whenever the value is read, also in runs whose model cannot be found.
    """
    node = model_node(config)
    try:
        tokens = _fitting(
            str(Path(node.path).expanduser()), bool(node.trust_remote_code), training_of(config), gpu(config)
        )
    except Exception:  # of a model that does not load the preflight says so, in its own words
        tokens = UNKNOWN_MODEL_TOKENS
    return max(tokens, -(-longest(config) // STEP) * STEP)


def generates(config: DictConfig) -> bool:
    """Whether rollout servers run."""
    return method_of(config) in ("rl", "selfplay")


def fits(config: DictConfig) -> None:
    """A check of the preflight, on GPUs: what a step and a rollout server hold against each device's memory."""
    if config.sp3f.device != "gpu":
        return
    model, training, device = model_size(config), training_of(config), gpu(config)
    have, mend = f"they have {device.memory / GIB:.0f} ({device.name})", "`sp3f plan` shows other machines"
    parts = training_bytes(model, training, training.longest)
    if (needed := sum(parts.values())) > device.memory:
        shown = ", ".join(f"{name} {size / GIB:.0f}" for name, size in parts.items())
        raise BadInput(
            f"a training step takes {needed / GIB:.0f} GiB on each of {training.devices} devices ({shown}), and "
            f"{have}; take more devices, a LoRA, or shorter sequences: {mend}."
        )
    if not generates(config):
        return
    rollout = config.actor_rollout_ref.rollout
    parallel, share = rollout.tensor_model_parallel_size, rollout.gpu_memory_utilization
    longest_sequence = config.data.max_prompt_length + config.data.max_response_length
    served = (BF16 * model.parameters + kv_bytes(model) * longest_sequence) / parallel
    if served > share * device.memory:
        raise BadInput(
            f"a rollout server takes {served / GIB:.0f} GiB on each of its {parallel} devices for weights and a "
            f"sequence, and gpu_memory_utilization={share:g} gives it {share * device.memory / GIB:.0f}; set "
            f"actor_rollout_ref.rollout.tensor_model_parallel_size to more: {mend}."
        )
    waiting = 0.0 if training.offload else parts["weights"] + parts["optimizer"]
    if waiting + share * device.memory > device.memory:
        raise BadInput(
            f"while rollouts run, weights and optimizer wait with {waiting / GIB:.0f} GiB on each device beside the "
            f"server's share (actor_rollout_ref.rollout.gpu_memory_utilization={share:g}), and {have}; lower it, or "
            "set actor_rollout_ref.actor.fsdp_config.param_offload and optimizer_offload to true."
        )
