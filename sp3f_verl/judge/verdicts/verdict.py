r"""What a judge decided, read from what it wrote.

Only its answer counts, less what it took back (`without_thoughts`); thoughts that never end are no answer. Then the
last complete box decides (a judge argues first and decides last):

- `\boxed{A}`, `\boxed{B}`, `\boxed{tie}`, also as judges really write them: `\boxed{\text{A}}`,
  `**\boxed{Response A}**`, `\boxed{回答A}`, full width, in quotes, with direction marks;
- in a text without any box, brackets, as arena prompts have them: `[[1]]`, `[[2]]`, `[[T]]` or `[[M]]`, `[[A]]`,
  `[[A>B]]`, also escaped as `\[\[1\]\]`; no numbers that are code, a matrix or a footnote.

Anything else is `Verdict.FAILED`, never a loss: a box that says something off the menu (`\boxed{24}`) is no verdict,
and none is searched before it: what stands there may be a response's box that the judge quotes. Nor is the last of two
that differ and stand in one sentence (a hedge, a comparison) or in a menu, or one that is denied (verdicts/context.py).

Judges that are asked otherwise have readers of their own: `parse_ranking` (listwise), `parse_language` (pointwise, the
language ablation) and `preference_for_a` (one token, by its log-probabilities).
"""

import enum
import html
import math
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from sp3f_verl.judge.verdicts.context import Place, are_alternatives, are_joined, is_cited, is_denied, is_reckoned
from sp3f_verl.judge.verdicts.thoughts import without_thoughts
from sp3f_verl.rewards.boxed import complete_boxes

T = TypeVar("T")


class Verdict(enum.Enum):
    """Outcome of one comparison: the response shown first wins (A), the second wins (B), neither, or no verdict."""

    A = "A"
    B = "B"
    TIE = "tie"
    FAILED = "failed"


_BOXED = {"a": Verdict.A, "b": Verdict.B, "tie": Verdict.TIE}
_BRACKET = {
    **{label: Verdict.A for label in ("1", "a", "a>b", "a>>b", "b<a", "b<<a")},
    **{label: Verdict.B for label in ("2", "b", "b>a", "b>>a", "a<b", "a<<b")},
    **{label: Verdict.TIE for label in ("t", "m", "tie", "c", "a=b", "b=a")},
}
_NOUN = unicodedata.normalize(  # before a response's letter or number, in the languages of the table, and others
    "NFKC",
    r"(?:(?:(?:the|la|el|le|il|l|o|a|die|der|das|de|het)\s+)?(?:"
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
    r"[ \-_#:]{0,3}",
)
_NOUN_OF_A_NUMBER = re.compile(rf"(?<!\w)(?:{_NOUN}|r|#)(?=\d)")
_NOUN = re.compile(rf"{_NOUN}(?=[ab]$)")
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_LONGEST_LABEL = 80  # characters inside a box; more is prose, not a verdict
MINIMUM_MASS = 0.5  # of probability on A and B together; below it, the model was about to say something else

# Every repetition that could be retried at each position is bounded: this text comes from a model, and an unbounded
# one makes the search quadratic on junk.
BRACKETS = re.compile(r"\\?\[\\?\[\s{0,8}([\w<>=]{0,16}|[ABab] ?[<>=]{1,2} ?[ABab])\s{0,8}\\?\]\\?\]")
_QUOTES = "\"'`“”„‟‘’‚‛«»‹›「」『』《》〈〉【】"
_DECORATION = re.compile(
    r"\\(?:text|page)?color(?:box)?\{\w{0,16}\}|\\[hv]space\*?\{[^{}]{0,16}\}|\\_|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
    r"|\\(?:boxed|[mfh]box|ensuremath|pmb|text[a-z]*|math[a-z]*|u(?:nder)?line|emph|operatorname|boldsymbol|bm|bf|bfseries|it|rm|sf|tt|tiny|small"
    r"|normalsize|large|Large|LARGE|huge|Huge|displaystyle|q?quad|left|right"
    r"|[a-z]{2,8}(?:series|family|shape|style|size))(?![A-Za-z])"
    rf"|\\[,;:! $#]|\\\\(?![A-Za-z])|(?<![\s{{(\[$])[!！]|[\s{{}}\[\]*$.:;()~。．、,{_QUOTES}]+"
)
_RANKING_MARK = re.compile(r"\\(?:succ|gt|gg|(?:right|to)arrow|to)(?![A-Za-z])|\\[,;: {}]|[>≻≫»→,、;\[\]]")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # and no superscripts, which NFKC makes digits
_TIED = re.compile(r"\d\s*~\s*\d")
_DRESS = re.compile(r"\\(?:boxed|text[a-z]*|math[a-z]*|bf|bm)(?![A-Za-z])|\\[,;: ]|[\s${}*`]+")  # of a score
_SCORE = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?)\.?(?:/10)?\.?")
_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]{2,8}){0,3}")
_OPEN_BOX = re.compile(r"\\boxed\s{0,8}\{")
_LETTER_TOKEN = re.compile(rf"[\s▁ĠĊ*_$(\[{{{_QUOTES}]*([AB])[\s.,:;!*_$)\]}}。、،؛।۔።။។{_QUOTES}]*")


