"""`sp3f doctor` as a command, on a healthy machine and with faults planted: 15 s of imports each time."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil

from sp3f_verl import RECIPES
from sp3f_verl.verl_bridge import doctor as examine

# The machine that runs the tests may be short of memory, or share it with a run beside; the rest is its own.
ROOMY = """
import psutil, shutil, types
psutil.virtual_memory = lambda: types.SimpleNamespace(available=64 * 2**30)
shutil.disk_usage = lambda path: types.SimpleNamespace(free=64 * 2**30)
"""
FAULTY = """
import importlib.metadata, os, pathlib, shutil, types
shutil.disk_usage = lambda path: types.SimpleNamespace(free=10 * 2**20)
version = importlib.metadata.version
importlib.metadata.version = lambda name: "0.0.1" if name == "TransferQueue" else version(name)
import sp3f_verl
sp3f_verl.RECIPES = pathlib.Path(os.environ["PLANTED_RECIPES"])
from sp3f_verl.verl_bridge import contract
contract.NAMES += (
    contract.Name("verl.utils.metric", "no_such_thing", None, "group", "a test"),
    contract.Name("verl.utils.metric", "reduce_metrics", "everything", "group", "a test"),
    contract.Name("verl.no_such_module", "thing", None, "group", "a test"),
)
contract.HOOKS += (contract.Hook("verl.no_such_hook", "after", "sp3f_verl.verl_bridge.rl.trainer:install", "a test"),)
"""


def doctor(folder: Path, planted: str, **environment: str) -> tuple[int, str]:
    """(exit status, what is on the screen, each row of the table on one line) of the whole command."""
    (folder / "sitecustomize.py").write_text(planted)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "sp3f_verl.cli", "doctor"]
    environment = {**os.environ, **environment, "PYTHONPATH": path, "LLM_API_KEY": "sk-very-secret"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert "Traceback" not in result.stderr, result.stderr[-2000:]
    return result.returncode, joined(result.stdout)


def joined(table: str) -> str:
    """The table with the wrapped lines of a row joined cell by cell."""
    lines: list[list[str]] = []
    rest = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("│┃").split("│")]
        if len(cells) == 5 and cells[0] in ("✓", "✗"):
            lines.append(cells)
        elif len(cells) == 5 and lines:
            lines[-1] = [" ".join(filter(None, pair)) for pair in zip(lines[-1], cells, strict=True)]
        else:
            rest.append(line)
    return "\n".join([*(" | ".join(cells) for cells in lines), *rest])


def test_on_a_healthy_machine_everything_is_in_order(tmp_path):
    status, screen = doctor(tmp_path, ROOMY)
    assert status == 0 and "everything is in order" in screen and "✗" not in screen, screen
    for recipe in (file.stem for file in (RECIPES / "recipe").glob("*.yaml")):
        trainer = "sft_trainer" if recipe in ("sft", "croco_sft") else "main_ppo"
        assert f"✓ | recipe | {recipe} | composes for {trainer}, device" in screen
    assert re.search(r"✓ \| name \| verl \| \d{3} names are there", screen)
    assert "LLM_API_KEY" in screen and "very-secret" not in screen


def test_each_planted_fault_has_its_line(tmp_path):
    recipes = tmp_path / "recipes"
    shutil.copytree(RECIPES, recipes)
    with (recipes / "recipe" / "mdpo.yaml").open("a") as file:
        file.write("\nsp3f_no_such_setting:\n  of: ${verls.that.is.gone}\n")
    (recipes / "recipe" / "spin.yaml").write_text("defaults: [tspin\n")
    (recipes / "recipe" / "grpo.yaml").write_text("# @package _global_\ndefaults:\n  - /no_such_group: choice\n")
    status, screen = doctor(tmp_path, FAULTY, PLANTED_RECIPES=str(recipes), VERL_USE_EXTERNAL_PLUGINS="none")
    assert status == 1 and re.search(r"\d+ problem\(s\)", screen)
    wrong = {line.partition(" | ")[2] for line in screen.splitlines() if line.startswith("✗")}
    for line in (
        r"version \| TransferQueue \| 0\.0\.1 \(supported .*\| pip install 'TransferQueue>=",
        r"plugin \| verl\.plugins \| loaded: False, policy: none \| reinstall sp3f-verl .*VERL_USE_EXTERNAL_PLUGINS",
        r"hook \| verl\.no_such_hook \| ModuleNotFoundError",
        r"hook \| reward manager sp3f \| .*sp3f",
        r"hook \| training metrics \| AttributeError",
        r"name \| verl\.utils\.metric\.no_such_thing \| .*is gone.*group needs it",
        r"name \| verl\.utils\.metric\.reduce_metrics \| .*takes \(metrics\), not",
        r"name \| verl\.no_such_module\.thing \| .*is gone \(No module",
        r"recipe \| spin \| .*Error",
        r"recipe \| grpo \| .*no_such_group",
        r"recipe \| sp3f \| .*no_such_group",
        r"recipe \| mdpo \| .*verls.that.is.gone",
        r"machine \| shared memory \| .*MiB free",
    ):
        assert any(re.match(line, row) for row in wrong), f"{line}\n{screen}"
    assert "very-secret" not in screen


def test_a_run_on_a_cpu_needs_memory(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 2**30))
    assert ("machine", "memory", "2.0 GiB available", "free some: the quickstart needs 8 GiB") in examine.machine()


def areas(monkeypatch, **replaced):
    for name in ("versions", "hooks", "names", "recipes", "machine", "judge"):
        function = replaced.get(name, lambda: iter([("area", "item", "found", "")]))
        function.__name__ = name
        monkeypatch.setattr(examine, name, function)


def test_the_doctor_names_the_mend_and_exits_with_1(monkeypatch, capsys):
    areas(monkeypatch)
    assert examine.doctor() == 0 and "everything is in order" in capsys.readouterr().out

    def broken():
        raise ImportError("no module named verl")

    areas(monkeypatch, versions=broken, machine=lambda: iter([("machine", "memory", "1 GiB free", "free some")]))
    assert examine.doctor() == 1
    out = capsys.readouterr().out
    assert "ImportError: no module named verl" in out and "free some" in out and "2 problem(s)" in out


def test_the_doctor_finds_an_unsupported_version(monkeypatch):
    monkeypatch.setattr(examine, "installed", lambda name: "0.8.0" if name == "verl" else "9999")
    rows = {item: (found, mend) for _, item, found, mend in examine.versions()}
    assert rows["verl"] == ("0.8.0 (supported >=0.9.1,<0.10)", "pip install 'verl>=0.9.1,<0.10'")


def test_the_doctor_never_prints_a_key(monkeypatch, capsys):
    monkeypatch.setenv("LLM_API_KEY", "sk-very-secret")
    areas(monkeypatch, judge=examine.judge)
    examine.doctor()
    out = capsys.readouterr().out
    assert "LLM_API_KEY" in out and "set" in out and "very-secret" not in out
