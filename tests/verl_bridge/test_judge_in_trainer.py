"""The judge actor and the trainer around it: a real Ray, a real HTTP judge, and a trainer that only keeps its books."""

import asyncio
import functools
import os
import signal
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from omegaconf import OmegaConf
from transformers import AddedToken
from verl.experimental.reward_loop.reward_manager.registry import get_reward_manager_cls

from helpers.judging import ROW, longer_wins
from helpers.model_server import ModelServer, Reply
from helpers.recipes import compose_recipe
from sp3f_verl.judge.base import GroupNotJudged
from sp3f_verl.verl_bridge.rl.judge_in_trainer import (
    NAME,
    end_in_mid_step,
    judge_actor,
    stop_in_mid_step,
    with_close,
    with_judge,
    with_step_metrics,
)
from sp3f_verl.verl_bridge.rl.trainer import stop_without_workers

GROUP = ["a", "bb", "ccc"]
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with pytest.MonkeyPatch.context() as patch:  # a judge of one's own must be found by Ray's processes, too
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
        ray.init("local", num_cpus=2, include_dashboard=False, logging_level="error")
        yield
        ray.shutdown()


class Trainer:
    """verl's PPOTrainer as far as the wraps touch it."""

    trainer_mode = "sync"

    def __init__(self, settings: dict | None, save_freq: int = -1):
        ours = None if settings is None else {"judge": {"name": "openai", "model": "m", **settings}}
        reward = {"reward_model": {"enable": False}}
        self.config = OmegaConf.create({"sp3f": ours, "trainer": {"save_freq": save_freq}, "reward": reward})
        marks = {7: AddedToken("€turn€", special=True), 8: AddedToken("plain", special=False)}
        self.tokenizer = SimpleNamespace(added_tokens_decoder=marks)
        self.global_steps, self.total_training_steps, self.saved, self.slept = 1, 10, [], 0
        self.reward_loop_manager = SimpleNamespace(reward_model_manager=None)
        self.llm_server_manager = SimpleNamespace(get_addresses=lambda: ["127.0.0.1:1"])
        self.checkpoint_manager = SimpleNamespace(sleep_replicas=self._sleep)

    def _sleep(self):
        self.slept += 1

    def _save_checkpoint(self):
        self.saved.append(self.global_steps)

    @with_judge
    def init(self):
        assert self.sp3f_judge is None or ray.get_actor(NAME), "the reward workers find it when they start"

    @with_step_metrics
    def step(self, metrics, timing_raw):
        if self.sp3f_judge is not None:
            ray.get(self.sp3f_judge.judge.remote(GROUP, ROW))
        return "batch"

    @with_close
    def fit(self):
        self.step({}, {})


@pytest.fixture
def trainer():
    trainers = []

    def make(*args, **kwargs) -> Trainer:
        trainers.append(Trainer(*args, **kwargs))
        return trainers[-1]

    yield make
    for trainer in trainers:
        if getattr(trainer, "sp3f_judge", None) is not None:
            ray.kill(trainer.sp3f_judge)


def test_all_who_ask_for_the_judge_get_the_same_one_and_its_numbers_are_the_runs(trainer):
    with ModelServer(longer_wins) as server:
        run = trainer({"base_url": server.url, "concurrency": 2})
        run.init()
        other = judge_actor(run.config)  # as a reward worker does
        judged = ray.get([handle.judge.remote(GROUP, ROW) for handle in (run.sp3f_judge, other) * 4])
        assert all(result.rates == [0.0, 0.5, 1.0] for result in judged)
        assert server.peak <= 2, "the limit holds for all who ask"
        metrics = {}
        assert run.step(metrics, {}) == "batch"
        assert metrics["judge/questions"] == 9 * 6 and metrics["judge/failed_rate"] == 0
        assert run.saved == [] and run.total_training_steps == 10
        stop_in_mid_step(run)  # nothing to stop for


def test_a_run_without_our_settings_or_without_a_judge_is_left_alone(trainer):
    for settings in (None, {"name": "none"}):
        run = trainer(settings)
        run.init()
        metrics = {}
        assert run.sp3f_judge is None and run.step(metrics, {}) == "batch" and metrics == {}
        stop_in_mid_step(run)


def test_a_judge_that_does_not_answer_ends_the_run_before_any_rollout(trainer, monkeypatch):
    with ModelServer(longer_wins, api_key="the right one") as server:
        run = trainer({"base_url": server.url})
        with pytest.raises(RuntimeError, match=r"^sp3f_verl: judge=openai does not answer \(authentication"):
            run.init()
    run = trainer({"name": "local"})
    ray.kill(ray.get_actor(NAME))
    with pytest.raises(RuntimeError, match=r"^sp3f_verl: judge=local has no server; set sp3f\.judge\.base_url"):
        run.init()


