"""`sp3f report` of evaluations, arenas, harnesses, data sets and trainers: numbers from files that are written here."""

import json
import math
import re

import pytest

from helpers.report_folders import HOSTILE, arena, dataset, evaluation, harness
from helpers.report_runs import preference, write
from sp3f_verl.data.files import write_json
from sp3f_verl.data.output import Output
from sp3f_verl.data.preference_report import PreferenceReport
from sp3f_verl.errors import BadInput
from sp3f_verl.report.command import document_of, report, side_by_side
from sp3f_verl.report.document.blocks import Picture, every
from sp3f_verl.report.document.markdown import markdown
from sp3f_verl.report.document.page import html
from sp3f_verl.report.folders import look
from sp3f_verl.report.rl_and_sft import _time
from sp3f_verl.training.metrics_log import Point


def text_of(*folders) -> str:
    result = [look(folder) for folder in folders]
    return markdown(document_of(result[0]) if len(result) == 1 else side_by_side(result))


def rows(text: str, first: str) -> dict[str, dict[str, str]]:
    """The first table whose head begins with `first`: row -> column -> cell."""
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    head, _, *body = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body}


# ---- sp3f evaluate -------------------------------------------------------------------------------------------------


def test_an_evaluation_by_language_with_intervals_and_where_each_stands(tmp_path):
    folder = evaluation(tmp_path / "run", {"es": 0.5, "sw": 0.25})
    summary = json.loads((folder / "summary.json").read_text())
    mean = summary["benchmarks"]["mgsm"]["languages"]["es"]["accuracy"]["mean"]
    result = rows(text_of(folder), "language")
    assert result["es"]["accuracy"] == f"{mean:.3f} [{mean - 0.05:.3f}; {mean + 0.05:.3f}]"
    assert result["es"]["pass@2"] == f"{mean + 0.02:.3f}" and result["es"]["failed"] == "3"
    source = "\nFrom `summary.json`; the answers: `mgsm/es/output.jsonl`, `mgsm/sw/output.jsonl`.\n"
    assert "from" not in result["es"] and text_of(folder).count(source) == 1, "a source is named once a table"
    assert report([folder]) == str(folder / "report.md")
    assert "](mgsm/es/output.jsonl)" in (folder / "report.md").read_text()
    assert 'href="mgsm/es/output.jsonl"' in (folder / "report.html").read_text()
    assert "samples 8, temperature 0.7, top_p 0.8" in text_of(folder) and "in no\ndenominator" in text_of(folder)


def test_two_evaluations_are_compared_problem_by_problem(tmp_path):
    """es: two problems of 40 more are right in the second: +0.05. All problems have the same ids in both languages."""
    base = evaluation(tmp_path / "base", {"es": 0.5, "sw": 0.5})
    other = evaluation(tmp_path / "other", {"es": 0.5, "sw": 0.5})
    file = other / "mgsm" / "es" / "output.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    wrong = [line for line in lines if line["accuracy"] == [0, 0]][:2]
    for line in wrong:
        line["accuracy"] = [1.0, 1.0]
    file.write_text("".join(json.dumps(line) + "\n" for line in reversed(lines)))
    result = rows(text_of(base, other), "accuracy")
    assert re.fullmatch(r"\+0\.050 \[0\.\d+; 0\.\d+\], p 0\.5, n 40", result["es"]["other minus base"])
    assert result["sw"]["other minus base"] == "+0.000 [0.000; 0.000], p 1, n 40"
    assert result["mean of languages"]["other minus base"].startswith("+0.025 [")
    file.unlink()
    result = rows(text_of(base, other), "accuracy")
    assert result["es"]["other minus base"].endswith("(of means)"), "no interval where there is nothing to pair"


