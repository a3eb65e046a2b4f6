"""Kinds of text whose language was told wrongly in other people's hands."""

import csv
from pathlib import Path

import pytest
import yaml

from helpers.shared import SHARED_DATA
from sp3f_verl.rewards import language_share
from sp3f_verl.rewards.fidelity.identify import count
from sp3f_verl.rewards.fidelity.language import _LETTERS

SP3F = tuple("ar bn de en es fr hi id it ja ko pt ru sw te th yo zh".split())
ENGLISH = (
    "Then he buys another seven pencils at the store for three dollars, because the first box was already empty. "
    "After that we add both prices and divide the sum by the number of children who want a pencil. "
) * 5
OWN = {
    "sw": "Jibu la mwisho ni shilingi ishirini na tano tu.",
    "fr": "La réponse finale est vingt-cinq euros.",
    "ja": "したがって、答えは二十五ドルになります。",
    "hi": "इसलिए अंतिम उत्तर पच्चीस डॉलर है।",
    "ar": "إذن الجواب النهائي هو خمسة وعشرون دولارا.",
}
SPANS = ["${}$", r"\({}\)", "`{}`", r"\boxed{{{}}}", r"\text{{{}}}", r"\mathrm{{{}}}", r"\frac{{{}}}{{1}}", "$$ {} $$"]
SPANS += [
    "`{}()`",
    "`get_{}`",
    "`{}.py`",
    r"\{}",
    "www.{}.com",
    "https://{}.com",
    "mailto:{}@a.io",
    "[{}](https://a.b)",
    "<{}>",
]
SPANS += [r"\href{{x}}{{{}}}", r"\operatorname{{{}}}", "$x_{{{}}}=1$", "x^{{{}}}", "#{}", "{}=1", "https://a.io/?q={}"]
SPANS += [r"\begin{{equation}}{}\end{{equation}}", "https://x.example/{}", "```{}```", r"\sqrt[3]{{{}}}"]
SPANS += [r"\begin{{{0}}}x\end{{{0}}}"]


def share(text: str, language: str) -> float:
    value = language_share(text, language, SP3F)
    return -1.0 if value is None else value


@pytest.mark.parametrize("span", SPANS)
def test_nothing_is_said_in_english_a_word_or_two_a_span(span):
    words = ENGLISH.split()
    pairs = [" ".join(words[at : at + 2]) for at in range(0, len(words), 2)]
    for language, own in OWN.items():
        for parts in (words, pairs):
            hidden = " ".join(span.format(part) for part in parts)
            assert share(f"{hidden}\n{own}", language) < 0.7, (language, span)


def hidden_in_code() -> dict[str, str]:
    words = [word.strip(".,") for word in ENGLISH.split()]
    lines = {
        "a word a line": words,
        "assigned": [f"x = {word}" for word in words],
        "names": [f"{word} = 1" for word in words],
        "strings": [f'print("{word}")' for word in words],
        "remarks": [f"x = 1  # {word}" for word in words],
        "one name": ["_".join(words)],
    }
    texts = {form: "```\n" + "\n".join(code) + "\n```" for form, code in lines.items()}
    links = ["-".join(words[at : at + 8]) for at in range(0, len(words), 8)]
    capitals, small = (ENGLISH.upper().translate, ENGLISH.lower().translate)
    return texts | {
        "one name in a line": f"`{'_'.join(words)}`",
        "paths of links": " ".join(f"https://a.io/{path}" for path in links),
        "white letters in circles": capitals(
            {code: code - ord("A") + 0x1F150 for code in range(ord("A"), ord("Z") + 1)}
        ),
        "white letters in squares": capitals(
            {code: code - ord("A") + 0x1F170 for code in range(ord("A"), ord("Z") + 1)}
        ),
        "letters in brackets": small({code: code - ord("a") + 0x249C for code in range(ord("a"), ord("z") + 1)}),
    }


def test_nothing_is_said_in_english_by_code_links_or_letters_of_another_shape():
    texts = hidden_in_code()
    said = [
        (form, language)
        for form, text in texts.items()
        for language, own in OWN.items()
        if share(f"{text}\n{own}", language) >= 0.7
    ]
    assert not said


