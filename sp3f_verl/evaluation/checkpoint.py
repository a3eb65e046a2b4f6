"""The folder with a model's weights: a model's own, or within a checkpoint of verl. Told wrong, one sentence."""

import json
from pathlib import Path

from sp3f_verl.errors import BadInput
from sp3f_verl.llm.folder import fingerprint

WITHIN = ("actor/huggingface", "huggingface")  # what verl's RL trainers and its SFT trainer leave in global_step_N
_LATEST = "latest_checkpointed_iteration.txt"
_MERGE = "python -m verl.model_merger merge --backend fsdp --local_dir {shards} --target_dir MODEL"


def model_of(name: str) -> str:
    """The folder to load of a model's folder, a checkpoint (global_step_N) or a run's checkpoints; a hub name as it is.

    BadInput where a folder holds no weights that can be loaded.
    """
    folder = Path(name)
    if not folder.is_dir():
        fingerprint(name)  # a path that leads nowhere is told now, and not after all problems were downloaded
        return name
    if (latest := folder / _LATEST).is_file():
        folder = folder / f"global_step_{latest.read_text().strip()}"
    inside = [folder / each for each in WITHIN if (folder / each).is_dir()]
    shards = next((each.parent for each in sorted(folder.glob("**/model_world_size_*_rank_*.pt"))), None)
    for place in [folder, *inside]:
        if (place / "config.json").is_file() and any((*place.glob("*.safetensors"), *place.glob("pytorch_model*.bin"))):
            return str(place)
    if shards is not None:
        raise BadInput(
            f"{folder} holds FSDP shards only: merge them by `{_MERGE.format(shards=shards)}` and give --model MODEL, "
            "or train with hf_model in checkpoint.save_contents."
        )
    if (folder / "adapter_config.json").is_file():
        base = json.loads((folder / "adapter_config.json").read_text()).get("base_model_name_or_path") or "BASE"
        raise BadInput(f"{folder} is a LoRA adapter: give --model {base} --adapter {folder}.")
    raise BadInput(f"{folder} holds no weights (*.safetensors beside a config.json): give a model's folder.")


def check_chat_template(model: str) -> None:
    """BadInput where a folder's tokenizer has no chat template. Of a hub name nothing is known before it is loaded."""
    folder = Path(model)
    if not folder.is_dir() or any(folder.glob("chat_template*")) or any(folder.glob("additional_chat_templates/*")):
        return
    try:
        told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{folder} has no tokenizer_config.json that can be read ({type(error).__name__}); add it."
        ) from None
    if not told.get("chat_template"):
        raise BadInput(
            f"{folder} has no chat template, by which a prompt becomes tokens: put the one that it was trained with "
            "into chat_template.jinja there."
        )