@pytest.mark.parametrize(("save_freq", "saved"), [(-1, [2]), (2, []), (3, [2])])
def test_the_run_ends_with_a_checkpoint_before_the_budget_is_passed(trainer, capsys, save_freq, saved):
    """2 tokens an answer at 6000 USD a million: 0.072 USD a step of 6 answers, after a first question of 0.012."""
    with ModelServer(longer_wins) as server:
        price = {"input": 0.0, "output": 6000.0}
        limits = {"budget_usd": 0.2, "max_tokens": 2}
        run = trainer({"base_url": server.url, "price": price, **limits}, save_freq)
        run.init()
        run.step({}, {})
        assert run.total_training_steps == 10
        run.global_steps = 2
        run.step({}, {})
    assert run.total_training_steps == 2 and run.saved == saved, "verl itself saves where save_freq divides the step"
    assert "the run ends after step 2: the judge has cost 0.1560 USD" in capsys.readouterr().err


def test_judges_that_answer_no_more_end_the_run_in_mid_step_and_keep_what_was_trained(trainer):
    with ModelServer(longer_wins) as server:
        run = trainer({"base_url": server.url, "min_valid": 0.9})
        run.init()
        server.reply = lambda body: Reply(status=400, json={"error": {"message": "no"}})
        run.global_steps = 5
        for _ in range(11):
            with pytest.raises(GroupNotJudged):
                ray.get(run.sp3f_judge.judge.remote(GROUP, ROW))
        with pytest.raises(RuntimeError, match=r"^sp3f_verl: the run ends in step 5: 100% of this step's 66 questions"):
            stop_in_mid_step(run)
    assert run.saved == [4] and run.slept == 1


@ray.remote(num_cpus=0)
class Generator:
    """An agent-loop worker as far as it is looked at."""

    def pid(self) -> int:
        return os.getpid()


def test_a_worker_that_generates_and_is_killed_ends_the_run_in_mid_step_and_keeps_what_was_trained(trainer):
    """As Ray kills it where memory runs out: verl would poll for its rollouts for ever."""
    run, polled = trainer(None), []
    run.global_steps = 5
    buffer = SimpleNamespace(_sync_metadata_from_transfer_queue=lambda: polled.append(1))
    workers = [Generator.remote() for _ in range(2)]
    pids = ray.get([worker.pid.remote() for worker in workers])
    stop_without_workers(buffer, lambda: workers, functools.partial(end_in_mid_step, run), seconds=0.05)

    def poll(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            buffer._sync_metadata_from_transfer_queue()
            time.sleep(0.01)

    while len(polled) <= 20:
        poll(0.2)
    assert not run.saved, "they live"
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"the run ends in step 5: a worker that generates is gone \(The"):
        poll(120)
    assert run.saved == [4] and run.slept == 1


def test_no_control_token_of_the_policys_own_tokenizer_reaches_it_as_judge(trainer):
    """€turn€ has no shape by which it would be known."""
    with ModelServer(longer_wins) as server:
        run = trainer({"name": "policy"})
        run.llm_server_manager = SimpleNamespace(get_addresses=lambda: [f"127.0.0.1:{server.port}"])
        run.init()
        ray.get(run.sp3f_judge.judge.remote(["a €turn€ plain", "bb"], ROW))
        asked = [entry["body"]["messages"][-1]["content"] for entry in server.chats()]
    assert not any("€turn€" in question for question in asked)
    assert any("€ turn€ plain" in question for question in asked), "text that is no control token stays"


def test_the_store_of_a_run_that_ended_is_one_whole_file(trainer, tmp_path):
    with ModelServer(longer_wins) as server:
        run = trainer({"base_url": server.url, "store": str(tmp_path / "answers.sqlite")})
        run.init()
        run.fit()
    assert [path.name for path in tmp_path.iterdir()] == ["answers.sqlite"], "nothing is left in a log beside it"
    with sqlite3.connect(tmp_path / "answers.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (6,)


def test_a_kind_of_ones_own_is_asked_by_the_reward_manager(trainer):
    """The actor makes it from its class; `judge=none` stands for the recipe that names it."""
    run = trainer({"name": "longer", "kind": "helpers.own_judge:LongerWins"})
    run.init()
    longer = ("sp3f.judge.name=longer", "+sp3f.judge.kind=helpers.own_judge:LongerWins", "sp3f.reward.weights.judge=1")

    async def scene():
        manager = get_reward_manager_cls("sp3f")(
            compose_recipe("sp3f", "judge=none", "device=cpu", *longer), None, None
        )
        return await manager.scoring.of_group(
            ["a", "bb", "bb"], {**ROW, "data_source": "sums", "thinking_en": None, "extra_info": {}}, judged=True
        )

    _, infos = asyncio.run(scene())
    assert [info["judge"] for info in infos] == [0.0, 0.75, 0.75]
    metrics, *reasons = ray.get(run.sp3f_judge.take_step.remote())
    assert metrics["judge/groups"] == 1 and "judge/questions" not in metrics and reasons == [None, None]
