r"""What a judge decided, read from what it wrote.

Only its answer counts: thoughts are cut away (`without_thoughts`), and one that never ends is no answer. Then the last
complete box decides (a judge argues first and decides last):

- `\boxed{A}`, `\boxed{B}`, `\boxed{tie}`, also as judges really write them: `\boxed{\text{A}}`,
  `**\boxed{Response A}**`, `\boxed{回答A}`, full width, in quotes, with direction marks;
- in a text without any box, brackets, as arena prompts have them: `[[1]]`, `[[2]]`, `[[T]]` or `[[M]]`, `[[A]]`,
  `[[A>B]]`, also escaped as `\[\[1\]\]`; no numbers that are code, a matrix or a footnote.

Anything else is `Verdict.FAILED`, never a loss: a box that says something off the menu (`\boxed{24}`) is no verdict,
and none is searched before it: what stands there may be a response's box that the judge quotes. Nor is the last of two
that differ and stand in one sentence (a hedge, a comparison) or in a menu, or one that is denied.

Judges that are asked otherwise have readers of their own: `parse_ranking` (listwise), `parse_language` (pointwise, the
language ablation) and `preference_for_a` (one token, by its log-probabilities).
"""

import enum
import math
import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sp3f_verl.rewards.boxed import Box, complete_boxes, last_box


class Verdict(enum.Enum):
    """Outcome of one comparison: the response shown first wins (A), the second wins (B), neither, or no verdict."""

    A = "A"
    B = "B"
    TIE = "tie"
    FAILED = "failed"


class _Place(NamedTuple):
    """Where a verdict stands in a text: its first character, and the one behind its last."""

    start: int
    end: int


_BOXED = {"a": Verdict.A, "b": Verdict.B, "tie": Verdict.TIE}
_BRACKET = {
    **{label: Verdict.A for label in ("1", "a", "a>b", "a>>b", "b<a", "b<<a")},
    **{label: Verdict.B for label in ("2", "b", "b>a", "b>>a", "a<b", "a<<b")},
    **{label: Verdict.TIE for label in ("t", "m", "tie", "c", "a=b", "b=a")},
}
_NOUNS = frozenset({"response", "answer", "assistant", "option"})  # before a letter, or a number of a ranking
_NOUN = unicodedata.normalize(  # the same in the languages of the table, and others, before the letter of a response
    "NFKC",
    r"(?:(?:(?:the|la|el|le|il|o|a|die|der|das|de|het)\s+|l['’])?(?:"
    r"(?:response|answer|assistant|option|model|candidate|solution|reply|output|choice|completion|text|verdict|winner)"
    r"|助手|助理|アシスタント|レスポンス|어시스턴트|ข้อ|jibu la"
    r"|回答|回复|回應|答复|答案|响应|選項|选项|模型|方案|解答|応答|答え|選択肢|モデル|응답|답변|답안|답|선택지|모델|옵션"
    r"|ответ|вариант|решение|модель|відповідь|варіант|respuesta|opción|modelo|solución|resposta|opção|solução"
    r"|réponse|option|modèle|solution|antwort|möglichkeit|modell|lösung|risposta|opzione|modello|soluzione"
    r"|antwoord|reactie|optie|odpowiedź|opcja|odpověď|válasz|răspunsul?|răspuns|svar|vastaus|απάντηση|επιλογή"
    r"|jibu|majibu|chaguo|jawaban|respons|tanggapan|pilihan|sagot|tugon|yanıt|cevap|seçenek|câu trả lời|phản hồi"
    r"|phương án|đáp án|คำตอบ(?:ที่)?|ตัวเลือก|การตอบกลับ|الإجابة|الاجابة|إجابة|الرد|رد|الاستجابة|الجواب|الخيار"
    r"|جواب|پاسخ|گزینه|תשובה|תגובה|उत्तर|प्रतिक्रिया|जवाब|विकल्प|উত্তর|প্রতিক্রিয়া|জবাব|বিকল্প|సమాధానం|ప్రతిస్పందన|జవాబు|ఎంపిక"
    r"|பதில்|விடை|ઉત્તર|જવાબ|ಉತ್ತರ|ഉത്തരം|ਜਵਾਬ|idahun|ìdáhùn|amsa|azịza|impendulo|mpendulo|መልስ))"
    r"[ \-_#:]{0,3}(?=[ab]$)",
)
_NOUN = re.compile(_NOUN)
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_LONGEST_LABEL = 80  # characters inside a box; more is prose, not a verdict
MINIMUM_MASS = 0.5  # of probability on A and B together; below it, the model was about to say something else

