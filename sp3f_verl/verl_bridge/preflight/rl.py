"""The part of the preflight about reinforcement learning: reward, group, languages, and the rows of both files."""

from collections.abc import Iterable

from omegaconf import DictConfig

from sp3f_verl import languages
from sp3f_verl.data.check import check_rl, check_same_layout
from sp3f_verl.errors import BadInput
from sp3f_verl.rewards.answers.checkers import load_checkers
from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share
from sp3f_verl.rewards.terms import TERMS
from sp3f_verl.rewards.weights import active
from sp3f_verl.verl_bridge.preflight import judge as preflight_judge
from sp3f_verl.verl_bridge.preflight import teacher as preflight_teacher
from sp3f_verl.verl_bridge.preflight.files import files, named
from sp3f_verl.verl_bridge.rl.settings import read


def reward(config: DictConfig) -> None:
    manager = config.reward.reward_manager.name
    if manager != "sp3f":
        raise BadInput(
            f"reward.reward_manager.name={manager}, but the recipe's rewards and judge need 'sp3f'; set it to that."
        )
    settings = read(config, "reward")
    load_checkers(settings.checkers)
    path = config.reward.custom_reward_function.path
    if (path is not None) != ("custom" in active(settings.weights)):
        mend = "set the function's path" if path is None else "give the term a weight (+sp3f.reward.weights.custom=1.0)"
        raise BadInput(
            f"reward.custom_reward_function.path={path} with "
            f"sp3f.reward.weights.custom={settings.weights.get('custom', 0.0)}; {mend}."
        )


def group(config: DictConfig) -> None:
    mode = config.trainer.v1.trainer_mode
    if read(config, "group").on_failed_sibling == "score_rest" and mode != "sync":
        raise BadInput(
            f"sp3f.group.on_failed_sibling=score_rest, but trainer_mode={mode} drops such a group; use drop_group."
        )


def rollout(config: DictConfig) -> None:
    if read(config, "rollout").trust_rollout_log_probs and not config.actor_rollout_ref.rollout.calculate_log_probs:
        raise BadInput(
            "sp3f.rollout.trust_rollout_log_probs=true needs them: set "
            "actor_rollout_ref.rollout.calculate_log_probs=true."
        )


def _recognisable(codes: Iterable[str], config: DictConfig) -> None:
    """A language that no identifier knows cannot be rewarded."""
    if not any(TERMS[name].of_language for name in active(read(config, "reward").weights)):
        return
    for code in codes:
        try:
            language_share(languages.get(code).instruction, code)
        except UnsupportedLanguage as error:
            raise BadInput(f"{error}") from None


def declared_languages(config: DictConfig) -> None:
    codes = config.sp3f.get("languages")
    if isinstance(codes, str):
        raise BadInput(f"sp3f.languages={codes} is not a list; write sp3f.languages=[{codes}].")
    for code in codes or ():
        languages.get(code, "sp3f.languages")


def rows(config: DictConfig) -> None:
    checkers = load_checkers(config.sp3f.reward.get("checkers"))
    for key, paths in files(config):
        # validation compares no responses, so that benchmarks without English solutions serve
        needed = {*preflight_judge.needed_fields(config), *preflight_teacher.needed_fields(config)}
        needed = sorted(needed) if key == "data.train_files" else ()
        with named(key):
            for path in paths:
                _recognisable(check_rl(path, needed, checkers), config)
            check_same_layout(paths)
