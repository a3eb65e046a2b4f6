"""The patches of the cpu device against the real code of verl, and that a run on another device never sees them.

`tests/verl_bridge/test_contract.py` shows that the patched names are there; here it is what they do.
"""

import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import ray
import torch
import verl

from sp3f_verl.verl_bridge.cpu import patches, vllm_prompts, vllm_weights
from sp3f_verl.verl_bridge.rl import trainer


@pytest.mark.parametrize(("on_cpu", "pinned"), [(True, False), (False, True)])
def test_offloaded_memory_is_pinned_wherever_there_is_an_accelerator(monkeypatch, on_cpu, pinned):
    from verl.workers.engine.fsdp import transformer_impl

    monkeypatch.setattr(transformer_impl, "CPUOffloadPolicy", lambda pin_memory: pin_memory)
    monkeypatch.setattr(patches, "is_cpu", lambda: on_cpu)
    patches.unpinned_offload()
    assert transformer_impl.CPUOffloadPolicy(pin_memory=True) is pinned


def test_verls_registry_has_engines_for_a_cpu_run(monkeypatch):
    """Without the switch there is none, which is why it is set; with it, the FSDP engines answer."""
    import verl.workers.engine.fsdp  # noqa: F401  (registers them)
    from verl.workers.engine.base import EngineRegistry

    for model_type in ("language_model", "value_model"):
        monkeypatch.delenv("VERL_ENGINE_DEVICE", raising=False)
        with pytest.raises(ValueError, match="No engine registered for device='cpu'"):
            EngineRegistry.get_engine_cls(model_type, "fsdp2")
        monkeypatch.setenv("VERL_ENGINE_DEVICE", "cuda")
        assert "FSDP" in EngineRegistry.get_engine_cls(model_type, "fsdp2").__name__


def test_the_engine_that_a_user_chose_stays(monkeypatch):
    monkeypatch.setenv("VERL_ENGINE_DEVICE", "npu")
    monkeypatch.setattr(patches, "is_cpu", lambda: True)
    patches.engine_registry_key()
    assert os.environ["VERL_ENGINE_DEVICE"] == "npu"


def test_the_device_module_answers_whatever_verl_asks_it():
    """Every `get_torch_device().<name>` in verl's source, so that a new one fails here and not in a worker."""
    from verl.plugin.platform import PlatformRegistry

    module = PlatformRegistry.get("cpu")().device_module
    sources = (file.read_text(encoding="utf-8") for file in Path(verl.__file__).parent.rglob("*.py"))
    asked = {name for text in sources for name in re.findall(r"get_torch_device\(\)\.(\w+)", text)}
    assert len(asked) > 10, "verl asks its device module in another way now"
    assert {name for name in asked if not hasattr(module, name)} == set()


def test_the_state_of_the_random_numbers_is_saved_and_restored():
    from verl.plugin.platform import PlatformRegistry

    module = PlatformRegistry.get("cpu")().device_module
    state = module.get_rng_state()
    drawn = torch.rand(3)
    module.set_rng_state(state)
    assert torch.equal(torch.rand(3), drawn)


@pytest.fixture
def fake_vllm(monkeypatch):
    """vLLM's two modules in question, without the seconds that importing it takes."""
    names = ["vllm", "vllm.platforms", *("vllm.model_executor" + tail for tail in ("", ".layers", ".layers.utils"))]
    modules = {name: ModuleType(name) for name in names}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
        if "." in name:
            parent, _, child = name.rpartition(".")
            setattr(modules[parent], child, module)
    utils = modules["vllm.model_executor.layers.utils"]
    utils.dispatch_cpu_unquantized_gemm = repack = lambda layer, remove_weight: None
    modules["vllm.platforms"].current_platform = SimpleNamespace(is_cpu=lambda: True)
    return modules["vllm.platforms"].current_platform, utils, repack


def test_the_weight_that_verl_writes_to_is_the_one_that_computes(fake_vllm):
    _, utils, repack = fake_vllm
    vllm_weights.install()
    assert utils.dispatch_cpu_unquantized_gemm is not repack
    layer = torch.nn.Linear(2, 1, bias=False)
    utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 3.0]]))  # a weight sync
    assert layer.cpu_linear(torch.tensor([1.0, 10.0]), layer.weight, None).item() == 32.0