def test_numbers_that_are_none_are_shown_as_such_and_counted(tmp_path):
    folder = evaluation(tmp_path / "run", {"es": 0.5})
    summary = json.loads((folder / "summary.json").read_text())
    spanish = summary["benchmarks"]["mgsm"]["languages"]["es"]
    spanish |= {"accuracy": {"mean": math.nan, "low": None, "high": None}, "majority": None, "tokens": math.inf}
    (folder / "summary.json").write_text(json.dumps(summary))
    text = text_of(folder)
    result = rows(text, "language")["es"]
    assert (result["accuracy"], result["majority"], result["tokens"]) == ("NaN", "–", "∞")
    assert "5 values are NaN, infinite or null in `summary.json` and shown as such" in text
    assert "`benchmarks.mgsm.languages.es.majority`" in text
    html(document_of(look(folder)), tmp_path)


@pytest.mark.parametrize("summary", [{"benchmarks": {}}, {"benchmarks": {"a": {}, "b": {"languages": {"sw": {}}}}}])
def test_a_summary_with_parts_missing_is_reported_as_far_as_it_goes(tmp_path, summary):
    write_json(summary, tmp_path / "summary.json")
    assert text_of(tmp_path).startswith("# Evaluation of ?")


@pytest.mark.parametrize("missing", [None, {"mean": math.nan, "low": None, "high": None}])
def test_a_benchmark_without_any_score_is_reported_without_a_picture(tmp_path, missing):
    """Every sample is unscored: accuracy and fidelity are null."""
    folders = [evaluation(tmp_path / name, {"es": 0.5}) for name in ("a", "b")]
    for folder in folders:
        summary = json.loads((folder / "summary.json").read_text())
        benchmark = summary["benchmarks"]["mgsm"]
        for one in (benchmark["languages"]["es"], benchmark["mean"]):
            one |= {"accuracy": missing, "fidelity": missing, "fidelity_curve": {}, "unscored": 40}
        (folder / "summary.json").write_text(json.dumps(summary))
        report([folder])
        assert not (folder / "evaluate_mgsm.png").exists() and "| es | 40 |" in (folder / "report.md").read_text()
    report(folders, tmp_path / "both.md")


def changed(folder, **values):
    summary = json.loads((folder / "summary.json").read_text())
    write_json(summary | values, folder / "summary.json")
    return folder


def test_means_over_other_languages_have_no_difference(tmp_path):
    base = evaluation(tmp_path / "base", {"es": 0.5, "sw": 0.2})
    other = evaluation(tmp_path / "other", {"es": 0.5, "de": 0.9})
    text = text_of(base, other)
    assert rows(text, "accuracy")["mean of languages"]["other minus base"] == "–"
    assert text.count("**Means over other languages**, so without a difference: other (de, es) and base (es, sw).") == 1
    assert rows(text, "accuracy")["es"]["other minus base"].startswith("+0.000 [")
    assert "Means over other" not in text_of(base, evaluation(tmp_path / "again", {"sw": 0.2, "es": 0.5}))


def test_evaluations_of_other_settings_are_told(tmp_path):
    base = changed(evaluation(tmp_path / "base", {"es": 0.5}), limit=None)
    same, other = (evaluation(tmp_path / name, {"es": 0.5}) for name in ("same", "other"))
    assert "Not the same settings" not in text_of(base, same), "no limit and none told are one"
    changed(other, decoding={"samples": 8, "temperature": 0.0, "top_p": 0.8}, threshold=0.5, limit=10)
    sentences = [line for line in text_of(base, other).splitlines() if line.startswith("**Not the same settings**")]
    assert sentences == [
        "**Not the same settings**: temperature (base 0.7, other 0.0), threshold (base 0.7, other 0.5), limit (base –, "
        "other 10)."
    ]


# ---- arena, harness, data sets -------------------------------------------------------------------------------------


