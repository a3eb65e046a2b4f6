"""Translation without a model: what is protected, what is measured, what is chosen, how an answer is repaired."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.shared import SHARED_DATA as REAL
from sp3f_verl import languages
from sp3f_verl.errors import BadInput
from sp3f_verl.rewards import answers_match, extract_boxed, language_share
from sp3f_verl.translate import gate
from sp3f_verl.translate.choose import REASONS, Candidate, Criteria, choose
from sp3f_verl.translate.features import Features, features, length_ratio, worse
from sp3f_verl.translate.numbers import numbers_kept
from sp3f_verl.translate.prompt import fence, messages, read_answer
from sp3f_verl.translate.protect import Broken, Protected, protect, without_placeholders
from sp3f_verl.translate.repair import repair, without_final_box

PIECES = st.sampled_from(
    [
        *(r"\boxed{", "}", "{", r"\frac{1}{2}", "$", "$$", r"\(", r"\)", r"\[", r"\]", "`", "```", "\n", " ", "⟦1⟧"),
        *("⟦ ২ ⟧", "⟦", "⟧", "https://a.b/c?d=1,", "a@b.de", "48/2 = 24", "12", " x ", "= ", "costs $5 and $9", "<b>"),
        *(
            r"\text{if } y",
            r"\begin{align}",
            r"\end{align}",
            "</translation>",
            "<|im_end|>",
            "\\",
            "½",
            "½",
            "ß",
            "\x00",
        ),
    ]
)


class TestProtect:
    @settings(max_examples=300)
    @given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=12).map("".join)))
    def test_an_identity_translation_is_restored_to_the_source(self, text):
        protected = protect(text)
        assert protected.restore(protected.text) == text
        assert not protected.is_added_to(protected.text)

    @pytest.mark.parametrize(
        ("text", "spans"),
        [
            ("She sold 48/2 = 24 clips in May.", ["48/2 = 24"]),
            ("She earned 0.2 x 50 = $10.", ["0.2 x 50 = $10"]),
            ("So $x^2+1$ and \\(y\\) are equal.", ["$x^2+1$", "\\(y\\)"]),
            ("The result is \\boxed{\\frac{1}{2}}.", ["\\boxed{\\frac{1}{2}}"]),
            ("It costs $5 and sells for $9.", []),  # money is no formula
            ("Read https://a.org/x, then write to me@a.org.", ["https://a.org/x", "me@a.org"]),
            ("Run `pip list` or\n```py\nprint(1)\n```\nnow.", ["`pip list`", "```py\nprint(1)\n```"]),
            ("\\textbf{every second day} she runs 3 miles", ["\\textbf"]),  # the words are to be translated
            ("Mark ⟦1⟧ stays <b>bold</b>.", ["⟦1⟧", "<b>", "</b>"]),
            ("It costs $5 at https://a.org and `b` is $9.", ["https://a.org", "`b`"]),
            ("He has 12 apples, a-b and 3.5 pears.", []),
        ],
    )
    def test_what_is_protected(self, text, spans):
        assert list(protect(text).spans) == spans

    @pytest.mark.parametrize(
        ("translation", "reason"),
        [
            ("Tiene ⟦1⟧.", "placeholder_lost"),
            ("Tiene ⟦1⟧ y ⟦2⟧ y ⟦1⟧.", "placeholder_repeated"),
            ("Tiene ⟦1⟧ y ⟦2⟧ y ⟦3⟧.", "placeholder_unknown"),
            ("Tiene ⟦0⟧ y ⟦2⟧.", "placeholder_unknown"),
        ],
    )
    def test_placeholders_that_do_not_come_back_once_each(self, translation, reason):
        with pytest.raises(Broken, match=reason):
            Protected("It has ⟦1⟧ and ⟦2⟧.", ("$a$", "$b$")).restore(translation)

    @pytest.mark.parametrize("added", ["`rm -rf`", "https://a.org", "<script>", "\\boxed{3}", "$ 5 and `rm` $"])
    def test_a_translation_adds_no_code_or_link(self, added):
        protected = protect("She has $x^2$ flowers.")
        assert protected.is_added_to(f"Tiene ⟦1⟧ flores {added}") and not protected.is_added_to("Tiene ⟦1⟧ flores.")

    @pytest.mark.parametrize(
        "unit",
        ["$", "{", "\\a{", "`", "<a", "1", "1,", "1+", "(", "\\[", "\\begin{a}", "a@", "www.", "$a ", "x", "⟦", " "],
    )
    def test_hostile_text_takes_no_time(self, unit):
        """A quadratic pattern takes minutes here, past the test's own time limit."""
        text = unit * (100_000 // len(unit))
        protected = protect(text)
        assert protected.restore(protected.text) == text
        assert read_answer(f"<translation>{text}</translation>") == (text.strip() or None)
        assert gate.fault(gate.cleaned(text, text), text, "es") is None

    def test_the_order_may_change_and_digits_may_be_of_the_language(self):
        assert Protected("⟦1⟧ of ⟦2⟧", ("$a$", "$b$")).restore("⟦২⟧ এর ⟦ ১ ⟧") == "$b$ এর $a$"


class TestNumbers:
    @pytest.mark.parametrize(
        ("source", "translation", "language", "kept"),
        [
            ("48 clips for $1,250.50", "48 clips por 1.250,50 $", "es", 1),
            ("48 clips for $1,250.50", "48 clips por $1,250.50", "es", 1),  # as in Mexico
            ("48 clips for 12,000 people", "48 clips pour 12\u202f000 personnes", "fr", 1),
            ("5,000 people in 2 towns", "5 000 Menschen in 2 Orten", "de", 1),
            ("48 clips, 3.5 each", "४८ क्लिप, प्रत्येक ३.५", "hi", 1),
            ("48 clips, 3.5 each", "٤٨ مشبكًا، ٣٫٥ لكل منها", "ar", 1),
            ("80,000 dollars", "8万ドル", "ja", 1),
            ("three eggs per day, 16 in all", "1日3個、全部で16個", "ja", 1),  # words may become digits
            ("three eggs, 16 in all", "huevos: 16 en total", "es", 1),  # and need not
            ("48 clips and 2 boxes", "48 clips y 3 cajas", "es", 1 / 2),
            ("48 clips and 2 boxes", "48 clips", "es", 1 / 2),
            ("48 clips", "48 clips y 48 más", "es", 1 / 2),  # a multiset
            ("48 clips", "clips", "es", 0),
            ("some clips", "algunos clips", "es", 1),
            ("2.50 dollars", "250 dólares", "es", 0),
            ("45,000 trees and 230,000,000 leaves", "木は4万5000本、葉は2億3000万枚", "ja", 1),
            ("45,000 trees", "나무 4만 5천 그루", "ko", 1),
            ("45,000 trees", "나무 4만 6천 그루", "ko", 0),
            ("1.5 million people", "15 लाख लोग", "hi", 1),
            ("3.2 billion people in 2021", "2021年有32亿人", "zh", 1),
            ("In July 12 people came", "7月に12人が来た", "ja", 1),
            ("5,000 birds", "ndege elfu 5", "sw", 1),
            ("-7 degrees and 7 degrees", "7 Grad und 7 Grad", "de", 1 / 2),
            ("-7 degrees and 7 degrees", "minus 7 Grad und 7 Grad", "de", 1),
            ("7 degrees", "-7 Grad", "de", 0),
            ("5-10 days", "5-10 Tage", "de", 1),
            ("30% of 90 kg", "90 kg的30", "zh", 1 / 2),
            ("30% of 90 kg", "30 Prozent von 90 kg", "de", 1),
            ("$30 for 4 tickets", "30 € für 4 Karten", "de", 1 / 2),
            ("$30 for 4 tickets", "4枚のチケットで30ドル", "ja", 1),
            ("5 cents a weed, $10 an hour", "5 céntimos por hierba, $10 por hora", "es", 1),  # "an" is a French year
            ("$10 an hour", "R$ 10 por hora", "pt", 0),
            ("$20,000 at 10%, more at 20%", "$20,000 al 10%, más al 20%", "es", 1),  # not the 20 of 20%
            ("It was -6 degrees.", "Bylo 6 stupňů.", "cs", 0),
            ("It was -6 degrees.", "Bylo 6 stupňů pod nulou.", "cs", 1),
            ("It was -6 degrees.", "6 fok volt.", "hu", 0),
            ("It was -6 degrees.", "Mínusz 6 fok volt.", "hu", 1),
            ("It was -6 degrees.", "气温是-6度。", "zh", 1),
            ("It was -6 degrees.", "気温は－６度だった。", "ja", 1),
            ("It was -6 degrees.", "तापमान शून्य से 6 डिग्री नीचे था।", "hi", 1),
            ("It was -6 degrees.", "তাপমাত্রা শূন্যের ৬ ডিগ্রি নিচে ছিল।", "bn", 1),
            ("It was -6 degrees.", "Isı sıfırın 6 derece altındaydı.", "tr", 1),
            ("From -9 to 4 degrees.", "De 9 a -4 grados.", "es", 0),
            ("From -9 to 4 degrees.", "De 9 a menos 4 grados.", "es", 1 / 2),
            ("From -9 to 4 degrees.", "De menos 9 a 4 grados.", "es", 1),
            ("From -9 to 4 degrees.", "De 9 grados bajo cero a 4 grados.", "es", 1),
            ("minus nine degrees", "-9 Grad", "de", 1),
            (
                "from May to August, 5 to 8",
                "5月-8月、5-8",
                "ja",
                1,
            ),  # ranges
            ("20 of 60 boys", "20 % der 60 Jungen", "de", 1 / 2),
            ("20 of 60 boys", "asilimia 20 ya wavulana 60", "sw", 1 / 2),
            ("20% of 60 boys", "60 % von 20 Jungen", "de", 0),
            ("20% of 60 boys", "ìdá 20 nínú ọgọ́rùn-ún ọmọkùnrin 60", "yo", 1),
            ("20% to 60% of them", "20 bis 60 % davon", "de", 1),
            ("20 to 60 percent of them", "20 % bis 60 % davon", "de", 1),
            ("ten percent of 10 boys", "10 % der 10 Jungen", "de", 1),
            ("Jo has $10 and Al has $20.", "Jo tiene 10 dólares y Al tiene 20 euros.", "es", 1 / 2),
            ("Jo has $10 and Al has €20.", "Jo tiene 10 euros y Al tiene 20 dólares.", "es", 0),
            ("Jo has $10 and Al has €20.", "Jo tiene 10 dólares y Al tiene 20 €.", "es", 1),
            ("Jo has $10 and 20 more.", "Jo tiene 10 dólares y 20 dólares más.", "es", 1),
            ("15,200 yen", "1万5,200円", "ja", 1),
            ("15,200 yen", "1万5,300円", "ja", 0),
            ("30 million", "3 కోట్ల", "te", 1),
            ("1.5 billion", "1.5 अर्ब", "ne", 1),
            ("48,500 birds", "ndege elfu 48 na 500", "sw", 1),
            ("48,600 birds", "ndege elfu 48 na 500", "sw", 0),
            ("35 million", "3.5 करो\u095c", "hi", 1),
            ("35 million", "3.5 करो\u0921\u093c", "hi", 1),
            ("It was -6 degrees.", unicodedata.normalize("NFD", "Nhiệt độ là âm 6 độ."), "vi", 1),
            ("It was -6 degrees.", "อุณหภูมิต่ำกว่าศูนย์ 6 องศา", "th", 1),
            ("10² is 100, ½ of 5 m²", "10² ist 100, ½ von 5 ㎡", "de", 1),
            ("1/2 cup and 3/4 cup", "½ Tasse und ¾ Tasse", "de", 1),
            ("1/2 cup and 3/4 cup", "½ Tasse und ¼ Tasse", "de", 3 / 4),
            ("It was 5 degrees.", "Hacía 5 grados bajo cero.", "es", 0),
            ("It was 5 degrees.", "気温は氷点下5度でした。", "ja", 0),
            ("It was 5 degrees below zero.", "Hacía 5 grados bajo cero.", "es", 1),
            ("5 fewer apples", "5 manzanas menos", "es", 1),
            ("The profit was $50.", "利润是-50美元。", "zh", 0),
            ("The profit was -$50.", "利润是-50美元。", "zh", 1),
            ("From May to August, 5-8", "5月-8月", "zh", 1),
            ("Solve 2x - 5 = 3.", "Resuelve 2x + 5 = 3.", "es", 2 / 3),
            ("Solve 2x - 5 = 3.", "Resuelve 2x − 5 = 3.", "es", 1),
            ("He has $10 and 5 apples.", "Tiene 10 manzanas y 5 dólares.", "es", 1 / 2),
            ("He has $10 and 5 apples.", "Tiene 5 manzanas y 10 dólares.", "es", 1),
            ("50 cents", "50 копеек", "ru", 0),
            ("It costs $1.25.", "1ドル25セントです。", "ja", 1),
            ("It costs $1.25.", "1ドル52セントです。", "ja", 0),
            ("1 dollar and 25 cents", "1ドル25セント", "ja", 1),
            ("100,050,000", "1亿零5万", "zh", 1),
            ("100,050,000", "1亿零50万", "zh", 0),
            ("10,500", "1万零500", "zh", 1),
            ("1.2 trillion", "1 200 milliards", "fr", 1),
            ("from Jan. to Mar.", "从1月到3月", "zh", 1),
            ("half of 90", "90의 1/2", "ko", 1),
            ("half of 90", "90의 1/3", "ko", 1 / 2),
            ("2 and a half hours", "2.5小时", "zh", 1),
            ("2 and a half hours", "3.5小时", "zh", 0),
            ("one and a half hours", "1,5 Stunden", "de", 1),
            ("At 3:30 p.m. she left.", "Um 15:30 Uhr ging sie.", "de", 1),
            ("At 3:30 a.m. she left.", "Um 15:30 Uhr ging sie.", "de", 1 / 2),
            ("At 3 pm she left.", "15時に彼女は去った。", "ja", 1),
        ],
    )
    def test_by_hand(self, source, translation, language, kept):
        assert numbers_kept(source, translation, language) == pytest.approx(kept)

    @pytest.mark.timeout(60)
    @pytest.mark.parametrize("repeated", ["1,", "1", "1 200 ", "1.", "-5 ", "5 dollars "])
    def test_pages_of_one_number_take_no_time(self, repeated):
        text = (repeated * 20_000)[:20_000]
        assert numbers_kept(text, text, "zh") == numbers_kept(text, text, "es") == 1

    @settings(max_examples=200)
    @given(st.lists(st.integers(100, 10**6), min_size=1, max_size=5), st.data())
    def test_any_script_keeps_them_and_any_change_is_seen(self, values, data):
        source = " and ".join(f"{value:,}" for value in values)
        zero = data.draw(st.sampled_from("0०০٠๐"))
        digits = str.maketrans("0123456789", "".join(chr(ord(zero) + digit) for digit in range(10)))
        translation = " ... ".join(str(value) for value in values).translate(digits)
        for language in ("de", "hi"):
            assert numbers_kept(source, translation, language) == 1
        values[data.draw(st.integers(0, len(values) - 1))] += 1
        changed = " ... ".join(str(value) for value in values).translate(digits)
        assert numbers_kept(source, changed, "hi") < 1

    @pytest.mark.skipif(not (REAL / "mgsm").is_dir(), reason=f"no MGSM in {REAL}")
    def test_human_translations_pass_and_those_of_other_problems_do_not(self):
        """MGSM: translators wrote 13 Uhr for 1 PM, or left a number out, in few of 250 questions."""
        english, *others = (
            [line.split("\t")[0] for line in (REAL / "mgsm" / f"mgsm_{code}.tsv").read_text().splitlines()]
            for code in ("en", "de", "th", "sw", "ja")
        )
        for code, translated in zip(("de", "th", "sw", "ja"), others, strict=True):
            pairs = [(protect(one).text, protect(other).text) for one, other in zip(english, translated, strict=True)]
            fine = [_passes(one, other, code) for one, other in pairs]
            assert sum(fine) >= (240 if code != "ja" else 215)
            wrong = [_passes(pairs[row][0], pairs[row - 1][1], code) for row in range(250)]
            assert sum(wrong) <= 5


def _passes(source, translation, code):
    source, translation = without_placeholders(source), without_placeholders(translation)
    return Criteria().fault(features(source, translation, code), len(source), True) is None


class TestFeatures:
    def test_length_counts_what_takes_room(self):
        assert length_ratio("ab cd", "abcd efgh") == 2
        assert length_ratio("abcd", "四个") == 1  # wide characters count for two
        assert length_ratio("ab", "के") == 0.5  # a vowel sign is a mark
        assert length_ratio("  ", "a") is None

    def test_the_worse_of_two(self):
        one, other = Features(0.9, 2.0, 1.0, None), Features(None, 0.25, 0.5, 0.75)
        assert worse(one, other) == Features(0.9, 0.25, 0.5, 0.75)
        assert worse(one, None) == one


class TestChoice:
    def of(self, *features, reason=None):
        return [
            Candidate(number, reason, None if reason else "text", None, measured)
            for number, measured in enumerate(features)
        ]

    def test_the_best_and_of_equals_the_first(self):
        candidates = self.of(Features(0.9, 1, 1), Features(1, 1, 1), Features(1, 1, 1))
        assert choose(candidates, Criteria()).number == 1
        assert choose(candidates[::-1], Criteria()).number == 1

    def test_weights_decide(self):
        short, mixed = Features(1.0, 0.5, 1), Features(0.9, 1.0, 1)  # 1 + 0.5 w against 0.9 + w
        assert choose(self.of(short, mixed), Criteria(weights={"language": 1, "length": 0.1})).number == 0
        assert choose(self.of(short, mixed), Criteria(weights={"language": 1, "length": 0.3})).number == 1

    def test_no_good_one_tells_how_far_the_best_came(self):
        candidates = [Candidate(n, reason) for n, reason in enumerate(("error", "numbers", "truncated", "numbers"))]
        assert (choose(candidates, Criteria()).reason, choose(candidates, Criteria()).number) == ("numbers", 1)

    @pytest.mark.parametrize(
        ("features", "has_words", "fault"),
        [
            (Features(0.8, 1.0, 1.0), True, None),
            (Features(0.79, 1.0, 1.0), True, "off_language"),
            (Features(0.0, 1.0, 1.0), True, "off_language"),
            (Features(None, 1.0, 1.0), True, "off_language"),  # words went in, none came out
            (Features(None, 1.0, 1.0), False, None),  # all of it is formulas
            (Features(1.0, 0.39, 1.0), True, "length"),
            (Features(1.0, 2.51, 1.0), True, "length"),
            (Features(1.0, 1.0, 0.99), True, "numbers"),
        ],
    )
    def test_thresholds(self, features, has_words, fault):
        assert Criteria().fault(features, 100, has_words) == fault and (fault is None or fault in REASONS)

    def test_the_length_of_a_short_text_says_nothing(self):
        assert Criteria().fault(Features(1.0, 3.0, 1.0), 5, True) is None

    def test_a_back_translation_that_is_asked_for_must_be_there(self):
        criteria = Criteria(back_translation=0.5)
        assert criteria.back_fault(Features(1, 1, 1, 0.5)) is None
        assert criteria.back_fault(Features(1, 1, 1, 0.49)) == "back_translation"
        assert criteria.back_fault(Features(1, 1, 1)) == "back_translation"
        assert Criteria().back_fault(Features(1, 1, 1)) is None

    @pytest.mark.parametrize(
        "wrong", [{"language_share": 1.5}, {"length": (2.0, 1.0)}, {"weights": {"lenght": 1}}, {"numbers": -1}]
    )
    def test_bad_settings(self, wrong):
        with pytest.raises(BadInput):
            Criteria(**wrong)


class TestRepair:
    def test_every_language(self, subtests):
        for code in languages.codes():
            solution = repair("48 + 24", "72", code)
            with subtests.test(language=code):
                assert extract_boxed(solution) == "72" and solution.startswith("48 + 24\n\n")
                assert languages.get(code).answer_sentence.split("{answer}")[0] in solution

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("Por tanto \\boxed{71}.", "Por tanto \\boxed{72}."),
            ("\\boxed{1} y \\boxed{\\frac{1}{2}}", "\\boxed{1} y \\boxed{72}"),
            ("इसलिए \\boxed{७२}", "इसलिए \\boxed{72}"),
            ("因此 \\boxed{}。", "因此 \\boxed{72}。"),
            ("ดังนั้น \\boxed{7} และ \\boxed{8", "ดังนั้น \\boxed{72} และ \\boxed{8"),
        ],
    )
    def test_the_last_complete_box_gets_the_gold_answer(self, before, after):
        assert repair(before, "72", "es") == after

    def test_the_sentence_in_full(self):
        assert repair("Vende 72.\n", "72", "es") == "Vende 72.\n\nPor lo tanto, la respuesta es \\boxed{72}."
        assert repair("所以", "\\frac{1}{2}", "ja") == "所以\n\nしたがって、答えは \\boxed{\\frac{1}{2}} です。"

    @given(st.text(max_size=40), st.sampled_from(languages.codes()), st.sampled_from(["72", "1,234.5", "(1, 2)"]))
    @settings(max_examples=100)
    def test_whatever_the_translation_the_box_holds_the_answer(self, text, code, answer):
        if "think>" not in text:
            assert answers_match(extract_boxed(repair(text, answer, code)), answer, language=code)

    def test_a_last_line_that_is_a_box_makes_room_for_the_sentence(self):
        assert without_final_box("48 + 24\n\\boxed{72}") == "48 + 24"
        assert without_final_box("48 + 24\n$\\boxed{72}$.") == "48 + 24"
        assert without_final_box("So it is \\boxed{72}.") == "So it is \\boxed{72}."
        assert without_final_box("\\boxed{72}") == "\\boxed{72}"


