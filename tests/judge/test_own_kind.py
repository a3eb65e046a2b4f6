"""A fifth kind of judge: one class (tests/helpers/own_judge.py) and one YAML, through everything that asks a judge.

Its actor and the reward manager are in tests/verl_bridge/test_judge_in_trainer.py, where a Ray runs.
"""

import asyncio
import json
import sys

import pytest

from helpers.arenas import outputs, prompts
from helpers.judging import ROW
from helpers.own_judge import LongerWins
from helpers.recipes import compose_recipe
from sp3f_verl.cli import main
from sp3f_verl.data.files import read_parquet, write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.judge import make_judge
from sp3f_verl.judge.desk import Desk
from sp3f_verl.judge.settings import JudgeSettings
from sp3f_verl.verl_bridge import judge_check
from sp3f_verl.verl_bridge.preflight import judge as preflight_judge

KIND = {"name": "longer", "kind": "helpers.own_judge:LongerWins"}
YAML = """# @package sp3f
judge:
  name: longer
  kind: helpers.own_judge:LongerWins
  margin: 1
reward:
  weights:
    judge: 1.0
"""


@pytest.fixture
def folder(tmp_path) -> str:
    """What the command line says beside `judge=longer`."""
    (tmp_path / "own" / "judge").mkdir(parents=True)
    (tmp_path / "own" / "judge" / "longer.yaml").write_text(YAML)
    return f"hydra.searchpath=[file://{tmp_path / 'own'}]"


def recipe(folder, *overrides):
    return compose_recipe("sp3f", "judge=longer", folder, "device=cpu", *overrides)


class TestSettings:
    def test_its_own_are_read_beside_those_of_every_judge(self):
        settings = JudgeSettings.from_mapping({**KIND, "margin": 2, "weight": 3})
        assert (settings.margin, settings.weight) == (2, 3.0) and isinstance(make_judge(settings), LongerWins)

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"margn": 1}, r"sp3f\.judge\.margn does not exist \(did you mean 'margin'\?\)"),
            ({"margin": -1}, r"sp3f\.judge\.margin=-1; set it to characters from 0"),
            ({"kind": "helpers.own_judge:Longer"}, r"sp3f\.judge\.kind=helpers\.own_judge:Longer cannot be imported"),
            ({"kind": "no_such_package:Judge"}, r"no_such_package:Judge cannot be imported \(No module named"),
            ({"kind": "helpers.own_judge"}, "give package.module:Class of a judge"),
            ({"kind": ""}, "cannot be imported"),
            ({"kind": "helpers.own_judge:NoJudge"}, "is no subclass of"),
            ({"name": "none"}, r"sp3f\.judge\.kind=helpers\.own_judge:LongerWins has no sp3f\.judge\.name"),
            ({"kind": ["x"]}, r"sp3f\.judge\.kind=\['x'\] is not a text"),
        ],
    )
    def test_a_wrong_value_is_one_sentence(self, values, sentence):
        with pytest.raises(BadInput, match=sentence) as error:
            JudgeSettings.from_mapping({**KIND, **values})
        assert "\n" not in str(error.value) and str(error.value).endswith(".")

    def test_it_sits_on_a_panel_and_takes_one(self):
        first, second = JudgeSettings.from_mapping(
            {**KIND, "margin": 2, "seed": 7, "panel": [{"name": "reference"}]}
        ).members()
        assert type(second) is not type(first) and second.seed == 7 and second.kind is None
        openai = {"name": "openai", "base_url": "http://x/v1", "api_key_env": "A_KEY", "max_tokens": 5}
        _, own = JudgeSettings.from_mapping({**openai, "panel": [{**KIND, "margin": 2}]}).members()
        assert (own.margin, own.max_tokens, own.api_key_env) == (2, 5, None)


class TestPreflight:
    def test_the_class_says_what_it_needs_of_rows_and_run(self, folder):
        config = recipe(folder)
        preflight_judge.judge(config)
        assert preflight_judge.needed_fields(config) == ("query_en",)
        preflight_judge.judge_answers(config)

    def test_what_does_not_fit_is_told(self, folder):
        with pytest.raises(BadInput, match=r"judge=longer has sp3f\.reward\.weights\.judge=0; raise it"):
            preflight_judge.judge(recipe(folder, "sp3f.reward.weights.judge=0"))
        with pytest.raises(BadInput, match="starts a server that no judge uses"):
            preflight_judge.judge(recipe(folder, "reward.reward_model.enable=true"))
        with pytest.raises(BadInput, match="judge=longer is closed today"):
            preflight_judge.judge_answers(recipe(folder, "+sp3f.judge.word=closed"))


def test_the_service_averages_it_with_the_others():
    values = {"name": "reference", "panel": [{**KIND, "weight": 3.0}]}

    async def scene():
        desk = Desk(JudgeSettings.from_mapping(values))
        await desk.open()
        judged = await desk.judge([r"\boxed{4}", r"I do not know, but it may be \boxed{5}"], ROW)
        metrics = desk.take_step()
        await desk.close()
        return judged, metrics

    judged, metrics = asyncio.run(scene())
    assert judged.rates == [0.25, 0.75] and judged.valid == [4, 4] and len(judged.comparisons) == 2
    assert "judge/questions" not in metrics, "nobody asked a model"


def test_the_arena(folder, tmp_path, monkeypatch):
    long, short = outputs(tmp_path, "long", words=30), outputs(tmp_path, "short", words=5)
    options = ["--candidate", long, "--baseline", short, "--prompts", prompts(tmp_path), "--output", tmp_path / "out"]
    command = ["sp3f", "evaluate", "--arena", *map(str, options), "judge=longer", folder, "sp3f.judge.margin=3"]
    monkeypatch.setattr(sys, "argv", command)
    assert main() == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["mean"]["win_rate"]["mean"] == 100 and summary["mean"]["prompts"] == 12
    assert summary["cost"] == {"questions": 48, "tokens_in": 0, "tokens_out": 0, "usd": 0}
    assert summary["judge"]["judge"] == summary["judge"]["model"] == "longer"
    assert {row["judge"] for row in read_parquet(tmp_path / "out" / "preferences.parquet")} == {"longer"}


def test_judge_check_tells_that_it_asks_no_model(folder, tmp_path):
    solved = {"prompt": [{"role": "user", "content": "?"}], "translated_solution": r"dos y dos son cuatro: \boxed{4}"}
    write_parquet([{**ROW, **solved, "language": "es"}], tmp_path / "rows.parquet")
    overrides = ["+recipe=sp3f", "judge=longer", folder, f"data.train_files={tmp_path / 'rows.parquet'}"]
    text, _ = judge_check.judge_check(overrides, 4, None, tmp_path / "check.jsonl", 1)
    assert "judge longer" in text and "only pairwise questions to a model are checked" in text
