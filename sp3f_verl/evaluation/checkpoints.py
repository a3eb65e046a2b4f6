"""Where the weights are: a Hub name, a Hugging Face folder, what verl writes in training, or a LoRA adapter."""

import json
from pathlib import Path

from sp3f_verl.errors import BadInput

LATEST = "latest_checkpointed_iteration.txt"  # verl's, in a run's folder
ADAPTER = "adapter_config.json"  # PEFT's


def model_folder(path: str | Path) -> str:
    """The Hub name or the folder that Hugging Face's libraries load, from either, a run, a step of it, or an adapter.

    Of a run the latest checkpoint; of a checkpoint the exported model, or the adapter where nothing is merged.
    BadInput where there are no weights.
    """
    folder = Path(path)
    if not folder.exists():
        if str(path).count("/") > 1 or str(path)[:1] in "./~":
            raise BadInput(f"{path} does not exist; give a folder with a model, or a name of the Hugging Face Hub.")
        return str(path)
    if (folder / LATEST).is_file():
        folder /= f"global_step_{(folder / LATEST).read_text().strip()}"
    if (folder / "actor").is_dir():  # of RL, preference and self-play runs; SFT writes one level higher
        folder /= "actor"
    places = (folder, folder / "huggingface", folder / "lora_adapter")
    found = next((place for place in places if _has_weights(place)), None)
    if found is None:
        raise BadInput(
            f"{path} has no model's weights; give a Hugging Face folder, or write one from verl's shards by "
            f"`python -m verl.model_merger merge --backend fsdp --local_dir {folder} --target_dir merged`."
        )
    return str(found)


def adapter_base(folder: str | Path) -> str | None:
    """The model that an adapter belongs to, None where the folder holds no adapter. BadInput where it does not say."""
    config = Path(folder) / ADAPTER
    if not config.is_file():
        return None
    base = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise BadInput(f"{config} names no base_model_name_or_path; write the base model's path there.")
    return base


def _has_weights(folder: Path) -> bool:
    if (folder / ADAPTER).is_file():
        return True
    weights = (*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin"))
    return (folder / "config.json").is_file() and bool(weights)
