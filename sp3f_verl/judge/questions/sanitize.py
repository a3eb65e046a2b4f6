r"""Makes text of untrusted authors safe to show to a judge: it stays readable, and it can no longer act.

A response is written by the policy that the verdict rewards, so it may try to close its own block, speak as another
role, hide text from the reader, or have the judge quote a verdict. Pure functions; linear in the length of the text.
"""

import random
import re
import unicodedata
from collections.abc import Iterable

from sp3f_verl.judge.verdicts.thoughts import THOUGHT_MARKS
from sp3f_verl.judge.verdicts.verdict import BRACKETS

SHORTEST = 80  # characters that `shorten` needs for its mark and something of both ends

_SURROGATE = re.compile("[\ud800-\udfff]")
# Invisible characters: controls, overrides of the writing direction, and what can carry text that no reader sees (tags,
# variation selectors). Kept: joiners and direction marks, which Indic scripts, Persian, Arabic and emoji need, the
# three flags that are spelt in tags, and a variation selector that chooses the form of the Han character before it.
_HIDDEN = re.compile(
    "(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
    "|(?<=[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd])[\U000e0100-\U000e01ef])"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
# What the tokenizers of common model families read as a control token wherever it stands.
_CONTROL_TOKEN = re.compile(
    r"[<＜][|｜][^\s<>＜＞|｜]{1,64}[|｜][>＞]"  # ChatML, Llama 3, Phi, GLM, Command R; DeepSeek with full-width bars
    r"|<\|[a-z_]{1,32}>|<[a-z_]{1,32}\|>"  # Gemma 4's pairs, <|turn> and <turn|>
    r"|</?(?:s|bos|eos|pad|unk|mask|sop|eop|cls|sep|think|thinking|tools?|tool_(?:call|response)s?"
    r"|(?:start|end)_of_(?:turn|image|audio)|(?:bos|eos|pad)_token|(?:unused|extra_id_|reserved_|special_?)\d{1,5}"
    r"|seed:\w{1,32}|mask:\d{1,3})>"
    r"|(?-i:<[A-Z]{2,8}\|[\w-]{2,16}>|>>[A-Z_]{4,32}<<|\|{3}[A-Z_]{4,32}\|{3}|\|[A-Z]{8,16}\|)"  # LLM-jp, Falcon 3
    r"|<</?sys>>"
    r"|</?\w{0,32}_[\w▁]{0,48}>|<0x[0-9a-f]{2}>|[<‹]\[[\w▁]{1,48}\]>"  # <SPECIAL_12>, <end_of_role>, <_user>
    r"|</?(?:role|assistant|user|human|bot|system|eod|beg|endofturn|endoftext)>|\]<\][^\s\[\]]{1,32}\[>\["
    r"|\[\|[^\s\[\]|]{1,64}\|\]"  # EXAONE
    r"|\]~[^\s\[\]~]{0,16}\[|\[e~\[|\]~[^\s\[\]~]{0,16}\]"  # MiniMax: ]~b]ai, ]~!b[, [e~[
    r"|\]![^\s\[\]~]{0,16}~\[|\[@[^\s\[\]@]{1,32}@\]"  # ]!p~[, [@BOS@]
    r"|\[/?(?-i:[A-Z]{2,16}(?:_[A-Z]{2,16}){1,3})\]"  # [TOOL_CONTENT]; a single word in capitals is prose's as often
    r"|◁/?[a-z_]{1,32}▷"  # Kimi
    r"|\[/?(?:inst|system_prompt|available_tools|tool_calls|tool_results|model_settings|think|gmask|smask"
    r"|args|img|eot|cls|sep|bos|eos|pad|unk|mask|prefix|suffix|middle"
    r"|unused\w{0,8}_?\d{1,5}|unused_token_\d{1,5})\]",
    re.IGNORECASE,
)
_QUOTES = str.maketrans("<>[]◁▷＜＞［］【】〈〉《》{}()", "‹›" * 10)


def control_tokens(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """What finds the control tokens of a tokenizer, for `neutralise`; None where it has none."""
    known = sorted({token for token in tokens if len(token.strip()) > 1}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, known))) if known else None


def _broken(token: re.Match[str]) -> str:
    quoted = token[0].translate(_QUOTES)
    return quoted if quoted != token[0] else f"{token[0][0]} {token[0][1:]}"


def neutralise(text: str, tokens: re.Pattern[str] | None = None) -> str:
    r"""`text` without power over a judge, as readable as before; a second pass changes nothing more.

    tokens: the control tokens of the judge's own tokenizer, where it is known; those of common families go anyway.
    - Control tokens keep their name in other brackets: `<|im_start|>` becomes `‹|im_start|›`.
    - `\boxed{24}` becomes `\answer{24}`, `[[1]]` becomes `[ [1] ]`, and marks of thoughts are broken: a judge that
      quotes the result quotes no verdict and hides none of its own, so `parse_verdict`, `parse_ranking` and
      `parse_language` find nothing in it, whatever `text` was.
    - Invisible characters that can hide or reorder text go; a lone surrogate becomes U+FFFD.
    """
    text = _HIDDEN.sub(r"\1", _SURROGATE.sub("\ufffd", text))
    text = _CONTROL_TOKEN.sub(_broken, text)
    text = THOUGHT_MARKS.sub(_broken, text)
    if tokens is not None:
        text = tokens.sub(_broken, text)
    text = text.replace("\\boxed", "\\answer")
    return BRACKETS.sub(lambda match: match[0].replace("[", "[ ", 1).replace("]", "] ", 1), text)


def shorten(text: str, limit: int) -> tuple[str, bool]:
    """(`text` in at most `limit` characters, whether it was cut).

    A long text keeps its head and, since answers stand at the end, its tail, with a line between them that tells how
    many characters are left out. A base character is not cut from the marks and joiners that follow it. Neutralise
    first: that can lengthen a text. Raises ValueError for a limit below SHORTEST.
    """
    if limit < SHORTEST:
        raise ValueError(f"A text cannot be shortened to {limit} characters; allow at least {SHORTEST}.")
    if len(text) <= limit:
        return text, False
    room = limit - len(_mark(len(text)))
    head, tail = room // 2, len(text) - (room - room // 2)
    for _ in range(8):  # more marks than any script stacks; a text of marks only is cut somewhere
        head -= _is_joined(text, head)
        tail += _is_joined(text, tail)
    return text[:head] + _mark(tail - head) + text[tail:], True


def _mark(count: int) -> str:
    return f"\n[... {count} characters left out ...]\n"


def _is_joined(text: str, cut: int) -> bool:
    """Whether a cut before text[cut] parts a character from a mark or joiner."""
    following = text[cut]
    return text[cut - 1] == "\u200d" or following in "\u200c\u200d" or unicodedata.category(following)[0] == "M"


def new_fence(rng: random.Random, texts: Iterable[str]) -> str:
    """A random token (24 hex digits, 96 bits) that occurs in none of `texts`.

    Draw it when the texts are written, so that their author cannot know it. One fence for a whole group lets a serving
    engine reuse the prefix (query, solution, A) of all pairs with the same A.
    """
    texts = list(texts)
    while True:
        fence = f"{rng.getrandbits(96):024x}"
        if not any(fence in text for text in texts):
            return fence
