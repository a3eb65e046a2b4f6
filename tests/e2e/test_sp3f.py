"""One quickstart (preset smoke) through verl's own entry points: Ray, FSDP2 and vLLM rollouts, on a CPU.

It is killed with SIGKILL in its RL stage, after a checkpoint; before that, at step 1, a rollout fails late and a
response is empty. A live teacher credits tokens. Then the same command ends it. What the tests below read are the files
of that one folder.
"""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from helpers.processes import started
from helpers.runs import RL, question_of, rollouts
from helpers.shared import HELPERS, with_helpers
from sp3f_verl.data.files import read_parquet
from sp3f_verl.judge.reference import ReferenceJudge
from sp3f_verl.quickstart import settings
from sp3f_verl.quickstart.stages import Stages
from sp3f_verl.rewards.terms import rule_terms
from sp3f_verl.training.metrics_log import read_metrics

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory) -> Path:
    """The folder of a quickstart that was killed and then finished: data, model, SFT checkpoint, a policy, a report."""
    output = tmp_path_factory.mktemp("quickstart")
    command = [sys.executable, str(HELPERS / "faulty_quickstart.py"), "quickstart"]
    command += ["--preset", "smoke", "--output", str(output)]
    latest = output / "sp3f" / "checkpoints" / "latest_checkpointed_iteration.txt"

    def saved_and_logged() -> bool:  # a step is logged after its checkpoint: a kill between the two loses its line
        metrics = [line for file in latest.parents[1].glob("metrics/*") for line in file.read_text().splitlines()]
        return latest.exists() and int(latest.read_text() or 0) >= RL["save_every"] <= len(metrics)

    with started(command, output / "killed.log", with_helpers()) as run:
        run.wait_for(saved_and_logged, 700, "checkpoint")
        run.kill()
    assert int(latest.read_text()) == RL["save_every"] < RL["steps"], "it was over before it was killed"
    with started(command, output / "screen.log", with_helpers()) as run:
        run.wait(500)
    return output


def test_it_ends_with_a_report_and_names_its_logs(quickstart):
    killed, screen = ((quickstart / name).read_text() for name in ("killed.log", "screen.log"))
    report = (quickstart / "report.md").read_text()
    assert "boxed accuracy" in screen and "boxed accuracy" in report
    for stage, text in (("sft", killed), ("sp3f", killed), ("sp3f", screen)):
        log = quickstart / stage / "train.log"
        assert str(log) in text and log.stat().st_size > 1000
    for text in (killed, screen):
        assert "Traceback" not in text and "INFO" not in text and "(TaskRunner" not in text


def test_the_killed_run_went_on_at_its_checkpoint(quickstart):
    screen, metrics = (quickstart / "screen.log").read_text(), quickstart / "sp3f" / "metrics"
    for stage in ("data", "model", "sft"):
        assert f"{stage}: done before, skipped" in screen
    assert "sp3f: done before" not in screen
    first, second = (
        [json.loads(line)["step"] for line in file.read_text().splitlines()] for file in sorted(metrics.iterdir())
    )
    assert first[: RL["save_every"]] == list(range(1, RL["save_every"] + 1))
    assert second == list(range(RL["save_every"] + 1, RL["steps"] + 1))
    latest = quickstart / "sp3f" / "checkpoints" / "latest_checkpointed_iteration.txt"
    assert int(latest.read_text()) == RL["steps"]


def test_faults_cost_one_group_and_an_empty_response_is_trained_on(quickstart):
    """The failed rollout's group does not train and another prompt takes its place, so step 1 has all its groups."""
    log = (quickstart / "sp3f" / "train.log").read_text(errors="replace")
    assert "injected: rollout 2 of the first prompt fails late" in log and "SiblingFailed" in log
    assert any(not row["output"] for group in rollouts(quickstart / "sp3f", 1) for row in group)


def test_rollouts_use_the_trained_weights(quickstart):
    """fp32 on both sides: vLLM's and the trainer's probabilities of the same tokens differ by rounding only; so, too,
    after a resume."""
    steps = read_metrics(quickstart / "sp3f" / "metrics")
    assert sorted(steps) == list(range(1, RL["steps"] + 1))
    for step, metrics in steps.items():
        assert metrics["training/rollout_probs_diff_max"] < 1e-5, step
        assert metrics["actor/grad_norm"] > 0 and metrics["actor/lr"] == RL["lr"]
        assert metrics["token_credit/failed"] == 0 and metrics["token_credit/strength"] > 0, step


def test_every_group_was_scored_as_a_whole(quickstart):
    n, size = RL["prompts"], RL["rollouts"]
    for step, metrics in read_metrics(quickstart / "sp3f" / "metrics").items():
        assert metrics["reward/group_size/mean"] == size
        assert metrics["reward/judge/mean"] == pytest.approx(0.5), "win rates of a whole group average to one half"
        assert metrics["reward/judge_valid/mean"] == 2 * (size - 1), "each met every sibling, in both orders"
        assert metrics["judge/groups"] == n and metrics["judge/swap_consistency"] == 1
        groups = rollouts(quickstart / "sp3f", step)
        assert len(groups) == n and all(len(group) == size for group in groups)


def test_rewards_in_the_logs_equal_a_recomputation_from_the_dumped_rollouts(quickstart):
    """total = accuracy + parseable + language + win rate, from the dumped texts and the parquet rows alone."""
    rows = {row["prompt"][0]["content"]: row for row in read_parquet(quickstart / "data" / "train.parquet")}
    judge = ReferenceJudge()
    for step, metrics in read_metrics(quickstart / "sp3f" / "metrics").items():
        totals, accuracies = [], []
        for group in rollouts(quickstart / "sp3f", step):
            row, texts = rows[question_of(group[0])], [rollout["output"] for rollout in group]
            rates = asyncio.run(judge.judge(texts, row)).rates
            for rollout, text, rate in zip(group, texts, rates, strict=True):
                terms = rule_terms(text, row["reward_model"]["ground_truth"], row["language"])
                expected = terms["accuracy"] + terms["parseable"] + terms["language"] + rate
                assert rollout["score"] == pytest.approx(expected, abs=1e-5)
                totals.append(expected)
                accuracies.append(terms["accuracy"])
        assert metrics["critic/score/mean"] == pytest.approx(sum(totals) / len(totals), abs=1e-5)
        assert metrics["reward/accuracy/mean"] == pytest.approx(sum(accuracies) / len(accuracies))


def test_each_term_is_logged_per_language(quickstart):
    languages = {row["language"] for row in read_parquet(quickstart / "data" / "train.parquet")}
    logged = {name for metrics in read_metrics(quickstart / "sp3f" / "metrics").values() for name in metrics}
    seen = {language for language in languages if f"reward/accuracy/{language}" in logged}
    assert len(seen) >= 4
    for term in ("accuracy", "parseable", "language", "judge"):
        assert {f"reward/{term}/{language}" for language in seen} <= logged


def test_once_more_it_skips_what_is_done_and_evaluates_the_same(quickstart):
    before = (quickstart / "evaluation" / "sp3f_test.responses.jsonl").read_bytes()
    (quickstart / "evaluation" / "done.json").unlink()  # evaluate again, with the same seed
    lines = []
    Stages(settings.load("smoke"), quickstart, lines.append).run_all()
    for stage in ("data", "model", "sft", "sp3f"):
        assert any(line.startswith(f"{stage}: done before, skipped") for line in lines)
    assert (quickstart / "evaluation" / "sp3f_test.responses.jsonl").read_bytes() == before
