"""verl's validation by language: the numbers by hand, and what it rests on in verl."""

import inspect

import numpy as np
import pytest

from helpers.recipes import compose_recipe
from sp3f_verl.verl_bridge.rl.trainer import term_metrics
from sp3f_verl.verl_bridge.rl.validation import LANGUAGE, language_metrics, validation_info


def response(accuracy, share, language, tokens=10, parseable=1.0):
    return validation_info({"accuracy": accuracy, "parseable": parseable, "language_share": share}, language, tokens)


ROWS = [  # (data source, uid, terms): two samples of each problem
    ("mgsm", "a", response(1.0, 1.0, "es")),
    ("mgsm", "a", response(0.0, 0.6, "es")),
    ("mgsm", "b", response(0.0, -1.0, "es", parseable=0.0)),
    ("mgsm", "b", response(0.0, 1.0, "es")),
    ("mgsm", "c", response(1.0, 0.9, "sw", tokens=30)),
    ("mgsm", "c", response(1.0, 0.9, "sw", tokens=50)),
    ("belebele", "d", response(1.0, 1.0, "es")),
    ("belebele", "d", response(1.0, 1.0, "es")),
]


def columns(rows):
    sources, uids, infos = zip(*rows, strict=True)
    return list(sources), list(uids), {name: [info[name] for info in infos] for name in infos[0]}


def test_by_hand():
    """es: accuracy (1/2 + 0) / 2; fidelity (1/2 + 1) / 2, one response having too few letters; pass@2 of a is 1."""
    found = language_metrics(*columns(ROWS), threshold=0.7)
    spanish = {name.rsplit("/")[-1]: value for name, value in found.items() if name.startswith("validation/mgsm/es/")}
    assert spanish == {
        **{"accuracy": 0.25, "parseable": 0.75, "fidelity": 0.75, "undefined": 0.25, "tokens": 10, "pass@2": 0.5}
    }
    assert found["validation/mgsm/sw/accuracy"] == 1.0 and found["validation/mgsm/sw/tokens"] == 40
    assert found["validation/mgsm/mean/accuracy"] == pytest.approx(0.625)  # of two languages, not of three problems
    assert found["validation/belebele/es/accuracy"] == 1.0


def test_verl_keeps_its_own_metrics_and_skips_the_language():
    """Through verl's own method, with an info of a row that something else scored."""
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    sources, uids, infos = columns(ROWS)
    infos["reward"] = [float(at) for at in range(len(ROWS))]
    infos[LANGUAGE][0] = None
    trainer = type("T", (), {"config": compose_recipe("grpo")})()
    found = PPOTrainer._val_metrics_update(trainer, sources, uids, infos, np.ones(len(ROWS)))
    assert found["val-core/mgsm/reward/mean@2"] == 2.5 and found["val-aux/belebele/accuracy/mean@2"] == 1.0
    assert not [name for name in found if LANGUAGE in name]
    assert found["validation/mgsm/es/accuracy"] == 0.0 and all(np.isfinite(value) for value in found.values())


def test_a_run_without_our_reward_manager_is_left_alone():
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    sources, uids, infos = columns(ROWS)
    infos.pop(LANGUAGE)
    trainer = type("T", (), {"config": compose_recipe("grpo")})()
    found = PPOTrainer._val_metrics_update(trainer, sources, uids, infos, [])
    assert found and not [name for name in found if name.startswith("validation/")]


def test_what_this_rests_on_in_verl():
    from verl.trainer.ppo.metric_utils import process_validation_metrics
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, PPOTrainer

    method = inspect.unwrap(PPOTrainer._val_metrics_update)
    names = ["self", "data_sources", "sample_uids", "reward_extra_infos_dict", "sample_turns"]
    assert list(inspect.signature(method).parameters)[:5] == names
    assert "self._val_metrics_update(" in inspect.getsource(PPOTrainer._validate)
    for trainer in TRAINER_REGISTRY.values():
        assert trainer._val_metrics_update is PPOTrainer._val_metrics_update
    assert "isinstance(var_vals[0], str)" in inspect.getsource(process_validation_metrics)


def test_training_metrics_of_each_term_over_all_rows_and_per_language():
    """Accuracy 1, 0, 1: mean 2/3, es 1/2, zh 1. A share of -1 is undefined and stays out of the mean."""
    infos = [
        {"accuracy": 1.0, "language_share": 1.0},
        {"accuracy": 0.0, "language_share": -1.0},
        {"accuracy": 1.0, "language_share": 0.5},
    ]
    metrics = term_metrics(infos, ["es", "es", "zh"])
    assert metrics["reward/accuracy/mean"] == pytest.approx(2 / 3)
    assert metrics["reward/accuracy/es"] == 0.5
    assert metrics["reward/language_share/mean"] == 0.75
    assert metrics["reward/language_share/es"] == 1.0
