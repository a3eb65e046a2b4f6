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


def cut(share: float) -> dict[str, float]:
    return {"generation/truncated": share, "generation/rows": 96.0}


def test_a_policy_that_no_longer_ends_its_responses(tmp_path, capsys):
    watch = guard(tmp_path, chosen_logp_drop=0.5)
    watch.observe(step(-1.0))
    watch.observe(step(-2.0))  # a warning of its own
    for share in (0.03, 0.23, 0.34, 0.77):
        watch.observe_responses(cut(share))
    watch.observe_responses({})  # an iteration whose responses were kept by an earlier attempt
    watch.stop()
    told = capsys.readouterr().err
    assert told.count("34% of the responses do not end within max_tokens, and 3% of the first policy's") == 1
    assert "77%" not in told and told.count("the policy unlearns") == 2
    (tmp_path / "000.jsonl").write_text(json.dumps({"step": 0, "data": cut(0.03)}))
    resumed = guard(tmp_path, on_drop="stop")
    resumed.observe_responses(cut(0.24))
    with pytest.raises(
        BadInput, match=r"24% of .* sp3f\.guard\.truncated_rise=0\.2: the policy unlearns its ending; lower"
    ):
        resumed.stop()
    off = guard(tmp_path, truncated_rise=None, on_drop="stop")
    off.observe_responses(cut(1.0))
    off.stop()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"chosen_logp_drop": 0}, r"sp3f.guard.chosen_logp_drop=0; set it to nats a token above 0, or null\."),
        ({"chosen_logp_drop": "1"}, r"sp3f.guard.chosen_logp_drop='1'; set it to nats"),
        ({"on_drop": "halt"}, r"sp3f.guard.on_drop=halt"),
        ({"truncated_rise": 0}, r"sp3f.guard.truncated_rise=0; set it to a share above 0, or null\."),
        ({"chosen_drop": 1}, r"did you mean 'chosen_logp_drop'"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, settings, sentence):
    with pytest.raises(BadInput, match=sentence):
        guard(tmp_path, **settings)