def test_an_arena_by_language_with_what_was_not_judged(tmp_path):
    text = text_of(arena(tmp_path / "run", {"es": 60.0, "sw": 40.0}))
    result = rows(text, "language")
    assert result["es"]["win rate"] == "60.0 [57.5; 62.5]" and result["es"]["at equal length"] == "59.0 [56.0; 62.0]"
    assert (result["sw"]["ties"], result["sw"]["unparseable"], result["sw"]["missing"]) == ("2.0", "2", "1")
    assert result["mean of languages"]["win rate"] == "50.0 [47.5; 52.5]" and result["sw"]["wrong language"] == "3.5"
    assert "### " not in text.split("## sft against base")[0] and "| open | 150 |" in text
    gaps = text.split("## dpo minus sft, on the same prompts")[1]
    assert rows(gaps, "language")["es"]["difference in points"] == "4.0 [1.0; 7.0]"
    assert "| what is shown first wins, of decided verdicts (50: no bias) | 54.0 [53.0; 55.0] |" in text


def test_arenas_side_by_side_and_a_warning_where_they_cannot_be(tmp_path):
    one, other = arena(tmp_path / "a", {"es": 60.0}), arena(tmp_path / "b", {"es": 50.0}, baseline="gpt")
    text = text_of(one, other)
    assert "**They have different baselines** (`base`, `gpt`): do not compare them." in text
    assert rows(text, "language")["es"]["b: dpo"] == "50.000 [47.500; 52.500]"


def test_a_harness_and_two_side_by_side(tmp_path):
    """(41 - 40) ± 1.96 sqrt(0.8^2 + 0.8^2) = 1 ± 2.22. No mean where a task failed."""
    one = harness(tmp_path / "one", {"GSM8K": 40.0, "MMLU": 60.0})
    other = harness(tmp_path / "other", {"GSM8K": 41.0, "MMLU": None})
    text = text_of(one)
    assert rows(text, "task")["GSM8K"]["score"] == "40.00 ± 0.80" and "Unweighted mean of 2 tasks: 50.00." in text
    assert "No mean: a task has no value." in text_of(other) and "1 value is NaN, infinite or null" in text_of(other)
    result = rows(text_of(one, other), "task")
    assert result["GSM8K"]["other minus one"] == "+1.00 [-1.22; 3.22]" and result["MMLU"]["other minus one"] == "–"
    assert result["mean of tasks"] == {"one": "50.000", "other": "–", "other minus one": "–"}


def test_tasks_with_other_metrics_or_shots_have_no_difference(tmp_path):
    one = harness(tmp_path / "one", {"GSM8K": 40.0, "MMLU": 60.0, "BBH": 50.0})
    other = harness(tmp_path / "other", {"GSM8K": 41.0, "MMLU": 61.0, "BBH": 51.0}, {"GSM8K": 0})
    tasks = json.loads((other / "summary.json").read_text())["tasks"]
    tasks["MMLU"]["metric"] = "exact_match"
    changed(other, tasks=tasks, limit=10, versions={"lm-eval": "0.4.10"})
    text = text_of(one, other)
    result = {name: row["other minus one"] for name, row in rows(text, "task").items()}
    assert result == {"GSM8K": "–", "MMLU": "–", "BBH": "+1.00 [-1.22; 3.22]", "mean of tasks": "–"}
    assert "**Not measured alike**, so without a difference: GSM8K (shots), MMLU (metric)." in text
    assert "**Not the same settings**: limit (one –, other 10), lm-eval (one 0.4.9, other 0.4.10)." in text


def test_a_data_set_tells_what_was_left_out_why_and_what_it_cost(tmp_path):
    text = text_of(dataset(tmp_path / "set", drops={"off language": 8, "no answer": 12}))
    result = rows(text, "rows")
    assert list(result) == ["left out: no answer", "left out: off language", "`train.parquet`", "`validation.parquet`"]
    assert [one["count"] for one in result.values()] == ["12", "8", "90", "10"]
    assert rows(text, "language")["sw"] == {"`train.parquet`": "20", "`validation.parquet`": "1"}
    assert rows(text, "what")["usd"]["how much"] == "0.750" and "`questions.jsonl`" in text
    assert rows(text_of(dataset(tmp_path / "a"), dataset(tmp_path / "b", {})), "rows")["left out: no answer"] == {
        "a": "12",
        "b": "–",
    }


LONG = 10**400  # JSON has no limit, a float does


