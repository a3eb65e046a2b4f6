r"""What stands around a verdict and takes it away: a denial, a menu, the other verdict beside it, a sum."""

import re
from typing import NamedTuple


class Place(NamedTuple):
    """Where a verdict stands in a text: its first character, and the one behind its last."""

    start: int
    end: int


_MATRIX = re.compile(r"[A-Za-z0-9_$]$|[=(+×^←]\s{0,8}$")  # before brackets
_OPERATOR = re.compile(r"\s{0,3}(?:[\^×·=+$]|[*-]\s)")  # behind them
_GOES_ON = re.compile(r"[^\w.;!?。！？।\n]{0,8}\w")  # behind them: the sentence does
_FOOTNOTE = re.compile(r"\s{0,3}[:：]\s{0,3}\w")
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
    r"|\bnever|\bcan(?:not|['’]t) be|\brather than|\binstead of|\bneither|\bnor|\b(?:anything|nothing|all) but|\bexcept"
    r"|\bnunca|\bjamais|\bnicht|\bnon(?: è)?|\bpas|\bno es|\bnão é|\bне|\bnie(?: jest)?|\bsio|\bnu este|\bniet"
    r"|不是|并非|不(?:会|应该?|能|该)?选(?:择)?|不(?:会|应该?|能|该|可能)是|絕不是|じゃない|ليس(?:ت)?|नहीं"
    r"|ไม่ใช่|không phải|bukan|[≠✗✘❌✖]\ufe0f?|!=|\\neq?|\\not)(?:\s+(?:the|response|answer))?[\s*$`]{0,4}$",
    re.IGNORECASE,
)
_BUT = re.compile(  # between one that is denied and the other
    r"\W*(?:but|sondern|sino|mas|mais|ma|bensì|а|но|而是|melainkan|tetapi|bali|mà là|แต่เป็น|แต่|बल्कि|بل)\W*",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[\s*$`]{0,4}(?:(?:is|was|would be|would have been) (?:clearly |therefore )?"
    r"(?:not(?! (?:only|just|merely|simply)\b)|wrong|incorrect|false|worse)\b"
    r"|isn['’]t|(?:では|じゃ)(?:ない|ありません)|(?:이|가) 아니|是错|不对|ist falsch|n['’]est pas|no es|não é|non è"
    r"|नहीं|নয়|కాదు|அல்ல|değil|[✗✘❌✖×])",
    re.IGNORECASE,
)
# A question behind a box denies it, unless the answer does not.
_QUESTIONED = re.compile(
    r"[\s*$`]{0,4}[?？؟][\s*$`)]{0,4}(?!(?:yes|yep|yeah|indeed|right|exactly|ja|oui|s[íi]|sim|да|так|tak|네|예|نعم"
    r"|हाँ|जी|vâng|đúng|ya|ndiyo|ndio|evet|igen|da)(?!\w)|是|对|對|はい|ใช่)\w",
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
    r"\W*(?:\w{1,16}[:,]\s*)?(?:(?:and|or|but|und|oder|et|ou|y|o|e)\s+)?"
    r"(?:if|when|in case|otherwise|else|wenn|falls|sonst|si|sinon|se|jika"
    r"|kalau|kama|ikiwa|nếu|если|якщо|jeśli|eğer|यदि|अगर|যদি|إذا|اذا|اگر|אם)(?!\w)"
    r"|.*(?:如果|若|假如|否则|ถ้า|หาก|場合|なら|면(?:[\s,]|$)|అయితే|ஆனால்)",
    re.IGNORECASE,
)
# Two that differ and have a label each: only one of these labels makes a verdict of the second.
_LABEL = re.compile(
    r"[^\w]{0,8}((?:[^\s:：|=–—]{1,24}\s){0,2}[^\s:：|=–—]{1,24}?)[\s*_`)]{0,4}(?:[:：|=–—→]|\s-)[\s*_$`(]{0,6}"
)
_OF_A_VERDICT = re.compile(
    r"final|verdict|veredic|verdett|verdikt|werdykt|вердикт|urteil|endgültig"
    r"|overall|insgesamt|global|in total|all in all|decis|décis|entscheid|conclu|fazit|judg|jugement"
    r"|(?<!first )answer|antwort|respuesta|réponse|risposta"
    r"|result|outcome|\b(?:so|thus|hence|therefore|now|then|but|no|wait|actually|rather|however|instead|after|again)\b"
    r"|revis|updat|\bcorrect(?:ed|ion)|check|reflect|reconsider|inspect|clos(?:er|ely)|careful"
    r"|second (?:thought|look|reading)"
    r"|\b(?:después|tras|luego|ahora|depois|agora|nach|jetzt|doch|après|dopo|ora|но|нет|после|теперь|sau|sasa)\b"
    r"|重新|再次|仔细|现在|不对|修正|再検討|やはり|다시|아니|لكن|بعد|लेकिन|अब"
    r"|winner|wins|(?<!second )(?<!2nd )\bbest|\bbetter|preferred|chosen|ganador|gewinner|sieger|gagnant"
    r"|vencedor|vincitore|mejor|melhor|migliore|meilleur|besser|winnaar|kazanan|zwycięzc|победител|лучш"
    r"|итог|окончат|вывод|решение|putusan|keputusan|kesimpulan|akhir|pemenang|lebih baik|uamuzi|hukumu|mwisho"
    r"|mshindi|bora|cuối cùng|kết luận|phán quyết|người thắng|tốt hơn|สุดท้าย|ตัดสิน|สรุป|ผู้ชนะ|ดีกว่า|karar|sonuç|nihai"
    r"|wniosek"
    r"|最终|最終|最后|最後|结论|結論|裁决|裁決|判定|判断|判斷|总体|總體|综上|总之|答案|優勝|优胜|勝者|胜者|获胜|更好|较好|更优|総合"
    r"|최종|결론|판정|결정|승자|더 나은|النهائي|الحكم|القرار|الخلاصة|الفائز|الأفضل|अंतिम|निर्णय|फैसल|निष्कर्ष|विजेता|बेहतर"
    r"|চূড়ান্ত|রায়|সিদ্ধান্ত|বিজয়ী|తుది|తీర్పు|ముగింపు|విజేత",
    re.IGNORECASE,
)
_LOSER = re.compile(  # a label before a box: of the one that does not win
    r"\W*(?:the )?(?:loser|worse|worst|wrong|incorrect|weaker|inferior|rejected|verlierer|falsch|schlechter|perdant"
    r"|pire|perdedora?|perdente|incorrecta?|incorreta|sbagliata|peor|pior|peggiore|salah|错误|错|败者|敗者|较差|更差|不正确"
    r"|неверн\w+|худш\w+|проигравш\w+|yanlış|kaybeden|kalah|aliyeshindwa|mshindwa|người thua|ผู้แพ้|الخاسر|패자"
    r"|पराजित|हारा|przegran\w+|verliezer|runner-?up|(?:second|2nd)(?: place| best| choice)?)(?:的|e|er)?"
    r"(?: (?:one|response|answer|option|choice|antwort|réponse|respuesta|resposta|risposta))?"
    r"(?:回答|答案)?(?: is)?[\s*$_:：=–—-]*",
    re.IGNORECASE,
)


def is_denied(text: str, place: Place) -> bool:
    """Whether what stands there is denied, asked about and not affirmed, or named as the one that loses."""
    after = text[place.end :][:60]
    if _DENIED.search(_line_before(text, place)) or _LOSER.fullmatch(_clause_before(text, place)):
        return True
    return bool(_DENIED_AFTER.match(after) or _QUESTIONED.match(after))


def are_alternatives(text: str, first: Place, second: Place) -> bool:
    """Whether two that differ are choices, in a menu or in one sentence, and not a verdict and its revision."""
    after = text[second.end :][:60]
    return bool(_MEANING.match(after)) or _is_menu(text, first, second) or _in_one_sentence(text, first, second)


def are_joined(text: str, first: Place, second: Place) -> bool:
    """Whether nothing but conjunctions and signs stands between two, and neither answers the other."""
    between = text[first.end : second.start]
    words = re.findall(r"\w+", between)
    if not words and _ASKED.fullmatch(between):
        return False
    if _BUT.fullmatch(between) and _DENIED.search(_line_before(text, first)):
        return False
    return all(word.lower() in _JOINS or word.isdigit() for word in words)


def is_reckoned(text: str, place: Place) -> bool:
    """Whether a number in brackets is a matrix, an index or a link."""
    before = text[max(0, place.start - 9) : place.start]
    return text[place.end : place.end + 1] == "(" or _MATRIX.search(before) is not None


def is_cited(text: str, place: Place) -> bool:
    """Whether a number in brackets is reckoned on with, stands in the midst of a sentence, or begins a note."""
    if _OPERATOR.match(text, place.end):
        return True
    before = _line_before(text, place).rstrip(" \t*_`")
    if not re.search(r"\w", before):
        return _FOOTNOTE.match(text, place.end) is not None
    return before[-1] not in ":：-–—" and _GOES_ON.match(text, place.end) is not None


def _in_one_sentence(text: str, first: Place, second: Place) -> bool:
    """Whether two boxes stand in one sentence, or side by side, and neither answers the other."""
    between = text[first.end : second.start]
    answers = _ASKED.fullmatch(between) or (_BUT.fullmatch(between) and _DENIED.search(_line_before(text, first)))
    return are_joined(text, first, second) or not (answers or _NEW_SENTENCE.search(between))


def _is_menu(text: str, first: Place, second: Place) -> bool:
    """Whether two boxes are named side by side, each with what it means, or the second with what it would take."""
    leads = [_LEADS_ON.match(text[box.end : box.end + 12]) for box in (first, second)]
    if all(leads) and leads[0][1] == leads[1][1]:
        return True
    if all(_ITEM.fullmatch(_line_before(text, box)) for box in (first, second)):
        return True
    labels = [_LABEL.fullmatch(_clause_before(text, box)) for box in (first, second)]
    if all(labels) and (_LOSER.fullmatch(labels[1][1]) or not _OF_A_VERDICT.search(labels[1][1])):
        return True
    return _CONDITION.match(_clause_before(text, second)) is not None


def _clause_before(text: str, box: Place) -> str:
    return _CLAUSE_END.split(_line_before(text, box).rstrip())[-1]


def _line_before(text: str, box: Place) -> str:
    """What stands on the box's line before it, as far as it can matter."""
    return text[max(0, box.start - 200) : box.start].rpartition("\n")[2]
