"""What a folder holds that a report can be made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sp3f_verl.data.manifest import Manifest
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation import results
from sp3f_verl.report import quickstart
from sp3f_verl.report.preference.run import PreferenceRun
from sp3f_verl.report.rl_and_sft import is_rl, is_sft

READS = (
    "metrics/*.jsonl of a run (its trainer.default_local_dir, or where VERL_FILE_LOGGER_PATH pointed), "
    "evaluation/*.json of a finished quickstart, manifest.json of a data step, or summary.json of `sp3f evaluate`"
)


@dataclass(frozen=True)
class Folder:
    """`kind`: a key of `command.KINDS`. `content`: RunMetrics, a Manifest, a Summary, or None for a quickstart."""

    path: Path
    kind: str
    content: Any


def look(path: Path) -> Folder:
    """What a folder holds. BadInput where that is nothing to report on."""
    if not path.is_dir():
        raise BadInput(f"{path} is no folder; give one with {READS}.")
    if not any(path.iterdir()):
        raise BadInput(f"{path} is empty, nothing was written there yet; give a folder with {READS}.")
    if (summary := results.read(path)) is not None:
        return Folder(path, "evaluate" if summary.kind == "benchmarks" else summary.kind, summary)
    if quickstart.is_finished(path):
        return Folder(path, "quickstart", None)
    run = PreferenceRun(path)
    if run.roles:
        return Folder(path, "preference", run)
    if is_rl(run) or is_sft(run):
        return Folder(path, "trainer", run)
    if (manifest := Manifest.read(path)) is not None:
        return Folder(path, "dataset", manifest)
    raise BadInput(f"{path} holds nothing to report on; give a folder with {READS}.")
