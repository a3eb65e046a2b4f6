"""Real runs through verl's own entry points: Ray, FSDP2 and vLLM rollouts, on a CPU.

They share one quickstart (smoke preset): data, a tiny model, SFT, SP3F, evaluation, report.
"""

import asyncio
import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from helpers.processes import started
from helpers.runs import RL, main_ppo, rollouts
from helpers.shared import HELPERS
from helpers.shared import SHARED_DATA as REAL
from sp3f_verl.data.files import read_parquet
from sp3f_verl.judge.reference import ReferenceJudge
from sp3f_verl.report.metrics import read_metrics
from sp3f_verl.rewards.terms import rule_terms

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_the_quickstart_ends_with_a_report_and_names_its_logs(quickstart):
    screen = (quickstart / "screen.log").read_text()
    report = (quickstart / "report.md").read_text()
    assert "boxed accuracy" in screen and "boxed accuracy" in report
    for stage in ("sft", "sp3f"):
        log = quickstart / stage / "train.log"
        assert str(log) in screen and log.stat().st_size > 1000
    assert "Traceback" not in screen and "INFO" not in screen and "(TaskRunner" not in screen


def test_rollouts_use_the_trained_weights(quickstart):
    """fp32 on both sides: vLLM's and the trainer's probabilities of the same tokens differ by rounding only."""
    steps = read_metrics(quickstart / "sp3f" / "metrics")
    assert sorted(steps) == list(range(1, RL["steps"] + 1))
    for step, metrics in steps.items():
        assert metrics["training/rollout_probs_diff_max"] < 1e-5, step
        assert metrics["actor/grad_norm"] > 0 and metrics["actor/lr"] == RL["lr"]


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
            question = group[0]["input"].removeprefix("user\n").removesuffix("\nassistant\n")
            row, texts = rows[question], [each["output"] for each in group]
            rates = asyncio.run(judge.judge(texts, row)).rates
            for each, text, rate in zip(group, texts, rates, strict=True):
                terms = rule_terms(text, row["reward_model"]["ground_truth"], row["language"])
                expected = terms["accuracy"] + terms["parseable"] + terms["language"] + rate
                assert each["score"] == pytest.approx(expected, abs=1e-5)
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


def test_a_second_quickstart_skips_what_is_done_and_evaluates_the_same(quickstart):
    before = (quickstart / "evaluation" / "sp3f_test.responses.jsonl").read_bytes()
    command = [sys.executable, "-m", "sp3f_verl.cli", "quickstart", "--preset", "smoke", "--output", str(quickstart)]
    (quickstart / "evaluation" / "done.json").unlink()  # evaluate again, with the same seed
    with started(command, quickstart / "again.log") as run:
        screen = run.wait(200)
    for stage in ("data", "model", "sft", "sp3f"):
        assert f"{stage}: done before, skipped" in screen
    assert (quickstart / "evaluation" / "sp3f_test.responses.jsonl").read_bytes() == before


