"""A run records what it optimises; a folder without a record, or with something else, is told apart."""

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.losses.objective import Objective
from sp3f_verl.losses.table import LOSSES
from sp3f_verl.training.objective_record import FILE, ObjectiveRecord


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_written_is_read_and_builds_the_objective_again(tmp_path, loss):
    objective = Objective(loss)
    ObjectiveRecord.of(objective).write(tmp_path)
    record = ObjectiveRecord.read(tmp_path)
    assert (record.loss, record.roles, record.needs_reference) == (loss, objective.roles, objective.needs_reference)
    assert (record.means, record.loss_type) == (objective.means, objective.settings.loss_type)
    assert Objective(record.loss, **record.settings).mapping == objective.mapping


def test_a_reward_is_the_scale_times_the_log_prob():
    """What a report may take from the record in place of guessing it from means."""
    for loss, settings, scale in (
        ("dpo", {"beta": 0.3}, 0.3),
        ("simpo", {"beta": 2.0}, 2.0),
        ("tspin", {"alpha": 0.7}, 0.7),
    ):
        assert ObjectiveRecord.of(Objective(loss, **settings)).reward_scale == scale


def test_no_record_and_another_file(tmp_path):
    assert ObjectiveRecord.read(tmp_path) is None
    for text in ("", "[]", '{"loss": "dpo"}', "\x00"):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(BadInput, match=r"objective\.json is not what a run records of its objective; remove it\."):
            ObjectiveRecord.read(tmp_path)
