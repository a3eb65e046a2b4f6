"""Which report `sp3f report` writes: decided by what the folders hold."""

from collections.abc import Sequence
from pathlib import Path

from sp3f_verl.data.files import write_text
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation import report as quickstart
from sp3f_verl.evaluation.preference_compare import compare
from sp3f_verl.evaluation.preference_report import write_preference_report
from sp3f_verl.evaluation.run_metrics import RunMetrics


def report(folders: Sequence[Path], output: Path | None = None) -> str:
    """What to print. One folder: the path of the report.md written into it. Several: their table, or where `output`
    is given its path. BadInput for a folder that is neither kind, for a mixture, and for `output` with one folder."""
    found = {folder.resolve(): folder for folder in folders}
    runs = [_run(folder) for folder in found.values()]
    if len(runs) == 1:
        if output:
            raise BadInput(f"--output={output} is for the table of several folders; leave it out for one.")
        return str(write_preference_report(runs[0]) if runs[0] else quickstart.write_report(*found.values()))
    if any(runs) and not all(runs):
        one = next(folder for folder, run in zip(found.values(), runs, strict=True) if not run)
        raise BadInput(f"{one} is a quickstart and other folders are not; report on them apart.")
    text = compare(runs) if all(runs) else quickstart.seeds_table(list(found.values()))
    if not output:
        return text
    write_text(text, output)
    return str(output)


def _run(folder: Path) -> RunMetrics | None:
    """None for a finished quickstart."""
    run = RunMetrics(folder)
    if run.roles:
        return run
    if quickstart.is_finished(folder):
        return None
    raise BadInput(
        f"{folder} is neither a preference or self-play run (metrics/*.jsonl with rewards or log-likelihoods of its "
        "responses) nor a finished quickstart (evaluation/*.json); give a run's trainer.default_local_dir or a "
        "quickstart's --output."
    )
