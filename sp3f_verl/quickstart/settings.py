"""The quickstart's settings: settings.yaml, a preset over it, and the seeds of the command line."""

from pathlib import Path

from omegaconf import OmegaConf

from sp3f_verl.errors import BadInput, nearest


def load(preset: str = "default", **overrides) -> dict:
    """The settings of a preset; `overrides` (such as train_seed=2) replace top-level values unless None."""
    presets = OmegaConf.load(Path(__file__).parent / "settings.yaml")
    if preset not in presets:
        near = nearest(preset, presets)
        raise BadInput(f"--preset={preset}{near} does not exist; the presets are {', '.join(presets)}.")
    settings = OmegaConf.to_container(OmegaConf.merge(presets.default, presets[preset]))
    if overrides.get("pretrained") and not settings["pretrained"]:
        raise BadInput("--model, a pretrained model, needs --preset real; the other presets' sizes would ruin it.")
    return {**settings, **{key: value for key, value in overrides.items() if value is not None}}
