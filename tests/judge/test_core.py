r"""The judge's core without a model: verdicts from text, win rates from verdicts, metrics, schedule."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.judge import Verdict, judge_metrics, parse_verdict, win_rates
from sp3f_verl.judge.questions.schedule import all_pairs
from sp3f_verl.judge.verdicts.verdict import parse_score

A, B, TIE, FAILED = Verdict.A, Verdict.B, Verdict.TIE, Verdict.FAILED

# SPEC 6.1. Response 0 is A in 01 A, 02 A, 03 B and B in 10 A, 20 error, 30 B; the others likewise.
GROUP = [
    (0, 1, A), (0, 2, A), (0, 3, B),
    (1, 0, A), (1, 2, B), (1, 3, A),
    (2, 0, FAILED), (2, 1, A), (2, 3, A),
    (3, 0, B), (3, 1, B), (3, 2, A),
]  # fmt: skip


def perfect_judge(n):
    """Response 0 is best: the lower index wins every comparison."""
    return [(i, j, A if i < j else B) for i, j in all_pairs(n)]


class TestWinRates:
    def test_both_sides_credited_and_failures_dropped(self):
        """Wins over valid comparisons, both slots counted.

        0: wins 01 02 | loses 03 10 | as B wins 30 (B), 20 failed   -> 3 of 5
        1: wins 10 13 | loses 12 | as B loses 01 21, wins 31         -> 3 of 6
        2: wins 21 23 | as B loses 02 32, wins 12                    -> 3 of 5
        3: wins 32 | loses 30 31 | as B wins 03, loses 13 23         -> 2 of 6
        """
        assert win_rates(4, GROUP) == [3 / 5, 3 / 6, 3 / 5, 2 / 6]

    def test_the_original_rule(self):
        """Slot A only, a failure is a loss: rows of GROUP give AAB, ABA, -AA, BBA; minus their mean 7/12."""
        rates = win_rates(4, GROUP, credit="a_only", failed_as_loss=True)
        assert rates == [2 / 3, 2 / 3, 2 / 3, 1 / 3]
        mean = sum(rates) / 4
        assert [rate - mean for rate in rates] == pytest.approx([1 / 12, 1 / 12, 1 / 12, -1 / 4])

    def test_slot_a_only_without_failures_as_losses(self):
        """As above, but response 2 has won both of its two valid comparisons."""
        assert win_rates(4, GROUP, credit="a_only") == [2 / 3, 2 / 3, 1.0, 1 / 3]

    def test_a_tie_is_half_a_win_for_each_and_no_verdict_is_neutral(self):
        assert win_rates(4, [(0, 1, TIE), (0, 1, A), (2, 3, FAILED)]) == [0.75, 0.25, 0.5, 0.5]
        assert win_rates(2, [(0, 1, TIE)], credit="a_only") == [0.5, 0.5]
        assert win_rates(1, []) == [0.5]
        assert win_rates(0, iter([])) == []

    def test_perfect_judge_gives_ranks(self):
        """Best of 5 beats 4 of 4 others, the next 3 of 4, ..."""
        assert win_rates(5, perfect_judge(5)) == [1.0, 0.75, 0.5, 0.25, 0.0]

    def test_always_first_judge_tells_nothing_and_is_seen(self):
        verdicts = [(i, j, A) for i, j in all_pairs(6)]
        assert win_rates(6, verdicts) == [0.5] * 6
        metrics = judge_metrics(6, verdicts)
        assert metrics["slot_a_rate"] == 1.0
        assert metrics["swap_consistency"] == 0.0

    def test_random_failures_do_not_change_expected_win_rates(self):
        """A tenth fails at random: the mean over 2000 seeded draws stays (spread of one rate about 0.05, of the mean
        about 0.001). Under the original rule the same failures take a tenth of every rate away."""
        n, draws, random_source = 6, 2000, random.Random(0)
        truth = win_rates(n, perfect_judge(n))
        dropped, original = [0.0] * n, [0.0] * n
        for _ in range(draws):
            verdicts = [(i, j, FAILED if random_source.random() < 0.1 else v) for i, j, v in perfect_judge(n)]
            dropped = [total + rate / draws for total, rate in zip(dropped, win_rates(n, verdicts), strict=True)]
            as_loss = win_rates(n, verdicts, credit="a_only", failed_as_loss=True)
            original = [total + rate / draws for total, rate in zip(original, as_loss, strict=True)]
        assert dropped == pytest.approx(truth, abs=0.006)
        assert original == pytest.approx([0.9 * rate for rate in truth], abs=0.012)

    @pytest.mark.parametrize(
        ("verdicts", "options", "error", "sentence"),
        [
            ([(0, 2, A)], {}, ValueError, "outside a group of 2"),
            ([(-1, 0, A)], {}, ValueError, "outside a group of 2"),
            ([(1, 1, A)], {}, ValueError, "compared with itself"),
            ([(0, 1, "A")], {}, TypeError, "no Verdict"),
            ([], {"credit": "B"}, ValueError, "credit must be"),
            ([], {"failed_as_loss": True}, ValueError, "needs credit='a_only'"),
        ],
    )
    def test_misuse_is_named(self, verdicts, options, error, sentence):
        with pytest.raises(error, match=sentence):
            win_rates(2, verdicts, **options)

    def test_metrics_check_their_input_too(self):
        with pytest.raises(ValueError, match="compared with itself"):
            judge_metrics(2, [(1, 1, A)])


@st.composite
def judged_groups(draw, outcomes=(A, B, TIE)):
    """A group of 1 to 6 responses and one verdict on every ordered pair."""
    n = draw(st.integers(1, 6))
    return n, [(i, j, draw(st.sampled_from(outcomes))) for i, j in all_pairs(n)]


class TestWinRateProperties:
    @given(judged_groups())
    def test_zero_sum(self, group):
        n, verdicts = group
        assert sum(win_rates(n, verdicts)) / n == pytest.approx(0.5, abs=1e-12)

    @given(judged_groups(outcomes=tuple(Verdict)))
    def test_antisymmetric_in_the_verdict(self, group):
        """Turning every verdict around turns every rate around 0.5."""
        n, verdicts = group
        turned = [(i, j, {A: B, B: A}.get(v, v)) for i, j, v in verdicts]
        mirrored = [1.0 - rate for rate in win_rates(n, verdicts)]
        assert win_rates(n, turned) == pytest.approx(mirrored, abs=1e-12)

    @given(judged_groups(outcomes=tuple(Verdict)))
    def test_swapping_slots_and_verdicts_changes_nothing(self, group):
        n, verdicts = group
        swapped = [(j, i, {A: B, B: A}.get(v, v)) for i, j, v in verdicts]
        assert win_rates(n, swapped) == win_rates(n, verdicts)

    @given(judged_groups(outcomes=tuple(Verdict)), st.randoms(use_true_random=False))
    def test_permutation_equivariant(self, group, shuffler):
        n, verdicts = group
        name = list(range(n))
        shuffler.shuffle(name)
        renamed = [(name[i], name[j], v) for i, j, v in verdicts]
        shuffler.shuffle(renamed)
        rates, renamed_rates = win_rates(n, verdicts), win_rates(n, renamed)
        assert [renamed_rates[name[i]] for i in range(n)] == rates

    @given(judged_groups(outcomes=tuple(Verdict)))
    def test_ranges_and_constant_keys(self, group):
        n, verdicts = group
        assert all(0.0 <= rate <= 1.0 for rate in win_rates(n, verdicts))
        metrics = judge_metrics(n, verdicts)
        assert list(metrics) == ["pairs", "failed", "ties", "slot_a_rate", "swap_consistency"]
        assert all(isinstance(value, float) for value in metrics.values())
        assert 0.0 <= metrics["slot_a_rate"] <= 1.0
        assert 0.0 <= metrics["swap_consistency"] <= 1.0


class TestJudgeMetrics:
    def test_by_hand(self):
        """GROUP: 12 verdicts, one failed, 7 of the other 11 for slot A. Both orders valid in 01 (A, A: no),
        03 (B, B: no), 12 (B, A: yes, 2 wins), 13 (A, B: yes), 23 (A, A: no) -> 2 of 5; 02 has only one."""
        metrics = judge_metrics(4, GROUP)
        assert metrics == {"pairs": 12, "failed": 1, "ties": 0, "slot_a_rate": 7 / 11, "swap_consistency": 2 / 5}

    def test_nothing_judged(self):
        empty = {"pairs": 0, "failed": 0, "ties": 0, "slot_a_rate": 0.5, "swap_consistency": 1.0}
        assert judge_metrics(3, []) == empty
        assert judge_metrics(3, [(0, 1, FAILED), (1, 0, A)]) == empty | {"pairs": 2, "failed": 1, "slot_a_rate": 1.0}

    def test_two_ties_agree_and_a_tie_disagrees_with_a_win(self):
        assert judge_metrics(2, [(0, 1, TIE), (1, 0, TIE)])["swap_consistency"] == 1.0
        assert judge_metrics(2, [(0, 1, TIE), (1, 0, A)])["swap_consistency"] == 0.0
        assert judge_metrics(2, [(0, 1, TIE), (1, 0, A)])["ties"] == 1.0

    def test_perfect_judge_is_consistent_and_unbiased(self):
        metrics = judge_metrics(5, perfect_judge(5))
        assert (metrics["slot_a_rate"], metrics["swap_consistency"]) == (0.5, 1.0)


def test_all_pairs_is_every_ordered_pair_once_grouped_by_a():
    assert all_pairs(3) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    assert len(all_pairs(8)) == len(set(all_pairs(8))) == 56
    assert all_pairs(1) == all_pairs(0) == []


class TestParseVerdict:
    @pytest.mark.parametrize(
        ("text", "verdict"),
        [
            (r"\boxed{A}", A),
            (r"\boxed{B}", B),
            (r"\boxed{{A}}", A),
            (r"\boxed{A }", A),
            (r"\boxed{ B}", B),
            (r"\boxed {A}", A),
            (r"\boxed{\text{A}}", A),
            (r"\boxed{\textbf{B}}", B),
            (r"\boxed{\mathrm{A}}", A),
            (r"\boxed{**A**}", A),
            (r"**\boxed{Response A}**", A),
            (r"$$\boxed{\text{Response B}}$$", B),
            (r"\boxed{\boxed{A}}", A),
            (r"\\boxed{A}", A),
            (r"\boxed{tie}", TIE),
            (r"\boxed{\text{Tie}}", TIE),
            (r"\boxed{B}, no, wait: \boxed{A}.", A),
            (r"\boxed{A} and more: \boxed{B", A),
            (r"\boxed{B \boxed{A}", A),
            (r"{ \boxed{A}", A),
            (r"} \boxed{A}", A),
            (r"\boxed{}", FAILED),
            (r"\boxed{C}", FAILED),
            (r"\boxed{A or B}", FAILED),
            (r"\boxed{AB}", FAILED),
            (r"\boxed{1}", FAILED),
            (r"\boxed{\frac{A}{B}}", FAILED),
            (r"\boxed{A} gives the answer \boxed{24}", FAILED),
            (r"\boxed\{A\}", FAILED),
            (r"\boxed{A", FAILED),
            ("Response A is better.", FAILED),
        ],
    )
    def test_boxed(self, text, verdict):
        assert parse_verdict(text) is verdict

    @pytest.mark.parametrize(
        ("text", "verdict"),
        [
            ("[[1]]", A),
            ("[[2]]", B),
            ("[[2]]. No, wait: [[1]]", A),
            ("[[A]], as the note [[2]](#fn2) says", A),
            ("Their matrix is M = [[1]], so [[2]]", B),
            ("```\nx = [[1]]\n```\n[[2]]", B),
            ("([[A]])", A),
            ("[[2]] then [[1]]", FAILED),
            ("[[1]] or [[2]]", FAILED),
            ("[[A]]/[[B]]", FAILED),
            ("[[1]][[2]]", FAILED),
            ("[[A]] > [[B]]", FAILED),
            ("not [[B]]", FAILED),
            ("[[1]]: the first\n[[2]]: the second", FAILED),
            ("```\n[[1]]\n```", FAILED),
            ("np.array([[2]])", FAILED),
            ("footnote [[1]](#fn1)", FAILED),
            ("The matrix M = [[1]] has det 1. B is right.", FAILED),
            ("\\boxed{B [[1]]", FAILED),
            (r"\[\[1\]\]", A),
            ("[[ 2 ]]", B),
            ("**[[1]]**", A),
            ("[[T]]", TIE),
            ("[[M]]", TIE),
            ("[[3]]", FAILED),
            ("[[1]] then [[3]]", FAILED),
            ("[1]", FAILED),
            ("1", FAILED),
            ("", FAILED),
            (" \n", FAILED),
        ],
    )
    def test_bracket(self, text, verdict):
        assert parse_verdict(text) is verdict

    def test_brackets_count_only_where_no_box_is(self):
        assert parse_verdict(r"\boxed{A} [[2]]") is A
        assert parse_verdict(r"[[2]] \boxed{A}") is A
        assert parse_verdict("\\boxed{B}, since M = [[1]]\n[[1]]: a footnote") is B
        assert parse_verdict(r"\boxed{24} [[1]]") is FAILED
        assert [parse_verdict(f"[[{label}]]") for label in ("A", "B", "A>>B", "B>A", "A=B")] == [A, B, A, B, TIE]

    @pytest.mark.parametrize(
        ("text", "verdict"),
        [
            ("<thinking>\\boxed{A}? No.</thinking>So \\boxed{B}", B),
            ("I must choose \\boxed{A} or \\boxed{B}.</think>A it is.", FAILED),
            ("<think>\\boxed{B}</think> first <think> \\boxed{A}", FAILED),
            ("[THINK]\\boxed{B}[/THINK]\\boxed{A}", A),
            ("<|im_start|>think\n\\boxed{B}<|im_end|>\n<|im_start|>assistant\nA", FAILED),
            ("<|im_start|>think\n\\boxed{B}<|im_end|>\n<|im_start|>assistant\n\\boxed{A}", A),
            ("◁think▷\\boxed{B}", FAILED),
            ("<|START_THINKING|>\\boxed{B}<|END_THINKING|>\\boxed{A}", A),
            ("<|channel|>analysis<|message|>\\boxed{A}<|end|>", FAILED),
            ("<|channel|>analysis<|message|>\\boxed{A}<|end|><|channel|>final<|message|>\\boxed{B}", B),
            ("<|channel>thought\n\\boxed{B}<channel|>\\boxed{A}", A),
        ],
    )
    def test_thoughts_are_no_answer(self, text, verdict):
        assert parse_verdict(text) is verdict

    @pytest.mark.parametrize(
        "between",
        [
            " or ",
            "/",
            " ",
            "\n",
            " vs. ",
            ", ",
            " oder ",
            "或",
            " หรือ ",
            " > ",
            " beats ",
            " is weaker than ",
            "\nor\n",
            " if response A is preferable, ",
            " if A is better.\n",
        ],
    )
    def test_two_that_differ_in_one_sentence_are_none(self, between):
        assert parse_verdict(f"\\boxed{{A}}{between}\\boxed{{B}}") is FAILED
        assert parse_verdict(f"\\boxed{{B}}{between}\\boxed{{B}}") is B

    @pytest.mark.parametrize(
        "between",
        [
            ", no, wait: ",
            ". On reflection ",
            " at first. My verdict is ",
            "？不对。最终：",
            ". Wait, A is wrong: ",
            ": so I thought. If we look closer, it fails. Final verdict ",
            " – no. I see now: ",
            "\n2. No: ",
        ],
    )
    def test_a_revision_counts(self, between):
        assert parse_verdict(f"\\boxed{{A}}{between}\\boxed{{B}}") is B
        assert parse_verdict("Either \\boxed{A} or \\boxed{B}. Step 1. Verdict: \\boxed{A}") is A

    @pytest.mark.parametrize("denial", ["The verdict is not ", "It isn't ", "答案不是", "Es ist nicht "])
    def test_a_denied_box_is_none(self, denial):
        assert parse_verdict(f"{denial}\\boxed{{B}}.") is FAILED

    @pytest.mark.parametrize(
        ("label", "verdict"),
        [
            ("Ｂ", B), ("回复B", B), ("Antwort A", A), ("คำตอบ A", A), ("câu trả lời B", B), ("उत्तर A", A),
            ("الإجابة B", B), ("jibu B", B), ("\u200fB\u200f", B), ("\\textsf{\\large A}", A), ("\\mathbf{A}.", A),
            ("Response~B", B), ("Answer\\,B", B), ("「A」", A), ("« B »", B), ("Assistant B", B), ("Option A。", A),
            ("not A", FAILED), ("A, B", FAILED), ("Response", FAILED), ("better A", FAILED), ("А", FAILED),
            ("A\u200bB", FAILED), ("Response 1", FAILED),
        ],
    )  # fmt: skip
    def test_labels_as_judges_write_them(self, label, verdict):
        assert parse_verdict(f"So: \\boxed{{{label}}}") is verdict

    @given(st.text())
    def test_never_raises(self, text):
        assert isinstance(parse_verdict(text), Verdict)

    @given(st.lists(st.sampled_from(["\\boxed", "{", "}", "[", "]", "\\", "A", "B", "1", "2", "tie", " ", "x", "\n"])))
    def test_no_winner_without_a_verdict_token(self, pieces):
        """Junk made of a verdict's own pieces: a winner needs a box or a double bracket that closes."""
        text = "".join(pieces)
        if parse_verdict(text) in (A, B):
            boxed = re.search(r"\\boxed\s*\{[^\\]*[AB][^\\]*\}", text)
            assert boxed or re.search(r"\[\\?\[\s*[12AB]\s*\\?\]\\?\]", text)

    @given(st.text().filter(lambda text: "boxed" not in text and "[" not in text))
    def test_plain_text_fails(self, text):
        assert parse_verdict(text) is FAILED

    @pytest.mark.timeout(120)  # linear: half a second; a quadratic scan would need many minutes
    @pytest.mark.parametrize(
        "unit",
        ["\\boxed{", "\\boxed{A}", "\\", "[[", "[[ ", "{", "}", "\\boxed ", " ", "A", "\\text{", "[[1", "**", "[[1]] "],
    )
    def test_any_amount_of_junk_takes_linear_time(self, unit):
        text = unit * (300_000 // len(unit))
        parse_verdict(text)
        parse_verdict(text + "}" * text.count("{"))
        parse_verdict("[[" + text + "]]")
        parse_verdict("\\boxed{" + text + "}")


@pytest.mark.parametrize(
    "marks",
    [
        ("<cot>", "</cot>"),
        ("<chain_of_thought>", "</chain_of_thought>"),
        ("<antThinking>", "</antThinking>"),
        ("<|thinking|>", "<|/thinking|>"),
        ("<｜think｜>", "<｜/think｜>"),
        ("&lt;think&gt;", "&lt;/think&gt;"),
        ("＜think＞", "＜/think＞"),
        ("＜思考＞", "＜／思考＞"),
        ("【think】", "【/think】"),
        ("［thinking］", "［/thinking］"),
        ("《reasoning》", "《/reasoning》"),
        ("```thinking\n", "\n```"),
        ("<scratch_pad>", "</scratch_pad>"),
        ('<details type="reasoning">', "</details>"),
        ("<unused94>thought\n", "<unused95>"),
        ("Thinking...\n", "\n...done thinking.\n"),
    ],
)
def test_thoughts_in_any_marks_decide_nothing(marks):
    opens, closes = marks
    assert parse_verdict(f"{opens}It is \\boxed{{B}}.{closes} Response A is better.") is Verdict.FAILED
    assert parse_verdict(f"{opens}It is \\boxed{{B}}.{closes} So \\boxed{{A}}") is Verdict.A
    assert parse_verdict(f"{opens}It is \\boxed{{B}}.") is Verdict.FAILED


@pytest.mark.parametrize(
    "text",
    [
        "1. \\boxed{A}\n2. \\boxed{B}\n",
        "I must answer \\boxed{A} if the first is better. I must answer \\boxed{B} if the second is.",
        "Use \\boxed{A} for the first. Use \\boxed{B} for the second. The first is better.",
        "It cannot be \\boxed{B}",
        "\\boxed{B} is wrong.",
        "これは\\boxed{B}ではない",
        "Rather than \\boxed{B}, take the first",
        "I would not choose \\boxed{B}",
        "I don't prefer \\boxed{B}.",
        "- \\boxed{A}: the first is better\n- \\boxed{B}: the second is better\n\nI pick the first.",
        "* `\\boxed{A}` – the first\n* `\\boxed{B}` is for the second\n\nDecision: A",
        "\\boxed{A}：回答A更好\n\\boxed{B}：回答B更好\n我认为回答A更好。",
        "If A is better, \\boxed{A}. If B is better, \\boxed{B}. Here A is better.",
        "If A is better, \\boxed{A}. Otherwise, \\boxed{B}. Here A is better.",
        "Si A est meilleure : \\boxed{A}. Si B est meilleure : \\boxed{B}. Ici A.",
        "如果A更好，输出\\boxed{A}；如果B更好，输出\\boxed{B}。A更好。",
        "यदि A बेहतर है तो \\boxed{A}। यदि B बेहतर है तो \\boxed{B}।",
        "A가 나으면 \\boxed{A}. B가 나으면 \\boxed{B}.",
        "**Winner:** \\boxed{A}\n**Loser:** \\boxed{B}",
        "Correct: \\boxed{A}. Incorrect: \\boxed{B}.",
        "Better response: \\boxed{A}; worse response: \\boxed{B}",
        "Is it \\boxed{A}? Or is it \\boxed{B}?",
        "Winner: the first\nLoser: \\boxed{B}",
    ],
)
def test_a_menu_or_a_denied_box_is_no_verdict(text):
    assert parse_verdict(text) is Verdict.FAILED


@pytest.mark.parametrize(
    "before",
    [
        "Response A is correct while Response B is not:\n",
        "A is right and B is not\n\n**",
        "A is right, B doesn't: ",
        "A ist richtig, B nicht\n\n",
        "回答A正确，回答B不是\n",
        "A benar, B bukan\n",
        "\\boxed{A} or \\boxed{B}? ",
        "Not \\boxed{B} but ",
        "Nicht \\boxed{B}, sondern ",
        "不是\\boxed{B}而是",
    ],
)
def test_a_denial_of_the_other_takes_no_verdict_away(before):
    assert parse_verdict(f"{before}\\boxed{{A}}") is Verdict.A
    assert parse_verdict("\\boxed{A} is not only right but clearer.") is Verdict.A
    assert parse_verdict("\\boxed{A} is not right.") is Verdict.FAILED
    assert parse_verdict("Not \\boxed{B} or \\boxed{A}") is Verdict.FAILED
    assert parse_verdict("It is not **\\boxed{A}**") is Verdict.FAILED


@pytest.mark.parametrize(
    "box",
    [
        "\\color{red}A",
        "\\textcolor{red}{A}",
        "\\sffamily A",
        "\\scriptsize A",
        "\\hspace{1em}A",
        "Response\\_A",
        "[A]",
        "__A__",
        "A;",
        "\\$A\\$",
        "\\hbox{A}",
        "\\pmb{A}",
        "\\\\text{A}",
        "A\ufe0f",
        "Response \\#A",
        "助手A",
        "アシスタントA",
        "ข้อ A",
        "Jibu la A",
        "La réponse A",
        "La respuesta A",
        "Die Antwort A",
        "Verdict: A",
        "Winner: A",
    ],
)
def test_what_only_dresses_a_letter_is_read_over(box):
    assert parse_verdict(f"\\boxed{{{box}}}") is Verdict.A


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (r"As far as that goes. \boxed{7}", 0.7),
        (r"\boxed{10}", 1.0),
        (r"\boxed{0}", 0.0),
        (r"\boxed{3.5/10}", 0.35),
        (r"\boxed{\text{8}}", 0.8),
        (r"<think>\boxed{3}</think> \boxed{ $4$ }", 0.4),
        (r"\boxed{2} or rather \boxed{5}", 0.5),
        (r"\boxed{\mathrm{7.5}}", 0.75),
        (r"\boxed{７.}", 0.7),
        (r"\boxed{7\,/\,10}", 0.7),
        (r"\boxed{2} or \boxed{5}", None),
        (r"not \boxed{5}", None),
        (r"\boxed{7,5}", None),
        (r"\boxed{11}", None),
        (r"\boxed{-1}", None),
        (r"\boxed{7 of 10}", None),
        (r"\boxed{}", None),
        ("7", None),
    ],
)
def test_a_score_is_the_last_boxes_tenths(text, score):
    assert parse_score(text) == score
