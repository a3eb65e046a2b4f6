"""The twelve reward functions of the original, by their names here and there (SPEC 1c), and M-Thinker's."""

import pytest
from omegaconf import OmegaConf

from helpers.recipes import compose_recipe
from sp3f_verl.reward_presets import reward_presets
from sp3f_verl.rewards import check_weights, rule_terms, total, weights_at

# preset -> weights beside accuracy 1, and the original's name behind compute_score_reward_
PRESETS = {
    "acc": ({}, "acc"),
    "acc_lang": ({"soft_language": 1}, "acc_add_lang"),
    "acc_lang_penalize_en": ({"soft_language": 1, "english": -1}, "acc_add_lang_add_penalize_en"),
    "rand": ({"accuracy": 0, "random": 1}, "rand"),
    "acc_lang_with_rmse": ({"soft_language": 1}, "acc_add_lang_with_rmse"),
    "acc_parseable": ({"parseable": 1}, "acc_add_parseable"),
    "parseable_penalize_en": ({"parseable": 1, "english": -1}, "parseable_add_penalize_en"),
    "acc_penalize_en": ({"english": -1}, "acc_add_penalize_en"),
    "acc_lang_parseable": ({"soft_language": 1, "parseable": 1}, "acc_add_lang_add_parseable"),
    "acc_parseable_threshold": ({"parseable": 1, "language": 1}, "acc_add_parseable_add_threshold"),
    "acc_threshold": ({"language": 1}, "acc_add_threshold"),
    "acc_penalize_en_parseable": ({"english": -1, "parseable": 1}, "acc_add_penalize_en_add_parseable"),
}


def test_these_are_all_that_is_shipped():
    assert set(reward_presets()) == {"acc_lc_cta"} | {
        name for preset, (_, original) in PRESETS.items() for name in (preset, f"compute_score_reward_{original}")
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_and_the_original_spelling_of_it_set_the_same_weights(preset):
    weights, original = PRESETS[preset]
    for name in (preset, f"compute_score_reward_{original}"):
        cfg = compose_recipe("grpo", f"reward={name}")
        found = OmegaConf.to_container(cfg.sp3f.reward.weights)
        check_weights(found)
        assert {term: weight for term, weight in found.items() if weight} == {
            term: weight for term, weight in ({"accuracy": 1} | weights).items() if weight
        }
        assert cfg.sp3f.reward.language_threshold == 0.7
        assert cfg.reward.reward_manager.name == "sp3f" and cfg.reward.reward_model.enable is False


def test_a_schedule_on_the_command_line():
    cfg = compose_recipe("grpo", "sp3f.reward.weights.language={0: 0.0, 100: 1.0}")
    check_weights(cfg.sp3f.reward.weights)
    assert weights_at(cfg.sp3f.reward.weights, 25)["language"] == 0.25
    cfg = compose_recipe("grpo", "+sp3f.reward.weights.repetition=[{10: -1.0}, {0: 0.0}, {shape: step}]")
    check_weights(cfg.sp3f.reward.weights)
    assert [weights_at(cfg.sp3f.reward.weights, step)["repetition"] for step in (0, 9, 10, 99)] == [0, 0, -1, -1]


def test_the_reward_of_m_thinker_is_its_papers_plus_one():
    """R_lc + R_acc + R_cta of a response, R_lc -1 where it is not thought and answered in the language."""
    cfg = compose_recipe("grpo", "judge=consistency", "reward=acc_lc_cta")
    weights = weights_at(OmegaConf.to_container(cfg.sp3f.reward.weights), 1)
    check_weights(weights)
    swahili = RIGHT.partition(r" \boxed")[0]
    for text, agreed, paper in (
        (f"<think>{swahili}</think>{RIGHT}", 0.7, 0 + 1 + 0.7),
        (f"{swahili}</think>{RIGHT.replace('12', '13')}", 0.0, 0 + 0 + 0),
        (f"<think>{ENGLISH}</think>{RIGHT}", 0.0, -1),
        (f"<think>{swahili}</think>{ENGLISH}", 0.0, -1),
        (RIGHT, 0.0, -1),
    ):
        terms = {**rule_terms(text, "12", "sw"), "consistency": agreed, "judge": 0.5}
        assert total(terms, weights) == pytest.approx(paper + 1), text


RIGHT = r"Anna ana matufaha saba na ananunua matano zaidi, kwa hiyo ana matufaha kumi na mawili. \boxed{12}"
ENGLISH = r"Anna has seven apples and she buys five more, so now she has twelve apples. \boxed{12}"


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_but_the_control_prefers_english_or_a_wrong_answer(preset):
    weights = {"accuracy": 1} | PRESETS[preset][0]
    scores = {
        name: total(rule_terms(text, gold, "sw"), weights)
        for name, text, gold in (("right", RIGHT, "12"), ("english", ENGLISH, "12"), ("wrong", RIGHT, "13"))
    }
    if preset == "rand":
        assert set(scores.values()) <= {0, 1}
        return
    assert scores["right"] > scores["wrong"]
    language_matters = set(weights) & {"language", "soft_language", "english"}
    assert scores["right"] > scores["english"] + 0.8 if language_matters else scores["right"] == scores["english"]
