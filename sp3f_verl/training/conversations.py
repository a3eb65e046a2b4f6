"""Conversations through a model's chat template, for SFT, preference and self-play alike. Knows nothing of verl.

A turn of the assistant is what generation would have to produce: it begins where the template's prompt for the turns
before it ends, and ends with the token that the template ends it with. Role headers and what a template writes after
that token (a newline, mostly) are not part of it.

What a template leaves out of a row (tools, calls, a system turn) is met by rendering it without: nothing is dropped in
silence. SFT trains on every turn of the assistant and refuses a conversation of which it cannot be told where one
begins and ends (`find_turns`, `encode`). Preference and self-play train on responses to a prompt, most of which a model
has generated after exactly that prompt: where the template writes answered turns otherwise, the response is put behind
the prompt as it was generated (`ResponseEncoder`), thoughts that a template strips from answered turns included.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from jinja2 import TemplateError

from sp3f_verl.data.preference_rows import THOUGHTS, WITH_A_MEANING
from sp3f_verl.data.rows import without_nulls

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


PROBE, OTHER = "7351", "1537"  # contents that no template rewrites


def renderer(tokenizer, tools: list | None = None, **settings: Any) -> Render:
    """The tokenizer's chat template; `settings` as for apply_chat_template.

    Unmaskable where it refuses the turns, or writes nothing of the tools or of a turn that comes before an answer.
    """

    def write(messages: Sequence[Message], to_generate: bool, tools: list | None) -> str:
        if any(message["content"] is None for message in messages):  # some templates write "None", some a turn too many
            text = write([{**message, "content": message["content"] or ""} for message in messages], to_generate, tools)
            with suppress(Unmaskable):
                bare = apply(messages, to_generate, tools)
                text = text if bare.count("None") > text.count("None") else bare
            return text
        return apply(messages, to_generate, tools)

    def apply(messages: Sequence[Message], to_generate: bool, tools: list | None) -> str:
        try:
            return tokenizer.apply_chat_template(
                list(messages), tools=tools, add_generation_prompt=to_generate, tokenize=False, **settings
            )
        except (TemplateError, TypeError, KeyError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise Unmaskable(f"the chat template refuses the turns ({reason}); change the row's roles.") from None

    def render(messages: Sequence[Message], to_generate: bool) -> str:
        text = write(messages, to_generate, tools)
        if to_generate:
            dropped = "the row's tools" if tools and text == write(messages, True, None) else None
            if dropped := dropped or _dropped(lambda turns: write(turns, True, tools), messages, text):
                raise Unmaskable(
                    f"the chat template writes nothing of {dropped}; set model.custom_chat_template to one that does, "
                    "or take it out of the row."
                )
        return text

    return render


def _dropped(write: Callable[[Sequence[Message]], str], messages: Sequence[Message], text: str) -> str | None:
    """The part of a turn without which the template writes the same text. None too where it writes thoughts, but not
    those of turns that were answered: generation goes without them as well."""
    for number, message in enumerate(messages):
        for key in ("content", *WITH_A_MEANING):
            value = message.get(key)
            if not value or (isinstance(value, str) and value.strip() in text):
                continue
            rest = {name: entry for name, entry in message.items() if name != key}
            other = {**rest, "content": PROBE} if key == "content" else rest
            with suppress(Unmaskable):  # without it, the template refuses the turns: it does read it
                if write([*messages[:number], other, *messages[number + 1 :]]) != text:
                    continue
                answer = {"role": "assistant", "content": PROBE, key: OTHER}
                if key not in THOUGHTS or OTHER not in write([{"role": "user", "content": PROBE}, answer]):
                    return f"the {key} of turn {number} ({message['role']})"
    return None


def run_renderer(
    tokenizer,
    processor,
    data: Mapping,
    tools: list | str | None,
    thinking: bool | None,
    template: Mapping | None = None,
) -> Render:
    """The chat template as a run with the config `data` uses it for a row with these tools, thinking and settings."""
    kwargs = {**(data.get("apply_chat_template_kwargs") or {}), **(template or {})}
    if thinking is None:
        thinking = data.get("enable_thinking_default")
    if thinking is not None:
        kwargs["enable_thinking"] = bool(thinking)
    if template := getattr(processor, "chat_template", None):  # verl puts a custom one there
        kwargs["chat_template"] = template
    try:
        tools = json.loads(tools) if isinstance(tools, str) and tools.strip() else tools
    except ValueError:
        raise Unmaskable("the row's tools are no JSON; write a list of tools, as JSON or as it is.") from None
    return renderer(tokenizer, without_nulls(tools) or None, **kwargs)


def messages_of(value: Sequence[Message]) -> list[Message]:
    """Parquet gives every message all keys that any message has; templates take a key for given where it is null."""
    return [{"content": None, **without_nulls(message)} for message in value]


class End(NamedTuple):
    """How turns end: white space and then `tokens`; and the end of sequence, at which generation stops as well."""

    pattern: re.Pattern
    eos: str | None

    def exactly(self, tokens: str) -> "End":
        return End(re.compile(rf"\s*(?P<tokens>{re.escape(tokens)})"), self.eos)


def end_of_turn(tokenizer) -> End:
    """Added tokens in a row: up to the end of sequence, else all, at least one of them special (some templates end a
    turn with two, and some write the next turn's header at once)."""
    added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values() if token.content.strip()}
    added |= dict.fromkeys(tokenizer.all_special_tokens, True)
    eos = tokenizer.eos_token
    token, special, others = (
        _any(tokens) for tokens in (added, [token for token in added if added[token]], [t for t in added if t != eos])
    )
    return End(re.compile(rf"\s*(?P<tokens>{others}*{_any([eos] if eos else [])}|{token}*?{special}{token}*)"), eos)


