"""`sp3f report` of preference and self-play runs: its numbers worked out by hand from the files written here."""

import json
import math
import re

import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.report_runs import manifest, measured, preference, selfplay, write
from sp3f_verl.losses.objective import Objective, measure
from sp3f_verl.losses.table import LOSSES
from sp3f_verl.report.document.blocks import Block, Table
from sp3f_verl.report.document.markdown import blocks, markdown
from sp3f_verl.report.document.write import write as write_document
from sp3f_verl.report.preference.pictures import pictures
from sp3f_verl.report.preference.report import document
from sp3f_verl.report.preference.run import PreferenceRun
from sp3f_verl.report.preference.signs import signs
from sp3f_verl.report.preference.tables import (
    CELLS,
    contingency,
    contingency_tables,
    generated_table,
    held_out_metrics,
    held_out_table,
    learned_table,
    orders_by_iteration,
    training_table,
)


def report_text(run: PreferenceRun) -> str:
    return markdown(document(run.folder, run))


def write_report(run: PreferenceRun):
    return write_document(document(run.folder, run), run.folder / "report.md")


def text_of(*parts: Block | str) -> str:
    return "".join(part if isinstance(part, str) else blocks([part]) + "\n" for part in parts)


def cells(table: Table | str) -> dict[str, list[str]]:
    """First cell of a table's row in markdown -> the others."""
    lines = [line.strip("| ").split(" | ") for line in text_of(table).splitlines() if line.startswith("|")]
    return {first: rest for first, *rest in lines}


def row(table: Table, name: str) -> dict[str, str]:
    """Column -> cell of one row."""
    text = text_of(table)
    header = next(line for line in text.splitlines() if line.startswith("| ")).strip("| ").split(" | ")
    return dict(zip(header[1:], cells(text)[name], strict=True))


# ---- numbers -------------------------------------------------------------------------------------------------------


def test_held_out_numbers_and_their_files(tmp_path):
    """chosen -2 -> -1 a token of 10, rejected -2 of 8: sums -20 -> -10 and -16. Gap: -20 + 16 = -4 -> 6; drift 10."""
    run = PreferenceRun(write(tmp_path, preference()))
    table = cells(held_out_table(run))
    assert held_out_table(run).source == "`metrics/000.jsonl` step 0, 3", "once a table"
    assert table["`logp/chosen`"] == ["-20.000", "-10.000", "10.000"]
    assert table["`logp_per_token/rejected`"] == ["-2.000", "-2.000", "0.000"]
    assert table["`gap/sum`"] == ["-4.000", "6.000", "10.000"]
    assert table["`gap/per_token`"] == ["0.000", "1.000", "1.000"]
    assert table["`drift`"] == ["0.000", "10.000", "10.000"]
    assert table["`margin`"] == ["0.000", "1.500", "1.500"]
    assert table["`length_gap`"][1] == "2.000" and "`history_margin`" not in table
    (training,) = training_table(run)
    assert cells(training)["gradient norm, median and largest (`train/grad_norm`)"] == ["2, 3"]
    assert cells(training)["seconds in training steps, sum (`timing_s/step`)"] == ["6"]
    assert training.source == "`metrics/000.jsonl` step 1 to 3"


def test_of_several_attempts_the_later_counts_and_each_number_names_its_own(tmp_path):
    """The second attempt resumes at step 2; step 0 stays with the first. The first file's last line is torn."""
    first, second = preference(chosen=-9.0), preference()[2:]
    write(tmp_path, first, second)
    torn = tmp_path / "metrics" / "000.jsonl"
    torn.write_text(torn.read_text() + '{"step": 4, "data": {"val/margin": 99')
    run = PreferenceRun(tmp_path)
    assert cells(held_out_table(run))["`logp/chosen`"] == ["-20.000", "-10.000", "10.000"]
    assert held_out_table(run).source == "`metrics/000.jsonl` step 0; `metrics/001.jsonl` step 3"
    assert training_table(run)[0].source == "`metrics/000.jsonl` step 1; `metrics/001.jsonl` step 2 to 3"


