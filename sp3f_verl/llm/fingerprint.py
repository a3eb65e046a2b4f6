"""What a model's folder holds, as a short name: the store must not answer with the model that was there before."""

import hashlib
import json
import os
from pathlib import Path

from sp3f_verl.errors import BadInput

EDGE = 1 << 20  # bytes at each end of a file that are read: retrained weights differ everywhere
READ = (".safetensors", ".bin", ".json", ".jinja", ".txt", ".model")


def fingerprint(model: str | os.PathLike) -> str:
    """`name@16 hex digits` of a folder's files (names, sizes, both ends); a name of the Hugging Face hub as it is.

    The same for a copy of the folder elsewhere. BadInput where a path leads to no model.
    """
    folder = Path(model)
    if not folder.is_dir():
        if folder.is_absolute() or str(model).count("/") != 1 or str(model).startswith("."):
            raise BadInput(f"--model={str(model)!r} is no folder: name one that holds a config.json, or a hub id.")
        return str(model)
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise BadInput(f"{folder} holds neither a config.json nor an adapter_config.json: name a model's folder.")
    digest = hashlib.sha256()
    for file in sorted(each for each in folder.iterdir() if each.suffix in READ):
        size = file.stat().st_size
        with file.open("rb") as opened:
            digest.update(json.dumps([file.name, size]).encode() + opened.read(EDGE))
            if size > EDGE:
                opened.seek(max(EDGE, size - EDGE))
                digest.update(opened.read())
    return f"{folder.resolve().name}@{digest.hexdigest()[:16]}"


def lora_rank(adapter: Path) -> int:
    """The adapter's rank. BadInput where the folder holds no LoRA adapter."""
    try:
        rank = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"--adapter={adapter} is no LoRA adapter ({type(error).__name__}: {error}).") from None
    return int(rank)
