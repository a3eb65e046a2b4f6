"""Real runs with judges that ask a model: a `vllm serve` that dies, verl's own judge server, and the policy itself."""

import json
import socket
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest

from helpers.processes import started
from helpers.runs import RL, main_ppo, rollouts
from helpers.shared import HELPERS
from helpers.verdict_model import CONTEXT, build_verdict_model
from sp3f_verl.data.files import read_parquet
from sp3f_verl.judge import Verdict, win_rates
from sp3f_verl.judge.schedule import all_pairs
from sp3f_verl.judge.transcript import read_transcript
from sp3f_verl.report.metrics import read_metrics
from sp3f_verl.rewards.terms import rule_terms
from sp3f_verl.rewards.text import strip_think

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CANARY = "sk-canary-7Qd2vX9"


@pytest.fixture(scope="module")
def verdict_model(tmp_path_factory) -> Path:
    return build_verdict_model(tmp_path_factory.mktemp("verdicts") / "model")


def serve(model: Path, port: int, log: Path):
    command = [sys.executable, str(HELPERS / "serve_vllm.py"), str(model), f"--port={port}"]
    command += ["--dtype=float32", "--enforce-eager", f"--max-model-len={CONTEXT}", f"--api-key={CANARY}"]
    command += ["--served-model-name=verdicts"]
    return started(command, log, {"SP3F_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1"})


def answers(port: int) -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/models", headers={"Authorization": f"Bearer {CANARY}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def rates_in(transcript: Path) -> dict[tuple[str, tuple[str, ...]], list[dict]]:
    """(row id, the group's different texts) -> the verdicts of each time it was judged."""
    groups = defaultdict(list)
    for entry in read_transcript(transcript):
        groups[entry.group].append(entry)
    found = defaultdict(list)
    for entries in groups.values():
        texts = tuple(sorted({text for entry in entries for text in entry.responses}))
        verdicts = {tuple(entry.responses): entry.value for entry in entries}
        found[entries[0].id, texts].append(verdicts)
    return found


def expected_rates(texts: list[str], verdicts: dict[tuple[str, str], str]) -> list[float]:
    comparisons = []
    for i, j in all_pairs(len(texts)):
        if texts[i] == texts[j]:
            verdict = Verdict.TIE
        elif not texts[i] or not texts[j]:
            verdict = Verdict.A if texts[i] else Verdict.B
        else:
            verdict = Verdict[verdicts[texts[i], texts[j]]]
        comparisons.append((i, j, verdict))
    return win_rates(len(texts), comparisons)


def check_scores(folder: Path, data: Path, transcript: Path, steps: int) -> int:
    """Every score in the dumped rollouts is what texts, rows and the judge's own answers come to; how many groups had
    a question."""
    rows = {row["prompt"][0]["content"]: row for row in read_parquet(data)}
    judged, asked = rates_in(transcript), 0
    for step in range(1, steps + 1):
        groups = rollouts(folder, step)
        assert len(groups) == RL["prompts"] and all(len(group) == RL["rollouts"] for group in groups)
        for group in groups:
            row = rows[group[0]["input"].removeprefix("user\n").removesuffix("\nassistant\n")]
            texts = [strip_think(each["output"]).strip() for each in group]
            terms = [rule_terms(each["output"], row["reward_model"]["ground_truth"], row["language"]) for each in group]
            rules = [term["accuracy"] + term["parseable"] + term["language"] for term in terms]
            different = tuple(sorted({text for text in texts if text}))
            times = judged[row["id"], different] if len(different) > 1 else [{}]
            asked += len(different) > 1
            candidates = [expected_rates(texts, verdicts) for verdicts in times]
            scores = [each["score"] - rule for each, rule in zip(group, rules, strict=True)]
            assert any(scores == pytest.approx(rates, abs=1e-5) for rates in candidates), (texts, scores, candidates)
    return asked