def _any(tokens: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(tokens, key=len, reverse=True))) or '(?!)'})"


def find_turns(render: Render, messages: Sequence[Message], end: End) -> tuple[str, list[Turn]]:
    """The rendered conversation, and the turns of the assistant in it. Unmaskable where they cannot be told.

    What ends the last turn must end all: in the middle of a conversation the next turn's header may follow at once.
    """
    numbers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    return _find(render, messages, end, {number: render(messages[:number], True) for number in numbers})


def _find(render: Render, messages: Sequence[Message], end: End, prompts: Mapping[int, str]) -> tuple[str, list[Turn]]:
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
        message, content = messages[number], (messages[number]["content"] or "").strip()
        if message.get("tool_calls") and not turns:
            end = _plain_end(render, messages[:number], end)
        stop = _stop(whole, message, content, start, limit, end, number)
        end = end.exactly(stop["tokens"])
        _holds_no_end(content, (stop["tokens"], end.eos))
        before = whole[start : stop.start()].replace(content, "", 1)
        if before.strip() and (header := _header(render)) and header in before:
            raise Unmaskable(
                f"the chat template writes {header!r} in turn {number}, which generation goes on without; set "
                "model.custom_chat_template."
            )
        turns.insert(0, Turn(number, start, stop.end()))
    return whole, turns


def _holds_no_end(content: str, ends: Iterable[str | None]) -> None:
    for end in ends:
        if end and end in content:
            raise Unmaskable(f"an answer holds {end!r}, at which generation would end; take it out of the content.")


def _header(render: Render) -> str:
    """What the template writes after a user's turn for an answer to come."""
    question = [{"role": "user", "content": PROBE}]
    asked, whole = render(question, True), render(question, False)
    return asked[len(whole) :].strip() if asked.startswith(whole) else ""


