"""The one boundary between commands and who types them: options in, an exit status and at most one sentence out.

    options = parse(parser, arguments)                           # `--debug` taken, `~` in paths expanded
    return exit_status("data_prep.croco", lambda: _run(options), options.debug)

Nothing that a user, a disk, a server or a file does ends in a stack trace; `--debug` shows it all the same.
"""

import argparse
import contextlib
import os
import re
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sp3f_verl.errors import LONGEST, BadInput, nearest, one_line

_HOME = re.compile(r"^((?:\+{0,2}[\w.:/-]+=)?)~/")  # also behind NAME=, where a shell leaves it
STOPPING = ("SIGTERM", "SIGHUP")  # beside SIGINT; as exceptions, so that every `finally` ends what it started


class Stopped(KeyboardInterrupt):
    """A signal to end. args: its number."""


class Parser(argparse.ArgumentParser):
    """Options as they are written: a part of a name is none, since another version may have a second one that begins
    so. The help keeps the lines of a docstring. intermixed: positional words may stand among options."""

    def __init__(self, intermixed: bool = False, **settings: Any):
        self.intermixed = intermixed
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **settings}, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        unknown = re.match("unrecognized arguments: (--[^ =]+)", message)
        super().error(message + (nearest(unknown[1], self._names()) if unknown else ""))

    def _names(self) -> Iterator[str]:
        for action in self._actions:
            yield from action.option_strings
            for command in action.choices.values() if isinstance(action.choices, dict) else ():
                yield from command._names()


def parse(parser: Parser, arguments: Sequence[str] | None) -> Any:
    """The options, with `debug`; every path among them with its `~` expanded."""
    parser.add_argument("--debug", action="store_true", help="show the whole stack trace of an error")
    words = list(sys.argv[1:] if arguments is None else arguments)
    rest = [word for word in words if word != "--debug"]  # it may stand behind a subcommand, too
    options = parser.parse_intermixed_args(rest) if parser.intermixed else parser.parse_args(rest)
    options.debug = len(rest) < len(words)
    return expanded(options, parser)


def expanded(options: argparse.Namespace, parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, with `~` expanded in paths and in texts that begin as one, within lists and tuples, too."""
    for name, value in vars(options).items():
        try:
            setattr(options, name, _expanded(value))
        except RuntimeError:
            parser.error(f"--{name.replace('_', '-')}: {value} is in the home folder of nobody; write the whole path")
    return options


def _expanded(value: Any) -> Any:
    if isinstance(value, str):
        return _HOME.sub(lambda match: f"{match[1]}{Path.home()}/", value)
    if isinstance(value, Path):
        return value.expanduser()
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(map(_expanded, value))
    return value


def exit_status(name: str, run: Callable[[], int | None], debug: bool = False) -> int:
    """What `run` answers, None for 0; else 1 with one sentence on stderr, or 128 and the signal that ended it."""
    try:
        with _stoppable():
            return run() or 0
    except BrokenPipeError:  # `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (KeyboardInterrupt, Exception) as error:
        if debug:
            raise
        traceback.clear_frames(error.__traceback__)  # ends what they hold, as a progress bar, before the last word
        number = error.args[0] if isinstance(error, Stopped) else signal.SIGINT
        print(f"{name}: {sentence(error)}", file=sys.stderr)
        return 128 + number if isinstance(error, KeyboardInterrupt) else 1


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Stopped, where nobody handles or ignores (nohup) them."""

    def stop(number: int, _frame: Any) -> None:
        for other in handled:  # a second one must not cut short what the first one ends
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    handled = []
    for signal_name in STOPPING:
        number = getattr(signal, signal_name)
        with contextlib.suppress(ValueError):  # not in the main thread
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, stop)
                handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def sentence(error: BaseException) -> str:
    """What an exception means to who typed the command: what, where, and the mend."""
    text = one_line(error, None if isinstance(error, BadInput) else LONGEST)
    if isinstance(error, KeyboardInterrupt):
        name = signal.Signals(error.args[0]).name if isinstance(error, Stopped) else "Ctrl-C"
        return f"stopped by {name}; the same command goes on, and what was answered is kept."
    if isinstance(error, BadInput):
        return text
    if isinstance(error, RecursionError):
        return "something in the input is nested too deeply; flatten it."
    if isinstance(error, MemoryError):
        return "the memory of this machine is used up; give less at once, or a larger machine."
    if isinstance(error, sqlite3.Error):
        return f"the store of answers cannot be used ({text}); mend its disk, or name another file by --store."
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{error.filename}: " if error.filename is not None else ""
        cause = one_line(error.strerror or text)
        return f"{place}{cause}; see to the path, its permissions and the space on its disk, and start again."
    mend = "mend it, or see with --debug where it comes from"
    if isinstance(error, ValueError | OSError):
        return f"{text.rstrip('.')}; {mend}."
    return f"{type(error).__name__}: {text.rstrip('.')}; {mend}."
