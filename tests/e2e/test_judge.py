"""A real run with judges that ask a model: a `vllm serve` that dies and another server in its place, verl's own judge
server, and the policy itself."""

import itertools
import json
import socket
import sys
import urllib.request
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from helpers.model_server import ModelServer, Reply
from helpers.processes import free_port, started
from helpers.runs import RL, SMOKE, main_ppo, question_of, rollouts
from helpers.verdict_model import CONTEXT, build_verdict_model
from sp3f_verl.data.files import read_parquet
from sp3f_verl.judge import Verdict, win_rates
from sp3f_verl.judge.questions.schedule import all_pairs
from sp3f_verl.judge.transcript import read_transcript
from sp3f_verl.quickstart.tables import write_tables
from sp3f_verl.rewards.terms import rule_terms
from sp3f_verl.rewards.text import strip_think
from sp3f_verl.training.metrics_log import read_metrics

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
CANARY = "sk-canary-7Qd2vX9"
# The policy answers with two texts, now and then with three: a step has 2 questions of each of up to 8 groups, or a few
# more. All cost some 0.0006 by vLLM's tokens, but the first DEAR answers of the server that comes after: the budget
# lasts for these, and ends the run after step 2 wherever 8 were asked, since 1.2 times as many no longer fit.
STEPS, DEAR, DEAR_USD = 8, 10, 0.008
BUDGET = 16 * DEAR_USD
PRICE = "price: {input: 1.0, output: 1.0}"
WEIGHTS = {"local": 1.0, "openai": 1.0, "policy": 0.5}  # of the judges, by name


@pytest.fixture(scope="module")
def verdict_model(tmp_path_factory) -> Path:
    return build_verdict_model(tmp_path_factory.mktemp("verdicts") / "model")


def serve(model: Path, port: int, log: Path):
    command = [sys.executable, "-m", "sp3f_verl.vllm_plugin", "serve", str(model), f"--port={port}"]
    command += ["--dtype=float32", "--enforce-eager", f"--max-model-len={CONTEXT}", f"--api-key={CANARY}"]
    command += ["--served-model-name=verdicts"]
    return started(command, log, {"SP3F_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1"})


def another_server():
    """What comes back on the killed server's port: the replies of one of the same name, at first dear."""
    tokens = itertools.chain([round(1e6 * DEAR_USD)] * DEAR, itertools.repeat(600))
    return lambda body: Reply(text=r"\boxed{A}", usage={"prompt_tokens": next(tokens), "completion_tokens": 9})


def answers(port: int) -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/models", headers={"Authorization": f"Bearer {CANARY}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def verdicts_in(transcript: Path) -> dict[tuple[str, tuple[str, ...], str], list[dict]]:
    """(row id, the group's different texts, judge) -> the verdicts of each time that this judge was asked about it."""
    groups = defaultdict(list)
    for entry in read_transcript(transcript):
        groups[entry.group, entry.judge].append(entry)
    verdicts = defaultdict(list)
    for (_, judge), entries in groups.items():
        texts = tuple(sorted({text for entry in entries for text in entry.responses}))
        by_pair = {tuple(entry.responses): entry.value for entry in entries}
        verdicts[entries[0].id, texts, judge].append(by_pair)
    return verdicts


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
    """Every score in the dumped rollouts is what texts, rows and the judges' own answers come to, averaged by weight;
    how many groups had a question."""
    rows = {row["prompt"][0]["content"]: row for row in read_parquet(data)}
    verdicts, asked = verdicts_in(transcript), 0
    for step in range(1, steps + 1):
        groups = rollouts(folder, step)
        assert len(groups) == RL["prompts"] and all(len(group) == RL["rollouts"] for group in groups)
        for group in groups:
            row = rows[question_of(group[0])]
            texts = [strip_think(rollout["output"]).strip() for rollout in group]
            terms = [
                rule_terms(rollout["output"], row["reward_model"]["ground_truth"], row["language"]) for rollout in group
            ]
            rules = [term["accuracy"] + term["parseable"] + term["language"] for term in terms]
            different = tuple(sorted({text for text in texts if text}))
            asked += len(different) > 1
            times = [verdicts[row["id"], different, judge] if len(different) > 1 else [{}] for judge in WEIGHTS]
            scores = [rollout["score"] - rule for rollout, rule in zip(group, rules, strict=True)]
            candidates = []
            for one_of_each in itertools.product(*times):  # the row may have come twice
                rates = [expected_rates(texts, of_judge) for of_judge in one_of_each]
                weighted = zip(*rates, strict=True)
                candidates.append([np.average(of_text, weights=list(WEIGHTS.values())) for of_text in weighted])
            assert any(scores == pytest.approx(rates, abs=1e-5) for rates in candidates), (texts, scores, candidates)
    return asked


