"""Pairs in, token groups out: layouts, faults of rows and files, the cut of a chat template, batches and stores."""

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.data.candidate_files import DUPLICATE
from sp3f_verl.data.files import write_parquet
from sp3f_verl.data.preference_rows import LEFT_OUT, Answers, Unusable, answers_of, read_answers
from sp3f_verl.errors import BadInput
from sp3f_verl.llm.ask import Status
from sp3f_verl.training.preference.reference_store import ReferenceStore, check_model
from sp3f_verl.training.preference.tokens import Group, GroupEncoder, batch_of, digest, encode_all


def turn(role: str, text: str) -> list[dict]:
    return [{"role": role, "content": text}]


USER, GOOD, BAD = turn("user", "2+2?"), turn("assistant", "4"), turn("assistant", "5")
SYSTEM, TERSE = turn("system", "Be brief."), turn("system", "Be terse.")
PAIR = Answers(tuple(USER), ("4", "5"))
SIDES = ("chosen", "rejected")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2+2?", "chosen": "4", "rejected": "5"},
        {"prompt": USER, "chosen": GOOD, "rejected": BAD},
        {"prompt": USER, "chosen": "4", "rejected": "5"},
        {"chosen": USER + GOOD, "rejected": USER + BAD},
        {"prompt": "2+2?", "chosen": USER + GOOD, "rejected": USER + BAD},
        {"prompt": USER, "chosen": USER + GOOD, "rejected": USER + BAD, "chosen_score": 1.5, "rejected_score": None},
    ],
)
def test_every_layout_is_the_same_pair(row):
    assert answers_of(row, SIDES) == PAIR


def test_a_conversation_keeps_its_system_turn_and_its_past():
    past = turn("system", "Be brief.") + USER + GOOD + turn("user", "3+3?")
    row = {"prompt": "3+3?", "chosen": past + turn("assistant", "6"), "rejected": past + turn("assistant", "7")}
    assert answers_of(row, SIDES) == Answers(tuple(past), ("6", "7"))


@pytest.mark.parametrize(
    ("prompt", "context"),
    [(SYSTEM + USER, USER), (turn("user", "Hi.") + GOOD + USER, USER), (USER, SYSTEM + USER), ("2+2?", SYSTEM + USER)],
)
def test_the_longer_of_prompt_and_sides_counts_where_one_ends_with_the_other(prompt, context):
    answers = answers_of({"prompt": prompt, "chosen": context + GOOD, "rejected": context + BAD}, SIDES)
    assert list(answers.prompt) == max(prompt, context, key=lambda part: len(part) if isinstance(part, list) else 0)


def test_only_so_many_rows_are_used_as_asked_for(tmp_path):
    write_parquet([{"prompt": f"{i}?", "chosen": "4", "rejected": "5"} for i in range(5)], tmp_path / "a.parquet")
    rows, _ = read_answers(str(tmp_path / "a.parquet"), SIDES, 3)
    assert [row.prompt[0]["content"] for row in rows] == ["0?", "1?", "2?"]


