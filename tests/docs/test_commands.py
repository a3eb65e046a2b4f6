"""Every command line, piece of Python and settings file that README.md and docs/ print is understood; nothing is run:
the options exist, recipes compose with the overrides beside them, names can be imported.

`tests/docs/run_blocks.py` runs them all on stand-ins.
"""

import argparse
import ast
import importlib
import json
import re
import runpy
import sys
import textwrap
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import pytest
import yaml

from helpers.doc_blocks import SHOWN, Block, blocks, words
from helpers.recipes import CONFIG_OF, compose_run, resolved
from helpers.shared import ROOT
from sp3f_verl import cli
from sp3f_verl.data.files import read_parquet

BLOCKS = list(blocks())
# `...` in a command stands for what every such command needs
ELLIPSIS = {
    "data_prep.translate": "--input rows.jsonl --languages es --output folder",
    "data_prep.generate": "--prompts prompts.parquet --output folder",
    "main_ppo": "data.train_files=train.parquet data.val_files=validation.parquet actor_rollout_ref.model.path=model",
}
RAY = {
    "start": {"--head", "--num-gpus", "--num-cpus"},
    "stop": set(),
    "job": {"--address"},
}


def of_kind(kind: str) -> list:
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.kind == kind]


def test_every_block_is_of_a_kind_that_is_checked():
    unknown = [f"{block.place}: {block.text.splitlines()[0]}" for block in BLOCKS if not block.kind]
    assert not unknown, "no table of helpers/doc_blocks.py knows these: is it a command, or only shown (SHOWN)?"
    assert len([block for block in BLOCKS if block.kind == "commands"]) >= 25


def test_what_is_listed_as_only_shown_is_there():
    unused = [start for start in SHOWN if not any(block.text.startswith(start) for block in BLOCKS)]
    assert not unused


@pytest.mark.parametrize("block", of_kind("commands"))
def test_commands_are_understood(block: Block, monkeypatch, capsys):
    for line in block.commands:
        check(words(line), monkeypatch, capsys)


def check(line: list[str], monkeypatch, capsys) -> None:
    """AssertionError with the command where a part of it does not exist."""
    name = line[0].rpartition("/")[2]
    if name == "make":
        assert re.search(rf"^{line[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), line
    elif name == "pip":
        check_extras(line)
    elif name == "ray":
        options = line[: line.index("--")] if "--" in line else line
        unknown = {word.partition("=")[0] for word in options if word.startswith("-")} - RAY[line[1]]
        assert not unknown, line
        if "--" in line:
            check(line[line.index("--") + 1 :], monkeypatch, capsys)
    elif name == "sp3f":
        arguments = parsed(lambda: cli.main(), line, monkeypatch, capsys)
        if "judge-check" in line:
            compose([word for word in line if "=" in word], line)
        assert arguments is not None, line
    elif name in ("python", "torchrun"):
        if "-c" in line:
            compile(line[line.index("-c") + 1], "docs", "exec")
            return
        at = line.index("-m")
        module, rest = line[at + 1], line[at + 2 :]
        if "..." in rest:
            key = module if module in ELLIPSIS else module.rpartition(".")[2]
            rest[rest.index("...") : rest.index("...") + 1] = ELLIPSIS[key].split()
        if module.startswith("verl.trainer."):
            compose(rest, line)
            return
        if module == "sp3f_verl.vllm_plugin":  # tests/e2e/test_judge.py starts it
            return
        assert (name == "python") and (module.startswith(("data_prep.", "sp3f_verl."))), line
        main = importlib.import_module(module).main
        assert parsed(lambda: main(rest), line, monkeypatch, capsys) is not None, line
    elif name == "cp":
        assert len(line) == 4 and line[1] == "-r", line
    else:
        assert name == "export" and all("=" in word for word in line[1:]), line


def compose(overrides: list[str], line: list[str]) -> None:
    """The overrides of a run of verl on its own config of that recipe, every interpolation resolved."""
    recipe = next(word.partition("=")[2] for word in overrides if word.startswith("+recipe="))
    assert any(
        entry in " ".join(line) for entry in (["sft_trainer"] if "sft" in recipe else ["main_ppo", "judge-check"])
    )
    resolved(compose_run(*overrides, config=CONFIG_OF[recipe]))


def check_extras(line: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in line[2:]:
        if extra := re.search(r"\[(\w+)\]", word):
            package = word.partition("[")[0]
            known = set(extras) if package in (".", "sp3f-verl") else provided_extras(package)
            assert known is None or extra[1] in known, line


def provided_extras(package: str) -> set[str] | None:
    try:
        return set(distribution(package).metadata.get_all("Provides-Extra") or ())
    except PackageNotFoundError:
        return None


class Parsed(BaseException):
    """The command line was understood: the end of a check. No command catches it."""


def parsed(run, line: list[str], monkeypatch, capsys) -> argparse.Namespace | None:
    """What argparse made of a command line by the command's own parser; None where it refused it."""
    parse_args, parse_known_args = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args
    inside = False

    def outermost(parse):
        def wrapped(parser, *args, **kwargs):
            nonlocal inside
            if inside:  # by a parser's own code, for a sub-command
                return parse(parser, *args, **kwargs)
            inside = True
            arguments = parse(parser, *args, **kwargs)
            if isinstance(arguments, tuple):
                arguments, rest = arguments
                assert all("=" in word and not word.startswith("-") for word in rest), (line, rest)
            raise Parsed(arguments)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", outermost(parse_args))
        patch.setattr(argparse.ArgumentParser, "parse_known_args", outermost(parse_known_args))
        patch.setattr(sys, "argv", ["sp3f", *line[1:]])
        try:
            run()
        except Parsed as found:
            return found.args[0]
        except SystemExit:
            raise AssertionError(f"{' '.join(line)}: {capsys.readouterr().err}") from None
    return None


@pytest.mark.parametrize("block", of_kind("python"))
def test_what_python_imports_is_there(block: Block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, f"{block.place}: {node.module} has no {', '.join(missing)}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)


def test_a_step_of_your_own_as_printed(tmp_path, capsys):
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    file = tmp_path / "short.py"
    file.write_text(
        textwrap.dedent(re.search(r"`data_prep/short\.py`:\n\n((?:    .*\n|\n)+)", page)[1]), encoding="utf-8"
    )
    main = runpy.run_path(str(file))["main"]
    rows = [{"id": name, "prompt_lang": "es", "prompt": "¿" + "a" * size} for name, size in (("a", 9), ("b", 500))]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out")]
    assert main(command) == 0 and [row["id"] for row in read_parquet(tmp_path / "out" / "prompts.parquet")] == ["a"]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["drops"] == {"too_long": 1}
    assert main(command) == 0 and "done" in capsys.readouterr().out
    assert main([*command[:1], "nowhere", *command[2:]]) == 1


@pytest.mark.parametrize("block", of_kind("yaml"))
def test_settings_files_are_mappings(block: Block):
    assert isinstance(yaml.safe_load(block.text), dict)


def test_a_wrong_line_is_seen(monkeypatch, capsys):
    for line in (
        "python -m data_prep.translate --input a --langages es --output b",
        "sp3f report a --papr sp3f",
        "python -m verl.trainer.main_ppo +recipe=sp3f judge=refrence",
        "python -m verl.trainer.main_ppo +recipe=sp3f judge=reference data.no_such_key=1",
        "make trian",
        'pip install -e ".[gpus]"',
    ):
        with pytest.raises(Exception) as error:  # whatever Hydra, argparse or the check above raises
            check(words(line), monkeypatch, capsys)
        assert not isinstance(error.value, IndexError), line
