"""The part of the preflight about checkpoints: what the first one would meet after hours is met before the run starts.

Every file that a checkpoint writes again (config, generation config, tokenizer with its template, one weight under the
name that the model's class gives it) is written into the run's folder once and read back. The model is built without
memory for its weights: 0.1 s for a small one, 1.5 s for 70 billion parameters. What saving all of them would cost is
told by their number.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from sp3f_verl.errors import BadInput
from sp3f_verl.log import log
from sp3f_verl.training.checkpoints import TRACKER
from sp3f_verl.verl_bridge.preflight.files import first_process
from sp3f_verl.verl_bridge.preflight.model import skeleton
from sp3f_verl.verl_bridge.preflight.run import model_of
from sp3f_verl.verl_bridge.trainers import keys_of, method_of

KINDS = ("ForCausalLM", "ForConditionalGeneration", "ForTokenClassification")  # by which verl exports a model
STATES = {"RMSprop": 1, "SGD": 0}  # numbers a parameter that an optimiser keeps; Adam and its kin: 2
FEW = 3  # checkpoints; where fewer fit, that is told


def saving(config: DictConfig) -> None:
    """BadInput where a checkpoint could not be written, or read again."""
    frequency = config.trainer.save_freq
    # SFT and self-play save the last step, whatever save_freq is
    always = method_of(config) in ("sft", "selfplay")
    if frequency != "after_each_epoch" and frequency <= 0 and not always:
        return
    if "://" in str(config.trainer.default_local_dir):
        return
    node, path = model_of(config)
    home = Path(config.trainer.default_local_dir).expanduser().absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".tried_") as folder:
            _texts(node, path, folder)
            parameters = _weight(config, node, path, Path(folder))
    except OSError as error:
        raise BadInput(
            f"trainer.default_local_dir={home} cannot be written ({error.strerror or error}); set it to another folder."
        ) from None
    _room(home, bytes_of(config, parameters))


def _texts(node: DictConfig, path: str, folder: str) -> None:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    remote = {"trust_remote_code": node.trust_remote_code}
    with _refused(node, "generation_config.json"), suppress(OSError):  # a model folder without one
        GenerationConfig.from_pretrained(path).save_pretrained(folder)
    with _refused(node, "config.json"):
        AutoConfig.from_pretrained(path, **remote).save_pretrained(folder)
    with _refused(node, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(node.tokenizer_path or path, **remote)
        tokenizer.save_pretrained(folder)
        kept = AutoTokenizer.from_pretrained(folder, **remote)
    if kept.get_vocab() != tokenizer.get_vocab() or kept.chat_template != tokenizer.chat_template:
        raise BadInput(f"the tokenizer of {node.path} is another one once it is saved; save it with transformers.")


@contextmanager
def _refused(node: DictConfig, name: str) -> Iterator[None]:
    """Whatever a file makes transformers raise, as one sentence. What the disk refuses goes through."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"no checkpoint could be saved: {name} of {node.path} ({reason}); mend that.") from None


def _weight(config: DictConfig, node: DictConfig, path: str, folder: Path) -> int:
    """The number of the model's parameters; its smallest one is written as verl's export writes them, and read."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig

    settings = AutoConfig.from_pretrained(path, trust_remote_code=node.trust_remote_code)
    if "hf_model" in contents_of(config) and not any(kind in settings.architectures[0] for kind in KINDS):
        raise BadInput(
            f"no checkpoint could be saved: verl exports no {settings.architectures[0]} of {node.path}; set "
            f"{keys_of(config).checkpoint}.save_contents=[model,optimizer,extra]."
        )
    with _refused(node, "the model"):
        model = skeleton(node, settings)
    name, smallest = min(model.named_parameters(), key=lambda named: named[1].numel())
    written = torch.linspace(-1, 1, smallest.numel()).reshape(smallest.shape)
    with _refused(node, name):
        model.save_pretrained(folder, state_dict={name: written})
    read = [weight for file in folder.glob("*.safetensors") for weight in load_file(file).values()]
    if not any(torch.equal(weight, written) for weight in read):  # under which name, the class decides
        raise BadInput(f"{name} of {node.path} is another weight once it is saved to {folder.parent}; mend that disk.")
    return sum(parameter.numel() for parameter in model.parameters())


def contents_of(config: DictConfig) -> list[str]:
    return list(keys_of(config).get(config, "checkpoint").save_contents)


def bytes_of(config: DictConfig, parameters: int) -> int:
    """What a checkpoint takes: 4 bytes a number (verl keeps the trained weights in fp32). An adapter counts nothing."""
    node, contents, keys = model_of(config)[0], contents_of(config), keys_of(config)
    adapter = node.get("lora_rank", 0) > 0 or node.get("lora_adapter_path") is not None
    alone = adapter and OmegaConf.select(config, f"{keys.checkpoint}.save_lora_only")
    copies = ("model" in contents and not alone) + ("hf_model" in contents)
    states = STATES.get(keys.get(config, "optimizer").get("optimizer"), 2)
    copies += 0 if adapter or "optimizer" not in contents else states
    return 4 * copies * parameters


def _room(home: Path, size: int) -> None:
    free = shutil.disk_usage(home).free
    if size * FEW <= free:
        return
    sizes = f"a checkpoint takes {size / 1e9:.1f} GB, and {home} has {free / 1e9:.1f} GB free"
    if size <= free or (home / TRACKER).is_file():  # a run that goes on may remove older ones first
        if first_process():
            log.warning(f"{sizes}; max_actor_ckpt_to_keep (SFT: max_ckpt_to_keep) removes older ones.")
        return
    raise BadInput(
        f"{sizes}; make room, set trainer.default_local_dir to another disk, or leave hf_model out of the checkpoint's "
        "save_contents."
    )
