"""The plugin stays light, and is loud when it breaks."""

import os
import subprocess
import sys
from importlib.metadata import entry_points


def python(code: str, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **env})


def test_the_entry_points_are_installed():
    assert {each.value for each in entry_points(group="verl.plugins", name="sp3f_verl")} == {"sp3f_verl.plugin"}
    found = {each.value for each in entry_points(group="vllm.general_plugins", name="sp3f_verl")}
    assert found == {"sp3f_verl.vllm_plugin:register"}


def test_importing_verl_loads_nothing_heavy_because_of_us():
    """The modules that the plugin adds to `import verl` are its own few."""
    code = "import sys, verl; print(*sorted(sys.modules))"
    added = set(python(code).stdout.split()) - set(python(code, VERL_USE_EXTERNAL_PLUGINS="none").stdout.split())
    assert "sp3f_verl.plugin" in added
    assert all(name.startswith("sp3f_verl") for name in added) and len(added) < 12, added


def test_a_hook_fires_when_its_module_is_imported_and_not_when_it_is_merely_looked_for():
    registry = "verl.experimental.reward_loop.reward_manager"
    looked_for = f"import importlib.util, verl; importlib.util.find_spec('{registry}'); "
    imported = f"from {registry} import get_reward_manager_cls as get; print(get('sp3f').__name__)"
    assert python(looked_for + imported).stdout.strip() == "SP3FRewardManager"


def test_a_broken_plugin_is_one_sentence_on_stderr(tmp_path):
    """verl swallows the error of a plugin at DEBUG; hooks that cannot be imported must still be heard of."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['sp3f_verl.verl_bridge.hooks'] = None\n")
    result = python("import verl; print('verl goes on')", PYTHONPATH=str(tmp_path))
    said = [line for line in result.stderr.splitlines() if "sp3f_verl" in line]
    assert len(said) == 1 and "the verl plugin failed" in said[0] and "sp3f doctor" in said[0]
    assert "verl goes on" in result.stdout
