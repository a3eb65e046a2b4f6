"""What every command ends in: a status, and one sentence for whatever a user, a disk or a file does."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sp3f_verl.boundary import Parser, exit_status, parse
from sp3f_verl.errors import BadInput
from sp3f_verl.progress import track
from sp3f_verl.settings import read_yaml


def _raise(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BadInput("--n=0 is too few; give 1."), "--n=0 is too few; give 1."),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x.parquet"), "/data/x.parquet: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/data"), "/data: Permission denied"),
        (sqlite3.OperationalError("database or disk is full"), "disk is full"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (MemoryError(), "memory"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "surrogates"),
        (KeyError("x"), "KeyError"),
        (RuntimeError("first line\n\nsecond \x1b[31mline" + "x" * 1000), "first line second [31mline"),
    ],
)
def test_one_sentence_for_every_error(error, words, capsys):
    assert exit_status("step", _raise(error)) == 1
    said = capsys.readouterr().err
    assert said.startswith("step: ") and words in said
    assert said.count("\n") == 1 and "\x1b" not in said and len(said) < 500


def test_debug_shows_where(capsys):
    with pytest.raises(KeyError):
        exit_status("step", _raise(KeyError("x")), debug=True)


def test_a_progress_bar_ends_before_the_sentence(caplog, capsys):
    def run():
        rows = track(range(9), "rows")
        next(rows), next(rows)
        raise KeyboardInterrupt

    lines = []
    caplog.set_level("INFO")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *words, **_: lines.append(caplog.text))
        assert exit_status("sp3f", run) == 128 + signal.SIGINT
    assert len(lines) == 1 and "rows: 1" in lines[0]


def test_ctrl_c_says_that_the_same_command_goes_on(capsys):
    assert exit_status("step", _raise(KeyboardInterrupt())) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_what_was_started(number, status, tmp_path):
    program = (
        "import subprocess, sys, time\n"
        "from sp3f_verl.boundary import exit_status\n"
        "def run():\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        "    try:\n"
        f"        open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "        child.wait()\n"
        "    finally:\n"
        "        child.kill()\n"
        "        child.wait()\n"
        "sys.exit(exit_status('step', run))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == status
    assert said == f"step: stopped by {number.name}; the same command goes on, and what was answered is kept.\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_home_folder_is_expanded_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("HOME", "/home/who")
    parser = Parser()
    parser.add_argument("--input", type=Path, nargs="+")
    parser.add_argument("--file", nargs="+")
    parser.add_argument("--pair", type=lambda text: ("a", Path(text)), nargs="+")
    parser.add_argument("rest", nargs="*")
    words = ["data.train_files=~/t.parquet", "x~/y", "--debug", "--input", "~/a", "b/~", "--file", "mgsm:es=~/f"]
    options = parse(parser, [*words, "--pair", "~/p"])
    assert options.debug
    assert options.input == [Path("/home/who/a"), Path("b/~")]
    assert options.file == ["mgsm:es=/home/who/f"]
    assert options.pair == [("a", Path("/home/who/p"))]
    assert options.rest == ["data.train_files=/home/who/t.parquet", "x~/y"]


def _told(parser, words, capsys) -> str:
    with pytest.raises(SystemExit):
        parse(parser, words)
    return capsys.readouterr().err


def test_an_option_is_written_out_and_a_misspelt_one_is_told(capsys):
    def told(*words: str) -> str:
        parser = Parser(description="First line\n  second")
        parser.add_argument("--candidates")
        parser.add_subparsers().add_parser("run").add_argument("--samples")
        return _told(parser, words, capsys)

    assert "unrecognized arguments: --cand=3 (did you mean '--candidates'?)" in told("--cand=3")
    assert "--sampels 3 (did you mean '--samples'?)" in told("run", "--sampels", "3")
    assert "--sam 3 (did you mean '--samples'?)" in told("run", "--sam", "3")
    assert "First line\n  second" in Parser(description="First line\n  second").format_help()


def test_nobodys_home_folder(capsys):
    parser = Parser()
    parser.add_argument("--input", type=Path)
    with pytest.raises(SystemExit):
        parse(parser, ["--input", "~nobody-at-all/a"])
    assert "write the whole path" in capsys.readouterr().err


def test_yaml_that_nests_too_deeply(tmp_path):
    (tmp_path / "a.yaml").write_text("a: " + "{b: " * 5000)
    with pytest.raises(BadInput, match=r"a\.yaml: it cannot be read as YAML \(it is nested too deeply\)"):
        read_yaml(tmp_path / "a.yaml")
