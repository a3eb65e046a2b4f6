r"""What a model answers: its text less its thoughts and less what it took back.

Thoughts stand in marks that many families spell in as many ways, or in an element of any name (`<draft>...</draft>`)
that the answer follows. What is struck out (`~~\boxed{B}~~`, `<del>`, `\sout{...}`) or in a comment is not said.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from sp3f_verl.rewards.text import brace_pairs

Span = tuple[int, int]

# A mark of thoughts is a name that speaks of them in any kind of brackets: families differ in the spelling alone. One
# with a slash is an end in whatever brackets; without, in those that prose has, a short name alone is a mark.
_THOUGHTS = (
    r"(?:[\w.:-]{0,16}(?:think|thought|reason|reflect|ponder|deliberat|scratch_?pad|monologue|rationale|internal)[\w-]{0,16}"
    r"|(?:\w{1,16}:)?(?:analysis|cot|plan(?:ning)?)|思考(?:过程|過程)?|推理(?:过程|過程)?)"
)
_SHORT = r"(?:think(?:ing)?|thoughts?|reasoning)"
_OPENS, _CLOSES = r"(?:<\s?[|｜]?|＜|&lt;|◁)", r"(?:[|｜]?>|＞|&gt;|▷)"
_OTHERS = {"[": "]", "［": "］", "【": "】", "〈": "〉", "《": "》", "{": "}", "(": ")"}
_CHAT_ROLE = r"<\|im_start\|>\s?"  # some think in a turn of their own
_END_IN_OTHERS = "|".join(rf"\{left}\s?[/／]\s?{_THOUGHTS}\s?\{right}" for left, right in _OTHERS.items())
_START_IN_OTHERS = "|".join(rf"\{left}{_SHORT}\{right}" for left, right in _OTHERS.items() if left not in "{(")
_END = (
    rf"{_CHAT_ROLE}assistant|{_OPENS}(?:\s?[/／]\s?|end_(?:of_)?){_THOUGHTS}\s?{_CLOSES}|{_END_IN_OTHERS}"
    rf"|\[end(?: of)? {_SHORT}\]|```{_SHORT}\b[^`]*```"
    r"|<\|channel\|>\s?final[^<]{0,40}<\|message\|>|<channel\|>|assistantfinal|<unused95>|\[unused17\]"  # Gemma, Pangu
    r"|\.\.\.\s?done thinking\."
)
_START = (
    rf"{_CHAT_ROLE}{_SHORT}\b|{_OPENS}(?!\s?[/／]|end_){_THOUGHTS}(?:\s[^<>]{{0,80}})?{_CLOSES}|{_START_IN_OTHERS}"
    rf"|\[(?:begin|start)(?: of)? {_SHORT}\]|```{_SHORT}\b"
    r"|<\|channel\|>\s?(?:analysis|commentary)|<\|channel>|<unused94>|\[unused16\]"
    r"|<details\s[^<>]{0,40}reasoning[^<>]{0,80}>"
    rf"|<details[^<>]{{0,80}}>\s{{0,8}}<summary>[^<>]{{0,40}}{_SHORT}[^<>]{{0,40}}</summary>"
)
_THOUGHTS_END = re.compile(_END, re.IGNORECASE)
_THOUGHTS_START = re.compile(rf"{_START}|\Aanalysis(?=[A-Z])|\A\s*Thinking\.\.\.", re.IGNORECASE)
THOUGHT_MARKS = re.compile(f"{_END}|{_START}", re.IGNORECASE)  # wherever they stand

_TAG = re.compile(r"<(/?)([^\W\d_][\w.:-]{0,40})(?:\s[^<>]{0,200})?>")
# Elements that an answer stands in though something follows it: those that say so, and those that set text alone.
_OF_THE_ANSWER = re.compile(
    r"answer|verdict|final|result|output|decision|judg|conclu|response|solution|choice|winner|prefer|assistant|box"
    r"|respuesta|veredict|decisi|resposta|réponse|antwort|urteil|risposta|ответ|вердикт|jibu|jawaban|cevap"
    r"|答|结论|結論|判|裁|决|決|最终|最終|답|결론|판정|คำตอบ|trả|إجابة|جواب|उत्तर|উত্তর"
    r"|^(?:a|b|i|u|p|em|strong|mark|big|small|font|span|div|center|section|article|body|html|h[1-6]|[uo]l|li|dl|dt|dd"
    r"|table|t[dhr]|tbody|thead|code|pre|kbd|samp|tt|sub|sup|ins|blockquote|xml|root|math|m[inor]|mtext|mrow)$",
    re.IGNORECASE,
)
_STRUCK_ELEMENTS = frozenset({"s", "del", "strike"})
_STRUCK = re.compile(r"~~(?=[^\s~])[^~\n]{1,200}~~|<!--(?:(?!<!--|-->).){0,2000}-->", re.DOTALL)
_STRUCK_COMMAND = re.compile(r"\\(?:sout|st|[bxh]?cancel|xout)\s{0,4}(?=\{)")


def without_thoughts(text: str) -> str:
    """What a model answers after its thoughts, in whatever marks they stand: the part after the last mark of their end
    (its start may stand in the template, and be missing here), up to a mark that opens some without an end; without
    other elements that it follows, and without what is struck out."""
    end = max((match.end() for match in _THOUGHTS_END.finditer(text)), default=0)
    text = text[end:]
    if "<" in text:
        text = _without(text, _set_apart(text))
    start = _THOUGHTS_START.search(text)
    text = text[: start.start()] if start else text
    return _without(text, _struck(text))


def _set_apart(text: str) -> Iterator[Span]:
    """The elements that are struck out, and those of no answer's name that are no end of the text: something is said
    behind them, or one opens the text and is never closed."""
    tags = list(_TAG.finditer(text))
    opened: dict[str, list[int]] = defaultdict(list)
    elements: list[tuple[int, int, str]] = []
    for tag in tags:
        name = tag[2].lower()
        if not tag[1]:
            opened[name].append(tag.start())
        elif opened[name]:
            elements.append((opened[name].pop(), tag.end(), name))
    spoken = _last_word([(tag.start(), tag.end()) for tag in tags], text)
    for start, end, name in elements:
        if name in _STRUCK_ELEMENTS or (end <= spoken and not _OF_THE_ANSWER.search(name)):
            yield start, end
    first = tags[0] if tags and not tags[0][1] and not text[: tags[0].start()].strip() else None
    is_open = first is not None and first.start() in opened[first[2].lower()]
    if is_open and len(first[2]) > 4 and not _OF_THE_ANSWER.search(first[2]):  # <s>, <bos> are tokens that slipped out
        yield 0, len(text)


def _last_word(tags: list[Span], text: str) -> int:
    """Where the last character of a word stands that is of no tag; -1 where there is none."""
    end = len(text)
    for start, behind in reversed(tags):
        if words := [match.start() for match in re.finditer(r"\w", text[behind:end])]:
            return behind + words[-1]
        end = start
    return max((match.start() for match in re.finditer(r"\w", text[:end])), default=-1)


def _struck(text: str) -> Iterator[Span]:
    yield from (match.span() for match in _STRUCK.finditer(text))
    if _STRUCK_COMMAND.search(text):
        closing = brace_pairs(text)
        for match in _STRUCK_COMMAND.finditer(text):
            if match.end() in closing:
                yield match.start(), closing[match.end()] + 1


def _without(text: str, spans: Iterator[Span]) -> str:
    """`text` with a space in the place of each span, however they overlap."""
    kept, behind = [], 0
    for start, end in sorted(spans):
        if start >= behind:
            kept += [text[behind:start], " "]
        behind = max(behind, end)
    return "".join([*kept, text[behind:]])
