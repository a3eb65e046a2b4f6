"""The reward manager: weights of the step, checkers of the rows, and verl's own custom function added up."""

import asyncio

import pytest
from verl.experimental.reward_loop.reward_manager.registry import get_reward_manager_cls

from helpers.recipes import compose_recipe
from sp3f_verl.errors import BadInput

ROW = {
    "reward_model": {"ground_truth": "C::Calcium"},
    "language": "en",
    "data_source": "chemistry",
    "extra_info": {"checker": "multiple_choice"},
}
TEXT = r"The element in bones is clearly the third one of these. \boxed{C}"


def custom(data_source, solution_str, ground_truth, extra_info):
    return {"score": 0.25 * (data_source == "chemistry"), "seen": len(solution_str)}


async def custom_async(**arguments):
    return custom(**arguments)["score"]


def score(overrides, compute_score=None, step=0, row=ROW):
    async def scene():
        cfg = compose_recipe("grpo", "reward=acc_threshold", *overrides)
        manager = get_reward_manager_cls("sp3f")(cfg, None, compute_score)
        return await manager.scoring.of_group([TEXT], row, judged=False, step=step)

    (total,), (info,) = asyncio.run(scene())
    return total, info


def test_a_row_chooses_its_checker():
    assert score([])[0] == 2 and score([], row={**ROW, "extra_info": {}})[0] == 1
    with pytest.raises(BadInput, match=r"extra_info\.checker is 'mathx'"):
        score([], row={**ROW, "extra_info": {"checker": "mathx"}})


def test_the_weights_are_those_of_the_step():
    schedule = ["sp3f.reward.weights.language={0: 0.0, 100: 1.0}"]
    assert [score(schedule, step=step)[0] for step in (0, 50, 200)] == [1, 1.5, 2]


@pytest.mark.parametrize("function", [custom, custom_async])
def test_a_custom_function_of_verl_is_added_up(function):
    total, info = score(["+sp3f.reward.weights.custom=2.0", "reward.custom_reward_function.path=x.py"], function)
    assert (total, info["custom"]) == (2.5, 0.25)


def test_the_function_that_verl_hands_in_by_itself_is_not_asked():
    assert score([], lambda **_: 1 / 0)[0] == 2


def test_leakage_is_measured_where_a_teacher_reads_the_solution():
    row = {**ROW, "prompt": [{"role": "user", "content": "Which one?"}], "solution_en": "Calcium makes bones hard."}
    info = score(["sp3f.token_credit=rlsd"], row=row)[1]
    assert (info["leak_mention"], info["leak_copied"]) == (0, 0)
    assert "leak_mention" not in score([], row=row)[1]