def test_an_attempt_counts_up_to_where_a_later_one_goes_on(tmp_path):
    """8 steps, then a resume at step 4 that has come to step 6; then a start from nothing in the same folder."""
    write(tmp_path, selfplay(2), [line for line in selfplay(2) if 5 <= line[0] <= 6], [])
    run = PreferenceRun(tmp_path)
    assert [point.step for point in run["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert [point.step for point in run["val/loss"]] == [4] and run.of_policy("generation/exact_match").keys() == {0, 1}
    write(tmp_path, selfplay(2), [], preference())
    run = PreferenceRun(tmp_path)
    assert run["train/loss"][-1].step == 3 and run["train/iteration"] == [] and run.roles == ("chosen", "rejected")


def test_what_is_not_finite_is_left_out_and_told(tmp_path):
    """NaN as Python's json writes it, null as verl's file logger does, and infinity."""
    lines = preference()
    for step, value in ((1, math.nan), (2, None), (3, math.inf)):
        lines[step][1]["train/loss"] = value
    lines[3][1]["val/margin"] = math.nan
    run = PreferenceRun(write(tmp_path, lines))
    assert run["train/loss"] == [] and [point.step for point in run["val/margin"]] == [0]
    assert cells(held_out_table(run))["`margin`"] == ["–", "0.000", "–"]
    sentences = [sign for sign in signs(run) if "NaN" in sign]
    assert sentences == [
        "`train/loss` is NaN or infinite 3 times of 3 (first: `metrics/000.jsonl` step 1).",
        "`val/margin` is NaN or infinite 1 times of 2 (first: `metrics/000.jsonl` step 3).",
    ]
    text = report_text(run)
    assert sentences[0] in text and "| nan" not in text and "| inf" not in text


def test_contingencies_are_the_shares_that_were_logged(tmp_path):
    lines = preference()
    shares = {"both": 0.5, "reward_only": 0.25, "logp_only": 0.15, "neither": 0.1}
    lines[3][1].update({f"val/order_per_token/{cell}": share for cell, share in shares.items()})
    lines[1][1].update({"train/order_raw/both": 0.4, "train/order_raw/neither": 0.6})  # mean of 3 steps: 0.8 and 0.2
    run = PreferenceRun(write(tmp_path, lines))
    assert contingency(run, "val", "per_token")[0] == shares
    assert contingency(run, "train", "raw")[0] == pytest.approx(
        {"both": 0.8, **dict.fromkeys(CELLS[1:3], 0), "neither": 0.2}
    )
    text = text_of(*contingency_tables(run))
    table = text.split("**held-out, per token**:")[1].split("**")[0]
    assert "\nFrom `metrics/000.jsonl` step 3.\n" in table and cells(table)["r(chosen) > r(rejected)"] == [
        "0.500",
        "0.250",
    ]
    assert cells(table)["r(chosen) ≤ r(rejected)"] == ["0.150", "0.100"]
    table = text.split("**training batches, raw (sums)**:")[1].split("**")[0]
    assert "\nFrom `metrics/000.jsonl` step 1 to 3, mean of 3.\n" in table
    assert "add up" not in text


def test_contingencies_that_do_not_add_up_are_said_to_be_wrong(tmp_path):
    lines = preference()
    lines[3][1]["val/order_raw/both"] = 0.7
    text = text_of(*contingency_tables(PreferenceRun(write(tmp_path, lines))))
    assert text.count("the cells add up to 0.700 instead of 1: do not use them") == 1


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("tspin", "This run is such a case: its rewards are 0.1 times the sums."),
        ("simpo", "In this run rewards are 0.1 times the log-likelihood per token:"),
        ("dpo", "rewards are log-ratios to a reference or opponent: neither table"),
        (None, ""),
    ],
)
def test_the_table_that_is_a_tautology_is_named(tmp_path, loss, expected):
    """T-SPIN: rewards proportional to sums. SimPO: to means. DPO: to neither. All by the record, none without one."""
    roles = ("real", "generated") if loss == "tspin" else ("chosen", "rejected")
    data = measured("val", dict(zip(roles, ((-1.0, 10), (-2.0, 6)), strict=True)))
    data |= {"val/order_raw/both": 0.7, "val/order_raw/reward_only": 0.3}
    text = report_text(PreferenceRun(write(tmp_path, [(0, data)], loss=loss)))
    assert "**For T-SPIN the raw table is a tautology**" in text
    sentences = ("This run is such a case", "In this run rewards are", "rewards are log-ratios")
    assert expected in text and sum(sentence in text for sentence in sentences) == (loss is not None)
    sign = "Reward and summed log-likelihood disagree on 0.300 of the held-out pairs"
    assert (sign in text) == (loss == "simpo"), "elsewhere the order that counts is the one per token"


