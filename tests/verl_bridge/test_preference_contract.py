"""How verl does what the preference trainer builds on. Its names and parameters are in test_contract.py."""

import inspect

from omegaconf import OmegaConf

from sp3f_verl.verl_bridge.engine import fused_head
from sp3f_verl.verl_bridge.preference.balance import balanced


def test_the_mode_is_registered_and_leaves_the_other_modes_alone():
    from verl.trainer.ppo.v1 import get_trainer_cls
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    from sp3f_verl.verl_bridge.preference.trainer import DPOTrainer

    assert get_trainer_cls("dpo") is DPOTrainer and issubclass(DPOTrainer, PPOTrainer)
    for name in ("_save_checkpoint", "_init_tokenizer"):
        assert getattr(DPOTrainer, name) is getattr(PPOTrainer, name)
    for name in ("_load_checkpoint", "_save_checkpoint"):
        source = inspect.getsource(getattr(PPOTrainer, name))
        assert 'self.trainer_mode != "sync"' in source and "self.train_dataloader" in source
        assert "self.actor_rollout_wg" in source and "self.global_steps" in source


def test_what_verls_task_runner_calls():
    from verl.trainer.main_ppo import TaskRunnerV1

    module = inspect.getmodule(TaskRunnerV1.__ray_metadata__.modified_class)
    body = inspect.getsource(module)
    for line in ("get_llm_client()", "get_teacher_client()", "get_reward_handles()", ".init()", ".fit(", "tq.init"):
        assert line in body, line


def test_groups_stay_together_in_both_ways_of_cutting():
    from verl.workers.engine.utils import prepare_micro_batches

    assert 'key="force_group_size"' in inspect.getsource(prepare_micro_batches)


def test_groups_are_balanced_over_workers():
    """By verl's own partition: on two workers the tokens, not the groups, are about the same."""
    order = balanced([100, 1, 100, 1], 2)
    assert sorted(order) == [0, 1, 2, 3] and sum([100, 1, 100, 1][i] for i in order[:2]) == 101
    assert balanced([100, 1], 1) == [0, 1]


def test_how_a_training_worker_takes_its_settings():
    from verl.workers.engine_workers import TrainingWorker

    source = inspect.getsource(TrainingWorker)
    assert 'key="compute_loss"' in source and 'key="mini_batch_size"' in source


def test_the_head_is_left_to_the_root_only_for_fused_log_probs():
    import torch
    from verl.utils import fsdp_utils

    assert fsdp_utils._select_fsdp2_wrap_targets.__module__ == fused_head.__name__ or hasattr(
        fsdp_utils._select_fsdp2_wrap_targets, "__wrapped__"
    )

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed_tokens, self.lm_head = torch.nn.Embedding(4, 2), torch.nn.Linear(2, 4)
            self.config = OmegaConf.create({"tie_word_embeddings": False})

    model = Model()
    assert model.lm_head in fsdp_utils._select_fsdp2_wrap_targets(model, [])
    model._verl_fused_kernels_backend = "torch"
    assert fsdp_utils._select_fsdp2_wrap_targets(model, []) == [model.embed_tokens]


def test_an_adapted_embedding_or_head_is_not_sharded_by_the_wrapper_that_peft_puts_there():
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.distributed.fsdp import FSDPModule
    from transformers import LlamaConfig, LlamaForCausalLM
    from verl.utils import fsdp_utils

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    base = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=50, tie_word_embeddings=False))
    model = get_peft_model(base, LoraConfig(target_modules=["embed_tokens", "lm_head", "q_proj"]))
    targets = fsdp_utils._select_fsdp2_wrap_targets(model, ["LlamaDecoderLayer"])
    assert {type(module).__name__ for module in targets} == {"LlamaDecoderLayer", "Embedding"}
    for module in targets:  # what fully_shard does with each
        module.__class__ = type("FSDP", (FSDPModule, type(module)), {})
    assert all(isinstance(module, torch.nn.Module) for module in targets)


def test_what_self_play_takes():
    """An engine whose optimiser can be made anew, and is then what a checkpoint holds."""
    from verl.trainer.ppo.v1 import get_trainer_cls
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngine

    from sp3f_verl.verl_bridge.selfplay.trainer import SelfPlayTrainer

    assert get_trainer_cls("selfplay") is SelfPlayTrainer
    source = inspect.getsource(FSDPEngine)
    for line in ("self.optimizer = optimizer", "self.lr_scheduler = lr_scheduler", "self.optimizer_config"):
        assert line in source, line
    assert "optimizer=self.optimizer" in source and "lr_scheduler=self.lr_scheduler" in source, "in the checkpoints"


def test_the_server_tells_the_end_of_a_response_by_its_tokens_only():
    """`completed` stands for both "stop" and "length", so that what was cut is told by the number of tokens."""
    from verl.workers.rollout.vllm_rollout import vllm_async_server

    source = inspect.getsource(vllm_async_server)
    assert 'finish_reason in ("stop", "length")' in source and 'stop_reason = "completed"' in source
    assert "max_tokens = max(1, min(max_tokens, max_possible_tokens))" in source
