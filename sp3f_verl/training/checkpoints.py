"""From which checkpoint a run goes on. verl writes its tracker file in place, so that a kill can leave it empty."""

from pathlib import Path

from sp3f_verl.data.files import write_text
from sp3f_verl.errors import BadInput

TRACKER = "latest_checkpointed_iteration.txt"


def latest_step(folder: Path) -> int:
    """The step of the newest checkpoint of a run: the tracker's; where that was left empty, of the newest checkpoint
    that was written to its end. 0 where there is none."""
    tracker = folder / TRACKER
    if not tracker.is_file():
        return 0
    if (text := tracker.read_text().strip()).isdigit():
        return int(text)
    # data.pt (of SFT: data_0.pt) is written after the workers' files, and the tracker after it
    whole = (file.parent.name.rpartition("_")[2] for file in folder.glob("global_step_*/data*.pt"))
    return max((int(step) for step in whole if step.isdigit()), default=0)


def mend_tracker(folder: Path) -> None:
    """Where the tracker file holds no number, put in that of the newest checkpoint, which verl then goes on from."""
    tracker = folder / TRACKER
    if not tracker.is_file() or tracker.read_text().strip().isdigit():
        return
    if step := latest_step(folder):
        write_text(str(step), tracker)
    else:
        tracker.unlink()


def step_to_resume(trainer) -> int:
    """The step that verl's `_load_checkpoint` will set for these `trainer` settings; 0 for a new run.

    BadInput for a resume mode or path that verl cannot use.
    """
    if trainer.resume_mode == "disable":
        return 0
    if trainer.resume_mode == "resume_path":
        step = str(trainer.resume_from_path).rstrip("/").rpartition("global_step_")[2]
        if not step.isdigit():
            raise BadInput(f"trainer.resume_from_path={trainer.resume_from_path}; give a folder named global_step_<n>.")
        return int(step)
    if trainer.resume_mode != "auto":
        raise BadInput(f"trainer.resume_mode={trainer.resume_mode}; use auto, disable or resume_path.")
    folder = Path(trainer.default_local_dir)
    mend_tracker(folder)
    step = latest_step(folder)
    return step if (folder / f"global_step_{step}").is_dir() else 0


def workers_folder(trainer, step: int) -> Path:
    """Where the workers' files of the checkpoint of `step` are. BadInput where this process does not see them."""
    if trainer.resume_mode == "resume_path" and step == step_to_resume(trainer):
        place = Path(trainer.resume_from_path)
    else:
        place = Path(trainer.default_local_dir) / f"global_step_{step}"
    if not list((place / "actor").glob("model_world_size_*")):
        raise BadInput(f"{place / 'actor'} has no checkpoint that the driver sees; keep checkpoints on a shared disk.")
    return place / "actor"