def _plain_end(render: Render, prompt: Sequence[Message], end: End) -> End:
    """How an answer without calls ends in that place: within calls there may be other tokens."""
    whole = render([*prompt, {"role": "assistant", "content": PROBE}], False)
    stop = end.pattern.match(whole, whole.rfind(PROBE) + len(PROBE))
    return end.exactly(stop["tokens"]) if stop else end


def _stop(whole: str, message: Message, content: str, start: int, limit: int, end: End, number: int) -> re.Match:
    """The end of a turn, right after its content, or after its calls, in whole[start:limit]."""
    begin = start
    for key in THOUGHTS:
        if (thoughts := message.get(key, "").strip()) and (begin := whole.find(thoughts, begin, limit)) < 0:
            raise Unmaskable(f"the chat template does not write the {key} of turn {number}; make a row of each turn.")
    calls = [(call.get("function") or call)["name"] for call in message.get("tool_calls") or ()]
    at = whole.find(content, begin, limit)
    while at >= 0:
        after = at + len(content)
        for name in calls:
            after = -1 if after < 0 or (found := whole.find(name, after, limit)) < 0 else found + len(name)
        if stop := (end.pattern.search if calls else end.pattern.match)(whole, after, limit) if after >= 0 else None:
            return stop
        last, at = at, whole.find(content, at + 1, limit)  # what a template writes before it may hold the same words
        if at < 0 and not calls and not whole[last + len(content) : limit].strip():
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


OPENED = re.compile(r"<(?P<tag>\w+)>(?P<space>\s*)$")  # what a generation prompt may end with: thoughts begin


class ResponseEncoder:
    """A prompt and responses to it as token ids, cut where generation begins and ends."""

    def __init__(self, tokenizer, settings: Mapping | None = None):
        """settings: the run's `data`, whose apply_chat_template_kwargs go to the template."""
        self._tokenizer, self._settings = tokenizer, settings or {}
        self._end = end_of_turn(tokenizer)
        self._end_text: str | None = None  # of a turn, as this template writes it

    def __call__(
        self,
        prompt: Sequence[Message],
        responses: Sequence[str],
        tools: list | None = None,
        template: Mapping | None = None,
    ) -> tuple[list[int], list[list[int]]]:
        """(ids of the prompt, ids of each response); `tools` and `template` as for apply_chat_template.

        A response is what the template writes for it, up to the end of the turn. Where the template writes the prompt
        otherwise once it is answered, or the response otherwise than it was generated, or no end, it is the response as
        it stands and the end of the template's turns, else the tokenizer's. Unmaskable where the template refuses the
        prompt or drops a part of it, where it opens thoughts that the response does not close, and where the response
        holds the end of a turn.
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
            end = self._ends(render, prompt)
            _holds_no_end(response, (end, self._end.eos))
            whole = text + _written(response, text, render(messages, False))
            return _go_on(self._tokenizer, prompt_ids, whole, len(text), len(whole)) + tokenize(self._tokenizer, end)
        if close in str(self._tokenizer.chat_template) and close not in whole[turn.start : turn.end]:
            raise Unmaskable(f"the prompt ends with {opened[0]!r}, and the response has no {close}.")
        return _go_on(self._tokenizer, prompt_ids, whole, turn.start, turn.end)

    def _ends(self, render: Render, prompt: Sequence[Message]) -> str:
        if self._end_text is None:
            whole = render([*prompt, {"role": "assistant", "content": PROBE}], False)
            at = whole.rfind(PROBE)
            stop = self._end.pattern.match(whole, at + len(PROBE)) if at >= 0 else None
            self._end_text = stop["tokens"] if stop else self._tokenizer.eos_token or ""
        return self._end_text


def _written(response: str, prompt: str, whole: str) -> str:
    """The response with the white space that the template writes before it, where it writes it as it was generated."""
    content, after = response.strip(), whole.removeprefix(prompt)
    at = after.find(content) if whole.startswith(prompt) else -1
    return after[: at + len(content)] if at >= 0 and not after[:at].strip() else response
