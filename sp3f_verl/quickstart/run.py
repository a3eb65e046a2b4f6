"""`sp3f quickstart`: from nothing to a model that got better in several languages, on a CPU."""

import os
import time
from pathlib import Path

from rich.console import Console

from sp3f_verl.data.files import check_folder, write_json
from sp3f_verl.quickstart import settings as presets
from sp3f_verl.quickstart.stages import Stages
from sp3f_verl.report.document.terminal import shown
from sp3f_verl.report.quickstart import read_results, table_of, title_of, write_report


def quickstart(output: Path, preset: str, **overrides: int | str | None) -> None:
    """Run the stages that are not done yet, write report.md and print its numbers.

    overrides: data_seed, train_seed, pretrained. Raises BadInput for an unknown preset or a file in the folder's place,
    StageFailed when a training process fails.
    """
    settings = presets.load(preset, **overrides)
    os.environ.setdefault("OMP_NUM_THREADS", str(settings["threads"] or os.cpu_count() or 1))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["VERL_PLATFORM"] = "cpu"  # also on a machine with a GPU, whose driver verl would find
    console, start = Console(), time.monotonic()
    check_folder(output)
    output.mkdir(parents=True, exist_ok=True)
    write_json(settings, output / "settings.json")
    Stages(settings, output, lambda text: console.print(text, highlight=False)).run_all()
    report = write_report(output)

    results = read_results(output)
    print(f"{title_of(output, results)}, greedy, mean over languages\n{shown([table_of(results, 'greedy')])}")
    console.print(f"report: {report}   ({time.monotonic() - start:.0f} s)", highlight=False)
