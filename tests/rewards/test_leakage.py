"""Talk about a solution that the prompt does not hold, and what is copied from it."""

import pytest

from sp3f_verl import languages
from sp3f_verl.rewards.leakage import PHRASES, leakage
from sp3f_verl.settings import read_yaml

SOLUTION = "Anna first buys seven red apples, then five more. 7 + 5 = 12."
PROMPT = "Anna ana matufaha saba. 7 + 5 = ?"


@pytest.mark.parametrize(
    ("response", "prompt", "language", "mentioned"),
    [
        ("Kulingana na suluhisho, jibu ni 12.", PROMPT, "sw", 1),
        ("As the solution\n says, it is 12.", PROMPT, "sw", 1),
        ("Jibu ni 12.", PROMPT, "sw", 0),
        ("Kulingana na suluhisho, jibu ni 12.", "Angalia: kulingana na suluhisho ...", "sw", 0),
        ("参考答案是12。", "七加五是多少？", "zh", 1),
        ("Kulingana na suluhisho", PROMPT, "yo", 0),
    ],
)
def test_what_the_prompt_does_not_hold_is_mentioned(response, prompt, language, mentioned):
    assert leakage(response, prompt, SOLUTION, language)["leak_mention"] == mentioned


def test_what_is_copied_is_a_share_of_the_responses_runs_of_words():
    """Two of three: 'anna first buys seven', 'first buys seven red'. Numbers and the prompt's words are anyone's."""
    copied = leakage("Anna first buys seven red balls", PROMPT, SOLUTION, "en")["leak_copied"]
    assert copied == pytest.approx(2 / 3)
    for response, prompt in (("7 + 5 = 12, 7 + 5 = 12", PROMPT), (SOLUTION, SOLUTION), ("", PROMPT), ("Anna", PROMPT)):
        assert leakage(response, prompt, SOLUTION, "en")["leak_copied"] == 0


def test_every_list_is_of_a_known_language():
    table = read_yaml(PHRASES)
    assert set(table) <= set(languages.codes())
    assert all(phrase == phrase.lower() and len(phrase) > 2 for phrases in table.values() for phrase in phrases)
