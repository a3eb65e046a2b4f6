"""The command `sp3f report`: what it writes for which folders, and several runs side by side."""

import json
import math
import re
import statistics
from pathlib import Path

import pytest

from helpers.report_folders import quickstart
from helpers.report_runs import preference, selfplay, write
from sp3f_verl import cli
from sp3f_verl.data.files import write_json, write_text
from sp3f_verl.report.command import report
from sp3f_verl.report.quickstart import COLUMNS


def called(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["sp3f", "report", *map(str, arguments)])
    code = cli.main()
    return code, *capsys.readouterr()


def table(text: str, first: str) -> dict[str, list[str]]:
    """Rows of the table whose header begins with `first`."""
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines]
    return {"header": rows[0][1:]} | {name: values for name, *values in rows[2:]}


def test_one_run_gets_its_report_in_its_folder(tmp_path, monkeypatch, capsys):
    write(tmp_path / "run", preference(), loss="dpo")
    code, out, _ = called(monkeypatch, capsys, tmp_path / "run")
    assert code == 0 and out.strip() == str(tmp_path / "run" / "report.md")
    text = (tmp_path / "run" / "report.md").read_text()
    link = "[`metrics/000.jsonl`](metrics/000.jsonl)"
    assert text.startswith(f"# Preference run: dpo\n\nTraining steps 1 to 3; 1 attempt ({link}).")
    assert str(tmp_path) not in text, "paths in it are relative, so that the folder can be moved"


def test_a_folder_without_anything_to_report_on_gets_one_sentence(tmp_path, monkeypatch, capsys, subtests):
    broken = ("summary.json", "manifest.json")
    folders = {
        tmp_path / "missing": "is no folder; give",
        tmp_path / "loop": "is no folder; give",
        tmp_path / "empty": "is empty, nothing was written there yet; give",
        tmp_path / "no_line_yet": "holds nothing to report on; give",
        tmp_path / "unfinished": "holds nothing to report on; give",
        **{tmp_path / f"broken_{name}": f"/{name} cannot be read (Expecting" for name in broken},
    }
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "no_line_yet", [])
    write_json({}, tmp_path / "unfinished" / "evaluation" / "sft_test.json")
    for name in broken:
        write_text("{", tmp_path / f"broken_{name}" / name)
    for folder, sentence in folders.items():
        with subtests.test(folder.name):
            code, out, err = called(monkeypatch, capsys, folder)
            assert (code, out) == (1, "") and err.startswith(f"sp3f: {folder}") and err.count("\n") == 1
            assert sentence in err and not (folder.name != "loop" and (folder / "report.md").exists())


def test_seeds_of_the_quickstart_are_pooled_and_copies_of_one_run_are_named(tmp_path, monkeypatch, capsys):
    folders = [quickstart(tmp_path / f"seed{n}", value) for n, value in ((1, 0.25), (2, 0.75), (3, 0.25))]
    for folder, seed in zip(folders, (1, 2, 1), strict=True):
        write_json({"data_seed": 1, "train_seed": seed, "steps": 5}, folder / "settings.json")
    assert "**seed1 and seed3 have the same seeds**: ± is no spread over seeds." in report(folders)
    file, spread = tmp_path / "all.md", statistics.stdev([0.25, 0.75])
    assert called(monkeypatch, capsys, *folders[:2], "--output", file) == (0, f"{file}\n", "")
    text = file.read_text()
    assert "\ngreedy, 2 seeds:\n" in text and f"0.500 ± {spread:.3f}" in text and "have the same seeds" not in text
    assert "](seed2/evaluation/sp3f_test.json)" in text, "each seed's files are named"