def test_damaged_json_is_one_sentence_that_names_the_place(tmp_path):
    """Our own files are read by their schema, once: what does not fit is told and not guessed at."""

    def damaged(name, **values):
        manifest = json.loads((dataset(tmp_path / name) / "manifest.json").read_text())
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest | values))
        return tmp_path / name

    faults = {
        "models": damaged("models", models=5),
        "outputs": damaged("outputs", outputs=5),
        "rows": damaged("rows", rows={"train": {"es": math.nan, "sw": 20, "de": LONG}}),
        "drops": damaged("drops", drops={"a": math.inf, "b": LONG}),
        "skipped": changed(evaluation(tmp_path / "run", {"es": 0.5}), skipped={"x": 5, "mgsm": ["yo"]}),
        "judge.panel": changed(arena(tmp_path / "a", {"es": 60.0}), judge={"model": "j", "panel": 5}),
    }
    for place, folder in faults.items():
        with pytest.raises(BadInput) as error:
            report([folder])
        assert str(folder) in str(error.value) and place in str(error.value), error.value
        assert "\n" not in str(error.value) and len(str(error.value)) < 500
    folder = changed(evaluation(tmp_path / "skipped", {"es": 0.5}), skipped={"mgsm": ["yo"]})
    assert "as mgsm is not there in them: yo." in text_of(folder)


def test_the_report_of_a_step_is_written_again_and_the_step_is_still_done(tmp_path):
    """Its manifest holds the digest of the report.md that the step wrote: no other data file may change."""

    def run():
        with Output(tmp_path / "set", "croco", {"seed": 1}) as out:
            out.write_text("report.md", "the step's own\n")
            out.write_text("pairs.txt", "data\n")
            out.drop("no margin", 3)

    run()
    assert report([tmp_path / "set"]) == str(tmp_path / "set" / "report.md")
    assert "| left out: no margin | 3 |" in (tmp_path / "set" / "report.md").read_text()
    with pytest.raises(Exception, match="is already done"):
        run()
    (tmp_path / "set" / "pairs.txt").write_text("other data\n")
    with pytest.raises(BadInput, match=r"pairs.txt is not what its manifest tells"):
        run()


def test_the_pairs_of_a_preference_set_are_a_table(tmp_path):
    pairs = [{"prompt": "p", "chosen": "a longer answer", "rejected": "short", "language": "es"}] * 2
    report = PreferenceReport(check_language=False)
    for pair in pairs:
        report.add(pair)
    text = text_of(dataset(tmp_path / "set", report=report.result()))
    table = rows(text, "pairs of")
    assert table["all"]["pairs"] == "2" and table["language es"]["chosen longer"] == "1.000"
    assert "- Warning: chosen_longer is 1: length tells the sides apart" in text
    assert "2 usable of 2 rows, 1 prompts." in text


# ---- trainers ------------------------------------------------------------------------------------------------------


def grpo(steps: int = 20) -> list:
    lines = []
    for step in range(1, steps + 1):
        data = {"critic/score/mean": step / 10, "actor/entropy": 1.0, "timing_s/step": 2.0, "timing_s/gen": 1.5}
        data |= {"reward/accuracy/mean": step / 20, "reward/accuracy/es": step / 20, "reward/judge/mean": 0.5}
        data |= {"judge/questions": 56.0, "judge/slot_a_rate": 0.55, "judge/usd": 0.01, "judge/usd_total": 0.01 * step}
        lines.append((step, data))
    return lines


