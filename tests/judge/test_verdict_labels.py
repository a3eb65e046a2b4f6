r"""Verdicts of judges that label, question, strike out or set apart what they write, in many languages."""

import pytest

from sp3f_verl.judge import Verdict, parse_verdict


@pytest.mark.parametrize("name", ["draft", "мысли", "考え", "pensamiento", "réflexion", "details", "hypothesis"])
def test_an_element_that_the_answer_follows_is_none_of_it(name):
    inside = f"<{name}>It may be \\boxed{{B}}</{name}>"
    assert parse_verdict(f"{inside} Response A is better.") is Verdict.FAILED
    assert parse_verdict(f"{inside}<verdict>\\boxed{{A}}</verdict>") is Verdict.A
    assert parse_verdict(inside) is Verdict.B, "nothing follows it"
    assert parse_verdict(f"\\boxed{{A}} <{name}>A 8, B 4</{name}>") is Verdict.A


@pytest.mark.parametrize(
    "text",
    [
        "<verdict>\\boxed{A}</verdict> Thanks.",
        "<回答>\\boxed{A}</回答>。谢谢",
        "<b>\\boxed{A}</b> is my verdict",
        "<table><tr><td>\\boxed{A}</td></tr></table> end",
        "<s> \\boxed{A}",
        "If x <y and z> 3 then \\boxed{A}",
    ],
)
def test_an_element_of_the_answer_is_read(text):
    assert parse_verdict(text) is Verdict.A


@pytest.mark.parametrize(
    "text",
    [
        "<мысли>It is \\boxed{B}",
        "<details>\n<summary>Reasoning</summary>\n\nIs it \\boxed{B}\n",
        "[BEGIN REASONING] \\boxed{B} [END REASONING] A",
        "[unused16]\\boxed{B}[unused17]A",
    ],
)
def test_thoughts_without_an_end_or_in_other_marks_are_no_answer(text):
    assert parse_verdict(text) is Verdict.FAILED


@pytest.mark.parametrize(
    "struck",
    ["~~\\boxed{B}~~", "<del>\\boxed{B}</del>", "<s>\\boxed{B}</s>", "<!-- \\boxed{B} -->", "\\sout{\\boxed{B}}",
     "\\xcancel{\\boxed{\\text{B}}}"],
)  # fmt: skip
def test_what_is_struck_out_is_not_said(struck):
    assert parse_verdict(f"{struck} \\boxed{{A}}") is Verdict.A
    assert parse_verdict(f"\\boxed{{A}}\n{struck}") is Verdict.A
    assert parse_verdict(f"The verdict: {struck}") is Verdict.FAILED
    assert parse_verdict("about~~5, so \\boxed{A}") is Verdict.A


LABELS = [
    ("Winner", "Runner-up"), ("1st", "2nd"), ("First place", "Second place"), ("Primero", "Segundo"),
    ("勝者", "敗者"), ("Победитель", "Проигравший"), ("Mshindi", "Aliyeshindwa"), ("ผู้ชนะ", "ผู้แพ้"),
    ("الفائز", "الخاسر"), ("विजेता", "हारा"), ("승자", "패자"), ("Người thắng", "Người thua"), ("Pemenang", "Kalah"),
    ("Correctness", "Language"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), LABELS)
@pytest.mark.parametrize("form", ["{}: \\boxed{{A}}. {}: \\boxed{{B}}", "| {} | \\boxed{{A}} |\n| {} | \\boxed{{B}} |"])
def test_two_with_labels_are_no_verdict_for_the_second(one, other, form):
    assert parse_verdict(form.format(one, other)) is Verdict.FAILED


