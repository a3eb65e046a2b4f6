"""What a translator is asked, and how its answer is read."""

import hashlib
import re
from functools import cache
from pathlib import Path

from sp3f_verl import languages

PROMPT = Path(__file__).with_name("prompts") / "translate.txt"

_PARTS = re.compile(r"(?m)^--- (?:system|user) ---\n")
_VARIABLE = re.compile(r"\{\{(\w+)\}\}")
_ANSWER = re.compile(r"<translation>(.*)</translation>", re.DOTALL)
_TAG = re.compile(r"</?translation>")
_FENCED = re.compile(r"```\w*\n(.*)\n```", re.DOTALL)


def messages(text: str, source: str, target: str) -> list[dict[str, str]]:
    """The chat that asks for a translation between two languages of the table. Equal for equal arguments."""
    names = {"source": _name(source), "target": _name(target)}
    values = {**names, "text": text, "fence": fence(text)}

    def fill(part: str) -> str:  # in one pass: what the text holds is never filled in
        return _VARIABLE.sub(lambda match: values[match[1]], part)

    system, user = _parts()
    return [{"role": "system", "content": fill(system)}, {"role": "user", "content": fill(user)}]


@cache
def _parts() -> tuple[str, str]:
    _, system, user = _PARTS.split(PROMPT.read_text(encoding="utf-8"))
    return system.strip(), user.strip()


def _name(language: str) -> str:
    entry = languages.get(language)
    same = entry.native_name == entry.english_name
    return entry.english_name if same else f"{entry.english_name} ({entry.native_name})"


def fence(text: str) -> str:
    """24 hex digits that depend on the text and do not occur in it: its author cannot close the block."""
    token = text
    while True:
        token = hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()[:24]
        if token not in text:
            return token


def read_answer(answer: str) -> str | None:
    """The translation in an answer, without a fence of the translator's own; None where it is not marked.

    Tags in the source are placeholders, so an answer with more than one pair is none.
    """
    answer = answer.rpartition("</think>")[2]
    if _TAG.findall(answer) != ["<translation>", "</translation>"]:
        return None
    match = _ANSWER.search(answer)
    text = match[1].strip()
    fenced = _FENCED.fullmatch(text)
    return (fenced[1].strip() if fenced else text) or None
