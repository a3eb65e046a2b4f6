"""The loss of a distillation through verl's engine, from a server's answer to the gradient, beside plain float64."""

import functools
from types import SimpleNamespace

import cloudpickle
import pytest
import torch
from tensordict import TensorDict

from helpers.processes import run_helper
from helpers.recipes import compose_recipe
from sp3f_verl.training.distill.rows import empty_rows
from sp3f_verl.verl_bridge.rl import distill
from sp3f_verl.verl_bridge.rl.teacher import IDS, LOGPS


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """case -> (loss, gradient, metrics); plain -> (loss, gradient)."""
    from sp3f_verl.quickstart.model import build_model

    folder = tmp_path_factory.mktemp("distill")
    size = {"vocabulary": 300, "hidden": 64, "intermediate": 64, "layers": 2, "heads": 2, "kv_heads": 1}
    build_model(["What is 7+5?", "7+5=12"] * 3, {**size, "positions": 64}, 1, folder / "model")
    run_helper("distill_gradients.py", folder / "model", folder / "found.pt", workers=1)
    return torch.load(folder / "found.pt", weights_only=False)


CUT = ("full", "full, micro-batches of 1", "full, padded", "full, temperature 1.3")


@pytest.mark.parametrize("case", CUT)
def test_the_whole_vocabulary_is_the_full_kl_whatever_the_micro_batches(found, case):
    (expected, gradient), (loss, other, _) = found["plain"], found[case]
    assert loss == pytest.approx(expected, rel=1e-5) and gradient.norm() > 1e-3
    assert ((other - gradient).norm() / gradient.norm()).item() < 1e-5


@pytest.mark.parametrize("case", ["same", "same, top 5"])
def test_a_teacher_that_reads_what_the_student_reads_teaches_nothing(found, case):
    loss, gradient, metrics = found[case]
    assert abs(loss) < 1e-6 and gradient.abs().max() < 1e-6
    assert distill.means(dict(metrics))["distill/divergence"] < 1e-6


def test_rows_that_are_shifted_by_one_are_seen(found):
    loss, gradient, _ = found["same, shifted"]
    assert loss > 1e-3 and gradient.abs().max() > 1e-4


def test_a_sample_without_rows_trains_on_nothing_and_is_counted(found):
    whole, short = found["full, micro-batches of 1"], found["full, the last failed"]
    assert short[0] < whole[0] and ((short[1] - whole[1]).norm() / whole[1].norm()).item() > 1e-2
    counted = distill.means(dict(short[2]))
    assert (counted["distill/taught"], counted["distill/failed"]) == (3, 1)


def test_what_is_measured_of_tokens_and_languages(found):
    metrics = dict(found["full"][2])
    mine = distill.means(metrics)
    assert not [name for name in metrics if "distill/total" in name], "totals do not reach the log"
    tokens = {"sw": 2 + 6, "es": 4 + 8}
    mean = sum(mine[f"distill/divergence/{code}"] * count for code, count in tokens.items()) / 20
    assert mine["distill/divergence"] == pytest.approx(mean) and mine["distill/divergence"] > 0
    assert 0 < mine["distill/teacher_entropy"] < 6 and mine["distill/student_entropy"] > 0
    assert set(mine) == {
        *("distill/divergence", "distill/teacher_entropy", "distill/student_entropy", "distill/taught"),
        *("distill/failed", "distill/divergence/sw", "distill/divergence/es"),
    }


def test_the_policy_loss_is_added_with_its_weight(found):
    """Half the mean negative log-prob of the responses: verl's micro-batches add up to it."""
    loss, gradient, _ = found["full, with rewards"]
    assert loss > found["full"][0] and ((gradient - found["full"][1]).norm() / gradient.norm()).item() > 1e-2


def test_the_sampled_token_moves_the_model(found):
    loss, gradient, metrics = found["sampled"]
    assert gradient.norm() > 1e-3 and loss == pytest.approx(metrics["distill/loss"])


@pytest.mark.parametrize(("support", "coef", "logits", "alone"), [
    ("topk", 0.0, True, True),
    ("topk", 0.5, True, False),
    ("sampled", 0.0, False, False),
])  # fmt: skip
def test_a_worker_that_trains_with_it_asks_for_what_it_reads(monkeypatch, support, coef, logits, alone):
    """And no other worker: verl's own flags stay."""
    from verl.workers.engine_workers import TrainingWorker

    seen = []
    monkeypatch.setattr(TrainingWorker, "train_batch", lambda self, data: seen.append(data))
    distill.ask_for_logits()
    settings = SimpleNamespace(support=support, reward_coef=coef)
    mine = functools.partial(distill.distill_loss, config=None, settings=settings, temperature=1.0)
    for loss in (mine, functools.partial(print), print):
        data = TensorDict({}, batch_size=(0,))
        TrainingWorker.train_batch(SimpleNamespace(loss_fn=loss), data)
    flags = [{name: one[name] for name in tuple(one.keys())} for one in seen]
    assert flags == [{"distillation_use_topk": logits, "distillation_only": alone}, {}, {}]


def test_the_trainer_gives_its_actor_the_loss_and_no_other_run_does():
    """As it reaches a worker: pickled, and still the function by which the worker knows it."""
    given = []
    actor = SimpleNamespace(set_loss_fn=lambda loss: given.append(cloudpickle.loads(cloudpickle.dumps(loss))))
    init = distill.with_distill(lambda trainer: None)
    for recipe in ("copsd", "grpo"):
        init(SimpleNamespace(config=compose_recipe(recipe, "device=cpu"), actor_rollout_wg=actor))
    (loss,) = given
    assert loss.func is distill.distill_loss and loss.keywords["temperature"] == 1.1
    assert loss.keywords["config"].loss_agg_mode == "seq-mean-token-mean" and loss.keywords["settings"].k == 64


def test_verl_carries_the_rows_from_a_rollout_to_a_batch_and_fills_it_up():
    """Its output, its table of rows, and the row by which it makes a batch divisible; none of them runs Ray."""
    from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput
    from verl.trainer.ppo.padding_utils import construct_minimal_padding_template
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    fields = []
    for prompt, response in ((2, 3), (1, 2)):
        output = AgentLoopOutput(
            prompt_ids=[1] * prompt, response_ids=[2] * response, response_mask=[1] * response,
            metrics=AgentLoopMetrics(), reward_score=1.0,
        )  # fmt: skip
        output.extra_fields[IDS], output.extra_fields[LOGPS] = empty_rows(prompt, response, 4)
        one = output.as_dict()
        assert IDS not in one["extra_fields"]
        fields.append({**one, "input_ids": torch.ones(prompt + response, dtype=torch.int64), "language": "sw"})
    batch = list_of_dict_to_tensordict(fields)
    assert batch[LOGPS].is_nested and batch[LOGPS].offsets().tolist() == [0, 5, 8] and batch[LOGPS].shape[2] == 4
    assert batch[LOGPS].values().isnan().all() and batch[IDS].dtype == torch.int32
    assert distill._languages_of(batch, 2) == ["sw", "sw"]
    filler, _ = construct_minimal_padding_template(batch[0].to_dict(), {}, 7)
    assert len(filler[LOGPS]) == len(filler["input_ids"]) and filler[LOGPS].isfinite().all(), "masked by its response"