def ends_after(usd: list[float]) -> int:
    """The first step after which another one like the dearest could pass the budget."""
    return next(step for step in range(1, STEPS + 1) if sum(usd[:step]) + 1.2 * max(usd[:step]) > BUDGET)


def test_a_killed_and_restarted_server_the_runs_own_server_and_the_policy_judge_one_run(verdict_model, tmp_path):
    """Three judges in one run: a `vllm serve` that is killed in mid-run and replaced, verl's own server for judges
    (judge=local), and the policy's rollout server. And a budget that does not last: it ends with a checkpoint, and
    well.
    """
    write_tables(SMOKE, tmp_path / "data")
    port, transcript, metrics = free_port(), tmp_path / "transcript.jsonl", tmp_path / "metrics" / "0.jsonl"
    server = f"name: openai, base_url: 'http://127.0.0.1:{port}/v1', model: verdicts, api_key_env: LLM_API_KEY"
    command = main_ppo(
        tmp_path / "data",
        verdict_model,
        tmp_path,
        f"sp3f.judge.panel=[{{{server}, temperature: 0.0, {PRICE}}}, {{name: policy, weight: 0.5, temperature: 0.0}}]",
        f"sp3f.judge.budget_usd={BUDGET}",
        "sp3f.judge.max_tokens=16",
        "sp3f.judge.temperature=0",  # what so small a model draws is now and then no verdict
        "sp3f.judge.retries=20",
        "sp3f.judge.concurrency=2",
        "sp3f.judge.transcript.share=1.0",
        f"sp3f.judge.transcript.path={transcript}",
        f"reward.reward_model.model_path={verdict_model}",
        f"reward.reward_model.rollout.max_model_len={CONTEXT}",
        "actor_rollout_ref.rollout.skip_tokenizer_init=false",
        f"actor_rollout_ref.rollout.max_model_len={CONTEXT}",
        f"trainer.total_training_steps={STEPS}",
        "trainer.save_freq=-1",
        "sp3f.rollout.trust_rollout_log_probs=true",
        "sp3f.rollout.check_every=2",
        judge="local",
    )
    metrics.parent.mkdir()
    env = {"LLM_API_KEY": CANARY, "VERL_FILE_LOGGER_PATH": str(metrics)}
    with serve(verdict_model, port, tmp_path / "serve1.log") as first:
        first.wait_for(lambda: answers(port), 400, "judge server")
        with started(command, tmp_path / "run.log", env) as run:
            run.wait_for((tmp_path / "rollouts" / "1.jsonl").exists, 700, "first step")
            first.kill()
            with socket.create_server(("127.0.0.1", port)) as nobody:
                nobody.settimeout(500)
                nobody.accept()[0].close()  # the outage lasts until it is met
            with ModelServer(another_server(), models=["verdicts"], api_key=CANARY, port=port):
                log = run.wait(500)
    steps = read_metrics(metrics.parent)
    last = max(steps)
    assert sorted(steps) == list(range(1, last + 1)) and 1 < last < STEPS
    assert last == ends_after([steps[step]["judge/usd"] for step in range(1, last + 1)])
    assert f"the run ends after step {last}: the judge has cost 0." in log
    assert (tmp_path / "checkpoints" / "latest_checkpointed_iteration.txt").read_text() == str(last)
    spent = json.loads((tmp_path / "checkpoints" / "judge_spending.json").read_text())["spent_usd"]
    assert spent == pytest.approx(steps[last]["judge/usd_total"]) and BUDGET / 2 < spent < BUDGET
    assert check_scores(tmp_path, tmp_path / "data" / "train.parquet", transcript, last) >= 3 * last
    assert sum(step["judge/retries"] for step in steps.values()) > 0, "the outage was met"
    for number, step in steps.items():
        assert step["judge/failed_rate"] == 0 and step["reward/judge/mean"] == pytest.approx(0.5)
        assert step["judge/calls"] >= step["judge/questions"] > 0 and step["judge/latency_p95"] > 0
        if number % 2:  # in the others the rollout's log-probs are taken as they are
            assert step["training/rollout_probs_diff_max"] < 1e-4
        assert ("training/rollout_probs_diff_max" in step) == (number % 2 == 1)
    asked = Counter(entry.judge for entry in read_transcript(transcript))
    assert asked["local"] == asked["policy"] == asked["openai"] > 0
    assert all(entry.value in ("A", "B") for entry in read_transcript(transcript))
    assert CANARY not in log
    written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith("serve")]
    assert len(written) > 5
    assert not [path for path in written if CANARY.encode() in path.read_bytes()], "the key is written nowhere"