def test_vllm_on_a_gpu_keeps_its_own_kernels(fake_vllm):
    platform, utils, repack = fake_vllm
    platform.is_cpu = lambda: False
    vllm_weights.install()
    assert utils.dispatch_cpu_unquantized_gemm is repack


def test_a_vllm_that_repacks_elsewhere_is_loud(fake_vllm):
    _, utils, _ = fake_vllm
    del utils.dispatch_cpu_unquantized_gemm
    with pytest.raises(RuntimeError, match="weights cannot be kept live"):
        vllm_weights.install()


def test_no_prompt_is_split_on_a_cpu(fake_vllm):
    class Platform:
        is_cpu = staticmethod(lambda: True)

        @classmethod
        def check_and_update_config(cls, vllm_config):
            vllm_config.seen.append(cls)

    sys.modules["vllm.platforms"].current_platform = Platform()
    for _ in range(2):  # a process may call the plugin twice
        vllm_prompts.install()
    for longest, budget in ((64, 64), (96, 96)):
        scheduler = SimpleNamespace(enable_chunked_prefill=True, max_num_batched_tokens=64)
        config = SimpleNamespace(
            scheduler_config=scheduler, model_config=SimpleNamespace(max_model_len=longest), seen=[]
        )
        Platform.check_and_update_config(config)
        assert config.seen == [Platform] and not scheduler.enable_chunked_prefill
        assert scheduler.max_num_batched_tokens == budget


def test_a_ray_that_runs_is_not_sized_again(monkeypatch):
    given = []
    monkeypatch.setattr(ray, "init", lambda address=None, **kwargs: given.append((address, kwargs)))
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    patches.logical_gpus()
    ray.init(ignore_reinit_error=True)
    assert given == [(None, {"ignore_reinit_error": True})]


def test_only_an_empty_response_needs_the_token_that_the_group_gives_it():
    """verl's own output class: it takes n scores where it expects one, and cannot carry a score without a token."""
    from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

    output = AgentLoopOutput(prompt_ids=[1], response_ids=[], response_mask=[], metrics=AgentLoopMetrics())
    output.reward_score = [0.0, 1.0]
    assert output.reward_score == [0.0, 1.0]
    output.reward_score = 1.5
    with pytest.raises(IndexError):
        output.as_dict()
    output.response_ids, output.response_mask = [7], [0]
    written = output.as_dict()
    assert written["rm_scores"].tolist() == [1.5] and written["response_mask"].tolist() == [0]


def test_the_manager_class_of_the_recipes_is_where_verl_looks_for_it_and_makes_our_workers():
    from sp3f_verl.verl_bridge.preflight.judge import GROUP_MANAGER
    from sp3f_verl.verl_bridge.rl.group import GroupAgentLoopManager, GroupAgentLoopWorker

    module, _, name = GROUP_MANAGER.rpartition(".")
    assert getattr(importlib.import_module(module), name) is GroupAgentLoopManager
    rollout = SimpleNamespace(rollout=None, model=None)
    manager = GroupAgentLoopManager(SimpleNamespace(actor_rollout_ref=rollout), llm_client=None)
    actor = manager.agent_loop_workers_class.__ray_metadata__.modified_class
    assert issubclass(getattr(actor, "__ray_actor_class__", actor), GroupAgentLoopWorker)


@pytest.mark.parametrize(("settings", "seconds"), [(None, 2.0), ({}, 2.0), ({"replay_poll_seconds": 0.1}, 0.1)])
def test_a_run_without_our_config_polls_as_verl_does(settings, seconds):
    build = trainer._with_limits(lambda self: SimpleNamespace(poll_interval=2.0))
    assert build(SimpleNamespace(config={"sp3f": settings})).poll_interval == seconds


def test_a_run_without_our_config_logs_what_verl_logs():
    calls = []
    wrapped = trainer._with_terms(lambda self, batch, metrics: calls.append(batch))
    metrics = {}
    wrapped(SimpleNamespace(config={}), "batch", metrics)  # a batch that could not be read: nothing of it is asked
    assert calls == ["batch"] and metrics == {}
