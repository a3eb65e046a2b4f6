"""pass@k, votes, means and intervals, on values worked out by hand."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.evaluation.problems import Problem
from sp3f_verl.evaluation.scores import Scored, ballot, ks, majority, pass_at_k, score
from sp3f_verl.evaluation.summary import describe, influences, merged
from sp3f_verl.llm import Answer, FailureKind, Status, Usage

RIGHT, OFF = r"El resultado correcto es doce patos. \boxed{12}", r"The correct result is twelve ducks. \boxed{12}"
WRONG, SILENT = r"El resultado correcto es trece patos. \boxed{13}", "El resultado correcto es doce patos."


def answers(*texts, **changes):
    """Samples of one problem; None is a failed one."""
    made = []
    for number, text in enumerate(texts):
        common = {"id": "0:0", "number": number, "model": "m", "usage": Usage(5, 0, 10 * (number + 1))}
        if text is None:
            outcome = {"status": Status.ERROR, "text": None, "finish_reason": None, "failure": FailureKind.TIMEOUT}
        else:
            outcome = {"status": Status.OK, "text": text, "finish_reason": "stop"}
        made.append(Answer(**{**common, **outcome, **changes}))
    return made


def problem(gold="12", checker="math", language="es", **more):
    return Problem("id", "0", language, [], gold, checker, **more)


class TestPassAtK:
    def test_by_hand(self):
        """8 answers, 2 right: 4 drawn hold none of them in C(6, 4) = 15 of C(8, 4) = 70 draws."""
        assert pass_at_k(8, 2, 4) == pytest.approx(1 - 15 / 70)
        assert (pass_at_k(8, 2, 1), pass_at_k(8, 0, 8), pass_at_k(8, 1, 8)) == (0.25, 0.0, 1.0)

    @given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 7))
    def test_it_is_the_mean_over_all_draws(self, right, k):
        if k > len(right):
            with pytest.raises(ValueError, match="cannot be told"):
                pass_at_k(len(right), sum(right), k)
            return
        draws = list(itertools.combinations(right, k))
        assert pass_at_k(len(right), sum(right), k) == pytest.approx(sum(map(any, draws)) / len(draws))

    def test_the_ks(self):
        assert (ks(1), ks(8), ks(6)) == ([1], [1, 2, 4, 8], [1, 2, 4, 6])


class TestMajority:
    @pytest.mark.parametrize(
        ("ballots", "accuracies", "expected"),
        [
            (["12", "12", "13"], [1, 1, 0], 1.0),
            (["12", "13", "13"], [1, 0, 0], 0.0),
            (["12", "13"], [1, 0], 0.5),  # a tie: either could be taken
            (["12", "13", "14"], [1, 0, 0], 1 / 3),
            (["12", None, None], [1, 0, 0], 1.0),  # who says nothing does not vote
            ([None, None], [0, 0], 0.0),
        ],
    )
    def test_by_hand(self, ballots, accuracies, expected):
        assert majority(ballots, accuracies) == pytest.approx(expected)

    @given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1), st.integers())
    def test_the_order_of_the_samples_does_not_count(self, ballots, seed):
        accuracies = [float(one == "1") for one in ballots]
        pairs = list(zip(ballots, accuracies, strict=True))
        random.Random(seed).shuffle(pairs)
        assert majority(*zip(*pairs, strict=True)) == majority(ballots, accuracies)

    @pytest.mark.parametrize(
        ("box", "same"),
        [("1.234,50", "1234.5"), ("2.000", "2000"), (r"\frac{1}{2}", "0,5"), (r"\$5", "5"), (r"\text{Sí}", "sí")],
    )
    def test_spellings_of_one_answer_are_one_vote(self, box, same):
        """In Spanish a comma is the decimal sign."""
        one, other = (ballot(rf"\boxed{{{item}}}", "es", "math") for item in (box, same))
        assert one == other is not None

    def test_options_vote_by_letter_or_text(self):
        choices = (("A", "Calcium"), ("B", "Iron"))
        boxes = ("B", "(B)", "B) Iron", "iron", "Calcium", "Zinc")
        votes = [ballot(rf"\boxed{{{box}}}", "en", "multiple_choice", choices) for box in boxes]
        assert votes[:4] == ["B"] * 4 and votes[4] == "A" and votes[5] not in ("A", "B")

    def test_no_box_is_no_vote(self):
        assert ballot("12", "es", "math") is None


class TestProblem:
    def test_right_wrong_off_language_and_silent_samples_by_hand(self):
        line, one = score(problem(), answers(RIGHT, WRONG, OFF, SILENT), ("en",), 0.7)
        assert line["accuracy"] == [1, 0, 1, 0] and line["parseable"] == [1, 1, 1, 0]
        assert [share >= 0.7 for share in line["lang"]] == [True, True, False, True]
        assert line["answer"][0] == RIGHT and line["ground_truth"] == "12"
        values = one.values
        assert (values["accuracy"], values["parseable"], values["fidelity"]) == (0.5, 0.75, 0.75)
        assert values["majority"] == 1.0  # 12, 13, 12
        assert values["pass@2"] == pytest.approx(1 - 1 / 6) and values["pass@4"] == 1.0
        assert values["tokens"] == 25 and (one.failed, one.refused) == (0, 0)

    def test_a_failed_sample_is_in_no_mean_and_counted(self):
        """With the failure as a 0 the accuracy would be 1/3."""
        line, one = score(problem(), answers(RIGHT, None, WRONG), ("en",), 0.7)
        assert line["accuracy"] == [1, None, 0] and line["answer"][1] is None and line["status"][1] == "error"
        assert one.values["accuracy"] == 0.5 and one.failed == 1
        assert one.values["pass@2"] == 1.0 and "pass@3" not in one.values  # two are there

    def test_a_refusal_is_counted_apart(self):
        refused = answers(None, status=Status.REFUSED, failure=FailureKind.REFUSED)
        _, one = score(problem(), refused, (), 0.7)
        assert (one.failed, one.refused, one.values) == (1, 1, {})

    def test_too_few_letters_are_no_share_and_no_failure(self):
        line, one = score(problem(), answers(r"\boxed{12}", RIGHT), ("en",), 0.7)
        assert line["lang"][0] is None and one.values["fidelity"] == 1.0 and one.values["undefined"] == 0.5
        assert one.values["accuracy"] == 1.0

    def test_a_truncated_answer_is_scored_for_what_it_says(self):
        cut = answers(WRONG, status=Status.TRUNCATED, finish_reason="length")
        _, one = score(problem(), cut, (), 0.7)
        assert one.values["truncated"] == 1.0 and one.values["accuracy"] == 0.0 and one.failed == 0


def column(**accuracy):
    return {name: Scored({} if value is None else {"accuracy": value}, 0, 0) for name, value in accuracy.items()}


class TestMeans:
    def test_chinese_is_the_mean_of_both_variants(self):
        """cn 1, 0; tw 1, 1: 0.5 and 1 make 0.75; by problem 1 and 0.5."""
        variants = [column(a=1.0, b=0.0), column(a=1.0, b=1.0)]
        assert {name: one.values["accuracy"] for name, one in merged(variants).items()} == {"a": 1.0, "b": 0.5}
        assert describe(variants, 1).accuracy.mean == 0.75

    def test_the_mean_weighs_languages_and_not_problems(self):
        """Four problems of which one is right, and one that is right: (1/4 + 1) / 2, not 2/5."""
        every = [column(a=1.0, b=0.0, c=0.0, d=0.0), column(a=1.0)]
        assert describe(every, 1).accuracy.mean == pytest.approx(0.625)

    @given(st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), min_size=1), min_size=1, max_size=4))
    def test_influences_have_the_unweighted_mean_whatever_is_missing(self, columns):
        means = [math.fsum(one.values()) / len(one) for one in columns]
        result = influences(columns)
        assert math.fsum(result.values()) / len(result) == pytest.approx(math.fsum(means) / len(means), abs=1e-9)
        assert result.keys() == {problem for one in columns for problem in one}

    def test_a_translation_is_no_new_problem(self):
        """The same results in eleven languages say no more than in one: the interval is as wide."""
        rng = random.Random(1)
        one = column(**{f"p{at}": float(rng.random() < 0.3) for at in range(60)})
        alone, eleven = describe([one], 1).accuracy, describe([one] * 11, 1).accuracy
        assert eleven.model_dump() == pytest.approx(alone.model_dump(), abs=1e-9)

    def test_variants_of_other_problems_make_it_narrower(self):
        rng = random.Random(1)
        columns = [column(**{f"{c}{at}": float(rng.random() < 0.3) for at in range(60)}) for c in "abcd"]
        widths = [item.high - item.low for item in (describe([one], 1).accuracy for one in columns)]
        every = describe(columns, 1).accuracy
        assert every.high - every.low == pytest.approx(sum(widths) / 4 / 2, rel=0.15)

    def test_what_nobody_has_is_null(self):
        result = describe([column(a=None, b=None)], 8)
        assert result.accuracy is None and result.pass_at_k["8"] is None and result.tokens is None
        assert (result.problems, result.unscored) == (2, 2)

    def test_every_pass_at_k_is_over_the_same_problems(self):
        """Over whoever has 4 samples, pass@4 would be 1.0 where the hard problem lost one of its to a failure."""
        easy = score(problem(), answers(RIGHT, RIGHT, RIGHT, RIGHT), (), 0.7)[1]
        hard = score(problem(), answers(WRONG, None, WRONG, WRONG), (), 0.7)[1]
        lost = score(problem(), answers(None, None, None, None), (), 0.7)[1]
        result = describe([{"a": easy, "b": hard, "c": lost}], 4)
        assert result.pass_at_k == {"1": 0.5, "2": 0.5, "4": None}
        assert (result.problems, result.unscored, result.complete) == (3, 1, 1)
        whole = describe([{"a": easy, "c": lost}], 4)  # an unscored problem is in no measure, for any k
        assert whole.pass_at_k == {"1": 1.0, "2": 1.0, "4": 1.0} and whole.complete == 1

    def test_a_mean_of_languages_has_the_ks_that_all_of_them_have(self):
        easy = score(problem(), answers(RIGHT, RIGHT), (), 0.7)[1]
        hard = score(problem(), answers(WRONG, None), (), 0.7)[1]
        lost = score(problem(), answers(None, None), (), 0.7)[1]
        columns = [{"a": easy, "b": easy}, {"a": easy, "b": hard}]
        assert describe(columns, 2).pass_at_k == {"1": 0.75, "2": None} and describe(columns, 2).complete == 1
        assert describe([merged(columns), merged(columns)], 2).pass_at_k == {"1": 0.75, "2": None}
        assert describe([{"a": easy}, {"a": lost}], 2).pass_at_k == {"1": 1.0, "2": 1.0}

    def test_all_right_does_not_promise_certainty(self):
        sure = column(**{f"p{at}": 1.0 for at in range(10)})
        result = describe([sure] * 3, 1).accuracy
        assert result.mean == result.high == 1.0 and 0.6 < result.low < 0.8
        wrong = column(**{f"p{at}": 0.0 for at in range(10)})
        result = describe([sure, wrong], 1).accuracy
        assert result.mean == 0.5 and 0.3 < result.low < 0.4 and 0.6 < result.high < 0.7

    def test_what_nothing_is_known_of_has_null_bounds(self):
        """One problem, half of its samples right, or ten of them: not 50 % for certain."""
        half = column(**{f"p{at}": 0.5 for at in range(10)})
        for columns in ([column(a=0.5)], [half], [half] * 3, [half, column(p0=1.0)]):
            result = describe(columns, 2).accuracy
            assert result.mean is not None and (result.low, result.high) == (None, None)
        crossed = [column(**{f"p{at}": float(at % 2 == side) for at in range(20)}) for side in (0, 1)]
        result = describe(crossed, 1).accuracy
        assert result.mean == 0.5 and 0.2 < result.low < 0.35 and 0.65 < result.high < 0.8

    def test_a_language_without_a_measure_is_left_out_of_its_mean(self):
        """No answer had letters enough to tell a language: that says nothing about fidelity."""
        both = [{"a": Scored({"accuracy": 0.0, "fidelity": 1.0}, 0, 0)}, {"a": Scored({"accuracy": 1.0}, 0, 0)}]
        result = describe(both, 1)
        assert (result.accuracy.mean, result.fidelity.mean) == (0.5, 1.0)
