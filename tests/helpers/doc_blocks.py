"""The fenced blocks of README.md and docs/, and what each of them is: commands, code, settings, or only shown."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from helpers.shared import ROOT

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", flags=re.DOTALL | re.MULTILINE)
COMMANDS = ("python", "torchrun", "sp3f", "make", "pip", "ray", "export", "for", "cp")
ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")

# first characters of a block that is only shown -> why
SHOWN = {
    "SFT → SP3F, greedy": "what make train prints",
    "base model → SFT → SP3F, greedy": "what make train-real prints",
    "English problems (GSM8K, ...) ──": "a drawing",
    "five public sources ──": "a drawing",
    "mgsm\nlanguage  problems": "what sp3f evaluate prints",
    "sp3f_verl: ": "a sentence that a run prints",
    "<|im_start|>": "a conversation",
    "'sp3f.": "a word of a command line; tests/rewards/test_reward_presets.py composes it",
    "'+sp3f.": "a word of a command line; tests/rewards/test_checkers.py composes it",
    "checkpoints/": "a tree of files",
}


@dataclass(frozen=True)
class Block:
    """file: as from the root of the repository. line: of the opening fence. language: behind the fence, or empty."""

    file: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @cached_property
    def kind(self) -> str:
        """commands, python, yaml, shown; "" for a block that none of these tables knows."""
        if self.language in ("python", "yaml"):
            return self.language
        if any(self.text.startswith(start) for start in SHOWN):
            return "shown"
        lines = [line for line in joined(self.text) if line and not line.startswith("#")]
        return "commands" if lines and all(program(line) in COMMANDS for line in lines) else ""

    @property
    def commands(self) -> list[str]:
        """The lines of a block of commands; continued lines are one, comment lines are left out."""
        return [line for line in joined(self.text) if line and not line.startswith("#")]


def blocks() -> Iterator[Block]:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = path.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield Block(path.relative_to(ROOT).as_posix(), line, match[2], match[3])


def joined(text: str) -> list[str]:
    """Lines, those that end with a backslash put together with the next."""
    return [line.strip() for line in re.sub(r"\\\n\s*", "", text).splitlines()]


def words(line: str) -> list[str]:
    """The words of a command line as a shell splits it, without its comment and the variables before it; of a loop, the
    words of its body in the first round."""
    if loop := re.fullmatch(r"for (\w+) in (\S+)[^;]*; do (.*); done", line):
        name, first, line = loop.groups()
        line = line.replace(f"${name}", first)
    found = shlex.split(line, comments=True)
    while found and ASSIGNMENT.match(found[0]):
        del found[0]
    return found


def program(line: str) -> str:
    """The program that a line starts: `sp3f` for `.venv/bin/sp3f`."""
    return "for" if line.startswith("for ") else Path((words(line) or [""])[0]).name
