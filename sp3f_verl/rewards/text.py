"""Linear-time views of a model's answer: without its thinking, and without its maths, code and links.

Everything here takes untrusted text, never raises on any string, and costs time linear in its length.
"""

import re
import unicodedata
from collections import Counter

import regex

from sp3f_verl.rewards.fidelity.switching import MARKERS, MIN_MARKERS

_COMMAND = re.compile(r"\\(?:[A-Za-z]+\*?|.)", re.DOTALL)
_BRACE = re.compile(r"\\.|\{|\}", re.DOTALL)  # alternatives of known first letters are looked for four times as fast
_CODE = re.compile(r"(?:```(.*?)(?:```|\Z))|`([^`\n]*)`", re.DOTALL)
# A remark or a string within a line of code; an apostrophe inside a word opens no string.
_REMARK = re.compile(r"""(?:#|//)(.*)|"([^"]*)"|(?<!\w)[fr]?'([^']*)'""")
_MARKS = re.compile(r"[=(){}\[\];<>]|\b(?:def|import|return|print|class|for|if|while|else)\b")
_KEYWORDS = "and as assert class def do elif else except for from if import in is lambda not or print return while with"
_MODIFIERS = "public private protected static final abstract void new const export default function async await struct"
_WORDS = regex.compile(
    rf"(?<!\w)(?:(?!(?:{f'{_KEYWORDS} {_MODIFIERS}'.replace(' ', '|')})\b)\p{{L}}{{2,}}+[ \t]+){{2}}\p{{L}}{{2}}"
)
_CAPITALS = re.compile(r"\b[A-Z]{2,}\b")  # SELECT, FROM; sentences in capitals are seen to as a whole (`_speaks`)
_URL = re.compile(r"https?://[!-~]{1,200}|www\.[!-~]{1,200}")  # no page has an address as long as a paragraph
# Of a protocol, Content-Length: 13353; bounded, because a chain of such words would be searched from each of them.
_HEADER = re.compile(r"[A-Z][a-z]{1,20}-(?:[A-Z][a-z]{1,20}-){0,3}[A-Z][a-z]{1,20}: \S{1,200}")
_SPACE = re.compile(r"\\[ ,;:!]|~")
# Latin letters in another shape: mathematical, in circles, squares and brackets, full width.
_STYLED = re.compile(
    r"[\u2102-\u2134\u249c-\u24e9\uff21-\uff5a\U0001d400-\U0001d7ff\U0001f110-\U0001f129\U0001f130-\U0001f189]"
)
# The spans are bounded, and stop at the next opener, because one that is never closed would be searched each time.
_MATHS = re.compile(
    r"\$\$.*?\$\$|\$[^$\n]*\$|\\\((?:(?!\\\().){0,2000}?\\\)|\\\[(?:(?!\\\[).){0,2000}?\\\]"
    r"|\\begin\{(\w{1,20}\*?)\}(?:(?!\\begin).){0,2000}?\\end\{\1\}",
    re.DOTALL,
)
# Two plain words, or six letters running of a script that formulas do not use: somebody is talking. Without this,
# "costs $5 and sells for $9" loses its words, and text put between dollar signs hides from the language check.
_PHRASE = regex.compile(r"(?<![\\\p{L}])\p{L}{3,}[\s,]+\p{L}{3,}|[\p{L}--[\p{Latin}\p{Greek}]]{6}", regex.VERSION1)
_FORMULA_WORD = re.compile(r"\\(?:begin|end)\{\w{1,20}\*?\}|\\[A-Za-z]+|([^\W\d_][^\W\d_A-Z]{2,})")
FORMULA_WORDS = 3  # a formula with so many words is talk, whatever stands between them
_TEXT_COMMAND = re.compile(r"\\(?:text\w{0,9}|math(?:rm|bf|it|sf|tt)|mbox|emph|underline|operatorname)")
_THREE_LETTERS = regex.compile(r"(?:\p{L}\P{L}*+){3}")
# Variables and units that touch a number or an operator: x = 5, 3kg, 2y + 1.
_VARIABLE = re.compile(
    r"(?<=[\d=+*/^<>×÷−]) ?[A-Za-z]{1,2}(?![^\W\d_])|(?<![^\W\d_])(?<!\\)[A-Za-z]{1,2}(?= ?[\d=+*/^<>×÷−])"
)


