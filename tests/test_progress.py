"""One progress bar: rich's on a terminal, lines of the log elsewhere."""

import itertools

import pytest

from sp3f_verl import progress
from sp3f_verl.progress import ProgressBar, track


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_file_gets_lines_ever_more_seldom_and_one_at_the_end(clock, capsys):
    with ProgressBar("ask", 10_000) as bar:
        for second in range(10_000):
            clock.now = float(second)
            bar.advance(note="2 failed")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "sp3f_verl: ask: 16/10000, 15 s, 2 failed"
    assert lines[-1] == "sp3f_verl: ask: 10000/10000, 9999 s, 2 failed"
    seconds = [int(line.split(", ")[1].removesuffix(" s")) for line in lines]
    waits = [later - earlier for earlier, later in itertools.pairwise(seconds)]
    assert waits[:-1] == sorted(waits[:-1]) and max(waits) <= 301 and 40 < len(lines) < 100


def test_what_never_began_says_nothing(capsys):
    with pytest.raises(OSError, match="no disk"), ProgressBar("ask", 10):
        raise OSError("no disk")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_and_no_line(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    assert list(track(range(3), "a [bold]name", 3, lambda: "[red]words")) == [0, 1, 2]
    error = capsys.readouterr().err
    assert "3/3" in error and "\x1b" in error
    assert "a [bold]name" in error and "[red]words" in error and "sp3f_verl: " not in error


def test_an_unknown_total_and_a_consumer_that_stops_early(capsys):
    for item in track(iter(range(10)), "rows"):
        if item == 4:
            break
    assert "sp3f_verl: rows: 4, 0 s" in capsys.readouterr().err
