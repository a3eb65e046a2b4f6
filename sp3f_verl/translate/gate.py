"""Answers that are no translation: labels, prefaces and notes are cut off; refusals and lost questions are faults.

Everything is held against the source, which may be a note, an apology or a question about translation itself. The words
are of the languages of the table; what they do not cover passes, and meets the checks of numbers, length and language.
"""

import re

import regex

_TRANSLATION = regex.compile(  # the word for "translation" as a stem
    r"translat|tradu[cçiz]|traducc|tradus|traduz|übersetz|uebersetz|vertal|overs[eæ]t|översätt|překlad|prevod|превод|"
    r"перевод|переклад|tłumacz|fordít|çeviri|terjemah|dịch|翻訳|翻译|翻譯|译文|譯文|訳|번역|अनुवाद|भाषांतर|অনুবাদ|అనువాద|"
    r"மொழிபெயர்|ترجم|תרגום|แปล|tafsiri|μετάφρασ|käännö|suomenno|þýð|aistri|cyfieith|umsett|itumọ|ထာသာပြန်|ແປ|បកប្រែ|"
    r"tõl[gk]|pagsasalin|અનુવાદ|ભાષાંતર|prijevod|ಅನುವಾದ|(?<!\p{L})vertim|tulkoj|വിവർത്തന|പരിഭാഷ|ਅਨੁਵਾਦ|humush",
    regex.IGNORECASE,
)
_NOTE = regex.compile(
    r"^[\s*_(\[（【]*(?:(?:translator'?s? )?note|nota|noot|anmerkung|hinweis|remarque|opmerking|bemærk|merk|obs|anm|"
    r"pozn|uwaga|примеч|примітк|бележк|megjegyz|not\b|catatan|lưu ý|ghi chú|注|註|備考|참고|주석|टिप्पणी|नोट|দ্রষ্টব্য|টীকা|"
    r"గమనిక|ملاحظ|توجه|نکته|הערה|หมายเหตุ|kumbuka|dokezo|σημείωσ|huom|athugas|nóta|nodyn)[^\n]{0,40}[:：]",
    regex.IGNORECASE,
)
_SORRY = regex.compile(  # within the first words of an answer; no end of a word (Czech držal is no Slovene žal)
    r"(?<![\p{Latin}\p{Cyrillic}\p{Greek}])(?:i['’]?\s?a?m sorry|i can(?:not|['’]t)|i am unable|as an ai|lo siento|"
    r"no puedo|ho sento|no puc|sinto muito|desculp|não posso|lamento|désolée?|je ne peux|tut mir leid|"
    r"ich kann .{0,20}nicht|mi dispiace|non posso|spijt me|"
    r"ik kan .{0,20}niet|undskyld|beklager|jeg kan .{0,10}ikke|jag kan .{0,10}inte|tyvärr|anteeksi|en voi |извините|"
    r"сожалени|я не могу|вибач|я не можу|съжаляв|не мога|przeprasz|przykro|nie mogę|omlouv|nemohu|je mi líto|prepáč|"
    r"nemôžem|ne morem|pare rău|nu pot |sajnál|nem tud(?:ok|om)|λυπ[άα]μαι|συγγν|δεν μπορώ|üzgünüm|özür dil|maaf|"
    r"xin lỗi|samahani|siwezi|申し訳|すみません|抱歉|对不起|對不起|我无法|我無法|我不能|죄송|미안|क्षमा करें|माफ़? |দুঃখিত|"
    r"క్షమించ|மன்னிக்க|آسف|عذرا|لا أستطيع|لا يمكنني|متأسف|متاسف|معذرت|מצטער|איני יכול|אני לא יכול|ขออภัย|ขอโทษ|fyrirgef|"
    r"því miður|tá brón|mae'n ddrwg|vabandust|kahjuks|paumanhin|pasensya|માફ કર|žao mi je|ispričav|ne mogu |ಕ್ಷಮಿಸಿ|"
    r"atsipraš|negaliu|atvaino|diemžēl|ക്ഷമിക്ക|ਮਾਫ਼ ਕਰ|ਮੁਆਫ਼|oprostite|žal |жао ми је|извин|ngiyaxolisa)",
    regex.IGNORECASE,
)
_BRACKETS = re.compile(r"[(\[（【].*[)\]）】]", re.DOTALL)
_SOURCE_SORRY = re.compile(
    r"sorry|apolog|forgive|pardon|excuse|regret|afraid|unfortunate|cannot|can['’]t|can not|could ?n['’o]t|unable|"
    r"not (?:be )?able|impossible|not possible|as an ai",
    re.IGNORECASE,
)
_QUESTION = "?？؟;;՞፧⸮"
# Where the mark is left out: endings and words of questions.
_QUESTION_WORDS = regex.compile(
    r"か[。．.」』\s]{0,4}(?:$|\n)|何|いくつ|いくら|どれ|どの|どこ|だれ|誰|いつ|多少|几|幾|吗|嗎|呢|什么|什麼|哪|谁|誰|何时|怎|"
    r"까[.。]?|나요|가요|니까|얼마|몇|무엇|누구|어디|언제|ไหม|มั้ย|หรือไม่|หรือเปล่า|เท่าไ|เท่าใด|กี่|อะไร|ใคร|ที่ไหน|เมื่อไ|อย่างไร|"
    r"ใด|ຈັກ|ເທົ່າໃດ|ຫຍັງ|ບໍ່$|ប៉ុន្មាន|អ្វី|ឬទេ|ဘယ်|လဲ|လား|ག་ཚོད|གམ"
)
_UNMARKED = {"ja", "zh", "ko", "th", "lo", "km", "my", "bo"}  # languages whose questions need no mark
_LONGEST_LABEL = 60  # characters
_FEWEST = 12  # characters of a text that can stand there twice by more than chance
_DOLLAR = re.compile(r"(?<!\\)\$(?!\s?\d)")  # $5 may become 5 dólares