# Marks of numbers in scripts and keyboards other than ASCII's, and the spaces that group digits.
NUMBER_MARKS = {"٫": ".", "٬": ",", "，": ",", "．": ".", "’": "'", "\u00a0": " ", "\u202f": " ", "\u2009": " "}


def ascii_digits(text: str) -> str:
    """Decimal digits of every script as ASCII; superscripts and circled numbers are no decimal digits and stay."""
    return text if text.isascii() else "".join(str(unicodedata.decimal(char, char)) for char in text)


def strip_think(text: str) -> str:
    """What the model says after its thinking: the part after the last `</think>`, up to a `<think>` left open."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def brace_pairs(text: str) -> dict[int, int]:
    """Position of each opening brace that is closed -> position of its closing brace; `\\{` and `\\}` do not count."""
    pairs, stack = {}, []
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            stack.append(match.start())
        elif match[0] == "}" and stack:
            pairs[stack.pop()] = match.start()
    return pairs


def _drop_commands(text: str) -> str:
    """`text` without LaTeX commands and their `{...}` arguments; an argument that holds a phrase stays, as text."""
    if "\\" not in text:
        return text
    pairs = brace_pairs(text)
    kept, position, phrase = [], 0, -1  # phrase: where the next one starts
    while match := _COMMAND.search(text, position):
        kept.append(text[position : match.start()])
        position = match.end()
        spoken = _TEXT_COMMAND.fullmatch(match[0])
        while (close := pairs.get(position)) is not None:
            if phrase < position:
                phrase = match.start() if (match := _PHRASE.search(text, position)) else len(text)
            if phrase < close:
                break
            if spoken and _THREE_LETTERS.search(text, position, close):
                break
            position = close + 1
    return " ".join([*kept, text[position:]])


def _talk_in_line(line: str) -> str:
    """What of a line of code is talk: its remarks and strings that hold a phrase, and the rest where it is no code."""
    kept = [part for match in _REMARK.finditer(line) for part in match.groups() if part and _PHRASE.search(part)]
    rest = _CAPITALS.sub(";", _REMARK.sub(" ", line))
    if _WORDS.search(rest) or (_PHRASE.search(rest) and not _MARKS.search(rest)):
        kept.append(rest)
    return " ".join(kept)


def _talk_in_code(match: re.Match) -> str:
    """The lines of talk in a fence (closed or not) or in inline code, so that no answer hides in a block of code."""
    talk = filter(None, map(_talk_in_line, (match[1] or match[2] or "").splitlines()))
    return f" {chr(10).join(talk)} "


def _talk_in_maths(match: re.Match) -> str:
    """A formula that holds a phrase or several words, as it stands; else a space."""
    words = sum(map(bool, _FORMULA_WORD.findall(match[0])))
    return match[0] if words >= FORMULA_WORDS or _PHRASE.search(match[0]) else " "


_PLAIN_WORD = regex.compile(r"(?<![\\\p{L}])\p{L}{3,}")
_FUNCTION_NAMES = frozenset("sin cos tan cot sec csc log exp lim min max gcd lcm mod sqrt frac cdot times".split())
MIN_HIDDEN = 20  # letters of words in spans that are left out whatever stands beside them
HIDDEN = 0.5  # letters of words in spans, for each letter outside of any, up to which they are left out


def prose(text: str) -> str:
    """The running text of an answer, NFC: no thinking, code, links, maths, LaTeX commands (`\\boxed{...}` too).

    What is left out is bounded: where the words in spans of any kind have more than `HIDDEN` times the letters that are
    left, they are text, and a whole answer cannot be said a word a span.
    """
    text = plain_letters(strip_think(text))
    text = _opened(unicodedata.normalize("NFC", text))
    kept = _MATHS.sub(_talk_in_maths, _SPACE.sub(" ", _HEADER.sub(" ", _URL.sub(" ", _CODE.sub(_talk_in_code, text)))))
    kept = _VARIABLE.sub(" ", _drop_commands(kept))
    gone = _inked(text) - _inked(kept)  # hidden is no more
    letters = sum(map(str.isalpha, kept)) if gone > MIN_HIDDEN else 0
    if gone <= max(MIN_HIDDEN, HIDDEN * letters):
        return kept
    of_link, of_code = (_all_words, _all_words) if _speaks(text) else (_words_of_link, _words_of_code)
    whole = _ENVIRONMENT.sub(" ", _URL.sub(of_link, _CODE.sub(of_code, text)))
    hidden = _letters_of_words(whole) - _letters_of_words(kept)
    return _MARKUP.sub(" ", whole) if hidden > max(MIN_HIDDEN, HIDDEN * letters) else kept


def plain_letters(text: str) -> str:
    """`text` with Latin letters in place of those in another shape."""
    return text if text.isascii() else _STYLED.sub(_plain_letter, text)


def _plain_letter(match: re.Match) -> str:
    """The letter that a shape shows: of those that NFKC leaves (🅢, 🆂) and of bracketed ones (⒮) by their name."""
    letter = unicodedata.name(match[0], "").rpartition(" LETTER ")[2]
    return letter if len(letter) == 1 else unicodedata.normalize("NFKC", match[0])


def _inked(text: str) -> int:
    return len(text) - text.count(" ") - text.count("\n")


# An environment, a command, code of a word or some, a link's host, an address: names, of which no sentence is made.
_NAME_SPAN = re.compile(
    r"\\(?:begin|end)\{(\w{1,20})\*?\}|\\([A-Za-z]{2,})|`([^`\n]{1,60})`|https?://([^/\s]*)|www\.([^/\s]*)"
)
_ADDRESS = re.compile(r"(?<![\w.])(?:mailto:)?([\w.]{1,64})@[\w.]")
_NAMES_MEAN = frozenset(f"{_KEYWORDS} times therefore because left right over between get".split())


def _opened(text: str) -> str:
    """`text` with the words of such names as plain words, where several frequent English ones are among them."""
    kinds = [_NAME_SPAN] if any(mark in text for mark in ("\\", "`", "://", "www.")) else []
    kinds += [_ADDRESS] if "@" in text else []
    names = [" ".join(filter(None, match.groups())) for kind in kinds for match in kind.finditer(text)]
    words = set(re.findall("[a-z]+", " ".join(names).lower()))
    if len(MARKERS & words - _NAMES_MEAN) < MIN_MARKERS:
        return text
    for kind in kinds:
        text = kind.sub(
            lambda match: f" {' '.join(re.findall('[A-Za-z]+', ' '.join(filter(None, match.groups()))))} ", text
        )
    return text


_HOST = re.compile(r"https?://[^/\s]*|www\.[^/\s]*")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{\w{1,20}\*?\}")


_MARKUP = re.compile(r"\\[A-Za-z]+|[\\${}`/]")
# English words that sentences are made of and that name nothing in code, and how many of all words they are: in a page
# of code below a twentieth, in sentences above a quarter.
_FUNCTION_WORDS = frozenset(
    """the and that this these those which who she her hers his him himself herself they them their therefore because we
    our you your my of every been was were are has have had would could should than then there until already however
    thus hence after before what when where how many much must""".split()
)
_FUNCTION_SHARE, _FUNCTION_KINDS = 0.12, 4
_CODE_WORDS = frozenset(f"{_KEYWORDS} print len range str int float true false none null var let const self".split())


def _speaks(text: str) -> bool:
    """Is what stands in code and links English sentences, a word a line, a string or a name? Of all of it together."""
    spans = [match[0] for kind in (_CODE, _URL) for match in kind.finditer(text)]
    words = [word for word in re.findall("[a-z]{2,}", " ".join(spans).lower()) if word not in _CODE_WORDS]
    said = [word for word in words if word in _FUNCTION_WORDS]
    return len(set(said)) >= _FUNCTION_KINDS and len(said) >= _FUNCTION_SHARE * len(words)


def _all_words(match: re.Match) -> str:
    return f" {' '.join(_PLAIN_WORD.findall(match[0]))} "


def _letters_of_words(text: str) -> int:
    """Letters of the words of three or more in a text and in any span of it; a command is no word."""
    words = Counter(_PLAIN_WORD.findall(text)).items()
    return sum(
        len(word) * times
        for word, times in words
        if word not in _FUNCTION_NAMES and (len(word) > 4 or not word.isupper())  # PQRS is a figure
    )


def _words_of_code(match: re.Match) -> str:
    """Of code between backticks what is talk, and a plain word or two; not what is written as code."""
    code = match[1] or match[2] or ""
    plain = len(code.split()) <= 2 and not re.search(r"[^\w\s]|_", code)
    return f" {code} " if plain else f" {_talk_in_code(match)} "


def _words_of_link(match: re.Match) -> str:
    """The path of a link, where it is a word or two: an address is longer."""
    path = _HOST.sub("", match[0])
    return f" {path} " if len(_PLAIN_WORD.findall(path)) <= 2 else " "