def test_methods_of_the_quickstart_have_a_row_each_and_only_their_seeds_are_pooled(tmp_path):
    runs = [("a", 0.25, "SP3F", 1), ("b", 0.75, "SP3F", 2), ("c", 0.5, "COPSD", 1), ("d", 1.0, None, 1)]
    folders = [quickstart(tmp_path / name, 0.125, value) for name, value, *_ in runs]
    for folder, (*_, method, seed) in zip(folders, runs, strict=True):
        write_json({"train_seed": seed, "rl": {"method": method}, "steps": 5}, folder / "settings.json")
    rows = table(report(folders), "split")
    spread = statistics.stdev([0.25, 0.75])
    assert rows["test: a (2)"][0] == f"0.125 ± 0.000 → 0.500 ± {spread:.3f}"
    assert rows["test: COPSD (1)"][0] == "0.125 → 0.500" and rows["test: d (1)"][0] == "0.125 → 1.000"
    assert "have the same seeds" not in report(folders)
    assert Path(report(folders[2:3])).read_text().count("SFT → COPSD") == 1


def test_methods_with_the_same_seeds_are_compared_seed_by_seed(tmp_path):
    """Gains of 0.25, 0.5 and 0.75: mean 0.5, and t of two degrees of freedom, 4.303, times 0.25 / sqrt(3)."""
    ends = {"SP3F": (0.25, 0.0, 0.25), "COPSD": (0.5, 0.5, 1.0)}
    folders = []
    for method, values in ends.items():
        for seed, value in enumerate(values):
            folders.append(quickstart(tmp_path / f"{method}{seed}", 0.125, value))
            write_json({"train_seed": seed, "rl": {"method": method}}, folders[-1] / "settings.json")
    [row] = [
        line for line in report(folders).splitlines() if line.startswith("| test: COPSD (3) minus SP3F (3), 3 pairs |")
    ]
    mean, low, high = map(float, re.findall(r"[-+]?\d\.\d{3}", row)[:3])
    assert mean == 0.5 and (low, high) == pytest.approx((0.5 - 0.621, 0.5 + 0.621), abs=0.01)
    write_json({"train_seed": 1, "rl": {"method": "COPSD"}}, folders[-1] / "settings.json")
    assert "minus" not in report(folders)  # two seeds that both have, one of them twice


@pytest.mark.parametrize("text", ["{", "null", "[]", '{"greedy": null, "sampled": {}}'])
def test_a_damaged_evaluation_of_a_quickstart_is_named(tmp_path, monkeypatch, capsys, text):
    folders = [quickstart(tmp_path / name, 0.25) for name in ("a", "b")]
    (tmp_path / "a" / "evaluation" / "sp3f_test.json").write_text(text)
    for given in (folders[:1], folders):
        code, _, err = called(monkeypatch, capsys, *given)
        assert code == 1 and err.count("\n") == 1 and str(tmp_path / "a" / "evaluation" / "sp3f_test.json") in err


def test_a_quickstart_s_values_that_are_none_are_shown_as_such(tmp_path):
    folders = [quickstart(tmp_path / name, 0.25) for name in ("a", "b")]
    means = {
        "es": {"accuracy": None},
        "all": {name: 0.5 for name in COLUMNS} | {"accuracy": math.nan, "fidelity": None},
    }
    text = json.dumps({"greedy": means, "sampled": means})
    (tmp_path / "a" / "evaluation" / "sp3f_test.json").write_text(text)
    text = Path(report(folders[:1])).read_text()
    assert table(text, "split")["test"][:3] == ["0.250 → NaN", "0.250 → 0.500", "0.250 → –"]
    assert table(text, "language")["es"][0] == "0.250 → –" and "NaN, infinite or null in [`evaluation/sp3f_test" in text
    assert table(report(folders), "split")["test"][0] == "0.250 ± 0.000 → NaN"


def test_a_folder_as_output_gets_the_report_in_it(tmp_path, monkeypatch, capsys):
    runs = [write(tmp_path / name, preference()) for name in ("a", "b")]
    folder = tmp_path / "dd"
    folder.mkdir()
    assert report(runs[:1], folder) == str(folder / "report.md") and not (tmp_path / "dd.md").exists()
    monkeypatch.chdir(folder)
    assert called(monkeypatch, capsys, *runs, "--output", ".") == (0, "report.md\n", "")
    (runs[0] / "report.md").mkdir()
    code, _, err = called(monkeypatch, capsys, runs[0])
    assert code == 1 and f"{runs[0] / 'report.md'} is a folder" in err and "Errno" not in err