def test_a_killed_run_resumes_at_its_checkpoint_and_faults_cost_one_group(quickstart, tmp_path):
    """SIGKILL after the checkpoint of step 2 of 4; before that, a rollout that fails late and an empty response.

    The failed rollout's group does not train and another prompt takes its place, so step 1 has all its groups.
    """
    loops = tmp_path / "loops.yaml"
    loops.write_text("- name: faulty\n  _target_: faulty_agent_loop.FaultyAgentLoop\n")
    command = main_ppo(
        quickstart,
        tmp_path,
        "trainer.total_training_steps=4",
        "trainer.save_freq=1",
        f"actor_rollout_ref.rollout.agent.agent_loop_config_path={loops}",
        "actor_rollout_ref.rollout.agent.default_agent_loop=faulty",
    )
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    latest = tmp_path / "checkpoints" / "latest_checkpointed_iteration.txt"
    paths = {"PYTHONPATH": str(HELPERS), "VERL_FILE_LOGGER_PATH": str(metrics / "0.jsonl")}
    with started(command, tmp_path / "first.log", paths) as run:
        run.wait_for(lambda: latest.exists() and int(latest.read_text()) >= 2, 400, "checkpoint of step 2")
        run.kill()
        log = run.text()
    assert "injected: rollout 2 of the first prompt fails late" in log and "SiblingFailed" in log
    step1 = rollouts(tmp_path, 1)
    assert len(step1) == 8 and all(len(group) == RL["rollouts"] for group in step1)
    assert any(not each["output"] for group in step1 for each in group), "the empty response was scored and trained on"
    reached = int(latest.read_text())
    assert reached < 4

    paths["VERL_FILE_LOGGER_PATH"] = str(metrics / "1.jsonl")
    with started(command, tmp_path / "second.log", paths) as run:
        run.wait(400)
    resumed = [json.loads(line)["step"] for line in (metrics / "1.jsonl").read_text().splitlines()]
    assert resumed == list(range(reached + 1, 5))
    assert int(latest.read_text()) == 4
    assert all(values["training/rollout_probs_diff_max"] < 1e-5 for values in read_metrics(metrics).values())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A Ray started by hand, with logical GPUs for two workers; its dashboard takes jobs."""
    folder = tmp_path_factory.mktemp("ray")
    ray = str(Path(sys.executable).with_name("ray"))
    ports = {"--port": "6399", "--dashboard-port": "8299", "--num-cpus": "20", "--num-gpus": "2"}
    arguments = [f"{name}={value}" for name, value in ports.items()]
    command = [ray, "start", "--head", "--block", "--include-dashboard=true", *arguments]
    with started(command, folder / "ray.log", {"RAY_TMPDIR": "/tmp"}) as run:
        run.wait_for(lambda: "Ray runtime started" in run.text(), 120, "Ray head")
        yield "127.0.0.1:6399", "http://127.0.0.1:8299"


def test_ray_job_submit_trains_on_real_text(cluster, quickstart, tmp_path):
    """MGSM questions in three scripts with GSM8K solutions: two steps on a Ray that was started by hand."""
    if not (REAL / "mgsm").is_dir():
        pytest.skip(f"real data is not at {REAL} (set SP3F_REAL_DATA); the cluster test below runs all the same")
    questions = [f"{code}={REAL / 'mgsm' / f'mgsm_{code}.tsv'}" for code in ("es", "th", "zh")]
    prepare = [sys.executable, "-m", "data_prep.sp3f", "--questions", *questions, "--solutions"]
    prepare += [str(REAL / "gsm8k" / "test_first_250.jsonl"), "--output", str(tmp_path / "data")]
    with started(prepare, tmp_path / "prepare.log") as run:
        run.wait(60)
    entry = main_ppo(
        quickstart,
        tmp_path,
        f"data.train_files={tmp_path / 'data' / 'train.parquet'}",
        f"data.val_files={tmp_path / 'data' / 'validation.parquet'}",
        *("data.max_prompt_length=1024", "data.max_response_length=32", "data.train_batch_size=4"),
        "actor_rollout_ref.rollout.max_model_len=1056",
        *("trainer.total_training_steps=2", "trainer.save_freq=-1", "trainer.logger=[console]"),
    )
    ray = str(Path(sys.executable).with_name("ray"))
    submit = [ray, "job", "submit", "--address", cluster[1], "--", *entry]
    with started(submit, tmp_path / "job.log", {"RAY_AUTH_MODE": "token"}) as run:
        log = run.wait(400)
    assert "succeeded" in log
    groups = rollouts(tmp_path, 1) + rollouts(tmp_path, 2)
    assert len(groups) == 8 and all(len(group) == RL["rollouts"] for group in groups)


def test_two_workers_join_a_running_cluster(cluster, quickstart, tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    command = main_ppo(
        quickstart,
        tmp_path,
        *("trainer.n_gpus_per_node=2", "trainer.total_training_steps=2", "trainer.save_freq=2"),
        *("trainer.test_freq=2", f"trainer.validation_data_dir={tmp_path / 'validation'}"),
        "+ray_kwargs.ray_init.address=auto",
        f"+ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH={metrics}",  # its processes are the cluster's
    )
    with started(command, tmp_path / "run.log") as run:
        run.wait(400)
    steps = [json.loads(line)["data"] for line in metrics.read_text().splitlines()]
    assert len(steps) == 2 and all(step["training/rollout_probs_diff_max"] < 1e-5 for step in steps)
    shards = list((tmp_path / "checkpoints" / "global_step_2" / "actor").glob("model_world_size_2_rank_*.pt"))
    assert len(shards) == 2
    check_validation(steps[-1], tmp_path / "validation" / "2.jsonl")


def check_validation(metrics: dict, dump: Path) -> None:
    """What is logged by language is what the dumped responses come to."""
    terms = defaultdict(list)
    for row in map(json.loads, dump.read_text().splitlines()):
        terms[row["language_asked"]].append(rule_terms(row["output"], row["gts"], row["language_asked"]))
    assert len(terms) >= 4
    for language, own in terms.items():
        logged = {name: metrics[f"validation/quickstart/{language}/{name}"] for name in ("accuracy", "parseable")}
        assert logged == {name: pytest.approx(sum(each[name] for each in own) / len(own)) for name in logged}
        shares = [each["language_share"] for each in own if each["language_share"] >= 0]
        fidelity = metrics.get(f"validation/quickstart/{language}/fidelity")
        assert fidelity == (pytest.approx(sum(share >= 0.7 for share in shares) / len(shares)) if shares else None)


def test_sft_with_two_workers(quickstart, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "verl.trainer.sft_trainer", "+recipe=sft", "device=cpu"]
    command += [f"data.train_files={quickstart / 'data' / 'sft.parquet'}", f"model.path={quickstart / 'model'}"]
    command += ["trainer.total_training_steps=2", f"trainer.default_local_dir={tmp_path / 'checkpoints'}"]
    command += ["trainer.n_gpus_per_node=2", f"hydra.run.dir={tmp_path / 'hydra'}"]
    with started(command, tmp_path / "sft.log") as run:
        run.wait(200)
    assert (tmp_path / "checkpoints" / "global_step_2" / "huggingface" / "model.safetensors").is_file()
