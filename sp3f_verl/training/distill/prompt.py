"""What a privileged teacher reads: the student's prompt with the last user turn put another way, by a text file.

The file has an entry a language, `--- CODE ---`, and one for all others, `--- default ---`; what stands above the first
is a remark. In an entry {{question}} is the turn as it was, {{question_en}} and {{solution_en}} are the row's, and
{{language}} is the English name of the row's language. An entry of {{question}} alone is the student's own prompt.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sp3f_verl import languages
from sp3f_verl.errors import BadInput, nearest

FOLDER = Path(__file__).with_name("prompts")
DEFAULT = "default"
FIELDS = {"question_en": "query_en", "solution_en": "solution_en"}  # a variable -> the field of a row that it shows
VARIABLES = ("question", "language", *FIELDS)

_ENTRY = re.compile(r"(?m)^--- (\S+) ---[ \t]*$")
_VARIABLE = re.compile(r"\{\{([^{}\n]{0,60})\}\}")


@dataclass(frozen=True)
class TeacherPrompt:
    """Entries by language."""

    entries: Mapping[str, str]

    @property
    def needed_fields(self) -> tuple[str, ...]:
        """Of a row."""
        shown = {name for entry in self.entries.values() for name in _VARIABLE.findall(entry)}
        return tuple(field for name, field in FIELDS.items() if name in shown)

    def messages(self, messages: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The student's messages as the teacher reads them; `row` is canonical (data/rows.py)."""
        entry = self.entries.get(row["language"], self.entries[DEFAULT])
        last = max(index for index, message in enumerate(messages) if message["role"] == "user")
        values = {
            "question": messages[last]["content"],
            "language": languages.get(row["language"]).english_name,
            **{name: row[field] for name, field in FIELDS.items()},
        }
        text = _VARIABLE.sub(lambda match: values[match[1]], entry)  # in one pass: what a value holds stays text
        changed = [dict(message) for message in messages]
        changed[last]["content"] = text
        return changed


def load_prompt(name_or_path: str, place: str) -> TeacherPrompt:
    """The shipped prompt of that name, else the file at that path. BadInput, one sentence that begins with `place`."""
    shipped = {file.stem: file for file in FOLDER.glob("*.txt")}
    file = shipped.get(name_or_path, Path(name_or_path))
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{place}={name_or_path}{nearest(name_or_path, shipped)} is neither a name ({', '.join(sorted(shipped))}) "
            f"nor a text file that can be read ({type(error).__name__}); give one of them."
        ) from None
    _, *parts = _ENTRY.split(text)
    entries = {code: entry.strip() for code, entry in zip(parts[::2], parts[1::2], strict=True)}
    if len(entries) < len(parts) // 2:
        raise BadInput(f"{place}={name_or_path} has two entries for one language; remove one.")
    if DEFAULT not in entries:
        raise BadInput(f"{place}={name_or_path} has no entry `--- {DEFAULT} ---`; add it.")
    for code, entry in entries.items():
        _check(code, entry, f"{place}={name_or_path}, entry {code},")
    return TeacherPrompt(entries)


def _check(code: str, entry: str, where: str) -> None:
    if code != DEFAULT:
        try:
            languages.get(code)
        except languages.UnknownLanguage as error:
            raise BadInput(f"{where} is of no language: {error}") from None
    for name in _VARIABLE.findall(entry):
        if name not in VARIABLES:
            raise BadInput(
                f"{where} has {{{{{name}}}}}{nearest(name, VARIABLES)}, which is none of {', '.join(VARIABLES)}; "
                "rename it."
            )
    if "{{question}}" not in entry:
        raise BadInput(f"{where} lacks {{{{question}}}}; add it where the teacher should read the question.")