def test_a_mixture_is_one_report_with_a_section_a_kind(tmp_path, monkeypatch, capsys):
    """The links of each section are relative to the folder that its numbers are of."""
    folders = [write(tmp_path / name, preference()) for name in ("a", "b")]
    folders.append(write(tmp_path / "sft", [(1, {"train/loss": 2.0}), (2, {"train/loss": 1.0})]))
    file = tmp_path / "out" / "all.md"
    code, out, _ = called(monkeypatch, capsys, *folders, "--output", file)
    assert code == 0 and out.strip() == str(file) and file.with_suffix(".html").is_file()
    text = file.read_text()
    assert text.startswith("# 3 folders\n") and "## Preference and self-play runs\n" in text
    assert "## SFT run: sft\n" in text and "](../sft/metrics/000.jsonl)" in text and "](../b/metrics/000.jsonl)" in text


def test_the_table_of_several_runs_can_go_to_a_file(tmp_path, monkeypatch, capsys):
    runs = [write(tmp_path / name, preference()) for name in ("a", "b")]
    code, screen, _ = called(monkeypatch, capsys, *runs)
    file = tmp_path / "new" / "table.md"
    assert called(monkeypatch, capsys, *runs, "--output", file) == (0, f"{file}\n", "") and code == 0
    links = re.sub(r"\[(`[^`]+`)\]\([^)]+\)", r"\1", file.read_text())
    assert links == screen.removesuffix("\n") and file.with_suffix(".html").is_file()
    assert not (runs[0] / "report.md").exists(), "only the table was asked for"


@pytest.mark.parametrize(("given", "written"), [("t.md", "t"), ("t.html", "t"), ("runs.v1", "runs.v1")])
def test_both_forms_are_written_whichever_is_named(tmp_path, given, written):
    run = write(tmp_path / "run", [(1, {"train/loss": 2.0})])
    assert report([run], tmp_path / given) == str(tmp_path / f"{written}.md")
    assert (tmp_path / f"{written}.html").is_file()


def test_preference_runs_side_by_side_have_a_column_each(tmp_path):
    """Roles are matched by their place; each run's files are named."""
    folders = [write(tmp_path / "dpo", preference(margin=9.0)), write(tmp_path / "tspin", selfplay(), loss="tspin")]
    text = report(folders)
    last = table(text, "last held-out")
    assert last["header"] == ["dpo", "tspin (tspin)"] and last["`margin`"] == ["9.000", "1.800"]
    assert last["`logp_per_token/y`"] == ["-1.000", "-0.800"] and "`logp/chosen`" not in last
    assert last["`logp_per_token/y0`"] == ["–", "-1.800"] and last["`history_margin`"] == ["–", "1.000"]
    assert f"\n{folders[0]}: `metrics/000.jsonl` step 3\n" in text


def test_iterations_side_by_side(tmp_path):
    """Policy 2 ends the run of two iterations; a run that does not iterate has no column."""
    runs = [write(tmp_path / "long", selfplay(3)), write(tmp_path / "short", selfplay(2))]
    iterations = table(report([*runs, write(tmp_path / "dpo", preference())]), "t")
    columns = [f"{kind}: {name}" for kind in ("exact match", "gap") for name in ("long", "short")]
    assert iterations["header"] == columns and len(iterations) == 5
    assert iterations["1"] == ["0.300", "0.300", "0.500", "0.500"]
    assert iterations["2"] == ["0.500", "0.500", "0.500", "–"]
    assert iterations["3"] == ["0.700", "–", "–", "–"]


def test_one_folder_given_twice_is_one_run(tmp_path, monkeypatch, capsys):
    run = write(tmp_path / "run", preference())
    code, out, _ = called(monkeypatch, capsys, run, run)
    assert code == 0 and out.strip().endswith("report.md")