# ---- iterations ----------------------------------------------------------------------------------------------------


def test_iterations_their_start_and_their_end(tmp_path):
    """Iteration 1: y -0.9 -> -0.8; gap 0.2 -> 0.5 a token; margin 0.1 (-9 + 22) = 1.3 -> 0.1 (-8 + 26) = 1.8."""
    run = PreferenceRun(write(tmp_path, selfplay(), loss="tspin"))
    assert run.starts == {0: 1, 1: 5} and run.loss == "tspin"
    table = learned_table(run)
    one = row(table, "1")
    assert one["`margin`"] == "1.300 → 1.800" and one["`gap/per_token`"] == "0.200 → 0.500"
    assert one["`logp_per_token/real`"] == "-0.900 → -0.800"
    assert one["`history_margin`"] == "1.600 → 1.000"  # 0.1 (-22 + 38), 0.1 (-26 + 36)
    assert one["`kl_from_initial`"] == "1.000" and table.source == "`metrics/000.jsonl` step 0, 4, 8"
    assert row(table, "0")["`history_margin`"] == "–", "no proto while beta is 0"
    (orders,) = orders_by_iteration(run)
    assert cells(orders)["1"] == ["1.000", "0.000", "0.000", "0.000"] * 2
    assert orders.source == "`metrics/000.jsonl` step 4, 8"
    drift = cells(held_out_table(run))["`drift`"]
    assert drift[:2] == ["1.000", "2.000"], "since the beginning: 10 tokens, from -1 to -0.9 and -0.8"


def test_generated_responses_belong_to_the_policy_that_gave_them(tmp_path):
    manifest(
        tmp_path, 0, start_step=0, steps=4, rows={"train": 64}, dropped={"train": {"identical": 3, "truncated": 1}}
    )
    manifest(tmp_path, 1, start_step=4, steps=4, dropped={"truncated": 2}, settings={"loss": "tspin", "beta": 0.1})
    run = PreferenceRun(write(tmp_path, selfplay()))
    table = generated_table(run)
    zero, one, final = row(table, "0"), row(table, "1"), row(table, "2 (final)")
    assert (zero["`exact_match`"], one["`exact_match`"], final["`exact_match`"]) == ("0.100", "0.300", "0.500")
    assert (zero["`usable`"], one["`usable`"], final["`usable`"]) == ("60", "59", "–")
    assert (
        zero["left out, by reason"] == "train: 3 identical, 1 truncated" and one["left out, by reason"] == "2 truncated"
    )
    assert one["trained with"] == "tspin, beta 0.1"
    files = "`selfplay/iteration_0/manifest.json`; `selfplay/iteration_1/manifest.json`"
    assert table.source == f"`metrics/000.jsonl` step 0, 4, 8; {files}"


@pytest.mark.parametrize("steps", [2, 5])
def test_what_is_logged_before_an_iteration_is_of_its_policy(tmp_path, steps):
    run = PreferenceRun(write(tmp_path, selfplay(3, steps)))
    matches = {t: point.value for t, point in run.of_policy("generation/exact_match").items()}
    assert matches == pytest.approx({0: 0.1, 1: 0.3, 2: 0.5, 3: 0.7})
    gaps = {t: run.before("gap/per_token", t).value for t in run.iterations}
    assert gaps == pytest.approx({0: 0.2, 1: 0.2, 2: 0.2})
    assert [run.after("gap/per_token", t)[-1].step for t in run.iterations] == [steps, 2 * steps, 3 * steps]


def test_iterations_of_one_step(tmp_path):
    run = PreferenceRun(write(tmp_path, selfplay(3, 1)))
    matches = {t: point.value for t, point in run.of_policy("generation/exact_match").items()}
    assert matches == pytest.approx({0: 0.1, 1: 0.3, 2: 0.5, 3: 0.7})
    assert [row(learned_table(run), str(t))["`gap/per_token`"] for t in range(3)] == ["0.200 → 0.500"] * 3


def test_a_run_that_ended_as_nothing_was_left_has_no_further_iteration(tmp_path):
    manifest(tmp_path, 2, start_step=8, steps=0, nothing_left=True)
    run = PreferenceRun(write(tmp_path, selfplay()))
    assert run.iterations == [0, 1] and row(generated_table(run), "2 (final)")["`exact_match`"] == "0.500"


