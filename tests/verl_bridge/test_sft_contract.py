"""What SFT and the export of LoRA take from verl without a promise: a move must fail here first."""

import inspect
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from helpers.chat_templates import SHAPES, tokenizer
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge.engine import lora


def test_what_the_dataset_takes_from_verls():
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

    whole, reading = (
        inspect.getsource(part) for part in (MultiTurnSFTDataset, MultiTurnSFTDataset._read_files_and_process)
    )
    for name in ("messages", "tools", "enable_thinking"):
        assert f"self.{name} = " in reading
    probe = "self.system_prompt, self.generation_prompt = extract_system_prompt_and_generation("
    assert probe in reading.split("\n\n")[-1], "what may be refused by a template must be the last that is done"
    for name in ("max_length", "truncation", "image_key", "video_key", "enable_thinking_default", "parquet_files"):
        assert f"self.{name}" in whole


def test_how_verl_makes_the_dataset():
    from verl.trainer import sft_trainer, sft_trainer_ray

    for module in (sft_trainer, sft_trainer_ray):
        source = inspect.getsource(module.create_sft_dataset)
        assert "data_config.custom_cls.path, data_config.custom_cls.name" in source
        assert "config=data_config, processor=processor" in source


def test_positions_of_text_in_models_that_see_pictures():
    """verl gives Qwen's models four rows of positions; without a picture all are the same."""
    from verl.models.transformers.qwen2_vl import get_rope_index

    processor = SimpleNamespace(image_processor=SimpleNamespace(merge_size=2), tokenizer=tokenizer(SHAPES["chatml"]))
    ids = torch.arange(5)
    vision = get_rope_index(processor, input_ids=ids, attention_mask=torch.ones(5, dtype=torch.long))
    assert torch.equal(vision, torch.arange(5).repeat(3, 1))


def test_the_checkpoint_manager_is_wrapped_and_still_exports_as_it_did():
    from verl.utils.checkpoint import fsdp_checkpoint_manager as verls

    save = verls.FSDPCheckpointManager.save_checkpoint
    assert hasattr(save, "__wrapped__") and hasattr(verls.get_fsdp_full_state_dict, "__wrapped__")
    source = inspect.getsource(save.__wrapped__)
    assert "state_dict = get_fsdp_full_state_dict(self.model," in source
    assert "save_model.save_pretrained(hf_local_path, state_dict=state_dict)" in source
    should = inspect.getsource(verls.FSDPCheckpointManager.should_save_hf_model.fget)
    assert '"hf_model" in self.checkpoint_save_contents' in should


def test_a_fresh_adapter_is_drawn_with_the_seed_of_the_engine(tiny_model, monkeypatch):
    """verl builds the adapter from nothing but these settings; elsewhere the random state is left alone."""
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngine

    monkeypatch.setenv("SP3F_DEVICE", "cpu")

    def drawn(seed: int) -> torch.Tensor:
        settings = {"lora_rank": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "lora_adapter_path": None}
        settings |= {"target_parameters": None, "exclude_modules": None}
        engine = SimpleNamespace(model_config=SimpleNamespace(**settings), engine_config=SimpleNamespace(seed=seed))
        model = FSDPEngine._build_lora_module(engine, AutoModelForCausalLM.from_pretrained(tiny_model))
        return next(value for name, value in model.named_parameters() if "lora_A" in name)

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = drawn(42), drawn(42), drawn(43)
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.rand(3), expected)


def test_layers_that_the_model_lacks_are_told_in_a_sentence(tiny_model, monkeypatch):
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngine

    monkeypatch.setenv("SP3F_DEVICE", "cpu")
    settings = {"lora_rank": 4, "lora_alpha": 8, "target_modules": ["c_attn"], "lora_adapter_path": None}
    settings |= {"target_parameters": None, "exclude_modules": None}
    engine = SimpleNamespace(model_config=SimpleNamespace(**settings), engine_config=SimpleNamespace(seed=1))
    with pytest.raises(BadInput, match=r"no adapter fits this model \(Target modules .*c_attn.*set target_modules to"):
        FSDPEngine._build_lora_module(engine, AutoModelForCausalLM.from_pretrained(tiny_model))


@pytest.fixture
def adapted(tiny_model):
    """(base model, the same with an adapter that is not zero)"""
    base, copy = (AutoModelForCausalLM.from_pretrained(tiny_model) for _ in range(2))
    model = get_peft_model(copy, LoraConfig(r=4, lora_alpha=12, target_modules=["q_proj", "down_proj"]))
    torch.manual_seed(1)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value)
    return base, model


def test_the_merged_model_is_the_adapted_one(adapted):
    base, model = adapted
    ids, before = torch.arange(20)[None], {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        plain, wanted = base(ids).logits, model(ids).logits
        base.load_state_dict(lora.merged(model, model.state_dict()))
        assert torch.allclose(base(ids).logits, wanted, atol=1e-5) and not torch.allclose(plain, wanted, atol=1e-2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), "training goes on"


def test_an_adapter_that_is_more_than_plain_lora_is_not_merged(adapted, tiny_model):
    assert lora.mergeable(adapted[1])
    for settings in ({"use_dora": True}, {"lora_bias": True}, {"target_modules": ["embed_tokens"]}):
        base = AutoModelForCausalLM.from_pretrained(tiny_model)
        model = get_peft_model(base, LoraConfig(**{"target_modules": ["q_proj"], **settings}))
        assert not lora.mergeable(model), settings