def cleaned(text: str, source: str) -> str:
    """The translation without label, preface, note, or a second copy of itself, where the source has none of them."""
    text = _without_note(_without_label(text, source), source)
    half = _half(text)
    return half if half is not None and _half(source, 1) is None else text


def fault(text: str, source: str, language: str) -> str | None:
    """Why this is none: "marks" lost or added, "refusal", "question_lost"; None where it is fine."""
    if any(text.count(mark) != source.count(mark) for mark in "{}"):
        return "marks"
    if len(_DOLLAR.findall(text)) < len(_DOLLAR.findall(source)):
        return "marks"
    if _SORRY.search(text[:80]) and not _SOURCE_SORRY.search(source):
        return "refusal"
    if source.rstrip(" \n\"'”’)*_").endswith("?") and not _asks(text, language):
        return "question_lost"
    return None


def _asks(text: str, language: str) -> bool:
    return any(mark in text for mark in _QUESTION) or (
        language in _UNMARKED and _QUESTION_WORDS.search(text) is not None
    )


def _without_label(text: str, source: str) -> str:
    """Without what comes before a colon: "Translation:", or a first line of its own such as "Here it is:"."""
    head, colon, rest = re.split("([:：])", text, maxsplit=1) if re.search("[:：]", text) else (text, "", "")
    if not colon or not rest.strip() or len(head) > 2 * _LONGEST_LABEL:
        return text
    if _TRANSLATION.search(head) and len(head) <= _LONGEST_LABEL and not _TRANSLATION.search(source):
        return _unmarked(rest)
    own_line = "\n" not in head and rest.lstrip("*_ \t").startswith("\n")
    if own_line and ":" not in source.partition("\n")[0]:
        return _unmarked(rest)
    return text


def _unmarked(text: str) -> str:
    """Without the bold marks of a label that was cut off, and without quotes around the whole."""
    text = text.strip().removeprefix("**").strip()
    for left, right in ('""', "“”", "«»", "„“", "「」"):
        if text.startswith(left) and text.endswith(right) and text.count(left) + text.count(right) == 2:
            return text[1:-1].strip()
    return text


def _without_note(text: str, source: str) -> str:
    """Without last paragraphs that are a note, where the source has fewer paragraphs."""
    blocks, wanted = re.split(r"\n\s*\n", text), len(re.split(r"\n\s*\n", source.strip()))
    while len(blocks) > max(wanted, 1) and (_NOTE.match(blocks[-1]) or _BRACKETS.fullmatch(blocks[-1].strip())):
        blocks.pop()
    text = "\n\n".join(blocks)
    lines = text.split("\n")
    if len(lines) > 1 and _NOTE.match(lines[-1]) and len(lines) > len(source.strip().split("\n")):
        return "\n".join(lines[:-1]).rstrip()
    return text


def _half(text: str, fewest: int = _FEWEST) -> str | None:
    """The first half of a text that stands there twice, whatever white space is between."""
    signs = [(at, char) for at, char in enumerate(text) if not char.isspace()]
    middle = len(signs) // 2
    if len(signs) % 2 or middle < fewest or [s for _, s in signs[:middle]] != [s for _, s in signs[middle:]]:
        return None
    return text[: signs[middle][0]].strip()