def test_triplets_in_spins_layout():
    roles = ("real", "generated", "proto")
    row = {"real": USER + GOOD, "generated": USER + BAD, "proto": USER + BAD}
    assert answers_of(row, roles) == Answers(tuple(USER), ("4", "5", "5")), "y' = y0 in iteration 0"
    with pytest.raises(Unusable, match="side_empty"):
        answers_of({**row, "proto": None}, roles)
    with pytest.raises(Unusable, match="sides_identical"):
        answers_of({**row, "real": USER + BAD}, roles)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "2+2?", "chosen": "4", "rejected": "4"}, "sides_identical"),
        ({"prompt": "2+2?", "chosen": " \n", "rejected": "4"}, "side_empty"),
        ({"prompt": "2+2?", "chosen": "4", "rejected": None}, "side_empty"),
        ({"prompt": "2+2?", "chosen": [], "rejected": "4"}, "side_empty"),
        ({"prompt": " ", "chosen": "4", "rejected": "5"}, "no_prompt"),
        ({"chosen": GOOD, "rejected": BAD}, "no_prompt"),
        ({"prompt": USER + GOOD, "chosen": GOOD, "rejected": BAD}, "no_prompt"),
        ({"prompt": USER, "chosen": USER, "rejected": BAD}, "side_does_not_end_with_the_assistant"),
        ({"chosen": USER + GOOD, "rejected": turn("user", "3?") + BAD}, "sides_answer_different_prompts"),
        ({"prompt": "3+3?", "chosen": USER + GOOD, "rejected": USER + BAD}, "sides_answer_different_prompts"),
        ({"prompt": USER, "chosen": [{"role": "assistant"}], "rejected": BAD}, "not_a_string_or_list_of_messages"),
        ({"prompt": USER, "chosen": GOOD + turn("user", "3?") + GOOD, "rejected": BAD}, "side_of_several_turns"),
        ({"prompt": USER, "chosen": GOOD + USER + GOOD, "rejected": GOOD + USER + BAD}, "side_of_several_turns"),
        ({"prompt": SYSTEM + USER, "chosen": TERSE + USER + GOOD, "rejected": TERSE + USER + BAD}, "different_prompts"),
        (
            {"prompt": USER, "chosen": [{**GOOD[0], "reasoning_content": "hm"}], "rejected": BAD},
            "has_reasoning_content",
        ),
        ({"prompt": "\ude00", "chosen": "4", "rejected": "5"}, "broken_character"),
        ({"prompt": "2+2?", "chosen": turn("assistant", "4 \ud83d"), "rejected": BAD}, "broken_character"),
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5", "tools": "["}, "tools_not_json"),
        ({"prompt": 7, "chosen": GOOD, "rejected": BAD}, "not_a_string_or_list_of_messages"),
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5", "chosen_score": math.nan}, "score_not_finite"),
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5", "chosen_score": 10**400}, "score_not_finite"),
        ({"prompt": "2+2?", "chosen": "4", "rejected": "5", "status": "identical"}, "identical"),
    ],
)
def test_a_row_at_fault_has_a_reason(row, reason):
    with pytest.raises(Unusable, match=reason):
        answers_of(row, SIDES)


@pytest.mark.parametrize("status", [None, "ok", "unchanged", "swapped", "tie", math.nan, 5, ["truncated"]])
def test_a_status_that_is_not_ours_leaves_no_row_out(status):
    assert answers_of({"prompt": "2+2?", "chosen": "4", "rejected": "5", "status": status}, SIDES).responses == (
        "4",
        "5",
    )


def test_every_status_of_ours_leaves_a_row_out():
    assert {*Status, DUPLICATE, "identical"} == {"ok", *LEFT_OUT}


JSONISH = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content"]), inner),
)


@given(st.fixed_dictionaries({"prompt": JSONISH, "chosen": JSONISH, "rejected": JSONISH}))
def test_no_row_is_anything_but_answers_or_unusable(row):
    try:
        answers = answers_of(row, SIDES)
    except Unusable:
        return
    assert answers.prompt and all(part.strip() for part in answers.responses) and len(set(answers.responses)) == 2