@pytest.mark.parametrize(
    "text",
    [
        "First impression: \\boxed{B}. Final verdict: \\boxed{A}",
        "Primera impresión: \\boxed{B}. Veredicto final: \\boxed{A}",
        "初步判断：\\boxed{B}\n最终判断：\\boxed{A}",
        "Awali: \\boxed{B}\nUamuzi wa mwisho: \\boxed{A}",
        "Loser: \\boxed{B}\nWinner: \\boxed{A}",
        "At first I'd say: \\boxed{B}. On closer inspection: \\boxed{A}",
        "My first thought: \\boxed{B}. No: \\boxed{A}",
        "Correctness: \\boxed{B}. Overall: \\boxed{A}",
    ],
)
def test_a_label_that_says_verdict_counts(text):
    assert parse_verdict(text) is Verdict.A


@pytest.mark.parametrize(
    "text",
    [
        "La risposta non è {}", "उत्तर {} नहीं है", "Sio {}", "Cevap {} değil", "Nie {}", "উত্তর {} নয়", "{} కాదు",
        "我不会选{}", "答案不应该是{}", "不应选择{}", "Anything but {}", "Everything except {}", "not `{}`", "≠ {}",
        "\\neq {}",
        "{} ❌", "✗ {}", "{}? No.", "{}? Maybe.", "敗者：{}", "Perdedor: {}",
        "\\boxed{{A}}\n\nNote: if speed mattered, {}",
    ],
)  # fmt: skip
def test_what_is_denied_questioned_or_conditional_is_none(text):
    assert parse_verdict(text.format("\\boxed{B}")) is Verdict.FAILED


@pytest.mark.parametrize(
    "text",
    [
        "{}? Yes.",
        "{}？是的。",
        "Who wins? {}",
        "B is wrong ❌. A: {}",
        "{} ✅, B ❌",
        "A ≠ B, so {}",
        "不选B，选{}",
        "B değil, {}",
    ],
)
def test_what_is_said_of_the_other_takes_no_verdict_away(text):
    assert parse_verdict(text.format("\\boxed{A}")) is Verdict.A


@pytest.mark.parametrize(
    ("label", "verdict"),
    [
        ("\\uline{A}", Verdict.A), ("A\\\\", Verdict.A), ("l’option A", Verdict.A), ("&quot;A&quot;", Verdict.A),
        ("A&nbsp;", Verdict.A), ("**A**!", Verdict.A), ("!A", Verdict.FAILED), ("~~A~~", Verdict.FAILED),
        ("\\cancel{A}", Verdict.FAILED),
    ],
)  # fmt: skip
def test_more_that_dresses_or_takes_back_a_letter(label, verdict):
    assert parse_verdict(f"\\boxed{{{label}}}") is verdict


@pytest.mark.parametrize(
    "text",
    ["[[1]]: see the first\nA is right", "as shown in [[2]], A is right", "A[[1]] = 3", "df[[1]]", "x ← [[1]]",
     "$[[1]]$",
     "list[[2]] gives", "matrix [[2]] is", "[[1]] * [[1]] = [[1]]", "[[2]]^T"],
)  # fmt: skip
def test_numbers_in_brackets_that_are_cited_or_reckoned_with_are_no_verdict(text):
    assert parse_verdict(text) is Verdict.FAILED


@pytest.mark.parametrize(
    "text", ["Verdict: [[1]] (the first)", "It is [[1]]. So ends it.", "[[1]] as it is right", "[[A > B]]"]
)
def test_numbers_in_brackets_that_end_or_begin_a_sentence_are(text):
    assert parse_verdict(text) is Verdict.A


@pytest.mark.timeout(120)  # linear: half a second; a quadratic scan would need hours
@pytest.mark.parametrize(
    "unit",
    ["<draft>", "<a b>", "</draft>", "<!--", "<!-- x", "~~", "~~a", "\\cancel{", "\\cancel{a}", "<s>x</s>", "a: "],
)
def test_any_number_of_marks_takes_linear_time(unit):
    text = unit * (300_000 // len(unit))
    parse_verdict(text)
    parse_verdict(f"{text}\\boxed{{A}}{text}\\boxed{{B}}")
