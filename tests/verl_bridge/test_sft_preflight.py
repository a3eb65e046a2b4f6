"""SFT that cannot work, or that would train on anything but the assistant's tokens, is refused in one sentence."""

import pytest

from helpers.chat_templates import CHATML
from helpers.recipes import compose_recipe, refused
from sp3f_verl.data.check import check_sft
from sp3f_verl.data.files import write_parquet
from sp3f_verl.verl_bridge.preflight import callback as preflight

pytestmark = pytest.mark.usefixtures("unchanged_environment")
USER, ANSWER = {"role": "user", "content": "7+5?"}, {"role": "assistant", "content": "7+5=12"}
GOOD = [USER, ANSWER]


@pytest.fixture
def run(tmp_path, tiny_model):
    """Overrides that pass every check; a test breaks one."""
    write(tmp_path, [GOOD] * 16)
    return ["device=cpu", f"data.train_files={tmp_path / 'rows.parquet'}", f"model.path={tiny_model}"]


def write(folder, conversations):
    write_parquet([{"messages": conversation} for conversation in conversations], folder / "rows.parquet")


@pytest.mark.parametrize("recipe", ["sft", "croco_sft"])
def test_a_good_run_passes_and_says_what_is_trained_on(run, capsys, recipe):
    preflight.Preflight().on_job_start(compose_recipe(recipe, *run, f"data.val_files={run[1].partition('=')[2]}"))
    lines = capsys.readouterr().err
    assert "sp3f_verl: data.train_files, row 0: trained on are " in lines and "tokens, '7+5=12<|im_end|>'\n" in lines


ROWS = {
    "nothing said by the assistant": ([GOOD, [USER]], "1: 'messages' has no turn of the assistant, so that there is"),
    "the user last": ([GOOD, [*GOOD, USER]], "1: 'messages' does not end with the assistant's turn but with user; add"),
    "an answer to nothing": ([GOOD, [ANSWER]], "1: 'messages' begins with the assistant's turn, which answers nothing"),
    "an empty answer": (
        [GOOD, [USER, {**ANSWER, "content": " \n"}]],
        "1: 'messages' has no text in turn 1 (assistant);",
    ),
    "no answer": ([GOOD, [USER, {**ANSWER, "content": None}]], "1: 'messages' has no text in turn 1 (assistant); add"),
    "ShareGPT's roles": (
        [[{**USER, "role": "human"}, {**ANSWER, "role": "gpt"}]],
        "0: 'messages' has the role 'human' in turn 0; use system, user, assistant, tool.",
    ),
    "a misspelt role": (
        [GOOD, [USER, {**ANSWER, "role": "asistant"}]],
        "turn 1 (did you mean 'assistant'?); use",
    ),
    "other keys": ([[{"from": "user", "value": "7+5?"}]], "0: 'messages' has the role None in turn 0; use system"),
    "text": (["7+5?"], "0: 'messages' is not a list of {role, content} messages; make it one."),
    "no turns": ([GOOD, []], "1: 'messages' is not a list of {role, content} messages; make it one."),
    "nothing": ([GOOD, None], "1: 'messages' is empty; leave such rows out, as sft.parquet of data_prep.sp3f does."),
}


@pytest.mark.parametrize("name", ROWS)
def test_bad_rows(run, tmp_path, capsys, name):
    conversations, sentence = ROWS[name]
    write(tmp_path, conversations)
    error = refused(compose_recipe("croco_sft", *run), capsys)
    assert f"data.train_files: {tmp_path / 'rows.parquet'}, row " in error and sentence in error


def test_tools_that_are_no_json(run, tmp_path, capsys):
    write_parquet([{"messages": GOOD, "tools": "[{"}] * 16, tmp_path / "rows.parquet")
    assert "row 0: the row's tools are no JSON; write a list" in refused(compose_recipe("sft", *run), capsys)


def test_other_columns(tmp_path):
    for rows, sentence in (
        ([{"mesages": GOOD}], "no column 'messages' (did you mean 'mesages'?)"),
        ([{"prompt": "7+5?", "completion": "12"}], "the columns 'prompt' and 'completion' and no 'messages'; write it"),
    ):
        write_parquet(rows, tmp_path / "rows.parquet")
        with pytest.raises(ValueError) as error:
            check_sft(str(tmp_path / "rows.parquet"))
        assert sentence in str(error.value)