def test_a_grpo_run_its_rewards_its_judge_and_its_cost(tmp_path):
    """Accuracy step / 20: the first ten steps 0.275, the last ten 0.775. 20 steps of 56 questions, 2 s and 0.01 USD."""
    text = text_of(write(tmp_path / "run", grpo()))
    assert text.startswith("# RL run: run\n\nSteps 1 to 20; 1 attempt (`metrics/000.jsonl`).")
    accuracy = rows(text, "term")["accuracy (`reward/accuracy/mean`)"]
    assert list(accuracy.values()) == ["0.275", "0.775", "0.500"]
    assert text.split("| term |")[1].split("\n\n")[1] == "From `metrics/000.jsonl` step 1 to 20."
    assert rows(text, "language")["es"]["accuracy"] == "0.275 → 0.775"
    judge = rows(text, "judge")
    assert judge["questions asked (`judge/questions`)"]["sum"] == "1120"
    assert judge["A preferred (0.5: no position bias) (`judge/slot_a_rate`)"]["last 10 steps"] == "0.550"
    cost = rows(text, "what")
    assert cost["judge, USD, with all resumes"]["how much"] == "0.200"
    assert cost["seconds in steps (`timing_s/step`)"]["how much"] == "40.000"
    assert cost["of which gen"]["how much"] == "30.0 (75%)"


def test_a_privileged_teacher_has_a_section_of_its_own(tmp_path):
    lines = grpo()
    assert "## The teacher" not in text_of(write(tmp_path / "none", lines))
    for step, data in lines:
        data |= {"distill/divergence": step / 10, "distill/divergence/sw": 0.5, "distill/failed": 0.0}
        data |= {"reward/leak_mention/mean": 0.25, "reward/leak_copied/mean": 0.0}
    run = write(tmp_path / "run", lines)
    teacher = rows(text_of(run), "teacher")
    assert teacher["divergence from the teacher, nats a token (`distill/divergence`)"]["last 10 steps"] == "1.550"
    assert teacher["`distill/divergence/sw`"]["change"] == "0.000"
    picture = next(one for one in every(Picture, document_of(look(run)).blocks) if one.file == "teacher.png")
    assert [panel.title for panel in picture.panels if panel] == ["divergence, nats a token", "leakage"]


def test_the_parts_of_a_step_stand_upon_each_other():
    """Largest first, then the small one, then what is left of the step; never less than the parts."""
    data = [{"timing_s/adv": 0.1, "timing_s/gen": 1.5, "timing_s/step": seconds} for seconds in (2.0, 1.0)]
    metrics = {name: [Point(step, row[name], "") for step, row in enumerate(data, 1)] for name in data[0]}
    panel = _time(metrics, ["timing_s/adv", "timing_s/gen"])
    assert [(line.label, line.points) for line in panel.lines] == [
        ("gen", [(1, 1.5), (2, 1.5)]),
        ("adv", [(1, 1.6), (2, 1.6)]),
        ("the rest", [(1, 2.0), (2, 1.6)]),
    ]
    assert panel.stacked


def test_validation_by_language_is_shown_and_compared(tmp_path):
    lines = grpo()
    for step, accuracy in ((1, 0.25), (20, 0.75)):
        measures = {"es/accuracy": accuracy, "sw/accuracy": 0.0, "mean/accuracy": accuracy / 2, "mean/tokens": 200.0}
        lines[step - 1][1].update({f"validation/mgsm/{name}": value for name, value in measures.items()})
        lines[step - 1][1]["val-core/mgsm/acc/mean@1"] = 0.5
    run = write(tmp_path / "a", lines)
    result = rows(text_of(run), "validation")
    assert result["`validation/mgsm/es/accuracy`"]["change"] == "0.500" and "`val-core/mgsm/acc/mean@1`" in result
    picture = next(one for one in every(Picture, document_of(look(run)).blocks) if one.file == "validation.png")
    assert [line.label for line in picture.panels[0].lines] == ["mgsm/mean/accuracy"]
    result = rows(text_of(run, write(tmp_path / "b", grpo())), "last validation")
    assert result["`validation/mgsm/es/accuracy`"] == {"a": "0.750", "b": "–"}, "the last, no mean over training"


