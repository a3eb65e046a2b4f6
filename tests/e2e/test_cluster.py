"""A job on a Ray cluster that was started by hand: two workers, real text in three scripts, validation by language, and
+recipe=copsd with task rewards: a live teacher's rows and the judge's scores in one loss.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from helpers.processes import free_port, started
from helpers.runs import RL, main_ppo, make, rollouts
from helpers.shared import SHARED_DATA
from sp3f_verl import languages
from sp3f_verl.rewards.terms import rule_terms

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
RAY = str(Path(sys.executable).with_name("ray"))
PROMPTS = 4  # a step
CONTEXT = 4096
TOKEN = {"RAY_AUTH_MODE": "token"}  # the head makes one, and takes jobs with it alone


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> Path:
    folder = make(tmp_path_factory.mktemp("task"))
    config = folder / "model" / "config.json"  # bytes of Thai beside an English solution take more than 2,048 positions
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": CONTEXT}))
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> str:
    """A Ray started by hand, with logical GPUs for two workers; the address at which its dashboard takes jobs."""
    folder = tmp_path_factory.mktemp("ray")
    dashboard = free_port()
    sizes = {"--port": free_port(), "--dashboard-port": dashboard, "--num-cpus": 20, "--num-gpus": 2}
    sizes["--dashboard-agent-listen-port"] = free_port()  # Ray's own is fixed: the run beside this one has it
    command = [RAY, "start", "--head", "--block", "--include-dashboard=true"]
    with started([*command, *(f"{name}={value}" for name, value in sizes.items())], folder / "ray.log") as run:
        run.wait_for(lambda: "Ray runtime started" in run.text(), 240, "Ray head")
        address = f"http://127.0.0.1:{dashboard}"
        run.wait_for(lambda: takes_jobs(address, run.env | TOKEN), 240, "an agent that takes jobs", pause=1.0)
        yield address


def takes_jobs(address: str, env: dict[str, str]) -> bool:
    """The head is up before the agent that starts jobs is: until then a job is refused with status 500."""
    submit = [RAY, "job", "submit", "--address", address, "--", "true"]
    try:
        return subprocess.run(submit, env=env, capture_output=True, timeout=120).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def real_text(folder: Path) -> Path | None:
    """train.parquet of MGSM questions in three scripts with GSM8K solutions; None where they are not there."""
    if not (SHARED_DATA / "mgsm").is_dir():
        return None
    questions = [f"{code}={SHARED_DATA / 'mgsm' / f'mgsm_{code}.tsv'}" for code in ("es", "th", "zh")]
    prepare = [sys.executable, "-m", "data_prep.sp3f", "--questions", *questions, "--solutions"]
    prepare += [str(SHARED_DATA / "gsm8k" / "test_first_250.jsonl"), "--output", str(folder / "data")]
    with started(prepare, folder / "prepare.log") as run:
        run.wait(120)
    return folder / "data" / "train.parquet"


def test_ray_job_submit_trains_on_real_text_with_two_workers(cluster, task, tmp_path):
    """Where there is no real text (set SP3F_REAL_DATA), on the quickstart's: the cluster is met all the same."""
    metrics = tmp_path / "metrics.jsonl"
    entry = main_ppo(
        task / "data",
        task / "model",
        tmp_path,
        f"data.train_files={real_text(tmp_path) or task / 'data' / 'train.parquet'}",
        "data.max_prompt_length=1024",
        f"data.train_batch_size={PROMPTS}",
        f"actor_rollout_ref.rollout.max_model_len={CONTEXT}",  # the teacher reads the solution, too
        f"actor_rollout_ref.rollout.n={RL['rollouts']}",
        *(f"actor_rollout_ref.rollout.{setting}" for setting in ("temperature=1", "top_p=1", "top_k=-1")),
        "actor_rollout_ref.rollout.calculate_log_probs=true",  # of exact sampling they are the policy's
        "sp3f.distill.k=16",
        "sp3f.distill.reward_coef=0.5",
        "trainer.n_gpus_per_node=2",
        "trainer.total_training_steps=2",
        "trainer.save_freq=2",
        "trainer.test_freq=2",
        f"trainer.validation_data_dir={tmp_path / 'validation'}",
        "+ray_kwargs.ray_init.address=auto",
        f"+ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH={metrics}",  # its processes are the cluster's
        recipe="copsd",
    )
    submit = [RAY, "job", "submit", "--address", cluster, "--", *entry]
    with started(submit, tmp_path / "job.log", TOKEN) as run:
        log = run.wait(700)
    assert "succeeded" in log
    steps = [json.loads(line)["data"] for line in metrics.read_text().splitlines()]
    assert len(steps) == 2 and all(step["training/rollout_probs_diff_max"] < 1e-5 for step in steps)
    for step in steps:
        assert (step["distill/taught"], step["distill/failed"]) == (PROMPTS * RL["rollouts"], 0)
        assert step["distill/divergence"] > 0 and step["actor/distill/loss"] > 0 and step["actor/grad_norm"] > 0
        assert step["distill/teacher_entropy"] > 0 and step["reward/judge/mean"] == pytest.approx(0.5)
        assert {"reward/leak_mention/mean", "reward/leak_copied/mean", "response_length/mean"} <= set(step)
        seen = {name.rsplit("/", 1)[1] for name in step if name.startswith("distill/divergence/")}
        assert seen and seen <= set(languages.codes())
    groups = rollouts(tmp_path, 1) + rollouts(tmp_path, 2)
    assert len(groups) == 2 * PROMPTS and all(len(group) == RL["rollouts"] for group in groups)
    shards = list((tmp_path / "checkpoints" / "global_step_2" / "actor").glob("model_world_size_2_rank_*.pt"))
    assert len(shards) == 2
    check_validation(steps[-1], tmp_path / "validation" / "2.jsonl")


def check_validation(metrics: dict, dump: Path) -> None:
    """What is logged by language is what the dumped responses come to."""
    terms = defaultdict(list)
    for row in map(json.loads, dump.read_text().splitlines()):
        terms[row["language_asked"]].append(rule_terms(row["output"], row["gts"], row["language_asked"]))
    assert len(terms) >= 4
    for language, measured in terms.items():
        logged = {name: metrics[f"validation/quickstart/{language}/{name}"] for name in ("accuracy", "parseable")}
        expected = {name: sum(row[name] for row in measured) / len(measured) for name in logged}
        assert logged == {name: pytest.approx(value) for name, value in expected.items()}
        shares = [row["language_share"] for row in measured if row["language_share"] >= 0]
        fidelity = metrics.get(f"validation/quickstart/{language}/fidelity")
        assert fidelity == (pytest.approx(sum(share >= 0.7 for share in shares) / len(shares)) if shares else None)
