"""Where the weights are: a Hub name, a Hugging Face folder, what verl writes in training, or a LoRA adapter."""

import json
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.training.checkpoints import latest_step

ADAPTER = "adapter_config.json"  # PEFT's
EXPORTED = ("", "actor/huggingface", "huggingface")  # a folder as it is; RL trainers' and SFT's within global_step_N
ADAPTERS = ("", "actor/lora_adapter", "lora_adapter")
_MERGE = "python -m verl.model_merger merge --backend fsdp --local_dir {shards} --target_dir MODEL"


def model_folder(path: str | Path, adapters: bool = True) -> str:
    """The Hub name or the folder that Hugging Face's libraries load, from either, a run, a step of it, or an adapter.

    Of a run the latest checkpoint; of a checkpoint the exported model, or, with `adapters`, the adapter where nothing
    is merged. BadInput where there are no weights that can be loaded.
    """
    folder = Path(path)
    if not folder.is_dir():
        if str(path).count("/") > 1 or str(path)[:1] in "./~":
            raise BadInput(f"{path} does not exist; give a folder with a model, or a name of the Hugging Face Hub.")
        return str(path)
    if step := latest_step(folder):
        folder /= f"global_step_{step}"
    if merged := next((folder / place for place in EXPORTED if _has_weights(folder / place)), None):
        return str(merged)
    adapter = next((folder / place for place in ADAPTERS if (folder / place / ADAPTER).is_file()), None)
    if adapter is not None and adapters:
        return str(adapter)
    if adapter is not None:
        raise BadInput(f"{adapter} is a LoRA adapter: give --model {adapter_base(adapter)} --adapter {adapter}.")
    if shards := next((path.parent for path in sorted(folder.glob("**/model_world_size_*_rank_*.pt"))), None):
        raise BadInput(
            f"{folder} holds FSDP shards only: merge them by `{_MERGE.format(shards=shards)}` and give --model MODEL, "
            "or train with hf_model in checkpoint.save_contents."
        )
    raise BadInput(f"{folder} holds no weights (*.safetensors beside a config.json): give a model's folder.")


def adapter_base(folder: str | Path) -> str | None:
    """The model that an adapter belongs to, None where the folder holds no adapter. BadInput where it does not say."""
    config = Path(folder) / ADAPTER
    if not config.is_file():
        return None
    try:
        base = _mapping(config).get("base_model_name_or_path")
    except (OSError, ValueError) as error:
        raise BadInput(f"{config} cannot be read ({type(error).__name__}); write it again with PEFT.") from None
    if not base or not isinstance(base, str):
        raise BadInput(f"{config} names no base_model_name_or_path; write the base model's path there.")
    return base


def check_chat_template(model: str) -> None:
    """BadInput where a folder's tokenizer has no chat template. Of a hub name nothing is known before it is loaded."""
    folder = Path(model)
    if not folder.is_dir() or any(folder.glob("chat_template*")) or any(folder.glob("additional_chat_templates/*")):
        return
    try:
        config = _mapping(folder / "tokenizer_config.json")
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{folder} has no tokenizer_config.json that can be read ({type(error).__name__}); add it."
        ) from None
    if not config.get("chat_template"):
        raise BadInput(
            f"{folder} has no chat template, by which a prompt becomes tokens: put the one that it was trained with "
            "into chat_template.jinja there."
        )


def _mapping(path: Path) -> dict[str, Any]:
    """A JSON file's object. OSError or ValueError where it holds none."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} in place of an object")
    return content


def _has_weights(folder: Path) -> bool:
    weights = (*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin"))
    return (folder / "config.json").is_file() and bool(weights)