def test_a_judge_behind_vllm_serve_that_is_killed_and_restarted_in_mid_run(quickstart, verdict_model, tmp_path):
    """And, in the same run, a budget that lasts for three of six steps: it ends with a checkpoint, and well."""
    port, transcript = free_port(), tmp_path / "transcript.jsonl"
    command = main_ppo(
        quickstart,
        tmp_path,
        f"sp3f.judge.base_url=http://127.0.0.1:{port}/v1",
        *(
            "sp3f.judge.model=verdicts",
            "sp3f.judge.max_tokens=16",
            "sp3f.judge.retries=20",
            "sp3f.judge.concurrency=16",
        ),
        *("sp3f.judge.price={input: 1.0, output: 1.0}", "sp3f.judge.budget_usd=0.25"),
        *("sp3f.judge.transcript.share=1.0", f"sp3f.judge.transcript.path={transcript}"),
        *("trainer.total_training_steps=6", "trainer.save_freq=-1"),
        judge="openai",
    )
    metrics = tmp_path / "metrics" / "0.jsonl"
    metrics.parent.mkdir()
    env = {"LLM_API_KEY": CANARY, "VERL_FILE_LOGGER_PATH": str(metrics)}
    with serve(verdict_model, port, tmp_path / "serve1.log") as first:
        first.wait_for(lambda: answers(port), 200, "judge server")
        with started(command, tmp_path / "run.log", env) as run:
            run.wait_for((tmp_path / "rollouts" / "1.jsonl").exists, 300, "first step")
            first.kill()
            with serve(verdict_model, port, tmp_path / "serve2.log") as second:
                second.wait_for(lambda: answers(port), 200, "judge server again")
                log = run.wait(300)
    steps = read_metrics(metrics.parent)
    assert sorted(steps) == [1, 2, 3], "each costs about 0.065 USD"
    assert "the run ends after step 3: the judge has cost 0." in log
    assert (tmp_path / "checkpoints" / "latest_checkpointed_iteration.txt").read_text() == "3"
    spent = json.loads((tmp_path / "checkpoints" / "judge_spending.json").read_text())["spent_usd"]
    assert spent == pytest.approx(steps[3]["judge/usd_total"]) and 0.15 < spent < 0.25
    assert check_scores(tmp_path, quickstart / "data" / "train.parquet", transcript, 3) >= 18
    assert sum(step["judge/retries"] for step in steps.values()) > 0, "the outage was met"
    for step in steps.values():
        assert step["judge/failed_rate"] == 0 and step["reward/judge/mean"] == pytest.approx(0.5)
        assert step["judge/calls"] >= step["judge/questions"] > 0 and step["judge/latency_p95"] > 0
    assert CANARY not in log
    written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith("serve")]
    assert len(written) > 5
    assert not [path for path in written if CANARY.encode() in path.read_bytes()], "the key is written nowhere"


def test_the_runs_own_judge_server_and_the_policy_judge_together(quickstart, verdict_model, tmp_path):
    """Two judges in one run: verl's reward-model server (judge=local) and the policy's rollout server."""
    transcript, metrics = tmp_path / "transcript.jsonl", tmp_path / "metrics" / "0.jsonl"
    metrics.parent.mkdir()
    command = main_ppo(
        quickstart,
        tmp_path,
        "sp3f.judge.panel=[{name: policy, weight: 0.5}]",
        *("sp3f.judge.max_tokens=16", "sp3f.judge.transcript.share=1.0", f"sp3f.judge.transcript.path={transcript}"),
        f"reward.reward_model.model_path={verdict_model}",
        f"reward.reward_model.rollout.max_model_len={CONTEXT}",
        "actor_rollout_ref.rollout.skip_tokenizer_init=false",
        f"actor_rollout_ref.model.path={verdict_model}",
        f"actor_rollout_ref.rollout.max_model_len={CONTEXT}",
        *("trainer.total_training_steps=2", "trainer.save_freq=-1"),
        judge="local",
    )
    with started(command, tmp_path / "run.log", {"VERL_FILE_LOGGER_PATH": str(metrics)}) as run:
        run.wait(500)
    steps = read_metrics(metrics.parent)
    assert sorted(steps) == [1, 2]
    for step in steps.values():
        assert step["judge/questions"] > 0 and step["judge/failed_rate"] == 0
        assert step["reward/judge/mean"] == pytest.approx(0.5) and step["training/rollout_probs_diff_max"] < 1e-4
    asked = defaultdict(int)
    for entry in read_transcript(transcript):
        asked[entry.judge] += 1
        assert entry.value in ("A", "B")
    assert asked["local"] == asked["policy"] > 0
