"""The part of the preflight about the model's own settings: what a worker would make of them, made here first."""

import contextlib
import io

from omegaconf import DictConfig

from sp3f_verl.errors import BadInput, nearest, one_line
from sp3f_verl.verl_bridge.preflight.run import model_of
from sp3f_verl.verl_bridge.trainers import keys_of

OF_LOADING = ("attn_implementation", "model_config")  # of override_config, what is no name of the model's config


def model_settings(config: DictConfig) -> None:
    """BadInput where verl cannot read the model's folder and settings, or no model can be built or loaded of them."""
    import torch
    from transformers import AutoConfig
    from verl.utils.config import omega_conf_to_dataclass

    node, path = model_of(config)
    key = keys_of(config).model
    if node.use_liger:
        _import("liger_kernel", f"{key}.use_liger=true")
    with _told(f"{key}: verl cannot set up the model"), contextlib.redirect_stdout(io.StringIO()):
        omega_conf_to_dataclass(node)
        settings = AutoConfig.from_pretrained(path, trust_remote_code=node.trust_remote_code)
    if type(settings).__module__.startswith("transformers."):  # code of the folder may read what its config has not
        _known(f"{key}.override_config", node.override_config or {}, settings)
    if config.sp3f.device == "cpu" or torch.cuda.is_available():  # a driver without a GPU cannot say what workers load
        with _told(f"{key}.path={node.path} is quantised in a way that cannot be loaded here"):
            _quantised(settings)
    with _told(f"{key}.path={node.path}: no model can be built"):
        skeleton(node, settings)


def skeleton(node: DictConfig, settings):
    """The model of a config, without memory for its weights."""
    import torch
    from verl.utils.model import get_hf_auto_model_class

    settings.get_text_config().pad_token_id = None  # verl puts the tokenizer's there
    with torch.device("meta"):
        kind = get_hf_auto_model_class(hf_config=settings)
        return kind.from_config(settings, trust_remote_code=node.trust_remote_code)


@contextlib.contextmanager
def _told(place: str):
    """Whatever the model's files make transformers and verl raise, as one sentence."""
    try:
        yield
    except Exception as error:
        reason = one_line(error.__cause__ or error) or type(error).__name__
        raise BadInput(f"{place} ({reason.rstrip('.')}); mend the file or the setting that this names.") from None


def _import(package: str, setting: str) -> None:
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise BadInput(f"{setting} needs the package {package}, which is not installed; install it, or leave it out.")


def _known(place: str, given, settings) -> None:
    """verl puts any name into the config; one that the model's class does not have is read by nothing."""
    from transformers import PreTrainedConfig

    for name, value in given.items():
        if place.endswith(".override_config") and name in OF_LOADING:
            continue
        if not hasattr(settings, name):
            known = [own for own in dir(settings) if not own.startswith("_")]
            raise BadInput(
                f"{place}.{name} is no setting of {type(settings).__name__}{nearest(name, known)}; leave it out."
            )
        if isinstance(value, DictConfig) and isinstance(nested := getattr(settings, name), PreTrainedConfig):
            _known(f"{place}.{name}", value, nested)


def _quantised(settings) -> None:
    """As transformers looks at it before it loads weights."""
    from transformers.quantizers import AutoHfQuantizer

    if (how := getattr(settings, "quantization_config", None)) is not None:
        AutoHfQuantizer.from_config(how, pre_quantized=True).validate_environment(device_map=None)
