"""Which folder is loaded, for every form in which a model is given."""

import json
import shutil

import pytest

from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.checkpoints import adapter_base, check_chat_template, model_folder


def hugging_face(folder, weights="model.safetensors"):
    folder.mkdir(parents=True)
    for name in ("config.json", weights):
        (folder / name).write_text("{}")
    return folder


def adapter(folder, base="base"):
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return folder


@pytest.mark.parametrize("below", ["actor/", ""], ids=["rl", "sft"])
def test_of_a_run_the_latest_step_and_of_a_step_the_exported_model(tmp_path, below):
    steps = {n: hugging_face(tmp_path / f"global_step_{n}/{below}huggingface") for n in (2, 10)}
    adapter(steps[10].parent / "lora_adapter")
    assert model_folder(tmp_path / "global_step_2") == str(steps[2])
    assert model_folder(steps[10].parent) == str(steps[10]), "the merged model before the adapter"
    assert model_folder(steps[2]) == str(steps[2])
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("2")
    assert model_folder(tmp_path) == str(steps[2])
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("")  # verl writes it in place, and was killed there
    (tmp_path / "global_step_10" / "data.pt").touch()
    assert model_folder(tmp_path) == str(steps[10])


def test_the_adapter_where_no_merged_model_was_written(tmp_path):
    step = tmp_path / "global_step_2"
    hugging_face(step / "actor" / "huggingface", weights="tokenizer.json")
    result = model_folder(adapter(step / "actor" / "lora_adapter").parent.parent)
    assert result == str(step / "actor" / "lora_adapter") and adapter_base(result) == "base"
    assert adapter_base(step / "actor" / "huggingface") is None


def test_names_of_the_hub_are_left_alone():
    assert model_folder("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"


def test_no_weights_is_one_sentence_with_the_mend(tmp_path):
    step = tmp_path / "global_step_2"
    hugging_face(step / "actor" / "huggingface", weights="tokenizer.json")
    with pytest.raises(BadInput, match="holds no weights"):
        model_folder(step, adapters=False)
    (step / "actor" / "model_world_size_1_rank_0.pt").touch()
    with pytest.raises(BadInput, match=r"FSDP shards only: merge.*--local_dir \S+/global_step_2/actor "):
        model_folder(step)
    for missing in ("runs/none/global_step_3", "./none", "/none"):
        with pytest.raises(BadInput, match="does not exist"):
            model_folder(missing)
    with pytest.raises(BadInput, match="names no base"):
        adapter_base(adapter(tmp_path / "none", base=None))
    lora = adapter(tmp_path / "lora", "my/base")
    with pytest.raises(BadInput, match=rf"is a LoRA adapter: give --model my/base --adapter {lora}"):
        model_folder(lora, adapters=False)


def test_a_model_without_a_chat_template(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    check_chat_template(str(folder))
    for file in folder.glob("chat_template*"):
        file.unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"has no chat template, .* chat_template\.jinja there\.$"):
        check_chat_template(str(folder))


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"base_model_name_or_path": 5}', "\udcff"])
def test_a_broken_adapter_config_is_named(tmp_path, text):
    config = tmp_path / "adapter_config.json"
    config.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadInput, match=rf"^{config} [^\n]+\.$"):
        adapter_base(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "null", "5", "\udcff"])
def test_a_broken_tokenizer_config_is_named(tmp_path, text):
    (tmp_path / "tokenizer_config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadInput, match=rf"^{tmp_path} has no tokenizer_config\.json that can be read [^\n]+\.$"):
        check_chat_template(str(tmp_path))
