"""A model's folder and settings that a worker would end in a stack for, or would not read, are one sentence."""

import json
import shutil

import pytest

from helpers.recipes import compose_recipe
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.preflight.model import model_settings


@pytest.fixture
def model(tmp_path, tiny_model):
    shutil.copytree(tiny_model, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(params=["dpo", "sft"])
def run(request, model):
    key = "model" if request.param == "sft" else "actor_rollout_ref.model"

    def composed(*settings: str):
        given = [f"++{key}.{each}" for each in settings]
        return compose_recipe(request.param, "device=cpu", f"{key}.path={model}", *given)

    return composed


def change(model, **values):
    file = model / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"architectures": ["Qwen3ForCausalLM", "Another"]}, "cannot set up the model .*only one architecture"),
        ({"model_type": "unheard_of"}, "cannot set up the model .*model type `unheard_of`"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "is quantised in a way that cannot be loaded"),
        ({"quantization_config": {"quant_method": "unheard_of"}}, "is quantised in a way .*unheard_of"),
        ({"hidden_act": "unheard_of"}, "no model can be built .*unheard_of"),
    ],
)
def test_a_folder_of_which_no_model_can_be_made(run, model, values, words):
    change(model, **values)
    with pytest.raises(BadInput, match=words):
        model_settings(run())


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("external_lib=no_such_library", "No module named 'no_such_library'"),
        ("use_liger=true", "needs the package liger_kernel, which is not installed"),
        ("override_config.hidden_sise=7", r"override_config.hidden_sise is no setting of .*did you mean 'hidden_size'"),
    ],
)
def test_a_setting_that_a_worker_would_meet_or_nothing_reads(run, setting, words):
    with pytest.raises(BadInput, match=words):
        model_settings(run(setting))


def test_what_verl_takes(run, model):
    change(model, pad_token_id=99_999, auto_map={"AutoConfig": "configuration.Own"})  # verl puts the tokenizer's there
    model_settings(run("override_config.attention_dropout=0.1", "external_lib=json"))