def test_values_that_are_not_finite_are_counted_in_one_sentence(tmp_path):
    lines = grpo()
    for step, name in ((3, "actor/entropy"), (4, "actor/entropy"), (20, "critic/score/mean")):
        lines[step - 1][1][name] = None
    text = text_of(write(tmp_path / "run", lines))
    sentences = [line for line in text.splitlines() if "NaN or infinite" in line]
    assert sentences == [
        "3 values are NaN or infinite and left out of means and plots (first: `metrics/000.jsonl` step 3): "
        "`actor/entropy` 2 of 20, `critic/score/mean` 1 of 20."
    ]
    assert rows(text, "term")["whole reward (`critic/score/mean`)"]["last 10 steps"] == "NaN", "it ended so"


def test_an_sft_run_and_two_trainers_side_by_side(tmp_path):
    lines = [
        (step, {"train/loss": 3.0 - step / 10, "train/grad_norm": 1.0, "train/global_tokens": 100}) for step in (1, 2)
    ]
    sft = write(tmp_path / "sft", lines)
    text = text_of(sft)
    assert (
        text.startswith("# SFT run: sft") and rows(text, "training")["loss (`train/loss`)"]["last 10 steps"] == "2.850"
    )
    assert rows(text, "what")["tokens trained on (`train/global_tokens`)"]["how much"] == "200.000"
    result = rows(text_of(sft, write(tmp_path / "rl", grpo())), "metric")
    assert result["loss (`train/loss`)"] == {"sft": "2.850", "rl": "–"}
    assert result["accuracy (`reward/accuracy/mean`)"] == {"sft": "–", "rl": "0.775"}


def test_metrics_beside_each_other_are_found_without_a_folder_of_their_own(tmp_path):
    """verl's own place: project/experiment.jsonl. Other files of lines there are no metrics."""
    for step, data in grpo(2):
        with (tmp_path / "run.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "data": data}) + "\n")
    (tmp_path / "transcript.jsonl").write_text('{"question": "1"}\n[1]\n')
    assert "Steps 1 to 2; 1 attempt (`run.jsonl`)." in text_of(tmp_path)


# ---- texts of another hand -----------------------------------------------------------------------------------------


def test_hostile_names_stay_texts_in_every_kind_of_report(tmp_path):
    name = HOSTILE.replace("/", "_")
    folders = [
        evaluation(tmp_path / "evaluation", {name[:40]: 0.5, "es": 0.4}, HOSTILE, name[:30]),
        arena(tmp_path / "arena", {HOSTILE: 55.0}, HOSTILE, HOSTILE),
        harness(tmp_path / "harness", {HOSTILE: 3.0}),
        dataset(tmp_path / "data", {HOSTILE: 3}, HOSTILE, **{HOSTILE: HOSTILE}),
        write(tmp_path / "grpo", [(1, {f"reward/accuracy/{HOSTILE}": 1.0, "judge/failed/" + HOSTILE: 2.0})]),
        write(tmp_path / "dpo", [(step, {**data, f"val/{HOSTILE}": math.nan}) for step, data in preference()]),
    ]
    result = [look(folder) for folder in folders]
    for document in (*map(document_of, result), side_by_side(result)):
        page, text = html(document, tmp_path), markdown(document, tmp_path)
        assert page.count("<script") == 1 and not re.search(r"<(img|a href=.javascript)", page), document.title
        text = re.sub(r"\\.", "", text)  # what is not escaped, and not code
        assert not re.search(r"<(img|script)|\]\(javascript", re.sub(r"`[^`]*`", "", text)), document.title
    report([folders[2]], tmp_path / "out.md")
    assert (tmp_path / "out_harness.png").stat().st_size > 1000, "a formula that is none does not end the drawing"


def test_a_folder_that_points_outside_is_not_read(tmp_path):
    """A benchmark is a name of a file in the summary: `../other` must not lead to another folder's answers."""
    evaluation(tmp_path / "other", {"es": 0.5})
    evaluation(tmp_path / "a", {"es": 0.5}, benchmark="x")
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    summary["benchmarks"] = {"../other/mgsm": summary["benchmarks"]["x"]}
    for name in ("a", "b"):
        write_json(summary, tmp_path / name / "summary.json")
    assert rows(text_of(tmp_path / "a", tmp_path / "b"), "accuracy")["es"]["b minus a"].endswith("(of means)")
