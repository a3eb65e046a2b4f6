"""The questions put to a judge: text files with places for the query, the solution and the responses.

A prompt file starts with a line `kind: KIND`; what follows, up to the line `--- system ---`, is a remark. After that
comes the system part, the line `--- user ---`, and the user part. In the user part, {{query}}, {{solution}},
{{responses}}, {{fence}}, {{count}} (of responses) and {{language}} stand for values, in the system part only the last
two. Lines between `{{#solution}}` and `{{/solution}}` are there only for a judge that sees the solution, those between
`{{^solution}}` and `{{/solution}}` only for one that does not, so that both prompts come from one file. The shipped
files are in the folder `prompts`.

For a serving engine's prefix cache, nothing random and no response stands before {{fence}}: all pairs of a group share
what precedes it. The blocks of {{responses}} are written here, so that no file can leave out their fences.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.judge.questions.kinds import KINDS

FOLDER = Path(__file__).with_name("prompts")
SHIPPED = {  # name -> (file, whether the judge sees the solution)
    "privileged": ("pairwise.txt", True),
    "plain": ("pairwise.txt", False),
    "privileged_token": ("pairwise_token.txt", True),
    "plain_token": ("pairwise_token.txt", False),
    "listwise": ("listwise.txt", True),
    "listwise_plain": ("listwise.txt", False),
    "language": ("language.txt", False),
    "consistency": ("consistency.txt", True),
    "arena": ("arena.txt", False),
    "arena_token": ("arena_token.txt", False),
}
_BLOCK = "----- {fence} response {label} -----\n{text}\n----- {fence} end of response {label} -----"
_OF_SYSTEM = {"count", "language"}  # no text of others in the part that a model obeys

_MARKER = re.compile(r"(?m)^--- (system|user) ---[ \t]*$")
_SECTION = re.compile(r"\{\{([#^/])solution\}\}")
_VARIABLE = re.compile(r"\{\{([^{}\n]{0,60})\}\}")


@dataclass(frozen=True)
class Prompt:
    """A question without its values. `kind`: a name in KINDS. `version`: 12 hex digits that change with every word
    that a judge would see, so "privileged" and "plain" differ in it.
    """

    name: str
    system: str
    user: str
    version: str
    kind: str

    @property
    def privileged(self) -> bool:
        """Whether it shows the solution."""
        return "{{solution}}" in self.user


def load_prompt(name_or_path: str, *, privileged: bool = True) -> Prompt:
    """The prompt of that name in SHIPPED, else the one in the text file at that path.

    `privileged` is for a file and chooses among its sections; a shipped name says it itself. Without it, {{solution}}
    is refused: an ablation cannot show the solution by mistake.
    Raises BadInput (one sentence) for a file that is missing or unreadable, an unknown kind or variable, a needed
    variable that is missing, a part that is missing or out of order, and sections that do not balance.
    """
    file = Path(name_or_path)
    if name_or_path in SHIPPED:
        shipped, privileged = SHIPPED[name_or_path]
        file = FOLDER / shipped
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"prompt={name_or_path}{nearest(name_or_path, SHIPPED)} is neither a name ({', '.join(SHIPPED)}) nor a "
            f"text file that can be read ({type(error).__name__}); give one of them."
        ) from None
    where = f"Prompt file {file.name}"
    header, *parts = _MARKER.split(text)
    first = header.partition("\n")[0].strip()
    kind = first.removeprefix("kind:").strip()
    if kind not in KINDS or not first.startswith("kind:"):
        raise BadInput(f"{where} starts with {first!r}; its first line must be `kind: ` and one of {', '.join(KINDS)}.")
    if parts[::2] != ["system", "user"]:
        raise BadInput(f"{where} needs the lines `--- system ---` and `--- user ---`, once each and in this order.")
    system, user = (_choose(part, privileged, where).strip() for part in parts[1::2])
    needed, optional = KINDS[kind].needed, KINDS[kind].optional
    if not privileged:
        optional = optional - {"solution"}
    _check(system, set(), _OF_SYSTEM & optional, f"{where}, system part,")
    _check(user, needed, optional, f"{where}, user part,")
    version = sha256("\n".join((kind, _BLOCK, system, user)).encode()).hexdigest()[:12]
    return Prompt(name_or_path, system, user, version, kind)


def render(
    prompt: Prompt,
    *,
    query: str,
    solution: str | None,
    responses: Sequence[str],
    fence: str,
    language: str | None = None,
) -> list[dict[str, str]]:
    """Chat messages: the prompt's system part, where it has one, and its user part with the values in their places.

    Values are inserted as they are, in a single pass: one that contains a placeholder stays text. Neutralise them
    first, and draw `fence` afterwards (sanitize.py). The responses are called A and B, or 1 to n in a listwise prompt.
    A prompt without {{solution}} never shows it.
    Raises ValueError: a number of responses that does not fit the kind, the fence inside a value, or a variable of the
    prompt whose value is None.
    """
    values = {
        "query": query,
        "solution": solution,
        "language": language,
        "count": str(len(responses)),
        "fence": fence,
    }
    if any(fence in text for text in (query, solution or "", *responses)):
        raise ValueError(f"The fence {fence!r} occurs in a text that it should hold; draw one with new_fence.")
    if (labels := KINDS[prompt.kind].labels(len(responses))) is None:
        raise ValueError(f"A prompt of kind {prompt.kind} cannot show {len(responses)} responses.")
    blocks = [_BLOCK.format(fence=fence, label=label, text=text) for label, text in zip(labels, responses, strict=True)]
    values["responses"] = "\n\n".join(blocks)

    def value(match: re.Match[str]) -> str:
        shown = values[match[1]]
        if shown is None:
            raise ValueError(f"Prompt {prompt.name} shows {match[0]}, but the row has none.")
        return shown

    parts = {"system": prompt.system, "user": prompt.user}
    return [{"role": role, "content": _VARIABLE.sub(value, text)} for role, text in parts.items() if text]


def _choose(part: str, privileged: bool, where: str) -> str:
    """`part` with its solution sections resolved."""
    kept, sign = [], None
    for line in part.split("\n"):
        tag = _SECTION.fullmatch(line.strip())
        if tag is None:
            if sign is None or privileged == (sign == "#"):
                kept.append(line)
        elif (tag[1] == "/") == (sign is None):
            change = "end" if sign is None else "begin"
            raise BadInput(f"{where} has {tag[0]} where no section can {change}; add or remove a tag.")
        else:
            sign = None if tag[1] == "/" else tag[1]
    if sign is not None:
        raise BadInput(f"{where} never ends its section {{{{{sign}solution}}}}; add a line {{{{/solution}}}}.")
    return "\n".join(kept)


def _check(part: str, needed: set[str], optional: set[str], where: str) -> None:
    variables = _VARIABLE.findall(part)
    known = sorted(needed | optional)
    for name in variables:
        if name not in known:
            raise BadInput(
                f"{where} has {{{{{name}}}}}{nearest(name, known)}, which is no variable there (known: "
                f"{', '.join(known) or 'none'}), nor a section tag on a line of its own; remove or rename it."
            )
    if missing := sorted(needed.difference(variables)):
        raise BadInput(f"{where} lacks {{{{{missing[0]}}}}}; add it where the judge should read it.")
