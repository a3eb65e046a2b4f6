"""What the preference trainer takes from verl without a promise: a move must fail here first."""

import inspect

from omegaconf import OmegaConf

from sp3f_verl.verl_bridge import fused_head


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
    from verl.utils.seqlen_balancing import rearrange_micro_batches
    from verl.workers.engine.utils import prepare_micro_batches

    assert 'key="force_group_size"' in inspect.getsource(prepare_micro_batches)
    assert "force_group_size" in inspect.signature(rearrange_micro_batches).parameters


def test_the_workers_calls():
    from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

    worker = getattr(ActorRolloutRefWorker, "__ray_metadata__", None)
    actor = worker.modified_class if worker else ActorRolloutRefWorker
    for name in ("init_model", "set_loss_fn", "compute_log_prob", "update_actor", "save_checkpoint", "load_checkpoint"):
        assert callable(getattr(actor, name)), name
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
