"""Which checkpoint of a run is its newest, and from which one it goes on."""

from sp3f_verl.training.checkpoints import TRACKER, latest_step, mend_tracker, step_to_resume


def checkpoint(folder, step: int, whole: bool = True) -> None:
    (folder / f"global_step_{step}").mkdir(parents=True)
    if whole:
        (folder / f"global_step_{step}" / "data.pt").touch()


def test_a_tracker_that_a_kill_left_empty_is_mended(tmp_path):
    checkpoint(tmp_path, 8)
    checkpoint(tmp_path, 12)
    checkpoint(tmp_path, 16, whole=False)
    mend_tracker(tmp_path)
    assert not (tmp_path / TRACKER).exists(), "a run without a tracker is left alone"
    (tmp_path / TRACKER).write_text("")
    mend_tracker(tmp_path)
    assert (tmp_path / TRACKER).read_text() == "12"
    (tmp_path / TRACKER).write_text("8")
    mend_tracker(tmp_path)
    assert (tmp_path / TRACKER).read_text() == "8" and latest_step(tmp_path) == 8


def test_the_newest_step_is_read_without_a_mend(tmp_path):
    assert latest_step(tmp_path) == 0
    checkpoint(tmp_path, 4)
    assert latest_step(tmp_path) == 0, "no tracker: no run of verl's"
    (tmp_path / TRACKER).write_text("")
    (tmp_path / "global_step_30").mkdir()
    (tmp_path / "global_step_30" / "data_0.pt").touch()  # SFT's name
    assert latest_step(tmp_path) == 30
    assert (tmp_path / TRACKER).read_text() == ""


class Trainer(dict):
    __getattr__ = dict.__getitem__


def test_the_step_that_verl_will_load(tmp_path):
    auto = Trainer(resume_mode="auto", default_local_dir=str(tmp_path))
    assert step_to_resume(auto) == 0
    checkpoint(tmp_path, 12)
    (tmp_path / TRACKER).write_text("12")
    assert step_to_resume(auto) == 12
    (tmp_path / TRACKER).write_text("13")
    assert step_to_resume(auto) == 0, "verl starts anew where the folder is gone"
    assert step_to_resume(Trainer(auto, resume_mode="disable")) == 0
    given = Trainer(resume_mode="resume_path", resume_from_path=f"{tmp_path}/global_step_7/")
    assert step_to_resume(given) == 7
