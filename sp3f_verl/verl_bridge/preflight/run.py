"""The part of the preflight about what would end or spoil a run late: logging, resuming, the model's limits."""

import importlib.util
import os
import re
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from sp3f_verl.cost.devices import GIB
from sp3f_verl.cost.memory import BF16, kv_bytes
from sp3f_verl.data.files import digest
from sp3f_verl.data.resume import Work
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.log import log
from sp3f_verl.training.checkpoints import TRACKER
from sp3f_verl.verl_bridge.cpu.platform import KV_VARIABLE
from sp3f_verl.verl_bridge.preflight.files import files, first_process
from sp3f_verl.verl_bridge.sizes import model_node, model_size
from sp3f_verl.verl_bridge.trainers import is_sft, keys_of

RECORD = "data.json"  # beside the checkpoints: what their positions are positions in
ORDER = ("data.train_batch_size", "data.shuffle", "data.seed", "data.train_max_samples")
LEFT_OUT_BY = ("data.max_prompt_length", "data.filter_overlong_prompts")  # rows of RL; of preference, its max_length
KEPT_RATES = ("lr", "weight_decay", "optimizer")
PACKAGES = {"tracking": "wandb", "vemlp_wandb": "volcengine_ml_platform"}  # verl's logger -> its package, if not alike
BUILT_IN = ("console", "file")
OTHERS = {"train_files": "other rows", "model.path": "another model"}
ROLE = "actor_rollout_ref"
ALL_LINEAR = "all-linear"  # peft's
SHARDS = {
    "model": "model",
    "optimizer": "optim",
    "extra": "extra_state",
}  # parts of a checkpoint -> names of their files
WORKERS = re.compile(r"world_size_(\d+)_")
SUPPORTS = {"sdpa": "_supports_sdpa", "flash_attention_2": "_supports_flash_attn"}  # of transformers' classes


def model_of(config: DictConfig) -> tuple[DictConfig, str]:
    """The node of the model that is trained, and its folder or name."""
    node = model_node(config)
    return node, str(Path(node.path).expanduser())


def _lengths(config: DictConfig) -> dict[str, int]:
    """What limits the tokens of a row, and to how many."""
    if config.sp3f.get("preference"):
        return {"sp3f.preference.max_length": config.sp3f.preference.max_length}
    return {key: OmegaConf.select(config, key) for key in keys_of(config).lengths}


def loggers(config: DictConfig) -> None:
    """verl imports them after the model is loaded and the reference computed."""
    from verl.utils.tracking import Tracking

    chosen = config.trainer.logger
    if chosen is None:
        raise BadInput("trainer.logger is null; give a list, [] for none.")
    if not isinstance(chosen, str | ListConfig):
        raise BadInput(f"trainer.logger={chosen} is no list of names; give one, [] for none.")
    for name in [chosen] if isinstance(chosen, str) else chosen:
        if name not in (*Tracking.supported_backend, "tracking"):
            known = ", ".join(Tracking.supported_backend)
            raise BadInput(f"trainer.logger={name}{nearest(name, Tracking.supported_backend)}; verl has {known}.")
        package = PACKAGES.get(name, name)
        if name not in BUILT_IN and importlib.util.find_spec(package) is None:
            raise BadInput(f"trainer.logger={name} needs the package {package}, which is not installed; install it.")


def sequence_parallel(config: DictConfig) -> None:
    """Of as many workers as share a sequence, all must be there."""
    key = keys_of(config).sequence_parallel
    size, workers = OmegaConf.select(config, key), worker_count(config)
    if workers % size:
        raise BadInput(f"{key}={size} does not divide the run's {workers} workers; set it to a divisor of that.")


def worker_count(config: DictConfig) -> int:
    workers = config.trainer.n_gpus_per_node * config.trainer.nnodes
    return int(os.environ.get("WORLD_SIZE", workers)) if is_sft(config) else workers  # torchrun's


