"""Conversations through a model's chat template, for SFT, preference and self-play alike. Knows nothing of verl.

A turn of the assistant is what generation would have to produce: it begins where the template's prompt for the turns
before it ends, and ends with the token that the template ends it with. Role headers and what a template writes after
that token (a newline, mostly) are not part of it.

SFT trains on every turn of the assistant and refuses a conversation of which it cannot be told where one begins and
ends (`find_turns`, `encode`). Preference and self-play train on responses to a prompt, most of which a model has
generated after exactly that prompt: where the template writes answered turns otherwise, the response is put behind the
prompt as it was generated (`ResponseEncoder`), thoughts that a template strips from answered turns included.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        except (TemplateError, TypeError, KeyError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise Unmaskable(f"the chat template refuses the turns ({reason}); change the row's roles.") from None

    return render


def run_renderer(
    tokenizer, processor, data: Mapping, tools: list | None, thinking: bool | None, template: Mapping | None = None
) -> Render:
    """The chat template as a run with the config `data` uses it for a row with these tools, thinking and settings."""
    kwargs = {**(data.get("apply_chat_template_kwargs") or {}), **(template or {})}
    if thinking is None:
        thinking = data.get("enable_thinking_default")
    if thinking is not None:
        kwargs["enable_thinking"] = bool(thinking)
    if template := getattr(processor, "chat_template", None):  # verl puts a custom one there
        kwargs["chat_template"] = template
    return renderer(tokenizer, tools, **kwargs)


def messages_of(value: Sequence[Message]) -> list[Message]:
    """Parquet gives every message all keys that any message has; templates take a key for given where it is null."""
    return [{key: entry for key, entry in message.items() if entry is not None} for message in value]


def end_of_turn(tokenizer) -> re.Pattern:
    """White space and then added tokens in a row, at least one of them special (some templates end a turn with two)."""
    added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values() if token.content.strip()}
    added |= dict.fromkeys(tokenizer.all_special_tokens, True)
    token, special = (_any(tokens) for tokens in (added, [token for token in added if added[token]]))
    return re.compile(rf"\s*(?P<tokens>{token}*?{special}{token}*)")


def _any(tokens: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(tokens, key=len, reverse=True))) or '(?!)'})"


def find_turns(render: Render, messages: Sequence[Message], end: re.Pattern) -> tuple[str, list[Turn]]:
    """The rendered conversation, and the turns of the assistant in it. Unmaskable where they cannot be told.

    What ends the last turn must end all: in the middle of a conversation the next turn's header may follow at once.
    """
    numbers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    return _find(render, messages, end, {number: render(messages[:number], True) for number in numbers})


def _find(
    render: Render, messages: Sequence[Message], end: re.Pattern, prompts: Mapping[int, str]
) -> tuple[str, list[Turn]]:
    """`find_turns` for the turns in `prompts`, number -> the text after which it is generated."""
    whole = render(messages, False)
    starts = []
    for number, prompt in prompts.items():
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
    for number, start, limit in reversed(list(zip(prompts, starts, [*starts[1:], len(whole)], strict=True))):
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


def short(text: str, half: int = 40) -> str:
    """Quoted, its middle left out where it is long."""
    return repr(text if len(text) <= 2 * half else f"{text[:half]} ... {text[-half:]}")


def tokenize(tokenizer, text: str) -> list[int]:
    """The ids of a rendered text, in which special tokens are written out already."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _go_on(tokenizer, ids: list[int], text: str, at: int, stop: int) -> list[int]:
    """The ids of text[at:stop], of which `ids` are text[:at].

    As in the whole text, unless it would merge with what is before: generation begins with `ids` as they are, and a
    content that starts with a newline must not merge with the prompt's last one.
    """
    so_far = tokenize(tokenizer, text[:stop])
    return so_far[len(ids) :] if so_far[: len(ids)] == ids else tokenize(tokenizer, text[at:stop])


