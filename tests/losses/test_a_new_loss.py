"""A loss is a function with its settings, and a row of the table: settings, preflight, the workers' loss and the record
of a run take one that they have never heard of."""

from collections.abc import Sequence
from typing import Literal

import pytest
import torch

from helpers.recipes import compose_recipe, refused
from sp3f_verl.data.files import write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.losses import table
from sp3f_verl.losses.objective import Objective
from sp3f_verl.losses.settings import LossSettings, Terms
from sp3f_verl.losses.table import Loss
from sp3f_verl.settings import Number
from sp3f_verl.training.objective_record import ObjectiveRecord
from sp3f_verl.training.preference.batch_loss import batch_loss
from sp3f_verl.training.preference.tokens import Group, batch_of
from sp3f_verl.verl_bridge.preflight import callback as preflight

KEY = "sp3f.preference.objective"


class MarginSettings(LossSettings):
    loss_type: Literal["square", "absolute"] = "square"
    target: Number = 2.0


def margin_terms(values: Sequence[torch.Tensor], settings: MarginSettings) -> Terms:
    """The distance of the difference of the log-probs from a target."""
    if not settings.target > 0:
        raise BadInput(f"margin_loss: target={settings.target}; set it above 0.")
    away = values[0] - values[1] - settings.target
    losses = away.square() if settings.loss_type == "square" else away.abs()
    return Terms(losses, torch.stack(list(values), -1).detach(), {"saturated": (away == 0).detach()})


@pytest.fixture(autouse=True)
def row(monkeypatch) -> Loss:
    row = Loss(margin_terms, ("better", "worse"), False, MarginSettings, means=("absolute",))
    monkeypatch.setitem(table.LOSSES, "margin", row)
    return row


def test_its_settings_are_read_and_its_faults_are_one_sentence():
    objective = Objective(loss="margin", target=3, beta=0.1)
    assert objective.mapping == {
        **{"loss": "margin", "loss_type": "square", "target": 3.0, "length_normalised": None, "nll_anchor": 0.0}
    }, "the key of another loss has no part"
    assert (objective.roles, objective.needs_reference, objective.tied) == (("better", "worse"), False, None)
    assert not objective.means and Objective(loss="margin", loss_type="absolute").means
    for settings, sentence in (
        (
            {"loss": "margn"},
            f"{KEY}.loss=margn (did you mean 'margin'?); use dpo, simpo, simpo_ref, nll, spin, tspin, tspin_ref, "
            "margin.",
        ),
        ({"loss": "margin", "traget": 1}, f"{KEY}.traget is unknown (did you mean 'target'?); remove it."),
        ({"loss": "margin", "loss_type": "sqare"}, f"{KEY}.loss_type=sqare (did you mean 'square'?); it is one of"),
        ({"loss": "margin", "target": "far"}, f"{KEY}.target='far' is not a number; give one."),
        ({"loss": "margin", "target": -1}, f"{KEY}: margin_loss: target=-1.0; set it above 0."),
    ):
        with pytest.raises(BadInput) as error:
            Objective(**settings)
        assert str(error.value).startswith(sentence)


@pytest.mark.usefixtures("unchanged_environment")
def test_the_preflight_asks_for_its_columns_and_settings(tmp_path, tiny_model, capsys):
    write_parquet([{"prompt": f"{i}+2?", "better": "4", "worse": "5"} for i in range(16)], tmp_path / "rows.parquet")
    write_parquet([{"prompt": "2+2?", "better": "4"}], tmp_path / "half.parquet")
    run = [
        "device=cpu",
        f"data.train_files={tmp_path / 'rows.parquet'}",
        f"actor_rollout_ref.model.path={tiny_model}",
        f"trainer.default_local_dir={tmp_path / 'run'}",
        f"{KEY}.loss=margin",
        f"{KEY}.loss_type=square",
    ]
    preflight.Preflight().on_job_start(compose_recipe("dpo", *run))
    assert f"{KEY}: margin_loss: target=0.0" in refused(compose_recipe("dpo", *run, f"+{KEY}.target=0"), capsys)
    error = refused(compose_recipe("dpo", *run, f"data.val_files={tmp_path / 'half.parquet'}"), capsys)
    assert "data.val_files: " in error and "no column 'worse'" in error


def test_the_workers_loss_and_the_record_of_the_run(tmp_path):
    """better -1 -2, worse -4: 1 from each other, 1 from the target 2; the gradient is -2 and 2 a token."""
    ids = [torch.tensor(numbers, dtype=torch.int32).numpy() for numbers in ([5, 6], [7, 8], [9])]
    rows = batch_of([Group(ids[0], (ids[1], ids[2]))], [0], [1.0])
    log_probs = torch.tensor([-9.0, -1.0, -2.0, -9.0, -9.0, -4.0, -9.0], requires_grad=True)
    objective = Objective(loss="margin")
    loss, metrics = batch_loss(objective, log_probs, {**rows, "dp_size": 1, "total_weight": 1.0})
    assert loss.item() == pytest.approx(1.0) and metrics["margin"] == 1.0 and metrics["logp/worse"] == -4.0
    loss.backward()
    assert log_probs.grad.tolist() == [0, -2, -2, 0, 0, 2, 0]
    ObjectiveRecord.of(objective).write(tmp_path)
    record = ObjectiveRecord.read(tmp_path)
    assert (record.loss, record.roles, record.settings["target"]) == ("margin", ("better", "worse"), 2.0)