def parse_verdict(text: str) -> Verdict:
    """Verdict that a judge's text ends in; FAILED where there is none. Linear in the length, raises on no string."""
    text = without_thoughts(text)
    said = list(_boxed(text)) or deque(_bracketed(text), maxlen=2)
    if not said:
        return Verdict.FAILED
    places, verdicts = zip(*said, strict=True)
    if is_denied(text, places[-1]):
        return Verdict.FAILED
    differ = len(set(verdicts)) == 2 and Verdict.FAILED not in verdicts
    if differ and are_alternatives(text, *places):
        return Verdict.FAILED
    return verdicts[-1]


def _boxed(text: str) -> Iterator[tuple[Place, Verdict]]:
    """The last two complete boxes, and what each says."""
    for box in deque(complete_boxes(text), maxlen=2):
        yield Place(box.start, box.end), _boxed_label(text[box.start : box.end])


def _bracketed(text: str) -> Iterator[tuple[Place, Verdict]]:
    """Each pair of double brackets, and what it says, in a text that does not so much as open a box. Numbers are none
    in code, after a sign that makes them a matrix, and before a link."""
    if _OPEN_BOX.search(text):
        return
    fences, seen = 0, 0
    for match in BRACKETS.finditer(text):
        start, end = match.span()
        fences, seen = fences + text.count("```", seen, start), start
        place, said = Place(start, end), _BRACKET.get(match[1].lower().replace(" ", ""), Verdict.FAILED)
        if match[1].isdecimal():
            if fences % 2 or is_reckoned(text, place):
                continue
            if is_cited(text, place):
                said = Verdict.FAILED
        yield place, said


def parse_ranking(text: str, n: int) -> list[int] | None:
    r"""Indices 0..n-1 of n responses, best first, that a judge's text ends in; None where it is no full permutation.

    The last complete box decides. It names each of 1..n once: `\boxed{3 > 1 > 2}`, also with `≻`, `\succ`, commas or
    spaces between them, as a list `[3, 1, 2]`, and with "Response" before a number. Raises on no string.
    """
    return _decided(text, lambda box: _ranking(box, n), _LONGEST_LABEL + 32 * n)


def _ranking(box: str, n: int) -> list[int] | None:
    box = without_unseen(html.unescape(box)).translate(_FULL_WIDTH)
    if _TIED.search(box):
        return None
    words = _DECORATION.sub(" ", _RANKING_MARK.sub(" ", box)).casefold()
    words = _NOUN_OF_A_NUMBER.sub("", " ".join(words.split())).split()
    ranking = [int(word) - 1 for word in words if word.isascii() and word.isdigit() and len(word) <= 9]
    return ranking if len(ranking) == len(words) and sorted(ranking) == list(range(n)) else None


def parse_language(text: str) -> str | None:
    r"""Language code of two or three letters, in lower case, that a judge's text ends in, or None.

    The last complete box decides: `\boxed{th}`, also `\boxed{\text{TH}}` and, without its region, `\boxed{th-TH}`.
    """

    def read(box: str) -> str | None:
        code = _LANGUAGE.fullmatch(_DECORATION.sub(" ", _plain(box)).strip().lower())
        return code[1] if code else None

    return _decided(text, read)


def parse_score(text: str) -> float | None:
    r"""A score from 0 to 10 that a judge's text ends in, as a share; None where there is none. `\boxed{7}`, `7/10`."""

    def read(box: str) -> float | None:
        score = _SCORE.fullmatch(_DRESS.sub("", _plain(box)))
        return float(score[1]) / 10 if score and float(score[1]) <= 10 else None

    return _decided(text, read)


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


def _decided(text: str, read: Callable[[str], T | None], longest: int = _LONGEST_LABEL) -> T | None:
    """What the last complete box says; None where that is nothing, longer than `longest`, denied, or one of two that
    differ with a bare conjunction between."""
    text = without_thoughts(text)
    places = [Place(box.start, box.end) for box in deque(complete_boxes(text), maxlen=2)]
    values = [read(text[start:end]) if end - start <= longest else None for start, end in places]
    if not places or is_denied(text, places[-1]):
        return None
    if len(places) == 2 and None not in values and values[0] != values[1]:
        between = text[places[0].end : places[1].start]
        if re.search(r"\w", between) and are_joined(text, *places):
            return None
    return values[-1]


def _boxed_label(box: str) -> Verdict:
    if len(box) > _LONGEST_LABEL:
        return Verdict.FAILED
    commands = re.sub(r"\\\\(?=[a-z])", r"\\", _plain(html.unescape(box)))  # doubled, as in JSON
    label = " ".join(_DECORATION.sub(" ", commands).casefold().split())
    return _BOXED.get(_NOUN.sub("", label, 1) if _NOUN.match(label) else label, Verdict.FAILED)


def _plain(text: str) -> str:
    """Compatibility forms, such as full width, as plain letters; without what nobody sees."""
    return without_unseen(unicodedata.normalize("NFKC", text))


def without_unseen(text: str) -> str:
    """`text` without direction marks, joiners, variation selectors and fillers."""
    return "".join(char for char in text if unicodedata.category(char) != "Cf" and not _UNSEEN.match(char))
