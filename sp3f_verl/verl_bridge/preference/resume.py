"""From which checkpoint a run goes on. verl writes its tracker file in place, so that a kill can leave it empty."""

from pathlib import Path

from sp3f_verl.data.files import write_text

TRACKER = "latest_checkpointed_iteration.txt"


def mend_tracker(folder: Path) -> None:
    """Where the tracker file holds no number, put in that of the newest checkpoint that was written to its end."""
    tracker = folder / TRACKER
    if not tracker.is_file() or tracker.read_text().strip().isdigit():
        return
    # data.pt is written after the workers' files, and the tracker after it
    whole = [file.parent.name.rpartition("_")[2] for file in folder.glob("global_step_*/data.pt")]
    if whole:
        write_text(max(whole, key=int), tracker)
    else:
        tracker.unlink()


def step_to_resume(trainer) -> int:
    """The step that verl's `_load_checkpoint` will set for these `trainer` settings; 0 for a new run."""
    if trainer.resume_mode == "disable":
        return 0
    if trainer.resume_mode == "resume_path":
        return int(str(trainer.resume_from_path).rstrip("/").rpartition("global_step_")[2])
    folder = Path(trainer.default_local_dir)
    mend_tracker(folder)
    tracker = folder / TRACKER
    step = int(tracker.read_text()) if tracker.is_file() else 0
    return step if (folder / f"global_step_{step}").is_dir() else 0