def test_a_run_in_its_first_generation_and_a_broken_manifest(tmp_path):
    manifest(tmp_path, 0, start_step=0, steps=4)
    (tmp_path / "selfplay" / "iteration_1").mkdir()
    (tmp_path / "selfplay" / "iteration_1" / "manifest.json").write_text('{"iteration": 1, "start')
    run = PreferenceRun(write(tmp_path, selfplay()[:2], loss="tspin"))
    text = report_text(run)
    assert text.startswith("# Self-play run: tspin\n\nNo training step yet, iterations 0 to 0")
    assert row(learned_table(run), "0")["`gap/per_token`"] == "0.200 → –"


# ---- signs ---------------------------------------------------------------------------------------------------------


def test_a_healthy_run_shows_no_sign(tmp_path):
    assert signs(PreferenceRun(write(tmp_path / "dpo", preference()))) == []
    assert "- None was found." in report_text(PreferenceRun(tmp_path / "dpo"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"chosen": -2.5, "rejected": -4.0},
            "margin grew (0.000 to 1.500) while `chosen` became less likely (-2.000 to -2.500",
        ),
        ({"saturated": 0.95}, "`saturated` is 0.950 (`metrics/000.jsonl` step 3)"),
        ({"tokens/rejected": 25.0}, "`chosen` has 10.000 tokens and `rejected` 25.000"),
        ({"accuracy": 0.7}, "Accuracy is 1.000 in the last 3 training steps and 0.700 held-out"),
        ({"order_per_token/both": 0.7, "order_per_token/reward_only": 0.3}, "disagree on 0.300 of the held-out pairs"),
        (
            {"chosen": -1.5, "rejected": -1.25},
            "Per token `rejected` is likelier than `chosen` at the end, by 0.250 nats",
        ),
        ({"history_margin": -0.5}, "The historical advantage is negative at the end, -0.500"),
    ],
)
def test_each_sign_is_told_alone(tmp_path, changes, sentence):
    result = signs(PreferenceRun(write(tmp_path, preference(**changes))))
    assert len(result) == 1 and sentence in result[0] and "`metrics/000.jsonl` step" in result[0]


def test_signs_of_the_generation(tmp_path):
    lines = selfplay()
    lines[0][1].update({"generation/exact_match": 0.9, "generation/identical": 0.4})
    lines[1][1]["start/rollout_logp_diff_max"] = 0.5
    result = " ".join(signs(PreferenceRun(write(tmp_path, lines))))
    assert "fell: 0.900 to 0.500 (`metrics/000.jsonl` step 0, 8)" in result
    assert "equal the annotated one: 0.400 in iteration 0 (`metrics/000.jsonl` step 0)" in result
    assert "differ by up to 0.500 nats a token" in result


# ---- the objective -------------------------------------------------------------------------------------------------


def test_the_objective_is_what_the_run_recorded_and_is_not_guessed(tmp_path):
    """Metric names of T-SPIN_ref without a proto are SPIN's: only the record tells them apart."""
    lines = [(0, measured("val", {"real": (-1.0, 10), "generated": (-2.0, 6)}))]
    known = PreferenceRun(write(tmp_path / "known", lines, loss="tspin_ref"))
    assert report_text(known).startswith("# Preference run: tspin_ref\n")
    assert "is not recorded" not in report_text(known)
    old = PreferenceRun(write(tmp_path / "old", lines))
    assert old.loss is None and old.roles == ("real", "generated")
    assert (
        report_text(old).startswith("# Preference run\n")
        and report_text(old).count("The objective is not recorded") == 1
    )
    manifest(tmp_path / "old", 0, start_step=0, steps=4, settings={"loss": "spin", "beta": 0.1})
    assert PreferenceRun(tmp_path / "old").loss == "spin", "an iteration's manifest is a record, too"


