"""What a model's folder holds, as a short name: no store may answer with the model that was there before."""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from sp3f_verl.errors import BadInput, one_line

EDGE = 1 << 20  # bytes at each end of a file that are read: retrained weights differ everywhere
READ = (".safetensors", ".bin", ".pt", ".json", ".jinja", ".txt", ".model")
TEMPLATES = "additional_chat_templates"  # transformers' folder of named templates beside the default one

Signature = tuple[tuple[str, int, int], ...]  # name, size and time of change of each file


def fingerprint(model: str | os.PathLike, adapter: str | os.PathLike | None = None) -> str:
    """`name@16 hex digits` of a model's folder, `+name@...` of its adapter's; a name of the Hugging Face hub as it is.

    For what people read and a store keeps together with answers. Raises BadInput where a path leads to no model.
    """
    return "+".join(_labelled(part) for part in (model, adapter) if part is not None)


def model_digest(model: str | os.PathLike, adapter: str | os.PathLike | None = None) -> str:
    """The digits of `fingerprint` alone, the same wherever the folders lie and whatever they are called.

    For what is kept beside a run: reference log-probs, the responses of a self-play policy. Every folder has a digest,
    verl's shards too; what is no folder stands for itself.
    """
    parts = [Path(part).expanduser() for part in (model, adapter) if part is not None]
    return "+".join(_digest(part) if part.is_dir() else str(part) for part in parts)


def earlier_version(digest: str) -> bool:
    """Whether a run has kept a model's name as earlier versions made it: of weights and config alone, 64 hex digits.

    Such a name can be compared with none of today's, so what is kept under it is refused in words of its own.
    """
    return len(digest) == 64 and "/" not in digest


@contextlib.contextmanager
def loading(model: str | os.PathLike, kind: str = "model") -> Iterator[None]:
    """BadInput, one sentence, for whatever the block raises: transformers raises many kinds, and says paragraphs."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        reason = one_line(error, 160).rstrip(".")
        raise BadInput(f"{model} is no {kind} that can be loaded ({reason}); name one, whole, by --model.") from error


def lora_rank(adapter: Path) -> int:
    """The adapter's rank. BadInput where the folder holds no LoRA adapter."""
    try:
        rank = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"--adapter={adapter} is no LoRA adapter ({type(error).__name__}: {error}).") from None
    return int(rank)


def _labelled(model: str | os.PathLike) -> str:
    folder = Path(model)
    if not folder.is_dir():
        if folder.is_absolute() or str(model).count("/") != 1 or str(model).startswith("."):
            raise BadInput(f"--model={str(model)!r} is no folder: name one that holds a config.json, or a hub id.")
        return str(model)
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise BadInput(f"{folder} holds neither a config.json nor an adapter_config.json: name a model's folder.")
    return f"{folder.resolve().name}@{_digest(folder)}"


def _digest(folder: Path) -> str:
    """16 hex digits over weights, config, tokenizer and chat templates: names, sizes, and both ends of each file."""
    files = sorted(file for file in folder.iterdir() if file.suffix in READ)
    files += sorted((folder / TEMPLATES).glob("*.jinja"))
    stats = [(str(file.relative_to(folder)), file.stat()) for file in files]
    return _hashed(folder.resolve(), tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


@functools.lru_cache(maxsize=64)
def _hashed(folder: Path, signature: Signature) -> str:
    """Reads a folder once a process, and again where a file has changed meanwhile."""
    digest = hashlib.sha256()
    for name, size, _ in signature:
        with (folder / name).open("rb") as opened:
            digest.update(json.dumps([name, size]).encode() + opened.read(EDGE))
            if size > EDGE:
                opened.seek(max(EDGE, size - EDGE))
                digest.update(opened.read())
    return digest.hexdigest()[:16]
