"""The guard on the drift of preferred responses: measured from the run's first step, over restarts, before a save."""

import json

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.training.guard import Guard, GuardSettings


def step(logp: float) -> dict[str, float]:
    return {"train/logp_per_token/chosen": logp}


def guard(folder, **settings) -> Guard:
    return Guard(GuardSettings.read(settings, "sp3f.guard"), "chosen", folder)


def test_it_warns_once_and_logs_the_drop(tmp_path, capsys):
    watch = guard(tmp_path, chosen_logp_drop=0.5)
    drops = [watch.observe(step(logp))["guard/chosen_logp_drop"] for logp in (-1.0, -1.5, -1.75, -3.0, -0.5)]
    assert drops == [0.0, 0.5, 0.75, 2.0, -0.5]
    watch.stop()
    assert capsys.readouterr().err.count("chosen responses lost 0.75 nats a token") == 1


def test_it_stops_where_that_is_set(tmp_path):
    watch = guard(tmp_path, chosen_logp_drop=0.5, on_drop="stop")
    watch.observe(step(-1.0))
    watch.stop()
    watch.observe(step(-1.6))
    with pytest.raises(BadInput, match=r"lost 0.60 nats a token .*sp3f.guard.chosen_logp_drop=0.5.*nll_anchor"):
        watch.stop()


def test_a_resumed_run_keeps_its_first_step(tmp_path):
    entries = [{"step": 0, "data": {"val/loss": 1.0}}, {"step": 1, "data": step(-1.0)}, {"step": 2, "data": step(-2.0)}]
    (tmp_path / "000.jsonl").write_text("\n".join([json.dumps(entry) for entry in entries]) + '\n{"step": 3, "da')
    (tmp_path / "001.jsonl").write_text(json.dumps({"step": 3, "data": step(-9.0)}))
    assert guard(tmp_path).observe(step(-1.25))["guard/chosen_logp_drop"] == 0.25


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"chosen_logp_drop": 0}, r"sp3f.guard.chosen_logp_drop=0; set it to nats a token above 0, or null\."),
        ({"chosen_logp_drop": "1"}, r"sp3f.guard.chosen_logp_drop='1'; set it to nats"),
        ({"on_drop": "halt"}, r"sp3f.guard.on_drop=halt"),
        ({"chosen_drop": 1}, r"did you mean 'chosen_logp_drop'"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, settings, sentence):
    with pytest.raises(BadInput, match=sentence):
        guard(tmp_path, **settings)
