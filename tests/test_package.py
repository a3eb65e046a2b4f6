"""What is installed: a wheel and an sdist hold everything, nothing else stands at the top, and imports are declared."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sp3f_verl import RECIPES

ROOT = Path(__file__).resolve().parents[1]
OURS = ("sp3f_verl", "data_prep", "hydra_plugins")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DATA = (".yaml", ".txt", ".css", ".js", ".md", ".html", ".json", ".jinja", ".j2", ".svg")
# Imported by scripts that run in a Python of their own, which has them (docs/evaluation.md, --python); and what verl's
# users build for their GPU, imported where the model's own attention has imported it.
ELSEWHERE = {"comet", "euroeval", "flash_attn", "lm_eval"}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path, Path]:
    """(sdist, the wheel that pip builds of it, the wheel of the tree), from a copy: a build leaves files behind."""
    folder = tmp_path_factory.mktemp("package")
    tree, out = folder / "tree", folder / "out"
    out.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*OURS, "recipes"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    build = "from setuptools import build_meta as b; print(b.build_sdist({0!r}), b.build_wheel({0!r}))"
    names = _run([sys.executable, "-c", build.format(str(out))], tree).split()[-2:]
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", "."]
    (folder / "of_sdist").mkdir()
    _run([*pip, str(out / names[0])], folder / "of_sdist")
    return out / names[0], folder / "of_sdist" / names[1], out / names[1]


def _run(command: list[str], folder: Path, **environment: str) -> str:
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, env={**os.environ, **environment}
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def _files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_a_wheel_puts_three_names_into_site_packages(built):
    assert {name.partition("/")[0] for name in _files(built[2])} == set(OURS)


def test_every_file_of_the_tree_is_in_the_wheel(built):
    tree = {
        str(Path(folder, name).relative_to(ROOT))
        for top in OURS
        for folder, _, names in os.walk(ROOT / top, followlinks=True)
        for name in names
        if "__pycache__" not in folder and Path(name).suffix in (".py", *DATA)
    }
    assert tree - _files(built[2]) == set()
    assert f"sp3f_verl/recipes/recipe/{next((RECIPES / 'recipe').glob('*.yaml')).name}" in tree


def test_the_sdist_holds_the_recipes_as_files_and_makes_the_same_wheel(built):
    sdist, of_sdist, of_tree = built
    with tarfile.open(sdist) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
    recipes = [member for name, member in members.items() if name.startswith("sp3f_verl/recipes/recipe/")]
    assert len(recipes) == len(list((RECIPES / "recipe").glob("*.yaml")))
    assert all(member.isfile() for member in recipes)
    assert _files(of_sdist) == _files(of_tree)


COMPOSE = """
import sys
import sp3f_verl, hydra_plugins.sp3f_verl_recipes, verl
from sp3f_verl.verl_bridge.recipes import compose_recipe, shipped
for recipe in shipped():
    print(recipe, compose_recipe(recipe).sp3f.device)
config = compose_recipe("sp3f", ["judge=openai", "reward=compute_score_reward_rand", "device=gpu"])
print(config.sp3f.judge.name, config.sp3f.reward.weights.random, config.sp3f.device)
print(sp3f_verl.__file__, hydra_plugins.sp3f_verl_recipes.__file__, sys.modules["sp3f_verl.plugin"].__file__)
"""


def test_what_is_installed_composes_every_recipe_without_the_checkout(built, tmp_path):
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site)]
    _run([*pip, str(built[1])], tmp_path)
    # -S: no .pth file, by which an editable install would put the checkout onto the path
    path = os.pathsep.join([str(site), sysconfig.get_path("purelib")])
    *recipes, options, modules = _run([sys.executable, "-S", "-c", COMPOSE], tmp_path, PYTHONPATH=path).splitlines()
    assert {line.split()[0] for line in recipes} >= {file.stem for file in (RECIPES / "recipe").glob("*.yaml")}
    assert options == "openai 1.0 gpu"
    assert all(module.startswith(str(site)) for module in modules.split()), modules


def _imports() -> dict[str, str]:
    """Top-level package that our files import -> one of these files; the standard library and ours left out."""
    places = {}
    for top in OURS:
        for file in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module]
                places |= {name.partition(".")[0]: str(file.relative_to(ROOT)) for name in names}
    return {name: file for name, file in places.items() if name not in {*sys.stdlib_module_names, *OURS}}


def test_what_is_imported_is_declared():
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    declared = {canonicalize_name(Requirement(line).name) for line in [*PROJECT["dependencies"], *extras]}
    distributions = importlib.metadata.packages_distributions()
    for package, file in _imports().items():
        names = {canonicalize_name(name) for name in distributions.get(package, [package])}
        if package == "lingua":  # an extra that is not installed here
            names.add("lingua-language-detector")
        assert names & declared or package in ELSEWHERE, f"{file} imports {package}, which pyproject.toml does not name"


def test_what_is_declared_is_imported():
    distributions = importlib.metadata.packages_distributions()
    imported = {canonicalize_name(name) for package in _imports() for name in distributions.get(package, [])}
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert declared - imported == set()


def test_the_lock_has_what_is_declared_for_a_cpu():
    lock = (ROOT / "requirements-cpu.lock").read_text(encoding="utf-8")
    pinned = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)(?:==| @ )", lock, re.MULTILINE)}
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *extras["cpu"], *extras["dev"]]:
        assert canonicalize_name(Requirement(line).name) in pinned, line
