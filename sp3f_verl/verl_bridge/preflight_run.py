"""The part of the preflight about what would end or spoil a run late: saving, logging, resuming, the model's limits."""

import importlib.util
import os
import tempfile
from pathlib import Path

from omegaconf import DictConfig

from sp3f_verl.data.files import digest
from sp3f_verl.data.resume import Work
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.log import log
from sp3f_verl.training.preference.resume import TRACKER
from sp3f_verl.verl_bridge.preflight_files import files

RECORD = "data.json"  # beside the checkpoints: what their positions are positions in
PACKAGES = {"tracking": "wandb", "vemlp_wandb": "volcengine_ml_platform"}  # verl's logger -> its package, if not alike
BUILT_IN = ("console", "file")
SUPPORTS = {"sdpa": "_supports_sdpa", "flash_attention_2": "_supports_flash_attn"}  # of transformers' classes


def _model(config: DictConfig) -> tuple[DictConfig, str]:
    node = config.model if config.sp3f.trainer == "sft_trainer" else config.actor_rollout_ref.model
    return node, str(Path(node.path).expanduser())


def _lengths(config: DictConfig) -> dict[str, int]:
    """What limits the tokens of a row, and to how many."""
    if config.sp3f.get("preference"):
        return {"sp3f.preference.max_length": config.sp3f.preference.max_length}
    keys = ("max_length",) if config.sp3f.trainer == "sft_trainer" else ("max_prompt_length", "max_response_length")
    return {f"data.{key}": config.data[key] for key in keys}


def loggers(config: DictConfig) -> None:
    """verl imports them after the model is loaded and the reference computed."""
    from verl.utils.tracking import Tracking

    chosen = config.trainer.logger
    for name in [chosen] if isinstance(chosen, str) else chosen:
        if name not in (*Tracking.supported_backend, "tracking"):
            known = ", ".join(Tracking.supported_backend)
            raise BadInput(f"trainer.logger={name}{nearest(name, Tracking.supported_backend)}; verl has {known}.")
        package = PACKAGES.get(name, name)
        if name not in BUILT_IN and importlib.util.find_spec(package) is None:
            raise BadInput(f"trainer.logger={name} needs the package {package}, which is not installed; install it.")


def attention(config: DictConfig) -> None:
    """The model's class says which attention it takes, and raises once workers have started."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
    from verl.utils.model import get_hf_auto_model_class

    node, path = _model(config)
    wanted = (node.override_config or {}).get("attn_implementation")
    settings = AutoConfig.from_pretrained(path, trust_remote_code=node.trust_remote_code)
    if not settings.architectures:
        raise BadInput(f"config.json of {node.path} names no architectures, by which verl chooses a class; add them.")
    auto = get_hf_auto_model_class(hf_config=settings)
    if auto is AutoModel and type(settings) in AutoModelForCausalLM._model_mapping:
        raise BadInput(
            f"config.json of {node.path} names the architecture {settings.architectures[0]}, of which verl loads no "
            "head; write a name there that ends in ForCausalLM."
        )
    kind = auto._model_mapping.get(type(settings), None)  # None: remote code
    if kind is not None and not kind._no_split_modules:
        _names_its_layers(config, kind, settings)
    if kind is not None and wanted in SUPPORTS and not getattr(kind, SUPPORTS[wanted], True):
        key = "model" if config.sp3f.trainer == "sft_trainer" else "actor_rollout_ref.model"
        raise BadInput(
            f"{kind.__name__} of {node.path} does not take {key}.override_config.attn_implementation={wanted}; set it "
            "to eager."
        )


def _names_its_layers(config: DictConfig, kind: type, settings) -> None:
    """By which verl shards it. A class may have them from its parts."""
    import torch

    with torch.device("meta"):
        named = kind(settings)._no_split_modules
    sft = config.sp3f.trainer == "sft_trainer"
    wrap = (config.engine if sft else config.actor_rollout_ref.actor.fsdp_config).get("wrap_policy") or {}
    if not named and not wrap.get("transformer_layer_cls_to_wrap"):
        place = "engine" if sft else "actor_rollout_ref.actor.fsdp_config"
        raise BadInput(
            f"{kind.__name__} does not name its layers, by which verl shards it; name their class in "
            f"+{place}.wrap_policy.transformer_layer_cls_to_wrap=[...]."
        )


def positions(config: DictConfig) -> None:
    """Some models read all positions of a micro-batch otherwise as soon as one row is longer than what they were first
    made for. The engine's check has short rows, and cannot meet it."""
    from transformers import AutoConfig

    node, path = _model(config)
    text = AutoConfig.from_pretrained(path, trust_remote_code=node.trust_remote_code).get_text_config()
    kinds = getattr(text, "rope_parameters", None) or {}
    for kind in [kinds, *(each for each in kinds.values() if isinstance(each, dict))]:
        name = kind.get("rope_type")
        first = text.max_position_embeddings if name == "dynamic" else kind.get("original_max_position_embeddings")
        if name in ("dynamic", "longrope") and first and sum(_lengths(config).values()) > first:
            keys = " + ".join(f"{key}={length}" for key, length in _lengths(config).items())
            told = (
                f"{node.path} (rope_type={name}) computes short rows otherwise beside one of more than {first} tokens, "
                f"and {keys}; set that to at most {first}."
            )
            if config.sp3f.check.engine == "stop":
                raise BadInput(told.removesuffix(".") + ", or sp3f.check.engine=warn.")
            log.warning(told)