class TestPrompt:
    @settings(max_examples=100)
    @given(st.text(max_size=60))
    def test_the_text_cannot_close_its_block_or_be_filled_in(self, text):
        hostile = f"{text}\n{fence(text)}\n{{{{fence}}}}"
        chat = messages(hostile, "en", "sw")
        assert fence(hostile) not in hostile and hostile in chat[1]["content"]
        assert chat[1]["content"].count(fence(hostile)) == 3  # named once, and two lines
        assert chat == messages(hostile, "en", "sw") and hostile not in chat[0]["content"]

    def test_every_language_is_named(self, subtests):
        for code in languages.codes():
            with subtests.test(language=code):
                assert all(languages.get(code).english_name in turn["content"] for turn in messages("Hi", "en", code))

    @pytest.mark.parametrize(
        ("answer", "translation"),
        [
            ("<translation>Hola</translation>", "Hola"),
            ("<think>Hello</think>Sure:\n<translation>\nHola\n</translation>", "Hola"),
            ("<translation>```text\nHola\n```</translation>", "Hola"),
            ("Hola", None),
            ("<translation>Hola", None),
            ("<translation></translation>", None),
            ("<translation>Hola</translation><translation>Adiós</translation>", None),
        ],
    )
    def test_reading(self, answer, translation):
        assert read_answer(answer) == translation


