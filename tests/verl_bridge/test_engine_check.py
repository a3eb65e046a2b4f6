"""What the engine computes wrongly for a model is met before step 1, whatever the model is called."""

import json
import os
from types import SimpleNamespace

import pytest
from ray.exceptions import RayTaskError

from helpers import recipes
from helpers.processes import run_helper
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.cpu.platform import CHECK_VARIABLE, DEVICE_VARIABLE
from sp3f_verl.verl_bridge.engine import check as engine_check
from sp3f_verl.verl_bridge.preflight import callback as preflight


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    run_helper("engine_faults.py", folder, folder / "faults.json")
    return json.loads((folder / "faults.json").read_text())


EXACT = [
    "attention only",
    "attention only, fused",
    "attention only, shared prompts",
    "attention only, bf16",
    "window",
    "convolution, padded",
    "chunks, padded",
    "bias, plain",
    "scale of one",
]
LEAKS = ["convolution", "convolution, bf16", "convolution, fused, preference", "state space", "chunks"]
HEADS = ["bias", "scale", "soft cap, bf16", "no body named model"]


def test_a_fault_is_met_and_names_its_mend(faults):
    assert sorted(faults) == sorted([*EXACT, *LEAKS, *HEADS, "cap in attention"])
    assert "set override_config.attn_implementation=eager" in faults["cap in attention"]
    assert {case: faults[case] for case in EXACT} == dict.fromkeys(EXACT)
    for cases, mend in ((LEAKS, "use_remove_padding=false"), (HEADS, "use_fused_kernels=false")):
        for case in cases:
            assert faults[case] and faults[case].endswith(f"set {mend}."), (case, faults[case])


class Engine:
    class engine_config:
        forward_only = False

    class model_config:
        model_type = "language_model"


@pytest.fixture
def faulty(monkeypatch):
    monkeypatch.setattr(engine_check, "fault_of", lambda engine: "rows leak; set use_remove_padding=false.")
    monkeypatch.setattr(engine_check, "doubt_of", lambda engine: None)
    monkeypatch.setattr(engine_check.torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    return monkeypatch


def test_what_is_done_about_a_fault_is_a_setting(faulty, capsys):
    faulty.setenv(CHECK_VARIABLE, "stop")
    with pytest.raises(BadInput, match="rows leak"):
        engine_check.check(Engine)
    faulty.setenv(CHECK_VARIABLE, "warn")
    engine_check.check(Engine)
    assert "rows leak" in capsys.readouterr().err
    faulty.setenv(CHECK_VARIABLE, "off")
    engine_check.check(Engine)
    faulty.setenv(CHECK_VARIABLE, "stop")
    faulty.delenv(DEVICE_VARIABLE)  # stock verl's own run
    engine_check.check(Engine)
    assert not capsys.readouterr().err


def test_a_doubt_is_told_and_stops_nothing(faulty, capsys):
    faulty.setattr(engine_check, "fault_of", lambda engine: None)
    faulty.setattr(engine_check, "doubt_of", lambda engine: "another attention.")
    faulty.setenv(CHECK_VARIABLE, "stop")
    engine_check.check(Engine)
    assert "another attention." in capsys.readouterr().err


def test_the_reference_model_is_not_measured_again(faulty):
    faulty.setenv(CHECK_VARIABLE, "stop")
    faulty.setattr(Engine.engine_config, "forward_only", True)
    engine_check.check(Engine)


@pytest.mark.usefixtures("unchanged_environment")
@pytest.mark.parametrize(("mode", "kept"), [("stop", "stop"), ("warn", "warn"), ("off", "off"), ("false", "off")])
def test_the_setting_reaches_the_workers(mode, kept):
    preflight.engine_check(recipes.compose_recipe("sft", f"sp3f.check.engine={mode}"))
    assert os.environ[CHECK_VARIABLE] == kept


def test_an_unknown_mode_is_refused():
    with pytest.raises(BadInput, match="did you mean 'stop'"):
        preflight.engine_check(recipes.compose_recipe("dpo", "sp3f.check.engine=stopp"))


def test_an_adapter_of_the_head_is_refused_where_the_head_is_fused():
    head = SimpleNamespace(lora_A={})
    engine = SimpleNamespace(
        module=SimpleNamespace(get_output_embeddings=lambda: head),
        model_config=SimpleNamespace(use_fused_kernels=True, use_remove_padding=True),
    )
    assert engine_check.fault_of(engine).endswith("adapter of lm_head in target_modules; set use_fused_kernels=false.")


class Done:
    def __init__(self, value):
        self._return_value = value


def test_what_a_worker_refuses_ends_the_run_in_one_sentence(capsys):
    """Ray wraps the error once for each actor that it passes."""
    error = BadInput("rows leak; set use_remove_padding=false.")
    for actor in ("init_model", "run"):
        error = RayTaskError(actor, "Traceback ...", error).as_instanceof_cause()
    with pytest.raises(SystemExit) as stop:
        preflight.Preflight().on_job_end(None, Done(error))
    assert stop.value.code == 1
    assert capsys.readouterr().err == "sp3f_verl: rows leak; set use_remove_padding=false.\n"
    preflight.Preflight().on_job_end(None, Done(RuntimeError("verl's own")))
    preflight.Preflight().on_job_end(recipes.compose_recipe("dpo"), Done(None))


def test_a_run_that_learned_nothing_is_over_and_not_green(capsys):
    config = recipes.compose_recipe("sft", "optim.lr=0")
    preflight.learning(config)
    assert "nothing will be learned" in capsys.readouterr().err
    preflight.Preflight().on_job_end(config, Done(RuntimeError("verl's own")))  # a stack that says more
    with pytest.raises(SystemExit) as stop:
        preflight.Preflight().on_job_end(config, Done(None))
    assert stop.value.code == 1
    assert "is over and learned nothing: optim.lr=0 throughout; set it above 0." in capsys.readouterr().err