def test_files_are_read_in_order_and_faults_counted(tmp_path):
    good = {"prompt": "2+2?", "chosen": "4", "rejected": "5", "chosen_score": 1.0}
    rows = [good, {**good, "rejected": "4"}, {**good, "chosen_score": math.inf}, {**good, "chosen": "four"}]
    write_parquet(rows, tmp_path / "a.parquet")
    write_parquet([{**good, "prompt": "again?"}], tmp_path / "b.parquet")
    rows, dropped = read_answers([str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")], SIDES)
    assert [row.responses[0] for row in rows] == ["4", "four", "4"] and rows[2].prompt[0]["content"] == "again?"
    assert dropped == {"sides_identical": 1, "score_not_finite": 1}


def test_files_at_fault_are_one_sentence(tmp_path):
    write_parquet([{"prompt": "a", "choosen": "b", "rejected": "c"}], tmp_path / "column.parquet")
    write_parquet([{"prompt": "a", "chosen": "b", "rejected": "b"}], tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no")
    for name, sentence in (
        ("column", "no column 'chosen' (did you mean 'choosen'?)"),
        ("none", "no usable row (1 sides_identical)"),
        ("text", "is not a parquet file"),
        ("missing", "does not exist"),
    ):
        with pytest.raises(BadInput) as error:
            read_answers(str(tmp_path / f"{name}.parquet"), SIDES)
        assert sentence in str(error.value) and str(error.value).endswith(".")


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def test_a_response_begins_where_generation_would_and_ends_with_the_end_token(tokenizer):
    group = GroupEncoder(tokenizer)(Answers(tuple(USER), ("4", "5 or so")))
    assert tokenizer.decode(group.prompt) == "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
    assert [tokenizer.decode(part) for part in group.responses] == ["4<|im_end|>", "5 or so<|im_end|>"]


TURNS = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + 'END' }}{% endfor %}"
MUSING = (
    "{% for m in messages %}{{ m['role'] + ': ' + (m['content'].split('</muse>')[-1] | trim) + '<|endoftext|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: <muse>\n' }}{% endif %}"
)
TEMPLATES = {
    "muses, and strips it": MUSING,
    "writes that it did not muse": "{% for m in messages %}{{ m['role'] + ': ' }}{% if m['role'] == 'assistant' and "
    "'</muse>' not in m['content'] %}{{ '<muse>\n\n</muse>\n' }}{% endif %}{{ m['content'] + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: <muse>\n' }}{% endif %}",
    "headers like tags": TURNS.replace("': '", "'>\n'").replace("{{ m[", "{{ '<' + m[").replace("END", "<|im_end|>")
    + "{% if add_generation_prompt %}{{ '<assistant>\n' }}{% endif %}",
    "instruction, white space before it": TURNS.replace("END", "\n")
    + "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}",
    "instruction, no end": "{% for m in messages %}{{ '### ' + m['role'] + ':\n' + m['content'] }}{% if m['role'] == "
    "'user' %}{{ '\n\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '### assistant:\n' }}{% endif %}",
    "another end of turn": TURNS.replace("END", "<|endoftext|>")
    + "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
    "thinks when it generates": TURNS.replace("END", "<|im_end|>")
    + "{% if add_generation_prompt %}{{ 'assistant: <think>' }}{% endif %}",
}


@pytest.mark.parametrize(
    ("template", "response", "expected"),
    [
        ("instruction, no end", "4", "4<|im_end|>"),
        ("instruction, white space before it", "4", " 4<|im_end|>"),
        ("another end of turn", "4", "4<|endoftext|>"),
        ("thinks when it generates", "hm</think>4", "hm</think>4<|im_end|>"),
        ("thinks when it generates", "<think>hm</think>4", "hm</think>4<|im_end|>"),
        ("muses, and strips it", "hm\n</muse>\n4", "hm\n</muse>\n4<|endoftext|>"),
        ("muses, and strips it", "<muse>\nhm\n</muse>\n4", "hm\n</muse>\n4<|endoftext|>"),
        ("writes that it did not muse", "4", "\n</muse>\n4<|im_end|>"),
        ("headers like tags", "4", "4<|im_end|>"),
    ],
)
def test_other_templates(tokenizer, template, response, expected):
    other = copy.deepcopy(tokenizer)
    other.chat_template = TEMPLATES[template]
    group = GroupEncoder(other)(Answers(tuple(USER), (response,)))
    prefix = other.apply_chat_template(USER, add_generation_prompt=True, tokenize=False)
    assert other.decode(group.prompt) == prefix and other.decode(group.responses[0]) == expected


@pytest.mark.parametrize("template", ["muses, and strips it", "thinks when it generates"])
def test_a_response_that_leaves_the_prompts_thoughts_open_is_left_out(tokenizer, template, capsys):
    other = copy.deepcopy(tokenizer)
    other.chat_template = TEMPLATES[template]
    groups, counts = encode_all(other, [PAIR, PAIR], 64)
    assert not groups and counts == {"chat_template_cannot_write_it": 2}
    assert "the response has no </" in capsys.readouterr().err


def test_a_row_that_the_template_refuses_is_left_out(tokenizer, capsys):
    other = copy.deepcopy(tokenizer)
    other.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + tokenizer.chat_template
    )
    groups, counts = encode_all(other, [PAIR, Answers((*turn("system", "Rhyme."), *USER), ("4", "5"))], 64)
    assert len(groups) == 1 and counts == {"chat_template_cannot_write_it": 1}
    assert "(no system)" in capsys.readouterr().err