def encode(tokenizer, whole: str, turns: Sequence[Turn]) -> tuple[list[int], list[int]]:
    """(ids, mask) up to the end of the last turn; mask is 1 on the tokens of the turns."""
    ids, mask, at = [], [], 0
    for turn in turns:
        for stop, label in ((turn.start, 0), (turn.end, 1)):
            new = _go_on(tokenizer, ids, whole, at, stop)
            ids, mask, at = ids + new, mask + [label] * len(new), stop
    return ids, mask


PROBE = "7351"  # a content that no template rewrites
OPENED = re.compile(r"<(?P<tag>\w+)>(?P<space>\s*)$")  # what a generation prompt may end with: thoughts begin


class ResponseEncoder:
    """A prompt and responses to it as token ids, cut where generation begins and ends."""

    def __init__(self, tokenizer, settings: Mapping | None = None):
        """settings: the run's `data`, whose apply_chat_template_kwargs go to the template."""
        self._tokenizer, self._settings = tokenizer, settings or {}
        self._end = end_of_turn(tokenizer)
        self._end_ids: list[int] | None = None  # of a turn, as this template writes it

    def __call__(
        self,
        prompt: Sequence[Message],
        responses: Sequence[str],
        tools: list | None = None,
        template: Mapping | None = None,
    ) -> tuple[list[int], list[list[int]]]:
        """(ids of the prompt, ids of each response); `tools` and `template` as for apply_chat_template.

        A response is what the template writes for it, up to its last end-of-sequence token, else up to the end of the
        turn. Where the template writes the prompt otherwise once it is answered, or the response otherwise than it was
        generated, or no end, it is the response as it stands and the end of the template's turns, else the tokenizer's.
        Unmaskable where the template refuses the prompt, or opens thoughts that the response does not close.
        """
        render = run_renderer(self._tokenizer, None, self._settings, tools, None, template)
        text = render(prompt, True)
        prompt_ids = tokenize(self._tokenizer, text)
        return prompt_ids, [self._response(render, prompt, text, prompt_ids, response) for response in responses]

    def _response(
        self, render: Render, prompt: Sequence[Message], text: str, prompt_ids: list[int], response: str
    ) -> list[int]:
        opened = OPENED.search(text)
        close = f"</{opened['tag']}>" if opened else ""
        if opened and response.lstrip().startswith(opening := f"<{opened['tag']}>"):
            response = response.lstrip().removeprefix(opening).removeprefix(opened["space"])
        messages = [*prompt, {"role": "assistant", "content": response}]
        try:
            whole, (turn,) = _find(render, messages, self._end, {len(prompt): text})
        except Unmaskable:
            if close not in response:
                raise Unmaskable(f"the prompt ends with {opened[0]!r}, and the response has no {close}.") from None
            whole = text + _written(response, text, render(messages, False))
            return _go_on(self._tokenizer, prompt_ids, whole, len(text), len(whole)) + self._ends(render, prompt)
        if close in str(self._tokenizer.chat_template) and close not in whole[turn.start : turn.end]:
            raise Unmaskable(f"the prompt ends with {opened[0]!r}, and the response has no {close}.")
        return self._cut(_go_on(self._tokenizer, prompt_ids, whole, turn.start, turn.end))

    def _ends(self, render: Render, prompt: Sequence[Message]) -> list[int]:
        if self._end_ids is None:
            whole = render([*prompt, {"role": "assistant", "content": PROBE}], False)
            at = whole.rfind(PROBE)
            stop = self._end.match(whole, at + len(PROBE)) if at >= 0 else None
            ids = self._cut(tokenize(self._tokenizer, stop["tokens"])) if stop else []
            eos = self._tokenizer.eos_token_id
            self._end_ids = ids or ([] if eos is None else [eos])
        return self._end_ids

    def _cut(self, ids: list[int]) -> list[int]:
        eos = self._tokenizer.eos_token_id
        return ids[: len(ids) - ids[::-1].index(eos)] if eos in ids else ids


def _written(response: str, prompt: str, whole: str) -> str:
    """The response with the white space that the template writes before it, where it writes it as it was generated."""
    content, after = response.strip(), whole.removeprefix(prompt)
    at = after.find(content) if whole.startswith(prompt) else -1
    return after[: at + len(content)] if at >= 0 and not after[:at].strip() else response