def test_roles_of_a_loss_that_is_new_are_those_it_recorded(tmp_path):
    folder = write(tmp_path, [(0, measured("val", {"best": (-1.0, 10), "worst": (-2.0, 6)}))])
    assert PreferenceRun(folder).roles == ()
    write(folder, loss="dpo")
    record = json.loads((folder / "objective.json").read_text()) | {"loss": "new", "roles": ["best", "worst"]}
    (folder / "objective.json").write_text(json.dumps(record))
    run = PreferenceRun(folder)
    assert run.roles == ("best", "worst") and "y is `best`, y' `worst`." in report_text(run)


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_all_that_is_measured_is_in_the_report(tmp_path, loss):
    """A metric that the objective gains, or renames, has to come up here."""
    objective = Objective(loss)
    size = len(objective.roles)
    draw = torch.Generator().manual_seed(1)
    logps = -torch.rand(2 * 4 * size, generator=draw)
    mask = torch.tensor([0, 1, 1, 1] * 2 * size)
    reference = logps - 0.1 if objective.needs_reference else None
    measured_values = measure(objective, logps, mask, torch.arange(0, 2 * 4 * size + 1, 4), reference).metrics
    lines = [(step, {f"val/{name}": value.mean().item() for name, value in measured_values.items()}) for step in (0, 1)]
    run = PreferenceRun(write(tmp_path, lines, loss=loss))
    assert run.loss == loss and run.roles == objective.roles
    orders = {f"order_{order}/{cell}" for order in ("raw", "per_token") for cell in CELLS}
    assert set(measured_values) - orders <= set(held_out_metrics(run)), "the report does not show it"
    assert {name.strip("`") for name in cells(held_out_table(run))} >= set(measured_values) - orders
    assert sum(contingency(run, "val", "per_token")[0].values()) == pytest.approx(1)


NAMES = sorted({name for _, data in selfplay() for name in data})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(missing=st.sets(st.sampled_from(NAMES)), spoilt=st.sets(st.sampled_from(NAMES)))
def test_any_name_may_be_missing_or_not_finite(tmp_path, missing, spoilt):
    lines = [
        (step, {name: math.nan if name in spoilt else value for name, value in data.items() if name not in missing})
        for step, data in selfplay()
    ]
    run = PreferenceRun(write(tmp_path, lines))
    if run.roles:
        tables = [held_out_table(run), *training_table(run), *contingency_tables(run)]
        tables += [learned_table(run), generated_table(run), *orders_by_iteration(run)]
        text = text_of(*tables) + " ".join(signs(run))
        assert not re.search(r"\| -?(nan|inf)\b|None", text, re.IGNORECASE)
        assert all(picture.panels for picture in pictures(run).values())


# ---- pictures ------------------------------------------------------------------------------------------------------


def test_pictures_are_drawn_and_named(tmp_path):
    text = write_report(PreferenceRun(write(tmp_path, selfplay(3)))).read_text()
    names = sorted(file.name for file in tmp_path.glob("*.png"))
    assert names == sorted(set(re.findall(r"\]\((\w+\.png)\)", text))) and len(names) == 7
    for name in names:
        pixels = plt.imread(tmp_path / name)[..., :3]
        assert pixels.shape[0] > 300 and pixels.shape[1] > 600
        assert pixels.var() > 0.005, f"{name} is blank"
    assert not list(tmp_path.glob("*partial*"))


def test_a_picture_breaks_its_lines_where_an_iteration_begins(tmp_path):
    run = PreferenceRun(write(tmp_path, selfplay(3)))
    panel = pictures(run)["learning.png"].panels[2]
    assert panel.marks == [(4, "t=1"), (8, "t=2")]
    thick = [line.points for line in panel.lines if line.thick]
    assert [[x for x, _ in points] for points in thick] == [[0, 4], [4, 8], [8, 12]]
    assert [y for _, y in thick[1]] == pytest.approx([1.3, 1.8])
    assert all(line.faint for line in panel.lines if not line.thick), "training batches stand behind"


def test_the_gap_by_iteration_is_that_of_figure_7(tmp_path):
    run = PreferenceRun(write(tmp_path, selfplay(3)))
    lines = {line.label: [y for _, y in line.points] for line in pictures(run)["advantage.png"].panels[1].lines}
    assert lines["start: policy t"] == pytest.approx([0.2] * 3) and lines["end: policy t+1"] == pytest.approx([0.5] * 3)


def test_without_held_out_pairs_the_training_lines_stand_alone(tmp_path):
    lines = [(step, {n: v for n, v in data.items() if not n.startswith("val/")}) for step, data in preference()]
    text = write_report(PreferenceRun(write(tmp_path, lines[1:]))).read_text()
    assert "No held-out metrics (`data.val_files`)" in text and "| held-out |" not in text
    assert "(advantage.png)" in text and "Not drawn, as nothing of it was logged: Generated responses" in text