def test_tools_calls_and_settings_reach_the_template(tokenizer):
    other = copy.deepcopy(tokenizer)
    other.chat_template = (
        "{% if tools %}{{ tools[0]['name'] }};{% endif %}{% if short %}short;{% endif %}{% if once %}once;{% endif %}"
        "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}{% for c in m.tool_calls or [] %}[{{ c['name'] }}]"
        "{% endfor %}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "clock", "at": None}]}
    row = {
        "prompt": [*USER, call, {"role": "tool", "content": "noon"}],
        "chosen": GOOD,
        "rejected": BAD,
        "tools": json.dumps([{"name": "clock"}]),
        "chat_template_kwargs": {"once": True, "short": None},
    }
    answers = answers_of(row, SIDES)
    assert answers.prompt[1]["tool_calls"] == [{"name": "clock"}]
    (group,), _ = encode_all(other, [answers], 128, {"apply_chat_template_kwargs": {"short": True}})
    written = "user:2+2?<|im_end|>assistant:[clock]<|im_end|>tool:noon<|im_end|>assistant:"
    assert other.decode(group.prompt) == "clock;short;once;" + written


def test_long_responses_are_cut_and_long_prompts_left_out(tokenizer):
    long = Answers(tuple(USER), ("4 " * 50, "5"))
    same_start = Answers(tuple(USER), ("4 " * 50 + "x", "4 " * 50 + "y"))
    prompt = len(GroupEncoder(tokenizer)(PAIR).prompt)
    groups, counts = encode_all(tokenizer, [PAIR, long, same_start], prompt + 6)
    assert len(groups[1].responses[0]) == 6 and len(groups) == 2
    assert counts == {"response_cut": 1, "sides_identical": 1}
    assert encode_all(tokenizer, [PAIR], prompt) == ([], {"prompt_too_long": 1})


GROUPS = [
    Group(np.array([1, 2], np.int32), (np.array([3], np.int32), np.array([4, 5], np.int32))),
    Group(np.array([6], np.int32), (np.array([7, 8, 9], np.int32), np.array([1], np.int32))),
]


def test_a_batch_keeps_groups_together_and_aligns_the_reference_with_verls_log_probs():
    references = [(np.array([-1.0], np.float32), np.array([-2.0, -3.0], np.float32)), None]
    references[1] = (np.array([-4.0, -5.0, -6.0], np.float32), np.array([-7.0], np.float32))
    batch = batch_of(GROUPS, [1, 0], [1.0, 0.0], references)
    assert [part.tolist() for part in batch["input_ids"].unbind()] == [[6, 7, 8, 9], [6, 1], [1, 2, 3], [1, 2, 4, 5]]
    assert [part.tolist() for part in batch["loss_mask"].unbind()] == [[0, 1, 1, 1], [0, 1], [0, 0, 1], [0, 0, 1, 1]]
    assert [part.tolist() for part in batch["reference"].unbind()] == [
        *([-4, -5, -6, 0], [-7, 0]),
        *([0, -1, 0], [0, -2, -3, 0]),
    ]
    assert batch["group"].tolist() == [1, 1, 0, 0] and batch["role"].tolist() == [0, 1, 0, 1]
    assert batch["weight"].tolist() == [1, 1, 0, 0]


def test_the_store_computes_once_and_knows_whose_it_is(tmp_path):
    rows = [np.full(len(part), -float(len(part))) for group in GROUPS for part in group.responses]
    identity = {"model": "m", "rows": digest(GROUPS), "dtype": "fp32"}
    store = ReferenceStore(tmp_path, "train", identity)
    first = store.load_or_compute(GROUPS, lambda: rows)
    again = ReferenceStore(tmp_path, "train", identity).load_or_compute(GROUPS, lambda: pytest.fail("computed again"))
    for a, b in zip(first, again, strict=True):
        assert [part.tolist() for part in a] == [part.tolist() for part in b]
    assert [part.tolist() for part in first[1]] == [[-3, -3, -3], [-1]]
    check_model(tmp_path, "m")
    for name, change in (("model", {"model": "other"}), ("rows", {"rows": digest(GROUPS[:1])})):
        with pytest.raises(BadInput, match=f"of another {name}; remove"):
            ReferenceStore(tmp_path, "train", identity | change)
    with pytest.raises(BadInput, match="another model"):
        check_model(tmp_path, "other")
    manifest = tmp_path / "train.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "model": "0" * 64}))
    with pytest.raises(BadInput, match=r"under a name that an earlier version gave the model; remove it"):
        check_model(tmp_path, "m")


def test_a_store_cut_short_is_computed_again_and_nan_never_stored(tmp_path):
    identity = {"model": "m", "rows": digest(GROUPS), "dtype": "fp32"}
    rows = [np.zeros(len(part)) for group in GROUPS for part in group.responses]
    (tmp_path / "train.npy").write_bytes(b"half")  # killed between the values and their manifest
    ReferenceStore(tmp_path, "train", identity).load_or_compute(GROUPS, lambda: rows)
    assert json.loads((tmp_path / "train.json").read_text())["tokens"] == 7
    with pytest.raises(BadInput, match="not finite"):
        ReferenceStore(tmp_path / "b", "train", identity).load_or_compute(GROUPS, lambda: [rows[0] + np.nan, *rows[1:]])
    assert not (tmp_path / "b" / "train.json").exists()
