"""What a privileged teacher reads, and its rows at the student's positions: one off would teach without a word."""

import pytest
import torch

from sp3f_verl.errors import BadInput
from sp3f_verl.rewards.weights import value_at
from sp3f_verl.training.distill.prompt import FOLDER, load_prompt
from sp3f_verl.training.distill.rows import WrongRows, empty_rows, response_rows
from sp3f_verl.training.distill.settings import RLSD

ROW = {"language": "sw", "query_en": "What is 7+5?", "solution_en": r"7+5=12 \boxed{12} {{question}}"}
MESSAGES = [{"role": "system", "content": "Fikiri."}, {"role": "user", "content": "7+5?"}]


def prompt(tmp_path, text):
    (tmp_path / "prompt.txt").write_text(text, encoding="utf-8")
    return load_prompt(str(tmp_path / "prompt.txt"), "sp3f.distill.prompt")


def test_the_last_user_turn_is_put_another_way_by_the_rows_language(tmp_path):
    own = "{{question}}|{{solution_en}}|{{language}}"
    mine = prompt(tmp_path, "remark\n--- default ---\n{{question}} D\n--- sw ---\n" + own)
    messages = mine.messages(MESSAGES, ROW)
    assert messages[0] == MESSAGES[0] and messages[1]["content"] == rf"7+5?|{ROW['solution_en']}|Swahili"
    assert mine.messages(MESSAGES, {**ROW, "language": "fr"})[1]["content"] == "7+5? D"
    assert MESSAGES[1]["content"] == "7+5?", "the student's stays"
    assert mine.needed_fields == ("solution_en",)


def test_a_prompt_of_the_question_alone_is_the_students(tmp_path):
    assert prompt(tmp_path, "--- default ---\n{{question}}\n").messages(MESSAGES, ROW) == MESSAGES


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.txt")))
def test_the_shipped_prompts_leave_nothing_to_fill_in(name):
    shipped = load_prompt(name, "x")
    assert shipped.needed_fields == (("query_en", "solution_en") if name == "privileged" else ("query_en",))
    for language in (*shipped.entries, "ko"):
        row = {**ROW, "language": "ko" if language == "default" else language, "solution_en": "12"}
        text = shipped.messages(MESSAGES, row)[1]["content"]
        assert text.startswith("7+5?") and "What is 7+5?" in text and "{{" not in text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("--- sw ---\n{{question}}", "has no entry `--- default ---`; add it."),
        ("--- default ---\n{{question}} {{solution}}", "has {{solution}} (did you mean 'solution_en'?)"),
        ("--- default ---\n{{solution_en}}", "entry default, lacks {{question}}"),
        ("--- default ---\n{{question}}\n--- xx ---\n{{question}}", "entry xx, is of no language"),
        ("--- default ---\n{{question}}\n--- default ---\n{{question}}", "two entries for one language"),
    ],
)
def test_a_prompt_at_fault_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises(BadInput) as error:
        prompt(tmp_path, text)
    assert sentence in str(error.value) and str(error.value).startswith("sp3f.distill.prompt=")
    with pytest.raises(BadInput, match=r"did you mean 'privileged'"):
        load_prompt("privilegd", "sp3f.distill.prompt")


def test_rows_of_c_and_y_go_to_the_positions_of_x_and_y():
    """c has 4 tokens, x 2, y is [7, 8, 9]. A server answers a row a token about the next, as logits are."""
    sequence = [1, 2, 3, 4, 7, 8, 9]
    ids = [[token] for token in sequence[1:]] + [[0]]
    logps = [[-float(token)] for token in sequence[1:]] + [[0.0]]
    found_ids, found = response_rows(ids, logps, 4, 2, [7, 8, 9], 0)
    assert found_ids[:, 0].tolist() == [0, 7, 8, 9, 0]
    assert found[1:4, 0].tolist() == [-7.0, -8.0, -9.0] and found[[0, 4]].isnan().all()
    top = [[token, 50] for token in sequence[1:]] + [[0, 0]]
    _, both = response_rows(top, [[-1.0, -2.0]] * 7, 4, 2, [7, 8, 9], 2)
    assert both.shape == (5, 2) and both.isfinite().sum() == 6
    for wrong in ([*ids[1:], [0]], [[0], *ids[:-1]], ids[:-1]):
        with pytest.raises(WrongRows):
            response_rows(wrong, logps[: len(wrong)], 4, 2, [7, 8, 9], 0)
    with pytest.raises(WrongRows, match="add up to more than 1"):
        response_rows(top, [[0.0, 0.0]] * 7, 4, 2, [7, 8, 9], 2)
    assert empty_rows(2, 3, 0)[1].shape == (5, 1) and torch.isnan(empty_rows(2, 3, 4)[1]).all()


def test_the_schedule_of_token_credit():
    settings = RLSD.read({})
    assert [settings.strength_at(step) for step in (0, 25, 50, 900)] == [0.5, 0.25, 0.0, 0.0]
    assert RLSD.read({"strength": 0.3}).strength_at(7) == value_at(0.3, 7) == 0.3
    for values, sentence in (
        ({"strength": {0: 1.5}}, "sp3f.rlsd.strength={0: 1.5} goes out of [0, 1]; keep it within."),
        ({"strength": "half"}, "sp3f.rlsd.strength='half' give a finite number"),
        ({"clip": 1}, "sp3f.rlsd.clip=1; set it above 0 and below 1."),
        ({"stregth": 1}, "did you mean 'strength'"),
    ):
        with pytest.raises(BadInput) as error:
            RLSD.read(values)
        assert sentence in str(error.value)
