"""Which part of a conversation is the assistant's, in characters and in tokens. Knows nothing of verl.

A turn of the assistant is what generation would have to produce: it begins where the template's prompt for the turns
before it ends, and ends with the token that the template ends it with. Role headers and what a template writes after
that token (a newline, mostly) are not part of it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

Message = dict[str, Any]
Render = Callable[[Sequence[Message], bool], str]  # (messages, whether the answer is to be generated) -> text


@dataclass(frozen=True)
class Turn:
    """Characters `start` to `end` of the rendered conversation, of its message `number`."""

    number: int
    start: int
    end: int


class Unmaskable(ValueError):
    """It cannot be told which tokens are the assistant's. The message is one sentence with the mend."""


def renderer(tokenizer, tools: list | None = None, **settings: Any) -> Render:
    """The tokenizer's chat template; `settings` as for apply_chat_template."""

    def render(messages: Sequence[Message], to_generate: bool) -> str:
        try:
            return tokenizer.apply_chat_template(
                list(messages), tools=tools, add_generation_prompt=to_generate, tokenize=False, **settings
            )
        except (TemplateError, TypeError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise Unmaskable(f"the chat template refuses the turns ({reason}); change the row's roles.") from None

    return render


def messages_of(value: Sequence[Message]) -> list[Message]:
    """Parquet gives every message all keys that any message has; templates take a key for given where it is null."""
    return [{key: each for key, each in message.items() if each is not None} for message in value]


def end_of_turn(tokenizer) -> re.Pattern:
    """White space and then added tokens in a row, at least one of them special (some templates end a turn with two)."""
    added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values() if token.content.strip()}
    added |= dict.fromkeys(tokenizer.all_special_tokens, True)
    each, special = (_any(tokens) for tokens in (added, [token for token in added if added[token]]))
    return re.compile(rf"\s*(?P<tokens>{each}*?{special}{each}*)")


def _any(tokens: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(tokens, key=len, reverse=True))) or '(?!)'})"


def find_turns(render: Render, messages: Sequence[Message], end: re.Pattern) -> tuple[str, list[Turn]]:
    """The rendered conversation, and the turns of the assistant in it. Unmaskable where they cannot be told.

    What ends the last turn must end all: in the middle of a conversation the next turn's header may follow at once.
    """
    whole = render(messages, False)
    numbers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    starts = []
    for number in numbers:
        prompt = render(messages[:number], True)
        if not whole.startswith(prompt):
            same = next((at for at, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(whole))
            near = max(0, same - 20)
            raise Unmaskable(
                f"turn {number} would be generated after ...{short(prompt[near:])}, but the chat template writes "
                f"...{short(whole[near : near + 80])} there once it is answered; set model.custom_chat_template or "
                "data.apply_chat_template_kwargs, or make rows of one answer and no system turn."
            )
        starts.append(len(prompt))
    turns: list[Turn] = []
    for number, start, limit in reversed(list(zip(numbers, starts, [*starts[1:], len(whole)], strict=True))):
        stop = _stop(whole, messages[number]["content"].strip(), start, limit, end, number)
        end = re.compile(rf"\s*(?P<tokens>{re.escape(stop['tokens'])})")
        turns.insert(0, Turn(number, start, stop.end()))
    return whole, turns


def _stop(whole: str, content: str, start: int, limit: int, end: re.Pattern, number: int) -> re.Match:
    """The end of a turn, right after its content, in whole[start:limit]."""
    at = whole.find(content, start, limit)
    while at >= 0:
        if stop := end.match(whole, at + len(content), limit):
            return stop
        last, at = at, whole.find(content, at + 1, limit)  # what a template writes before it may hold the same words
        if at < 0 and not whole[last + len(content) : limit].strip():
            raise Unmaskable(
                f"the chat template ends turn {number} without a special token, so that the model would not learn to "
                "stop; set model.custom_chat_template to one that ends turns with a special token."
            )
    raise Unmaskable(
        f"the chat template does not write turn {number} as its content and the end of a turn, but as "
        f"{short(whole[start:limit])}; make a row of each turn of the assistant, or write it as the template does."
    )


def tokenize(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def encode(tokenizer, whole: str, turns: Sequence[Turn]) -> tuple[list[int], list[int]]:
    """(ids, mask) up to the end of the last turn; mask is 1 on the tokens of the turns.

    Cut where generation begins: a content that starts with a newline must not merge with the prompt's last one.
    """
    ids, mask, at = [], [], 0
    for turn in turns:
        for stop, label in ((turn.start, 0), (turn.end, 1)):
            so_far = tokenize(tokenizer, whole[:stop])
            same = so_far[: len(ids)] == ids
            new = so_far[len(ids) :] if same else tokenize(tokenizer, whole[at:stop])
            ids, mask, at = ids + new, mask + [label] * len(new), stop
    return ids, mask


def fault(tokenizer, whole: str, turns: Sequence[Turn], ids: Sequence[int], mask: Sequence[int]) -> str | None:
    """What is wrong with a dataset's ids and mask of a conversation: None, or a clause.

    Texts are compared as the tokenizer writes them back, as it may normalise.
    """
    edges = [i for i in range(len(ids) + 1) if (i < len(ids) and mask[i]) != (i > 0 and mask[i - 1])]
    runs = list(zip(edges[::2], edges[1::2], strict=True))
    if len(runs) != len(turns):
        return f"{len(runs)} stretches of tokens are trained on, but the assistant has {len(turns)} turns"

    def text(tokens: Sequence[int]) -> str:
        return tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    for turn, (start, end) in zip(turns, runs, strict=True):
        before, through = (text(tokenize(tokenizer, whole[:stop])) for stop in (turn.start, turn.end))
        found_before, found = text(ids[:start]), text(ids[:end])
        if found[len(found_before) :] != through[len(before) :]:
            trained, right = short(found[len(found_before) :]), short(through[len(before) :])
            return f"in turn {turn.number} {trained} is trained on, but the assistant writes {right}"
        same = list(ids[:start]) == tokenize(tokenizer, whole[: turn.start])
        if found_before != before or (turn is turns[0] and not same):  # later ones may be cut otherwise: see encode
            return f"the tokens before turn {turn.number} are not those after which it is generated"
    return None


def short(text: str, half: int = 40) -> str:
    """Quoted, its middle left out where it is long."""
    return repr(text if len(text) <= 2 * half else f"{text[:half]} ... {text[-half:]}")