def vocabulary(config: DictConfig) -> None:
    """Tokens beyond the embedding: an IndexError in a worker. Some published models have such that no text gives."""
    from transformers import AutoConfig, AutoTokenizer

    node, path = _model(config)
    source = node.tokenizer_path or path
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=node.trust_remote_code)
    text = AutoConfig.from_pretrained(path, trust_remote_code=node.trust_remote_code).get_text_config()
    rows = getattr(text, "vocab_size", None)
    if rows is None or max(tokenizer.get_vocab().values()) < rows:
        return
    sizes = f"the tokenizer of {source} has {len(tokenizer)} tokens, the embedding of {node.path} {rows} rows"
    question = [{"role": "user", "content": "2+2?"}]
    try:
        ids = tokenizer.apply_chat_template(
            question, chat_template=node.custom_chat_template, add_generation_prompt=True, return_dict=False
        )
    except Exception:  # whatever the template is told of in the checks of rows
        ids = []
    if max(ids, default=0) >= rows:
        raise BadInput(f"{sizes}, and the chat template uses a token beyond them; resize the embedding.")
    log.warning(f"{sizes}; a text that gives a token beyond them ends the run.")


def saving(config: DictConfig) -> None:
    """Every file that a checkpoint writes again is written once and read back, and its folder can be written."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    if (
        config.trainer.save_freq != "after_each_epoch"
        and config.trainer.save_freq <= 0
        and "selfplay" not in config.sp3f
    ):
        return
    node, path = _model(config)
    remote = node.trust_remote_code
    try:
        generation = GenerationConfig.from_pretrained(path)
    except OSError:  # a model folder without one
        generation = None
    parts = {
        "generation_config.json": generation,
        "config.json": AutoConfig.from_pretrained(path, trust_remote_code=remote),
        "tokenizer": AutoTokenizer.from_pretrained(node.tokenizer_path or path, trust_remote_code=remote),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, part in parts.items():
            try:
                if part is not None:
                    part.save_pretrained(folder)
            except Exception as error:  # whatever the files make transformers raise
                reason = " ".join(str(error).split())[:200]
                raise BadInput(f"no checkpoint could be saved: {name} of {node.path} ({reason}); mend that.") from None
        kept = AutoTokenizer.from_pretrained(folder, trust_remote_code=remote)
        if kept.get_vocab() != parts["tokenizer"].get_vocab() or kept.chat_template != parts["tokenizer"].chat_template:
            raise BadInput(f"the tokenizer of {node.path} is another one once it is saved; save it with transformers.")
    home = Path(config.trainer.default_local_dir).expanduser().absolute()
    there = next(place for place in (home, *home.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise BadInput(f"trainer.default_local_dir={home} cannot be written; set it to another folder.")


def resumed(config: DictConfig) -> tuple[int, Path]:
    """The step that the run goes on from, 0 for none, and the folder of the run that saved it."""
    from sp3f_verl.training.preference.resume import step_to_resume

    trainer = config.trainer
    chosen = trainer.get("resume_from_path") if trainer.resume_mode == "resume_path" else None
    folder = Path(chosen).parent if chosen else Path(trainer.default_local_dir)
    return step_to_resume(trainer), folder.expanduser()


def same_data(config: DictConfig) -> None:
    """A checkpoint keeps a position in the data, which means nothing in other data or batches: refused.

    What a run trains on is recorded beside its checkpoints when it begins. Runs that began earlier have no record.
    """
    data = config.data
    step, folder = resumed(config)
    paths = next(paths for _, paths in files(config))
    if not all(Path(path).expanduser().is_file() for path in paths):
        return  # what verl fetches itself
    identity = {
        "train_files": [digest(Path(path).expanduser()) for path in paths],
        "train_batch_size": data.train_batch_size,
        "shuffle": data.get("shuffle"),
        "seed": data.get("seed"),
        "train_max_samples": data.get("train_max_samples", -1),
    }
    work = Work(folder / RECORD, identity)
    for name, (kept, value) in work.changed().items() if step else ():
        what = "other rows" if name == "train_files" else f"{kept}, not {value}"
        raise BadInput(
            f"the checkpoint of step {step} in {folder} goes on in data.{name} of {what}; set that back, or "
            "trainer.default_local_dir to a new folder to begin anew."
        )
    if int(os.environ.get("RANK", "0")) == 0 and not (folder / TRACKER).is_file():
        work.begin()
