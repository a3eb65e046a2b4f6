"""The named rewards of recipes/rewards.yaml: for `reward=<preset>` of training and `--reward` of the data steps."""

import yaml

from sp3f_verl import RECIPES


def reward_presets() -> dict[str, dict]:
    """Name -> what stands under `sp3f.reward`, for every preset in all of its spellings."""
    table = yaml.safe_load((RECIPES / "rewards.yaml").read_text(encoding="utf-8"))
    zeros, presets = dict.fromkeys(table["always_there"], 0.0), {}
    for name, preset in table["presets"].items():
        settings = {key: table[key] for key in ("language_threshold", "reduced")}
        settings["weights"] = zeros | preset["weights"]
        presets[name] = settings
        if "original" in preset:
            presets[f"compute_score_reward_{preset['original']}"] = settings
    return presets
