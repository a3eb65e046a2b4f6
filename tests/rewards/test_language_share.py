"""The language term: oracle 6.7, mixed and borderline text, and 18 languages of real news sentences."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.shared import SHARED_DATA as DATA
from sp3f_verl import languages
from sp3f_verl.errors import BadInput
from sp3f_verl.rewards.fidelity.identify import contest_of
from sp3f_verl.rewards.fidelity.language import UnsupportedLanguage, language_share, language_shares
from sp3f_verl.rewards.fidelity.likelihood import Groups, model
from sp3f_verl.rewards.fidelity.second_opinion import lingua_share
from sp3f_verl.rewards.text import prose

SP3F = "ar bn de en es fr hi id it ja ko pt ru sw te th yo zh".split()

MATHS_HEAVY = {
    "id": r"Jumlah apel adalah $x + 5 = 12$, jadi $x = 12 - 5 = \frac{14}{2} = 7$. Jawabannya adalah \boxed{7}.",
    "es": r"La suma es \(a + b = 12\), así que \[a = 12 - 5 = 7 \text{ kg}\] y la respuesta es \boxed{7}.",
    "sw": r"Idadi ya matufaha ni 7+5=12, kwa hiyo x = 12. Hivyo jibu ni $\boxed{12}$.",
    "bn": r"আপেলের সংখ্যা $\alpha + \beta = 12$, সুতরাং উত্তর হলো \boxed{12}। x = 5, y = 7.",
    "zh": r"苹果的数量是 $x + 5 = 12$，所以 $\sqrt{x} = \sqrt{7}$，x=7，答案是 \boxed{7}。",
    "th": r"จำนวนแอปเปิลคือ $x + 5 = 12$ ดังนั้น x = 12 - 5 = 7 และ \frac{a}{b} = 3y คำตอบคือ \boxed{7}",
    "yo": r"Iye àwọn èso náà jẹ́ $7 + 5 = 12$, nítorí náà ìdáhùn ni \boxed{12}.",
    "te": r"ఆపిల్స్ సంఖ్య $x + 5 = 12$, కాబట్టి $x = 7$. సమాధానం \boxed{7}.",
    "de": r"Die Summe ist `a + b` und ```print(a + b)``` gibt 12, siehe https://example.org/a. Antwort: \boxed{12}.",
}
ENGLISH = "She sells the remaining eggs at the market every morning, and she earns eighteen dollars a day."
HALVES = {
    "id": "Dia menjual sisa telur di pasar setiap pagi, dan dia mendapatkan delapan belas dolar setiap hari.",
    "es": "Ella vende los huevos restantes en el mercado cada mañana, y gana dieciocho dólares cada día.",
    "sw": "Anauza mayai yaliyobaki sokoni kila asubuhi, na anapata dola kumi na nane kila siku ya wiki.",
    "ru": "Она продаёт оставшиеся яйца на рынке каждое утро и зарабатывает восемнадцать долларов в день всегда.",
}


def sentences(code):
    path = DATA / "sentences" / f"{code}.txt"
    if not path.is_file():
        pytest.skip(f"no real sentences of {code!r}: set SP3F_REAL_DATA to the folder that holds sentences/{path.name}")
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("code", sorted(MATHS_HEAVY))
def test_maths_code_and_links_do_not_count_as_english(code):
    assert language_share(MATHS_HEAVY[code], code, SP3F) >= 0.95
    assert language_share(MATHS_HEAVY[code], "en", SP3F) <= 0.05


def test_names_inside_formulas_do_not_count():
    formulas = r"$ABC \sim DEF$ และ \[PQRS\] กับ \(KLM\) และ $$UVW$$ \begin{align}ABC &= DEF\end{align} คือสามเหลี่ยม"
    assert language_share(formulas, "th") == 1.0


@pytest.mark.parametrize("text", ["", " \n", "12 + 5 = 17", r"$x$ \boxed{12}", f"<think>{ENGLISH}</think> 12", "Ja."])
def test_what_says_too_little_is_undefined(text):
    assert language_share(text, "id") is None
    assert language_share(text, "th") is None


@pytest.mark.parametrize("code", sorted(HALVES))
@pytest.mark.parametrize("joint", [" ", "\n", "\n\n"])
def test_half_english_is_about_one_half(code, joint):
    for text in (HALVES[code] + joint + ENGLISH, ENGLISH + joint + HALVES[code]):
        assert language_share(text, code) == pytest.approx(0.5, abs=0.1)
        assert language_share(text, "en", (code,)) == pytest.approx(0.5, abs=0.1)
    assert language_share(HALVES[code], code) > 0.95


def test_a_third_language_is_neither_the_target_nor_english():
    french = "Elle vend les œufs restants au marché chaque matin et gagne dix-huit dollars par jour."
    for code in ("id", "en", "sw", "yo", "es"):
        assert language_share(french, code) < 0.1
    assert language_share(HALVES["es"], "pt") < 0.1
    assert language_share(HALVES["es"], "en") < 0.1


def test_script_decides_where_it_can():
    assert language_share("彼女は毎朝、市場で残りの卵を売っています。", "zh") < 0.1
    assert language_share("她每天早上在市场上卖掉剩下的鸡蛋。", "ja") < 0.1
    assert language_share(HALVES["ru"], "sw") == 0.0
    assert language_share("เธอขายไข่ที่เหลือ she sells eggs", "th") == pytest.approx(0.52, abs=0.1)


def test_words_between_dollar_signs_or_in_a_text_command_are_still_words():
    assert language_share("Vende por $5 los huevos y gana $18 en total.", "es") > 0.95
    for hidden in (f"${ENGLISH}$", rf"\text{{{ENGLISH}}}", rf"\boxed{{{ENGLISH}}}"):
        assert language_share("คำตอบคือสิบสอง " + hidden, "th") < 0.3


SEVEN = "Anna has seven apples and she gets five more apples from Ben"


@pytest.mark.parametrize(
    "hidden",
    [
        f"```python\n# {SEVEN}, so we add them.\nprint(7 + 5)\n```",
        f'```python\ndef total():\n    """{SEVEN}."""\n    return 7 + 5\n```',
        f"```\n{SEVEN} (all of them); so x = 12\n```",
        f"```text {SEVEN}```",
        f"`{SEVEN}`",
        f'```\nprint("{SEVEN}")\n',
        f"${SEVEN.replace(' ', '~')}$",
        f"${SEVEN.replace(' ', chr(92) + ' ')}$",
        f"${SEVEN.replace(' ', chr(92) + ',')}$",
        f"${SEVEN.replace(' ', '.')}$",
        f"${SEVEN.replace(' ', '_')}$",
        " ".join(rf"\text{{{word}}}" for word in SEVEN.split()),
        "$" + " ".join(rf"\text{{{word}}}" for word in SEVEN.split()) + "$",
        "https://" + "-".join([SEVEN.replace(" ", "-")] * 5),
        "".join(chr(0x1D41A + ord(c) - 97) if c.islower() else c for c in SEVEN),
        "".join(chr(0xFF41 + ord(c) - 97) if c.islower() else c for c in SEVEN),
    ],
)
def test_english_cannot_hide_in_code_maths_links_or_odd_letters(hidden):
    assert language_share(f"{hidden}\nJibu ni kumi na mbili.", "sw") < 0.5
    assert language_share(f"{hidden}\nคำตอบคือสิบสอง", "th") < 0.5


@pytest.mark.parametrize(
    "plain",
    [
        "```python\nfrom math import sqrt\nfor item in items:\n    total += item  # sum\nprint('total', total)\n```",
        "```js\nfunction add(first, second) {\n  return first + second; // add\n}\n```",
        "`total_apples = apples + more_apples` `math.sqrt` `range(total, step)`",
        r"$\triangle ABC \cong \triangle DEF$ \(\sin\theta \cdot \cos\theta\) $\alpha\,\beta\,\gamma$",
        r"\begin{align*} AB &= CD \\ \sqrt{2} &= \frac{total}{x} \end{align*}",
        r"\text{kg} \mathrm{km} 𝑥 = 5",
        "https://example.org/a/rather/long/address/of-a-page?with=arguments&and=more",
    ],
)
def test_plain_code_and_formulas_are_still_left_out(plain):
    assert language_share(f"{plain}\nJibu ni kumi na mbili.", "sw") == 1.0
    assert language_share(f"{plain}\nคำตอบคือสิบสอง", "th") == 1.0
    assert language_share(plain, "en") is None


@pytest.mark.timeout(60)  # linear: half a second; what goes quadratic takes minutes
@pytest.mark.parametrize(
    "opener",
    [
        r"\(",
        r"\[",
        r"\begin{a}",
        "$$",
        "```",
        "`",
        "$a\n",
        "#",
        '"',
        "'",
        r"\ ",
        "aa ",
        "(a",
        r"\text{a ",
        "Ab-",
        "a.@",
    ],
)
def test_an_opener_that_is_never_closed_costs_linear_time(opener):
    prose(opener * (200_000 // len(opener)))
    prose("```" + opener * (200_000 // len(opener)))
    prose(opener * (200_000 // len(opener)) + "}" * 200_000)


def test_every_language_recognises_its_own_instruction(subtests):
    for language in languages.all_languages():
        with subtests.test(language=language.code):
            assert language_share(language.instruction, language.code, languages.codes()) >= 0.95


def test_an_unknown_language_without_a_script_of_its_own_is_refused(monkeypatch):
    invented = languages.get("sw").model_copy(update={"code": "xx", "confusables": ()})
    monkeypatch.setattr(languages, "get", lambda code: invented)
    contest_of.cache_clear()
    with pytest.raises(UnsupportedLanguage, match="'xx' cannot be recognised"):
        language_share("anything", "xx")
    contest_of.cache_clear()


@given(st.text(max_size=300), st.sampled_from(["en", "ja", "th", "yo"]))
@settings(max_examples=100)
def test_a_share_is_a_share_of_any_text(text, code):
    share = language_share(text, code, SP3F)
    assert share is None or 0.0 <= share <= 1.0


def test_likelihoods_of_many_texts_are_those_that_py3langid_gives_each():
    texts = [
        "",
        "12",
        "THE PRICE",
        *HALVES.values(),
        *(each.instruction for each in languages.all_languages()),
        "e\ud83d",
    ]
    groups = [("sw",), ("en", "sr"), tuple(model().labels)]
    found = np.stack([Groups([group])(texts)[:, 0] for group in groups], axis=1)
    assert np.allclose(found, Groups(groups)(texts), atol=0.01)
    for text, row in zip(texts, found, strict=True):
        ranked = dict(model().rank(text))
        best = [max(map(ranked.get, group)) for group in groups]
        assert np.allclose(row, best if max(best) > -1e30 else 0.0, atol=0.01), text


def test_threads_with_different_sets_do_not_disturb_each_other():
    targets = [(target, others) for target in ("id", "es", "en") for others in ((), SP3F)]
    calls = [(text, *target) for text in HALVES.values() for target in targets]
    alone = [language_share(*call) for call in calls]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda call: language_share(*call), calls * 5)) == alone * 5


def paragraphs(code):
    """Of three sentences each."""
    lines = sentences(code)
    return [" ".join(lines[start : start + 3]) for start in range(0, len(lines) - 2, 3)]


def test_real_paragraphs_are_in_their_language_and_in_no_other_of_the_run():
    """The bounds of the project: 98 % of all paragraphs at 0.9 or more, 1 % at 0.7 or more for another language."""
    shares = [
        (code, other, language_share(text, other, SP3F)) for code in SP3F for text in paragraphs(code) for other in SP3F
    ]
    own = [(share or 0) >= 0.9 for code, other, share in shares if code == other]
    foreign = [(share or 0) >= 0.7 for code, other, share in shares if code != other]
    assert sum(own) >= 0.98 * len(own)
    assert sum(foreign) <= 0.01 * len(own)


def test_real_paragraphs_of_each_language(subtests):
    for code in SP3F:
        shares = [language_share(text, code, SP3F) or 0 for text in paragraphs(code)]
        with subtests.test(language=code):
            assert sum(share >= 0.9 for share in shares) >= 0.95 * len(shares)


@pytest.mark.parametrize("code", "sw de fr it id pt es".split())
@pytest.mark.parametrize("words", [2, 3, 5])
def test_every_other_words_in_english_fail_the_threshold(code, words):
    shares = []
    for own, english in zip(paragraphs(code), paragraphs("en"), strict=False):
        own, english = own.split(), english.split()
        mixed = [
            word
            for start in range(0, min(len(own), len(english)) - words + 1, words)
            for word in own[start : start + words] + english[start : start + words]
        ]
        shares.append(language_share(" ".join(mixed), code, SP3F))
    assert sum(share < 0.7 for share in shares) >= (0.65 if code == "id" else 0.78) * len(shares)  # docs/languages.md


def test_english_words_in_a_swahili_clause_are_english():
    mixed = "So the answer jibu ni twelve kumi na mbili because tunajumlisha seven na five to get kumi na mbili apples"
    own, english = language_shares(mixed, "sw")
    assert own < 0.6 and own + english == pytest.approx(1)
    assert language_share("Alisoma The New York Times jana jioni nyumbani kwake na rafiki yake", "sw") == 1


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ro", "Are ea mere? Copiii are voie. El are patru mere, ea are cinci mere, iar Ion are trei mere acum."),
        (
            "da",
            "Vi har en have med mange æbler i. Børnene vil have flere æbler, de skal have en have, og jeg vil have en.",
        ),
        (
            "nl",
            "Deze week heeft Anna zeven appels. Volgende week heeft ze er twee, en elke week eet zij een per week.",
        ),
        ("es", "Tú has comprado siete manzanas y has vendido dos, has comido una y has dado otra a tu hermano mayor."),
    ],
)
def test_a_word_that_english_has_too_does_not_make_a_text_english(code, text):
    assert language_share(text, code, SP3F) == 1


MIXED_UP = (
    "es-gl es-pt pt-gl ca-es nl-de da-nb nb-da sv-da cs-sk sk-cs ru-uk uk-ru bg-ru hi-mr mr-hi ur-ar fa-ar ar-fa "
    "id-ms fr-id ja-zh zh-ja yo-en it-es"
)


def test_real_paragraphs_are_not_in_a_language_they_are_mixed_up_with(subtests):
    for pair in MIXED_UP.split():
        written, asked = pair.split("-")
        shares = [language_share(text, asked, (written, asked)) or 0 for text in paragraphs(written)]
        with subtests.test(written=written, asked=asked):
            assert sum(share >= 0.7 for share in shares) <= 0.05 * len(shares)


# The same in Malay and in Indonesian. Written for this test: Malay news corpora hold much Indonesian.
MALAY = [
    "Kerajaan negeri mengumumkan bahawa semua pelajar universiti akan menerima wang bantuan selepas mesyuarat itu.",
    "Janet menjual baki telur di pasar setiap hari dengan harga dua dolar sebiji, jadi jawapannya ialah lapan belas.",
    "Kita perlu mendarab bilangan telur dengan harga sebiji telur kerana setiap telur dijual secara berasingan.",
    "Ali membeli tiga bakul epal di kedai, dan setiap bakul mengandungi lapan biji epal.",
]
INDONESIAN = [
    "Pemerintah provinsi mengumumkan bahwa semua mahasiswa universitas akan menerima uang bantuan setelah rapat itu.",
    "Janet menjual sisa telur di pasar setiap hari seharga dua dolar per butir, jadi jawabannya adalah delapan belas.",
    "Kita perlu mengalikan jumlah telur dengan harga per butir karena setiap telur dijual secara terpisah.",
    "Ali membeli tiga keranjang apel di toko, dan setiap keranjang berisi delapan buah apel.",
]


@pytest.mark.parametrize("others", [(), ("id", "ms"), SP3F])
@pytest.mark.parametrize(("malay", "indonesian"), zip(MALAY, INDONESIAN, strict=True))
def test_malay_and_indonesian_are_told_apart(malay, indonesian, others):
    assert language_share(malay, "ms", others) == language_share(indonesian, "id", others) == 1
    assert language_share(malay, "id", others) == language_share(indonesian, "ms", others) == 0


def test_names_in_latin_letters_are_overlooked_and_sentences_are_not():
    assert language_share("เมื่อวานนี้ Open AI ประกาศความร่วมมือใหม่กับโรงเรียนหลายแห่งในประเทศไทย", "th") == 1
    assert language_share("เมื่อวานนี้ " + ENGLISH, "th") < 0.3
    assert language_share(" และ ".join(ENGLISH.split()), "th") < 0.5  # English cut to pieces is not a list of names


def test_both_shares_come_from_one_reading():
    text = HALVES["id"] + " " + ENGLISH
    own, english = language_shares(text, "id")
    assert own == language_share(text, "id") and own + english == pytest.approx(1, abs=0.01)
    assert language_shares(text, "en") == (language_share(text, "en"),) * 2
    assert language_shares("12", "id") == (None, None)
    assert language_shares("เธอขายไข่ที่เหลือในตลาด " + ENGLISH, "th")[1] > 0.6


WORDS = {
    "sw": HALVES["sw"],
    "th": "เธอขายไข่ที่เหลือในตลาดทุกเช้าและได้เงินสิบแปดดอลลาร์ต่อวัน",
    "ru": HALVES["ru"],
    "id": HALVES["id"],
}


@given(st.sampled_from(sorted(WORDS)), st.lists(st.sampled_from([ENGLISH, *WORDS.values()]), max_size=4))
@settings(max_examples=100)
def test_text_in_the_language_never_lowers_its_share(code, before):
    text = "\n".join(before)
    share, more = language_share(text, code, SP3F), language_share(text + "\n" + WORDS[code], code, SP3F)
    assert more is not None and more >= (share or 0) - 1e-9


def test_a_second_opinion_needs_its_package_or_agrees():
    try:
        import lingua  # noqa: F401
    except ImportError:
        with pytest.raises(BadInput, match=r"pip install 'sp3f-verl\[lingua\]'"):
            lingua_share(HALVES["id"], "id")
        return
    for code, text in HALVES.items():
        assert lingua_share(text, code) > 0.9 and lingua_share(text + " " + ENGLISH, code) == pytest.approx(
            0.5, abs=0.2
        )
    with pytest.raises(UnsupportedLanguage):
        lingua_share(HALVES["es"], "gl")
