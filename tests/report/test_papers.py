"""The papers' published numbers: what can be worked out from them is, and a run stands beside them."""

import json
import re
from importlib.resources import files
from pathlib import Path
from statistics import mean

import pytest
import yaml

from helpers.report_folders import arena, evaluation, harness
from sp3f_verl.data.files import write_json
from sp3f_verl.errors import BadInput
from sp3f_verl.report.command import report
from sp3f_verl.report.document.markdown import markdown
from sp3f_verl.report.folders import look
from sp3f_verl.report.papers.compare import paper_document
from sp3f_verl.report.papers.conditions import compared, normal, verdict
from sp3f_verl.report.papers.load import NAMES, Paper, load
from sp3f_verl.stats.win_rates import margin

DOCS = Path(__file__).resolve().parents[2] / "docs" / "results"


def beside(name: str, *folders) -> str:
    return markdown(paper_document(name, [look(folder) for folder in folders]))


@pytest.mark.parametrize("name", NAMES)
def test_every_paper_loads_from_the_package_and_from_docs(name):
    paper = load(name)
    assert paper.name == name and paper.cite and len({table.id for table in paper.tables}) == len(paper.tables)
    packaged = files("sp3f_verl.report.papers").joinpath(f"{name}.yaml").read_text()
    assert (DOCS / f"{name}.yaml").read_text() == packaged


def test_mdpo_differences_and_ties_follow_from_wins_and_losses():
    """Oracle 6.10: delta = win - loss (means of 5 runs, rounded: within 0.02); ties and errors are 0.3 to 1.2 %."""
    table = load("mdpo").table("winrates")
    deltas = {}
    for row in table.rows:
        win, loss, delta = row.values
        worked_out, neither = margin(win, loss)
        assert worked_out == pytest.approx(delta, abs=0.021), row
        assert 0.3 < neither < 1.25, row
        deltas[row.name, row.baseline] = delta
    baselines = list(dict.fromkeys(row.baseline for row in table.rows))
    changes = {name: [deltas[name, one] - deltas["Base", one] for one in baselines] for name in "ABC"}
    assert changes["A"] == pytest.approx([-4.32, -4.15, -2.27], abs=0.011)
    assert changes["B"] == pytest.approx([5.69, 3.43, 6.14], abs=0.011)
    assert changes["C"] == pytest.approx([3.62, 4.54, 1.58], abs=0.011)


def test_mdpo_changes_by_language_are_those_of_all_languages():
    """The means over 9 languages are 3.44, 5.69 and 6.15: architecture B's change against each baseline."""
    paper = load("mdpo")
    deltas = {(row.name, row.baseline): row.values[2] for row in paper.table("winrates").rows}
    for row in paper.table("by_language").rows:
        change = deltas["B", row.baseline] - deltas["Base", row.baseline]
        assert mean(row.values) == pytest.approx(change, abs=0.02), row


@pytest.mark.parametrize("id", ["table1", "table4"])
def test_tspin_averages_are_the_means_of_their_rows(id):
    table = load("tspin").table(id)
    assert len(table.rows) == 12 and table.columns[-1] == "mean"
    for row in table.rows:
        assert mean(row.values[:-1]) == pytest.approx(row.values[-1], abs=0.0061), row


def test_sp3f_tasks_have_the_mean_of_the_overview():
    paper = load("sp3f")
    assert mean(paper.table("tasks").rows[0].values) == pytest.approx(
        paper.table("overview").rows[-1].values[0], abs=0.05
    )


def test_a_row_with_a_value_too_few_is_told():
    data = yaml.safe_load(files("sp3f_verl.report.papers").joinpath("tspin.yaml").read_text())
    data["tables"][0]["rows"][3]["values"].pop()
    with pytest.raises(BadInput, match=r"table table1: row 'SPIN, iteration 1' has 10 values for 11 columns"):
        Paper.read(data, "tspin.yaml")
    with pytest.raises(BadInput, match=r"--paper=tsbin \(did you mean 'tspin'\?\)"):
        load("tsbin")


# ---- a run beside them ---------------------------------------------------------------------------------------------


def last_row(text: str, section: str) -> list[str]:
    table = [line for line in text.split(f"## {section}\n")[1].split("\n### ")[0].splitlines() if line.startswith("| ")]
    return table[-1].strip("| ").split(" | ")