def test_english_that_pretends_to_be_a_translation_is_off_language():
    text = "Natalia sold clips to 48 of her friends in April."
    assert Criteria().fault(features(text, text, "es"), 40, True) == "off_language"
    assert language_share(text, "es") == 0


class TestGate:
    @pytest.mark.parametrize(
        ("source", "answer", "kept"),
        [
            ("It is 5.", "Spanish translation: Son 5.", "Son 5."),
            ("It is 5.", "Übersetzung: Es sind 5.", "Es sind 5."),
            ("It is 5.", "**翻訳：** 5です。", "5です。"),
            ("It is 5.", "Voici le texte :\n\nC'est 5.", "C'est 5."),
            ("It is 5.", "C'est 5.\n\n(Remarque : le nombre est gardé.)", "C'est 5."),
            ("It is 5.", "Es sind 5.\nAnmerkung: Die Zahl bleibt.", "Es sind 5."),
            ("It is 5 o'clock.", "Es ist jetzt fünf Uhr. Es ist jetzt fünf Uhr.", "Es ist jetzt fünf Uhr."),
            ("It is 5.\n\nNote: it may change.", "Son 5.\n\nNota: puede cambiar.", "Son 5.\n\nNota: puede cambiar."),
            ("Translate this: five.", "Übersetze dies: fünf.", "Übersetze dies: fünf."),
            ("At 5: run.", "A las 5: corre.", "A las 5: corre."),
            (
                "No more of it. No more of it.",
                "Nunca más de eso. Nunca más de eso.",
                "Nunca más de eso. Nunca más de eso.",
            ),
            ("We convert 3 hours: 180.", "Convertimos 3 horas: 180.", "Convertimos 3 horas: 180."),  # lt: vertim
            ("Salt water: 3 litres.", "Agua salina: 3 litros.", "Agua salina: 3 litros."),
        ],
    )
    def test_what_is_no_part_of_it_is_cut_off(self, source, answer, kept):
        assert gate.cleaned(answer, source) == kept

    @pytest.mark.parametrize(
        ("source", "answer", "language", "fault"),
        [
            ("How many are left?", "Quedan muchas.", "es", "question_lost"),
            ("How many are left?", "¿Cuántas quedan?", "es", None),
            ("How many are left?", "いくつ残っていますか。", "ja", None),
            ("How many are left?", "残りは三つです。", "ja", "question_lost"),
            ("How many are left?", "Πόσα μένουν;", "el", None),
            ("How many are left?", "เหลือกี่อัน", "th", None),
            ("Tell me about it.", "Es tut mir leid, aber ich kann dabei nicht helfen.", "de", "refusal"),
            ("I am sorry about it.", "Es tut mir leid.", "de", None),
            ("Tell me about it.", "Deja, negaliu išversti.", "lt", "refusal"),
            ("It leaves 12 eggs.", "Eso deja 12 huevos.", "es", None),  # Lithuanian: deja
            ("Jan held 5 apples.", "Jan držal 5 jablek.", "cs", None),  # Slovene: žal
            ("The cannoli cost $3.", "I cannoli costano 3 $.", "it", None),
            ("Take $x = 2$ now.", "Toma x = 2 ahora.", "es", "marks"),
            ("Take it for $5 now.", "Tómalo por 5 dólares ahora.", "es", None),
            ("Take {a} now.", "Toma a ahora.", "es", "marks"),
            ("Take a now.", "Toma {a} ahora.", "es", "marks"),
        ],
    )
    def test_faults(self, source, answer, language, fault):
        assert gate.fault(answer, source, language) == fault
