"""The part of the preflight about reinforcement learning: reward, group, languages, and the rows of both files."""

from collections.abc import Iterable
from numbers import Real

from omegaconf import DictConfig, OmegaConf

from sp3f_verl import languages
from sp3f_verl.data.check import check_rl, check_same_layout
from sp3f_verl.errors import BadInput
from sp3f_verl.rewards.answers.checkers import load_checkers
from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share
from sp3f_verl.rewards.weights import active, check_weights
from sp3f_verl.verl_bridge.preflight import judge as preflight_judge
from sp3f_verl.verl_bridge.preflight import teacher as preflight_teacher
from sp3f_verl.verl_bridge.preflight.files import files, named

ON_FAILED_SIBLING = ("drop_group", "score_rest")


def reward(config: DictConfig) -> None:
    settings, manager = config.sp3f, config.reward.reward_manager.name
    if manager != "sp3f":
        raise BadInput(
            f"reward.reward_manager.name={manager}, but the recipe's rewards and judge need 'sp3f'; set it to that."
        )
    weights = OmegaConf.to_container(settings.reward.weights)
    try:
        check_weights(weights)
    except ValueError as error:
        raise BadInput(f"sp3f.reward.weights: {error}") from None
    load_checkers(settings.reward.get("checkers"))
    limits = settings.reward.get("length_limits")
    if limits is not None and (len(limits) != 2 or not all(isinstance(limit, Real) for limit in limits)):
        raise BadInput(f"sp3f.reward.length_limits={limits}; give two numbers of characters, [from, to].")
    if not isinstance(reduced := settings.reward.reduced, bool):
        raise BadInput(f"sp3f.reward.reduced={reduced!r} is neither true nor false; give one of them.")
    threshold = settings.reward.language_threshold
    if not isinstance(threshold, Real) or not 0 <= threshold <= 1:
        raise BadInput(f"sp3f.reward.language_threshold={threshold}; set it to a share from 0 to 1.")
    path = config.reward.custom_reward_function.path
    if (path is not None) != ("custom" in active(weights)):
        mend = "set the function's path" if path is None else "give the term a weight (+sp3f.reward.weights.custom=1.0)"
        raise BadInput(
            f"reward.custom_reward_function.path={path} with sp3f.reward.weights.custom={weights.get('custom', 0.0)}; "
            f"{mend}."
        )


def group(config: DictConfig) -> None:
    policy, deadline = config.sp3f.group.on_failed_sibling, config.sp3f.group.deadline_seconds
    if policy not in ON_FAILED_SIBLING:
        raise BadInput(f"sp3f.group.on_failed_sibling={policy}; set it to {' or '.join(ON_FAILED_SIBLING)}.")
    if policy == "score_rest" and config.trainer.v1.trainer_mode != "sync":
        mode = config.trainer.v1.trainer_mode
        raise BadInput(
            f"sp3f.group.on_failed_sibling=score_rest, but trainer_mode={mode} drops such a group; use drop_group."
        )
    if not isinstance(deadline, Real) or deadline <= 0:
        raise BadInput(f"sp3f.group.deadline_seconds={deadline}; set it to a number of seconds above 0.")


def rollout(config: DictConfig) -> None:
    settings = config.sp3f.rollout
    if not isinstance(settings.trust_rollout_log_probs, bool):
        value = settings.trust_rollout_log_probs
        raise BadInput(f"sp3f.rollout.trust_rollout_log_probs={value} is neither true nor false; give one of them.")
    if isinstance(settings.check_every, bool) or not isinstance(settings.check_every, int) or settings.check_every < 1:
        raise BadInput(f"sp3f.rollout.check_every={settings.check_every}; set it to a whole number from 1.")
    if settings.trust_rollout_log_probs and not config.actor_rollout_ref.rollout.calculate_log_probs:
        raise BadInput(
            "sp3f.rollout.trust_rollout_log_probs=true needs them: set "
            "actor_rollout_ref.rollout.calculate_log_probs=true."
        )


def _recognisable(codes: Iterable[str], config: DictConfig) -> None:
    """A language that no identifier knows cannot be rewarded."""
    if not active(OmegaConf.to_container(config.sp3f.reward.weights)) & {"language", "soft_language"}:
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