def test_an_evaluation_beside_sp3f_says_what_differs(tmp_path):
    folder = evaluation(tmp_path / "mine", {"es": 0.5, "sw": 0.25})
    text = beside("sp3f", folder)
    name, mgsm, *others = last_row(text, "SP3F-7B by task")
    assert (
        name == "**mine**" and others[:3] == ["–", "–", "–"] and mgsm.endswith("]") and 20 < float(mgsm.split()[0]) < 50
    )
    assert "**Not the same conditions**: model, languages." in text
    assert "| samples | 8 | 8 | same |" in text and "| languages | ar, bn, de," in text
    assert "(mean of 1 benchmarks)" in text, "no mean of four tasks is claimed"


def test_a_harness_beside_tspin_by_the_paper_s_names(tmp_path):
    """Ten tasks of 50 points have the mean 50; nine have none."""
    shots = load("tspin").conditions["shots"]
    names = dict(zip("GSM8K MATH MUSR MMLU MMLU-Pro GPQA HellaSwag WinoGrande BBH IFEval".split(), shots, strict=True))
    assert all(normal(name) == asked for name, asked in names.items())
    asked = {name: shots[task] for name, task in names.items()}
    text = beside("tspin", harness(tmp_path / "mine", dict.fromkeys(names, 50.0), asked))
    assert last_row(text, "Table 1, Zephyr-7B") == ["**mine**", *["50.00 ± 0.80"] * 10, "50.00", "mine"]
    assert "| shots | " in text and text.count("| same |") >= 2
    few = harness(tmp_path / "few", dict.fromkeys(list(names)[1:], 50.0), asked)
    assert last_row(beside("tspin", few), "Table 1, Zephyr-7B")[-2] == "– (not all tasks)"
    wrong = harness(tmp_path / "wrong", dict.fromkeys(names, 50.0), asked | {"GSM8K": 0})
    assert "**Not the same conditions**: model, shots, metrics." in beside("tspin", wrong)


def test_an_arena_beside_mdpo_has_its_difference(tmp_path):
    """A win rate of 60 with 2 % ties at one half: 59 won, 39 lost, difference 20 = 2 x 60 - 100."""
    text = beside("mdpo", arena(tmp_path / "mine", {"es": 60.0}))
    rows = [line for line in text.splitlines() if line.startswith("| **mine** dpo against base |")]
    assert rows == ["| **mine** dpo against base | 59.00 | 39.00 | 20.00 [15.00; 25.00] | 2.00 | mine |"]
    assert "**Not the same conditions**: languages, prompts, orders. Not told by one side: model, temperature," in text
    assert "| judge | Qwen2.5-32B-Instruct | Qwen2.5-32B-Instruct | same |" in text
    assert "| model | aya-23-8B" not in text and "| orders | one, by a fair coin | both | **differs** |" in text


@pytest.mark.parametrize("ties", ["half", "win"])
def test_an_arena_that_counts_ties_otherwise_has_no_difference(tmp_path, ties):
    """`--ties win` puts them into the win rate and the wins: 2 x rate - 100 is no difference then."""
    folder = arena(tmp_path / "mine", {"es": 60.0})
    summary = json.loads((folder / "summary.json").read_text())
    for one in (summary, summary["others"]["sft"]):
        one["mean"] |= {"wins": 57.0, "losses": 37.0, "ties": 6.0}  # a win and a tie are a win
    write_json(summary | {"ties": ties}, folder / "summary.json")
    text = beside("mdpo", folder)
    (row,) = [line for line in text.splitlines() if line.startswith("| **mine** dpo against base |")]
    known = "57.00 | 37.00 | 20.00 [15.00; 25.00] | 6.00"
    assert row == f"| **mine** dpo against base | {known if ties == 'half' else '– | – | – | –'} | mine |"
    assert f"| ties | half | {ties} | {'same' if ties == 'half' else '**differs**'} |" in text


def test_translators_beside_mdpo(tmp_path):
    rows = [{"translator": "mine", "lp": "en-de_DE", "language": "de", "bleu_sentence": 25.5, "chrf_sentence": 50.0}]
    write_json({"kind": "translation", "scores": rows}, tmp_path / "summary.json")
    result = last_row(beside("mdpo", tmp_path), "Translation, BLEU")
    assert result[0].endswith("mine") and result[4] == "25.500" and result[1] == "–"


def conditions(text: str, section: str) -> str:
    return text.split(f"## {section}\n")[1].split("\n## ")[0]