def attention(config: DictConfig) -> None:
    """The model's class says which attention it takes, and raises once workers have started."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from verl.utils.model import get_hf_auto_model_class

    node, path = model_of(config)
    wanted = (node.override_config or {}).get("attn_implementation")
    key = keys_of(config).model
    known = ["eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()]
    if wanted is not None and wanted not in known and "/" not in wanted:  # with one: a kernel of the Hub
        raise BadInput(
            f"{key}.override_config.attn_implementation={wanted}{nearest(str(wanted), known)}; use one of "
            f"{', '.join(name for name in known if '|' not in name)}."
        )
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
        raise BadInput(
            f"{kind.__name__} of {node.path} does not take {key}.override_config.attn_implementation={wanted}; set it "
            "to eager."
        )


def _names_its_layers(config: DictConfig, kind: type, settings) -> None:
    """By which verl shards it. A class may have them from its parts."""
    import torch

    with torch.device("meta"):
        named = kind(settings)._no_split_modules
    place = keys_of(config).engine
    wrap = OmegaConf.select(config, place).get("wrap_policy") or {}
    if not named and not wrap.get("transformer_layer_cls_to_wrap"):
        raise BadInput(
            f"{kind.__name__} does not name its layers, by which verl shards it; name their class in "
            f"+{place}.wrap_policy.transformer_layer_cls_to_wrap=[...]."
        )


def adapter(config: DictConfig) -> None:
    """A name among LoRA's target modules that the model has not: peft raises in a worker where it has none of them, and
    trains the others in silence."""
    import torch
    from transformers import AutoConfig
    from verl.utils.model import get_hf_auto_model_class

    node, path = model_of(config)
    chosen = node.get("target_modules")
    if not node.get("lora_rank") or node.get("lora_adapter_path") or chosen in (None, ALL_LINEAR):
        return
    settings = AutoConfig.from_pretrained(path, trust_remote_code=node.trust_remote_code)
    with torch.device("meta"):
        kind = get_hf_auto_model_class(hf_config=settings)
        model = kind.from_config(settings, trust_remote_code=node.trust_remote_code)
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | torch.nn.Embedding)]
    ends = sorted({name.rpartition(".")[2] for name in names})
    for one in [chosen] if isinstance(chosen, str) else chosen:
        text = str(one)
        # as peft reads them: a text alone is a pattern of whole names, one in a list a name or its end
        if isinstance(chosen, str) and any(re.fullmatch(text, name) for name in names):
            continue
        if not isinstance(chosen, str) and any(name == text or name.endswith(f".{text}") for name in names):
            continue
        key = keys_of(config).model
        raise BadInput(
            f"{key}.target_modules={chosen}: {node.path} has no {text!r}{nearest(text, [*ends, ALL_LINEAR])}; give "
            f"{ALL_LINEAR}, or a list of {', '.join(ends)}."
        )


def longest_row(config: DictConfig) -> None:
    """Some models read all positions of a micro-batch otherwise as soon as one row is longer than what they were first
    made for. The engine's check has short rows, and cannot meet it."""
    from transformers import AutoConfig

    node, path = model_of(config)
    text = AutoConfig.from_pretrained(path, trust_remote_code=node.trust_remote_code).get_text_config()
    kinds = getattr(text, "rope_parameters", None) or {}
    for kind in [kinds, *(nested for nested in kinds.values() if isinstance(nested, dict))]:
        name = kind.get("rope_type")
        first = text.max_position_embeddings if name == "dynamic" else kind.get("original_max_position_embeddings")
        if name in ("dynamic", "longrope") and first and sum(_lengths(config).values()) > first:
            keys = " + ".join(f"{key}={length}" for key, length in _lengths(config).items())
            sentence = (
                f"{node.path} (rope_type={name}) computes short rows otherwise beside one of more than {first} tokens, "
                f"and {keys}; set that to at most {first}."
            )
            if config.sp3f.check.engine == "stop":
                raise BadInput(sentence.removesuffix(".") + ", or sp3f.check.engine=warn.")
            log.warning(sentence)


def vocabulary(config: DictConfig) -> None:
    """Tokens beyond the embedding: an IndexError in a worker. Some published models have such that no text gives."""
    from transformers import AutoConfig, AutoTokenizer

    node, path = model_of(config)
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


