"""Which reward term the answers to a kind of question are, and what is asked about."""

import pytest

from sp3f_verl.judge.questions.kinds import JUDGED_TERMS, KINDS
from sp3f_verl.rewards.terms import TERMS


def test_every_term_that_a_judge_gives_is_a_term_without_a_rule():
    assert {"judge", "consistency"} == JUDGED_TERMS
    assert {name for name, term in TERMS.items() if term.function is None} == {*JUDGED_TERMS, "custom"}


def test_win_rates_are_the_term_whatever_the_rules_say():
    for name in ("pairwise", "token", "listwise", "language"):
        kind = KINDS[name]
        assert (kind.term, kind.after_rules) == ("judge", False)
        assert kind.asked_about(["<think>a</think> b"], []) == ["<think>a</think> b"]
        assert kind.term_values([0.2, 0.5], [3, 0], []) == [0.2, 0.5]


def test_consistency_asks_about_right_answers_in_the_language_and_leaves_failures_out():
    """Of four responses one is wrong; of the three that are asked about, the judge fails on the last."""
    kind, rules = KINDS["consistency"], [{"accuracy_in_language": right} for right in (1.0, 0.0, 1.0, 1.0)]
    texts = kind.asked_about([f"<think>thought {k}</think> answer" for k in range(4)], rules)
    assert texts == ["thought 0", "", "thought 2", "thought 3"]
    assert kind.term_values([0.9, 0.0, 0.3, 0.5], [1, 1, 1, 0], rules) == pytest.approx([0.9, 0.0, 0.3, 0.6])
    assert kind.term_values([0.5] * 4, [0] * 4, rules) == [0.5, 0.0, 0.5, 0.5]