def test_a_mean_is_of_the_shots_of_all_its_tasks_and_nothing_is_the_same_where_nothing_was_compared(tmp_path):
    tasks = load("tspin").conditions["shots"]
    means = [table.title for table in load("tspin").tables if table.columns == ("mean",)]
    assert len(means) == 2
    wrong = beside("tspin", harness(tmp_path / "wrong", dict.fromkeys(tasks, 50.0), dict.fromkeys(tasks, 99)))
    other = beside("tspin", harness(tmp_path / "other", {"another": 50.0}))
    for title in means:
        section = conditions(wrong, title)
        assert "**Not the same conditions**" in section and re.search(
            r"\| shots \|.*99.*\| \*\*differs\*\* \|", section
        )
        section = conditions(other, title)
        assert re.search(r"\| shots \|.*\| – \| not told \|", section) and "The same conditions" not in section


def test_no_condition_that_both_tell_is_no_agreement():
    assert verdict(compared({"shots": {"a": 1}}, {"shots": {"b": 1}})).startswith("No condition is told by both.")
    assert verdict([]).startswith("No condition is told by both.")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Qwen2.5-7B@0123456789abcdef", "same"),
        ("Qwen2.5-7B@0123456789abcdef+adapter@0123456789abcdef", "same"),
        ("Qwen/Qwen2.5-7B+adapter@0123456789abcdef", "same"),
        ("Other-7B@0123456789abcdef", "**differs**"),
        ("/home/me@host/Qwen2.5-7B/", "same"),
        ("huggingface@0123456789abcdef", "not told"),
        ("runs/qwen2.5-7b/checkpoints/global_step_10", "not told"),
    ],
)
def test_a_local_model_has_its_folder_s_name(tmp_path, model, expected):
    text = beside("sp3f", evaluation(tmp_path / "mine", {"es": 0.5}, model))
    assert re.search(rf"\| model \| Qwen2\.5-7B \|.*\| {re.escape(expected)} \|", text)


def test_a_trial_of_a_few_problems_is_told(tmp_path):
    folder = evaluation(tmp_path / "mine", {"es": 0.5}, "Qwen2.5-7B")
    assert "| limit |" not in beside("sp3f", folder)
    summary = json.loads((folder / "summary.json").read_text())
    write_json(summary | {"limit": 10}, folder / "summary.json")
    text = beside("sp3f", folder)
    assert "| limit | all | 10 | **differs** |" in text and "**Not the same conditions**: languages, limit." in text


def test_a_euroeval_run_has_its_iterations_languages_and_metrics(tmp_path):
    folder = harness(tmp_path / "mine", {"ScaLA-da": 34.0})
    summary = json.loads((folder / "summary.json").read_text())
    summary["tasks"]["ScaLA-da"] |= {"metric": "mcc", "language": "da", "iterations": 3, "shots": None}
    write_json(summary | {"package": "euroeval", "versions": {"euroeval": "17.0.0"}}, folder / "summary.json")
    section = conditions(beside("croco", folder), load("croco").table("replication").title)
    assert "| iterations | 10 | 3 | **differs** |" in section and "| languages | da | da | same |" in section
    assert re.search(r"\| metrics \|.* \| same \|", section) and "| shots |" not in section


def test_a_translation_has_no_judge(tmp_path):
    paper = load("mdpo")
    assert paper.conditions_of(paper.table("winrates"))["judge"] == "Qwen2.5-32B-Instruct"
    assert paper.conditions_of(paper.table("by_language"))["prompts"] == 1350
    assert paper.conditions_of(paper.table("bleu")) == {"segments": 300, "set": "WMT24++"}


def test_a_run_of_another_kind_is_refused(tmp_path):
    folder = arena(tmp_path / "mine", {"es": 60.0})
    with pytest.raises(BadInput, match="of the kind 'arena', and --paper=tspin has tables for harness; leave it out"):
        beside("tspin", folder)


def test_the_command_writes_it_beside_the_run(tmp_path):
    folder = harness(tmp_path / "mine", {"GSM8K": 40.0})
    assert report([folder], paper="tspin") == str(folder / "paper_tspin.md")
    assert "](summary.json)" in (folder / "paper_tspin.md").read_text() and (folder / "paper_tspin.html").is_file()
    assert report([], paper="mdpo").startswith("# Three architectures")