# Every repetition that could be retried at each position is bounded: this text comes from a model, and an unbounded
# one makes the search quadratic on junk.
BRACKETS = re.compile(r"\\?\[\\?\[\s{0,8}([\w<>=]{0,16})\s{0,8}\\?\]\\?\]")
_QUOTES = "\"'`“”„‟‘’‚‛«»‹›「」『』《》〈〉【】"
_DECORATION = re.compile(
    r"\\(?:text|page)?color(?:box)?\{\w{0,16}\}|\\[hv]space\*?\{[^{}]{0,16}\}|\\_|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
    r"|\\(?:boxed|[mfh]box|ensuremath|pmb|text[a-z]*|math[a-z]*|underline|emph|operatorname|boldsymbol|bm|bf|bfseries|it|rm|sf|tt|tiny|small"
    r"|normalsize|large|Large|LARGE|huge|Huge|displaystyle|q?quad|left|right"
    r"|[a-z]{2,8}(?:series|family|shape|style|size))(?![A-Za-z])"
    rf"|\\[,;:! $#]|[\s{{}}\[\]*$.:;()~。．、,!！{_QUOTES}]+"
)
_RANKING_MARK = re.compile(r"\\(?:succ|gt)(?![A-Za-z])|\\[,;: ]|[>≻,;\[\]]")
_SCORE = re.compile(r"\\boxed[\s$*{]*(?:\\(?:text|mathbf)\{)?([0-9]{1,2}(?:\.[0-9]{1,3})?)(?:\s*/\s*10)?[\s$*}]*")
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]{2,8}){0,3}")
_MATRIX = re.compile(r"[=(]\s{0,8}$")  # before brackets
_OPEN_BOX = re.compile(r"\\boxed\s{0,8}\{")
_LETTER_TOKEN = re.compile(rf"[\s▁ĠĊ*_$(\[{{{_QUOTES}]*([AB])[\s.,:;!*_$)\]}}。、،؛।{_QUOTES}]*")

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
    rf"{_CHAT_ROLE}assistant|{_OPENS}(?:\s?[/／]\s?|end_(?:of_)?){_THOUGHTS}\s?{_CLOSES}|{_END_IN_OTHERS}|</details>|```{_SHORT}\b[^`]*```"
    r"|<\|channel\|>\s?final[^<]{0,40}<\|message\|>|<channel\|>|assistantfinal|<unused95>|\.\.\.\s?done thinking\."
)
_START = (
    rf"{_CHAT_ROLE}{_SHORT}\b|{_OPENS}(?!\s?[/／]|end_){_THOUGHTS}(?:\s[^<>]{{0,80}})?{_CLOSES}|{_START_IN_OTHERS}|```{_SHORT}\b"
    r"|<\|channel\|>\s?(?:analysis|commentary)|<\|channel>|<unused94>|<details\s[^<>]{0,40}reasoning[^<>]{0,80}>"
)
_THOUGHTS_END = re.compile(_END, re.IGNORECASE)
_THOUGHTS_START = re.compile(rf"{_START}|\Aanalysis(?=[A-Z])|\A\s*Thinking\.\.\.", re.IGNORECASE)
THOUGHT_MARKS = re.compile(f"{_END}|{_START}", re.IGNORECASE)  # wherever they stand
# Between two boxes: a sentence that ended (with a word after it) or a colon makes the second a verdict of its own.
_NEW_SENTENCE = re.compile(r"[.?!;。？！；…।؟\n—–][^\w\\]*\w|[:：]", re.DOTALL)
_ASKED = re.compile(r"[^\w\n]{0,4}[?？؟][^\w\n]{0,4}")  # a question, and its answer right behind
_JOINS = frozenset(
    (
        "or vs versus and either nor than over oder und ou et o u y e ili и или або та lub oraz veya ve ya da au na "
        "hoặc và atau dan של 或 或者 还是 和 与 と か または 또는 หรือ และ أو و یا या और অথবা বা এবং లేదా மற்றும் அல்லது "
        "או ή και"
    ).split()
)
# At the end of what stands before a box on its line: before a colon or a line's end, a denial is of something else.
_DENIED = re.compile(
    r"(?:(?:\bnot|n['’]t)(?: (?:be|choose|pick|select|prefer|favou?r|vote for|go (?:with|for)|say|answer|give))?"
    r"|\bnever|\bcan(?:not|['’]t) be|\brather than|\binstead of|\bneither|\bnor|\bnunca"
    r"|\bjamais|\bnicht|\bnon|\bpas|\bno es|\bnão é|\bне|不是|并非|不选|じゃない|ليس(?:ت)?|नहीं"
    r"|ไม่ใช่|không phải|bukan)(?:\s+(?:the|response|answer))?[\s*$]{0,4}$",
    re.IGNORECASE,
)
_BUT = re.compile(  # between one that is denied and the other
    r"\W*(?:but|sondern|sino|mas|mais|ma|bensì|а|но|而是|melainkan|tetapi|bali|mà là|แต่เป็น|แต่|बल्कि|بل)\W*",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[\s*$]{0,4}(?:(?:is|was|would be|would have been) (?:clearly |therefore )?"
    r"(?:not(?! (?:only|just|merely|simply)\b)|wrong|incorrect|false|worse)\b"
    r"|isn['’]t|(?:では|じゃ)(?:ない|ありません)|(?:이|가) 아니|是错|不对|ist falsch|n['’]est pas|no es|não é)",
    re.IGNORECASE,
)
# After the second of two that differ: what it would mean, in a menu that is restated sentence by sentence.
_MEANING = re.compile(
    r"[\s*$\"'`]{0,4}(?:if|when|means?|stands for|for (?:the )?(?:first|second|response|answer))\b"
    r"|[\s*$]{0,4}(?:wenn|falls|si|se|jika|kama|nếu)\b"
    r"|[\s*$]{0,4}(?:如果|若|表示|代表|なら|の場合)",
    re.IGNORECASE,
)
# A menu item by item: each box is the first of its line's list item, or the same sign leads on to what it means.
_ITEM = re.compile(r"\s*(?:[-*+•–]|[0-9]{1,2}[.)])\s+[\s*$`\"'(]*")
_LEADS_ON = re.compile(r"[\s*$`\"')]{0,4}([:：?？؟;；=→⇒]|[-–—]+)")
_CLAUSE_END = re.compile(r"[.;。；!?！？।\n]")
_CONDITION = re.compile(  # before a box, in its clause: what it would be said for
    r"\W*(?:(?:and|or|but|und|oder|et|ou|y|o|e)\s+)?(?:if|when|in case|otherwise|else|wenn|falls|sonst|si|sinon|se|jika"
    r"|kalau|kama|ikiwa|nếu|если|якщо|jeśli|eğer|यदि|अगर|যদি|إذا|اذا|اگر|אם)(?!\w)"
    r"|.*(?:如果|若|假如|否则|ถ้า|หาก|場合|なら|면(?:[\s,]|$)|అయితే|ஆனால்)",
    re.IGNORECASE,
)
_LOSER = re.compile(  # a label before a box: of the one that does not win
    r"\W*(?:the )?(?:loser|worse|worst|wrong|incorrect|weaker|inferior|rejected|verlierer|falsch|schlechter|perdant"
    r"|pire|perdedora?|perdente|incorrecta?|incorreta|sbagliata|peor|pior|peggiore|salah|错误|错|败者|较差|更差|不正确"
    r"|неверн\w+|худш\w+|yanlış)(?:的|e|er)?"
    r"(?: (?:one|response|answer|option|choice|antwort|réponse|respuesta|resposta|risposta))?"
    r"(?:回答|答案)?(?: is)?[\s*$_:：=–—-]*",
    re.IGNORECASE,
)


def parse_verdict(text: str) -> Verdict:
    """Verdict that a judge's text ends in; FAILED where there is none. Linear in the length, raises on no string."""
    text = without_thoughts(text)
    said = list(_boxed(text)) or deque(_bracketed(text), maxlen=2)
    if not said:
        return Verdict.FAILED
    places, verdicts = zip(*said, strict=True)
    after = text[places[-1].end :][:60]
    if _DENIED.search(_line_before(text, places[-1])) or _LOSER.fullmatch(_clause_before(text, places[-1])):
        return Verdict.FAILED
    if _DENIED_AFTER.match(after):
        return Verdict.FAILED
    differ = len(set(verdicts)) == 2 and Verdict.FAILED not in verdicts
    if differ and (_MEANING.match(after) or _is_menu(text, *places) or _joined(text, *places)):
        return Verdict.FAILED
    return verdicts[-1]


def _boxed(text: str) -> Iterator[tuple[_Place, Verdict]]:
    """The last two complete boxes, and what each says."""
    for box in deque(complete_boxes(text), maxlen=2):
        yield _Place(box.start, box.end), _boxed_label(text[box.start : box.end])


def _bracketed(text: str) -> Iterator[tuple[_Place, Verdict]]:
    """Each pair of double brackets, and what it says, in a text that does not so much as open a box. Numbers are none
    in code, after a sign that makes them a matrix, and before a link."""
    if _OPEN_BOX.search(text):
        return
    fences, seen = 0, 0
    for match in BRACKETS.finditer(text):
        start, end = match.span()
        fences, seen = fences + text.count("```", seen, start), start
        is_number = match[1].isdecimal()
        if is_number and (fences % 2 or text[end : end + 1] == "(" or _MATRIX.search(text[max(0, start - 9) : start])):
            continue
        yield _Place(start, end), _BRACKET.get(match[1].lower(), Verdict.FAILED)


def without_thoughts(text: str) -> str:
    """What a model answers after its thoughts, in whatever marks they stand: the part after the last mark of their end
    (its start may stand in the template, and be missing here), up to a mark that opens some without an end."""
    end = max((match.end() for match in _THOUGHTS_END.finditer(text)), default=0)
    start = _THOUGHTS_START.search(text[end:])
    return text[end : end + start.start()] if start else text[end:]


def _joined(text: str, first: _Place, second: _Place) -> bool:
    """Whether two boxes stand in one sentence, or side by side, and neither answers the other."""
    between = text[first.end : second.start]
    words = re.findall(r"\w+", between)
    if not words and _ASKED.fullmatch(between):
        return False
    if _BUT.fullmatch(between) and _DENIED.search(_line_before(text, first)):
        return False
    return all(word.lower() in _JOINS or word.isdigit() for word in words) or not _NEW_SENTENCE.search(between)


def _is_menu(text: str, first: _Place, second: _Place) -> bool:
    """Whether two boxes are named side by side, each with what it means, or the second with what it would take."""
    leads = [_LEADS_ON.match(text[box.end : box.end + 12]) for box in (first, second)]
    if all(leads) and leads[0][1] == leads[1][1]:
        return True
    if all(_ITEM.fullmatch(_line_before(text, box)) for box in (first, second)):
        return True
    return _CONDITION.match(_clause_before(text, second)) is not None


def _clause_before(text: str, box: _Place) -> str:
    return _CLAUSE_END.split(_line_before(text, box).rstrip())[-1]


def _line_before(text: str, box: _Place) -> str:
    """What stands on the box's line before it, as far as it can matter."""
    return text[max(0, box.start - 200) : box.start].rpartition("\n")[2]


def parse_ranking(text: str, n: int) -> list[int] | None:
    r"""Indices 0..n-1 of n responses, best first, that a judge's text ends in; None where it is no full permutation.

    The last complete box decides. It names each of 1..n once: `\boxed{3 > 1 > 2}`, also with `≻`, `\succ`, commas or
    spaces between them, as a list `[3, 1, 2]`, and with "Response" before a number. Raises on no string.
    """
    words = _RANKING_MARK.sub(" ", _last_box(without_thoughts(text), _LONGEST_LABEL + 32 * n))
    words = [word for word in _DECORATION.sub(" ", words).lower().split() if word not in _NOUNS]
    ranking = [int(word) - 1 for word in words if word.isascii() and word.isdigit() and len(word) <= 9]
    return ranking if len(ranking) == len(words) and sorted(ranking) == list(range(n)) else None


def parse_language(text: str) -> str | None:
    r"""Language code of two or three letters, in lower case, that a judge's text ends in, or None.

    The last complete box decides: `\boxed{th}`, also `\boxed{\text{TH}}` and, without its region, `\boxed{th-TH}`.
    """
    code = _LANGUAGE.fullmatch(_DECORATION.sub(" ", _last_box(without_thoughts(text))).strip().lower())
    return code[1] if code else None


def parse_score(text: str) -> float | None:
    r"""A score from 0 to 10 that a judge's text ends in, as a share; None where there is none. `\boxed{7}`, `7/10`."""
    score = _SCORE.fullmatch(_plain(_last_box(without_thoughts(text))))
    return float(score[1]) / 10 if score and float(score[1]) <= 10 else None


def preference_for_a(top_logprobs: Mapping[str, float] | None) -> float | None:
    """P(A) / (P(A) + P(B)) in [0, 1] from the natural log-probabilities of an answer's first token.

    Tokens of one letter count together: a capital A or B, also in full width, with nothing but blanks (also the
    tokenizers' ▁ Ġ Ċ), Markdown asterisks, quotes and opening brackets before it, and these, closing brackets and stops
    after it. Lower case does not count: "a" is a word. A letter that is not listed has no mass; NaN and infinite values
    count as none. None where A and B together have less than MINIMUM_MASS.
    """
    mass = {"A": 0.0, "B": 0.0}
    for token, logprob in (top_logprobs or {}).items():
        letter = _LETTER_TOKEN.fullmatch(_plain(token)) if len(token) <= 16 else None
        if letter and math.isfinite(logprob):
            mass[letter[1]] += math.exp(min(logprob, 0.0))
    total = mass["A"] + mass["B"]
    return mass["A"] / total if total >= MINIMUM_MASS else None


def _last_box(text: str, longest: int = _LONGEST_LABEL) -> str:
    """The last complete box; empty where there is none, or where it is longer than `longest` characters."""
    box = last_box(text) or Box(0, 0, 0)
    return text[box.start : box.end] if box.end - box.start <= longest else ""


def _boxed_label(box: str) -> Verdict:
    if len(box) > _LONGEST_LABEL:
        return Verdict.FAILED
    commands = re.sub(r"\\\\(?=[a-z])", r"\\", _plain(box))  # doubled, as in JSON
    label = " ".join(_DECORATION.sub(" ", commands).casefold().split())
    return _BOXED.get(_NOUN.sub("", label, 1) if _NOUN.match(label) else label, Verdict.FAILED)


def _plain(text: str) -> str:
    """Compatibility forms, such as full width, as plain letters; without what nobody sees."""
    return without_unseen(unicodedata.normalize("NFKC", text))


def without_unseen(text: str) -> str:
    """`text` without direction marks, joiners, variation selectors and fillers."""
    return "".join(char for char in text if unicodedata.category(char) != "Cf" and not _UNSEEN.match(char))
