"""A model as the harnesses want it named."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.checkpoints import ADAPTER, adapter_base, model_folder

BACKENDS = {  # of --backend -> lm-eval's model type
    "transformers": "hf",
    "vllm": "vllm",
    "completions": "local-completions",
    "openai": "local-chat-completions",
}


def lm_eval_model(
    model: str, backend: str | None, base_url: str | None, tokenizer: str | None, more: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """(lm-eval's model type, its model_args). `more` comes last. BadInput where the parts do not go together.

    An adapter goes to `transformers` as peft and to `vllm` as a LoRA module over its base model.
    """
    backend = backend or ("completions" if base_url else "transformers")
    if backend in ("completions", "openai"):
        if not base_url:
            raise BadInput(
                f"--backend={backend} asks an endpoint; give its --base-url, such as http://localhost:8000/v1."
            )
        end = "/chat/completions" if backend == "openai" else "/completions"
        url = base_url if base_url.endswith("/completions") else base_url.rstrip("/") + end
        named = {"tokenizer": tokenizer} if tokenizer else {}
        return BACKENDS[backend], {"model": model, "base_url": url, **named, **more}
    if base_url:
        raise BadInput(f"--backend={backend} loads the model here; leave out --base-url, or name --backend openai.")
    folder = model_folder(model)
    model_args: dict[str, Any] = {"pretrained": folder}
    if base := adapter_base(folder):
        model_args["pretrained"] = model_folder(base)
        if backend == "transformers":
            model_args["peft"] = folder
        else:
            rank = json.loads((Path(folder) / ADAPTER).read_text(encoding="utf-8")).get("r", 16)
            model_args |= {"lora_local_path": folder, "max_lora_rank": rank}
    return BACKENDS[backend], {**model_args, **({"tokenizer": tokenizer} if tokenizer else {}), **more}


def euroeval_model(model: str, base_url: str | None) -> str:
    """EuroEval reads names, folders and adapters alike, from a working directory of its own."""
    if base_url:
        return model
    folder = model_folder(model)
    return str(Path(folder).resolve()) if Path(folder).exists() else folder