def kv_cache(config: DictConfig) -> None:
    """vLLM on a CPU takes as much for its cache as it is told, and dies once started where a sequence does not fit."""
    if config.sp3f.device != "cpu" or KV_VARIABLE in os.environ:
        return
    model, rollout = model_size(config), config.actor_rollout_ref.rollout
    tokens = rollout.max_model_len or model.context or 0
    needed = max(1, -(-tokens * kv_bytes(model, 4 if rollout.dtype == "float32" else BF16) // GIB))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    if needed * config.trainer.n_gpus_per_node > memory / 2:
        enough = config.data.max_prompt_length + config.data.max_response_length
        raise BadInput(
            f"a sequence of {tokens} tokens, the model's whole context, takes {needed} GiB of vLLM's cache, and this "
            f"machine has {memory:.0f} GiB; set {ROLE}.rollout.max_model_len={enough}, or {KV_VARIABLE}."
        )
    os.environ[KV_VARIABLE] = str(needed)  # whole GiB; handed on to the servers


def positions(node: DictConfig) -> int | None:
    """How many tokens the model of a node takes, where one more ends in a stack: with learned positions."""
    from transformers import AutoConfig

    path = str(Path(node.path).expanduser())
    text = AutoConfig.from_pretrained(path, trust_remote_code=node.trust_remote_code).get_text_config()
    rotary = getattr(text, "rope_parameters", None) is not None
    return None if rotary else getattr(text, "max_position_embeddings", None)


def resumed(config: DictConfig) -> tuple[int, Path]:
    """The step that the run goes on from, 0 for none, and the folder of the run that saved it."""
    from sp3f_verl.training.checkpoints import step_to_resume

    trainer = config.trainer
    chosen = trainer.get("resume_from_path") if trainer.resume_mode == "resume_path" else None
    folder = Path(chosen).parent if chosen else Path(trainer.default_local_dir)
    return step_to_resume(trainer), folder.expanduser()


def goes_on(config: DictConfig) -> None:
    """The checkpoint that a run goes on from has all that it takes, for as many workers as there are: verl fails on a
    file that is missing, and where a part is not asked for, it goes on with fresh weights and says nothing."""
    step, folder = resumed(config)
    if not step:
        _not_gone(config.trainer)
        return
    if not (folder / f"global_step_{step}").is_dir():
        raise BadInput(f"trainer.resume_from_path={config.trainer.resume_from_path} does not exist; give another.")
    sft, key = is_sft(config), keys_of(config).checkpoint
    loaded, anew = OmegaConf.select(config, f"{key}.load_contents"), "begin anew, from its huggingface folder."
    if missing := [kind for kind in SHARDS if kind not in loaded]:
        raise BadInput(
            f"{key}.load_contents leaves out {' and '.join(missing)}, without which the checkpoint of step {step} in "
            f"{folder} is not gone on from; add them, or set trainer.resume_mode=disable to begin anew."
        )
    place = folder / f"global_step_{step}" / ("" if sft else "actor")
    saved = {int(match[1]) for file in place.glob("model_world_size_*") if (match := WORKERS.search(file.name))}
    workers = worker_count(config)
    if saved and workers not in saved:
        raise BadInput(f"{place} was saved by {max(saved)} workers, and there are {workers}; start as many, or {anew}")
    for kind, name in SHARDS.items() if saved else ():
        if not list(place.glob(f"{name}_world_size_{workers}_rank_*.pt")):
            raise BadInput(f"{place} has no {kind} ({name}_world_size_{workers}_rank_*.pt); put it back, or {anew}")


def _not_gone(trainer: DictConfig) -> None:
    """verl begins anew, and says nothing, where the checkpoint that its tracker names was removed."""
    tracker = Path(trainer.default_local_dir).expanduser() / TRACKER
    if trainer.resume_mode == "auto" and tracker.is_file() and (step := tracker.read_text().strip()).isdigit():
        raise BadInput(
            f"{tracker} names step {step}, and global_step_{step} is gone; write a step that is there into it, or "
            "remove it to begin anew."
        )


def same_data(config: DictConfig) -> None:
    """A checkpoint keeps a position in the data, which means nothing in other data or batches: refused.

    What a run trains on is recorded beside its checkpoints when it begins. Runs that began earlier have no record.
    """
    step, folder = resumed(config)
    paths = next(paths for _, paths in files(config))
    if not all(Path(path).expanduser().is_file() for path in paths):
        return  # what verl fetches itself
    node, path = model_of(config)
    left_out_by = ("sp3f.preference.max_length",) if "preference" in config.sp3f else LEFT_OUT_BY
    identity = {"train_files": [digest(Path(path).expanduser()) for path in paths]}
    identity |= {key.removeprefix("data."): OmegaConf.select(config, key) for key in (*ORDER, *left_out_by)}
    identity["model.lora_rank"] = node.get("lora_rank", 0)
    # a checkpoint keeps these in its optimiser's and schedule's state, and puts them back
    optimizer = keys_of(config).optimizer
    identity |= {key: OmegaConf.select(config, key) for key in (f"{optimizer}.{name}" for name in KEPT_RATES)}
    if (settings := Path(path) / "config.json").is_file():
        identity["model.path"] = digest(settings)
    work = Work(folder / RECORD, identity)
    for name, (kept, value) in work.changed().items() if step else ():
        if name not in work.kept:
            continue  # begun by an earlier version, which did not record it
        what = OTHERS.get(name, f"{kept}, not {value}")
        key = name if "." in name else f"data.{name}"
        raise BadInput(
            f"the checkpoint of step {step} in {folder} goes on with {key} of {what}; set that back, or "
            "trainer.default_local_dir to a new folder to begin anew."
        )
    if first_process() and not (folder / TRACKER).is_file():
        work.begin()