SETTINGS = {
    "a batch that nothing fills": (
        ["data.train_batch_size=32"],
        "data.train_files has 16 usable rows, less than a batch of",
    ),
    "fewer samples than a batch": (
        ["data.train_max_samples=8"],
        "data.train_files has 8 usable rows, less than a batch",
    ),
    "too few rows for a loss": (
        ["data.val_files=${data.train_files}", "data.val_max_samples=4"],
        "data.val_files has 4 usable rows",
    ),
    "a test of nothing": (["trainer.test_freq=5"], "trainer.test_freq=5 without data.val_files; give them, or set it"),
    "no rows": (["data.train_files=null"], "data.train_files is empty"),
    "padding": (["data.pad_mode=right"], "data.pad_mode=right, which verl's SFT loss cannot read; set it to"),
    "verl's own class": (
        ["data.custom_cls.path=null", "data.ignore_input_ids_mismatch=true"],
        r"row 0: in turn 1 '7+5=12<|im_end|>\n' is trained on, but the assistant writes '7+5=12<|im_end|>'; leave",
    ),
    "a class that is none": (
        ["data.custom_cls.name=Nothing"],
        "the dataset class cannot read the rows (AttributeError",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_settings(run, capsys, name):
    overrides, sentence = SETTINGS[name]
    assert sentence in refused(compose_recipe("sft", *run, *overrides), capsys)


def templated(run, template: str):
    cfg = compose_recipe("sft", *run)
    cfg.model.custom_chat_template = template
    return cfg


def test_a_template_without_an_end_of_turn_is_refused(run, capsys):
    error = refused(templated(run, CHATML.replace("<|im_end|>", "")), capsys)
    assert "rows.parquet, row 0: the chat template ends turn 1 without a special token" in error


def test_a_kind_of_row_that_comes_late_is_checked_too(run, tmp_path, capsys):
    """Row 40 is the first with a system turn, which this template refuses."""
    write(tmp_path, [GOOD] * 40 + [[{"role": "system", "content": "Sums."}, *GOOD]])
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + CHATML
    error = refused(templated(run, refusing), capsys)
    assert "rows.parquet, row 40: the chat template refuses the turns (no system turn); change" in error


def test_rows_that_share_a_file_may_have_different_keys(run, tmp_path):
    """Parquet gives every message all keys; a template must not see those that are null."""
    write(tmp_path, [[USER, {**ANSWER, "note": "checked"}]] * 8 + [GOOD] * 8)
    noting = CHATML.replace("{{ m['content'] }}", "{{ m['note'] + ': ' if 'note' in m }}{{ m['content'] }}")
    preflight.Preflight().on_job_start(templated(run, noting))


LONG = [{**USER, "content": "7+5? " * 40}, ANSWER]


@pytest.mark.parametrize("recipe", ["sft", "croco_sft"])
def test_rows_of_which_no_answer_is_left_are_refused(run, tmp_path, capsys, recipe):
    write(tmp_path, [LONG] * 16)
    cut = [*run, "data.max_length=40", "data.truncation=right"]
    error = refused(compose_recipe(recipe, *cut), capsys)
    assert "cut to data.max_length=40, no row keeps a token that is trained on; raise it" in error


def test_some_rows_without_an_answer_are_counted_and_the_line_is_about_cut_rows(run, tmp_path, capsys):
    write(tmp_path, [[USER, {**ANSWER, "content": "7+5=12. " * 40}], *[LONG] * 3, *[GOOD] * 12])
    preflight.Preflight().on_job_start(
        compose_recipe("sft", *run, "data.max_length=40", "data.truncation=right", "data.train_batch_size=8")
    )
    lines = capsys.readouterr().err
    assert "3 of 16 rows keep no token to train on; others take their place." in lines
    assert "of 40 tokens, '7+5=12." in lines and "<|im_end|>'" not in lines


def test_a_late_row_that_cannot_be_masked_is_met(run, tmp_path, capsys):
    """Row 30 is of the same kind as the others, and its content is what the template strips."""
    write(tmp_path, [GOOD] * 30 + [[USER, {**ANSWER, "content": "<hm>7+5</hm>12"}]] + [GOOD] * 3)
    strips = CHATML.replace("{{ m['content'] }}", "{{ m['content'].split('</hm>')[-1] }}")
    error = refused(templated(run, strips), capsys)
    assert "row 30" in error and "does not write turn 1 as its content" in error