TEXTS = yaml.safe_load(Path(__file__).with_name("language_kinds.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("wanted", TEXTS)
def test_texts_in_and_out_of_the_language(wanted):
    assert not [row for row in TEXTS[wanted] if (share(row[1], row[0]) >= 0.7) != (wanted == "in")]


def test_maths_and_names_of_functions_stay_out():
    for language, own in OWN.items():
        text = rf"{own} $x = n \cdot y$, \(\frac{{a+b}}{{2}}\), `len`, `sorted(items)` \boxed{{25}} {own}"
        assert share(text, language) >= 0.9, language


NAMED = {
    "zh": ["用PyTorch训练模型时，怎样安装CUDA？", "Michael比Jennifer多买了7支铅笔。"],
    "ja": ["UbuntuにNginxを入れるにはどうすればよいですか。", "Michaelは鉛筆を7本買いました。"],
    "ko": ["Ubuntu에서 Nginx를 설치하려면 어떻게 해야 하나요?", "Michael은 연필을 7자루 샀습니다."],
    "th": ["จะติดตั้ง Nginx บน Ubuntu ได้อย่างไร", "Michael ซื้อดินสอ 7 แท่ง"],
    "ru": ["Как установить Nginx на Ubuntu?", "Michael купил у Jennifer 7 карандашей."],
    "hi": ["Ubuntu पर Nginx कैसे स्थापित करें?", "Michael ने 7 पेंसिलें खरीदीं।"],
    "bn": ["Ubuntu তে Nginx কীভাবে ইনস্টল করব?", "Michael সাতটি পেন্সিল কিনেছে।"],
    "te": ["Ubuntu లో Nginx ఎలా ఇన్‌స్టాల్ చేయాలి?", "Michael ఏడు పెన్సిళ్లు కొన్నాడు."],
    "ar": ["كيف أثبت Nginx على Ubuntu؟", "اشترى Michael سبعة أقلام رصاص."],
    "es": ["¿Cómo instalo Nginx en Ubuntu?", "Michael compró siete lápices."],
}


def test_names_in_latin_letters_cost_no_script_its_language():
    wrong = [(language, text) for language, texts in NAMED.items() for text in texts if share(text, language) < 0.7]
    assert not wrong


def test_english_words_between_those_of_another_script_are_english():
    for language, word in {"zh": "鸡蛋", "ja": "たまご", "ko": "계란", "th": "ไข่", "ru": "яйцо", "hi": "अंडा"}.items():
        for mixed in (ENGLISH.split(), ENGLISH.title().split(), ENGLISH.upper().split()):
            text = " ".join(f"{part} {word}" for part in mixed)
            assert share(text, language) < 0.7, (language, text[:60])
    assert share("Docker PostgreSQL Nginx Ubuntu", "zh") < 0.7, "names alone are in no language"


@pytest.mark.parametrize(
    "language, text",
    [
        ("zh", "一共是25元。"),
        ("ja", "合計は7冊です。"),
        ("ko", "모두 7권입니다."),
        ("th", "ผลรวมคือ 25 บาท"),
        ("hi", "उनका योग 25 रुपये"),
        ("bn", "মোট যোগফল ২৫ টাকা"),
        ("ar", "المجموع 25"),
        ("en", "The total is 25"),
    ],
)
def test_a_sentence_is_long_enough_in_every_script(language, text):
    assert share(text, language) >= 0.7


def test_english_in_the_marks_of_another_language():
    maps = {
        "yo": "a=à e=ẹ́ o=ọ́ s=ṣ",
        "vi": "a=ạ e=ế o=ộ i=ị",
        "pl": "a=ą e=ę o=ó l=ł",
        "tr": "s=ş c=ç g=ğ u=ü i=ı",
        "es": "a=á e=é i=í o=ó u=ú n=ñ",
    }
    for language, letters in maps.items():
        dressed = ENGLISH
        for pair in letters.split():
            dressed = dressed.replace(*pair.split("="))
        assert share(dressed, language) < 0.7, dressed[:80]
    assert (
        share("Tôi bán trứng ở chợ mỗi sáng và được mười tám đô la mỗi ngày, vì thế đáp số là mười tám.", "vi") >= 0.7
    )


def test_a_language_outside_the_set_is_nobodys():
    for language, text in {
        "en": "Nid yw'r ateb yn anodd: mae ganddo saith afal ac mae'n prynu pump arall yn y siop.",
        "de": "Han köper sju pennor till i affären, eftersom den första lådan redan var tom.",
        "es": "Li aĉetas sep pliajn krajonojn en la vendejo, ĉar la unua skatolo jam estis malplena.",
        "sw": "Ka hokona e ia ētahi atu pene e whitu i te toa, nā te mea kua pau kē te pouaka tuatahi.",
        "ru": "Той купува още седем молива от магазина, защото първата кутия вече беше празна.",
    }.items():
        assert share(text, language) < 0.7, text


def test_half_english_is_half_in_every_script():
    """MGSM's questions say the same in all its languages: one in the language and one in English are half each."""
    folder = SHARED_DATA / "mgsm"
    if not folder.is_dir():
        pytest.skip("no MGSM beside the checkout")
    texts = {}
    for file in sorted(folder.glob("*.tsv")):
        with file.open(encoding="utf-8") as lines:
            rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            texts[file.stem.split("_")[-1]] = [row[0] for row in rows]
    for language in sorted(set(texts) - {"en"}):
        halves = [count(_LETTERS, " ".join(texts[code][:100])) for code in (language, "en")]
        assert 0.4 <= halves[0] / sum(halves) <= 0.6, (language, halves)
        mixed = [f"{own} {english}" for own, english in zip(texts[language][:40], texts["en"][:40], strict=True)]
        mean = sum(share(text, language) for text in mixed) / len(mixed)
        assert 0.4 <= mean <= 0.6, (language, mean)
