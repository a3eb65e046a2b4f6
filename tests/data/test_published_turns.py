"""Turns, pairs and ids as published sets have them."""

import json

import pytest

from data_prep import convert, preferences, selfplay
from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.preference_rows import Unusable, answers_of, as_turns, content_of
from sp3f_verl.data.prompts import read_prompts
from sp3f_verl.errors import BadInput
from sp3f_verl.translate.sources import read


def _lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _chat(*texts):
    return [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(texts)]


# ---- turns ----
def test_turns_that_went_through_csv_are_turns():
    turns = _chat("q?", "it's")
    named = json.dumps([{"name": None, **turn} for turn in turns])
    assert [turn["content"] for turn in as_turns(named)] == ["q?", "it's"]
    assert as_turns(json.dumps(turns)) == as_turns(repr(turns)) == turns
    for text in (
        '[{"role": "admin", "name": "x"}]',
        '[{"role": "admin", "content": ""}]',
        "[1]",
        f"{turns} What is it?",
        "[{ 'role'",
        "hi",
    ):
        assert as_turns(text) == text
    with pytest.raises(Unusable, match="cannot_be_read"):
        as_turns("[{'content': 'q', 'role': 'user'}\n {'content': 'a', 'role': 'assistant'}]")  # numpy's


def test_turns_as_text_are_read_at_every_door(tmp_path):
    rows = [{"id": "a", "language": "en", "messages": json.dumps(_chat("q?", "a"))}]
    path = _lines(tmp_path / "a.jsonl", rows)
    assert read([path])[0].messages == (("user", "q?"), ("assistant", "a"))
    assert next(iter(read_prompts([path])))["prompt"] == _chat("q?")
    path = _lines(tmp_path / "b.jsonl", [{"id": "a", "language": "en", "prompt": repr(_chat("q?"))}])
    assert read([path])[0].messages == (("user", "q?"),) and next(read_prompts([path]))["prompt"] == _chat("q?")
    row = {"prompt": "q?", "chosen": json.dumps(_chat("q?", "a")), "rejected": repr(_chat("q?", "b"))}
    assert answers_of(row, ("chosen", "rejected")).responses == ("a", "b")


def test_contents_of_text_parts_are_texts(tmp_path):
    parts = [{"type": "text", "text": "q", "image": None}, {"type": "text", "text": "?"}]
    assert content_of(parts) == "q?" and content_of("x") == "x" and content_of([]) == []
    for others in (
        [{"type": "image"}],
        [*parts, {"type": "image_url", "image_url": {}}],
        [{"type": "text", "text": 1}],
    ):
        assert content_of(others) == others
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]
    assert read([_lines(tmp_path / "a.jsonl", [{"messages": turns}])])[0].messages[0] == ("user", "q?")
    assert answers_of({"real": turns}, ("real",)).responses == ("a",)


# ---- pairs ----
@pytest.mark.parametrize("head", [[], [{"role": "system", "content": "Be kind."}]])
@pytest.mark.parametrize(
    ("prompt", "turns"),
    [("first?", _chat("first?", "a", "second?")), (" q?\n", _chat("q?")), ("q?", _chat("p?", "a", "q?"))],
)
def test_a_prompt_may_be_the_first_question_or_the_last(head, prompt, turns):
    sides = {side: [*head, *turns, {"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    assert list(answers_of({"prompt": prompt, **sides}, ("chosen", "rejected")).prompt) == [*head, *turns]
    with pytest.raises(Unusable, match="different_prompts"):
        answers_of({"prompt": "another?", **sides}, ("chosen", "rejected"))


def test_answers_that_are_not_wanted_are_no_examples(tmp_path, capsys):
    rows = [{"prompt": "q?", "completion": text, "label": text == "good"} for text in ("good", "bad")]
    path = _lines(tmp_path / "a.jsonl", rows)
    assert convert.main(f"--from trl --language en --input {path} --output {tmp_path / 'o'}".split()) == 0
    assert "1 left out: label_false" in capsys.readouterr().out
    assert [row["messages"][-1]["content"] for row in read_parquet(tmp_path / "o" / "a.parquet")] == ["good"]


def _arena(**changed):
    sides = {f"conversation_{side}": _chat("hi?", f"answer {side}") for side in "ab"}
    return {"question_id": "q", "language": "English", "winner": "model_a", **sides, **changed}


@pytest.mark.parametrize(
    "form", [json.dumps, lambda turns: [{**t, "content": [{"type": "text", "text": t["content"]}]} for t in turns]]
)
def test_arena_battles_with_parts_or_as_text(form, tmp_path):
    row = _arena()
    row |= {name: form(row[name]) for name in ("conversation_a", "conversation_b")}
    path = _lines(tmp_path / "a.jsonl", [row])
    assert preferences.main(f"--tokenizer characters --sources arena={path} --output {tmp_path / 'o'}".split()) == 0
    assert read_parquet(tmp_path / "o" / "train.parquet")[0]["chosen"] == "answer a"


# ---- ids ----
def test_the_id_of_a_prompt_may_stand_in_several_rows(tmp_path, capsys):
    def row(ident, *texts):
        return {"prompt_id": ident, "prompt": texts[0], "messages": _chat(*texts)}

    rows = [row("x", "q?", "a"), row("x", "q?", "b"), row("y", "r?", "a"), row("y", "r?", "a")]
    outputs = []
    for name, ordered in (("a", rows), ("b", rows[::-1])):
        path = _lines(tmp_path / f"{name}.jsonl", ordered)
        output = tmp_path / name
        assert selfplay.main(f"import --input {path} --output {output}".split()) == 0
        assert "3 ok, 1 same_row_twice" in capsys.readouterr().out
        outputs.append(read_parquet(output / "train.parquet"))
        chats = read([path])
        assert len(chats) == 3 and "y" in {chat.id for chat in chats} and "x" not in {chat.id for chat in chats}
    assert outputs[0] == outputs[1] and "y" in {each["id"] for each in outputs[0]}
    own = _lines(tmp_path / "c.jsonl", [rows[0] | {"id": "1"}, rows[1] | {"id": "1"}])
    assert selfplay.main(f"import --input {own} --output {tmp_path / 'c'}".split()) == 1
    with pytest.raises(BadInput, match="id '1' stands in rows that differ"):
        read([own])


def test_prompts_go_by_prompt_id_and_answers_of_text_are_no_gsm8k(tmp_path):
    row = {"prompt_id": "x", "language": "en", "prompt": "q?", "messages": _chat("q?", "a")}
    assert [each["id"] for each in read_prompts([_lines(tmp_path / "a.jsonl", [row])])] == ["x"]
    orca = {"question": "q?", "answer": "It is 5.", "messages": _chat("q?", "It is 5.")}
    assert read([_lines(tmp_path / "b.jsonl", [orca])])[0].messages[-1] == ("assistant", "It is 5.")
    assert read([_lines(tmp_path / "c.jsonl", [orca | {"answer": "so\n#### 5"}])])[0].answer == "5"


@pytest.mark.parametrize("told", [None, "de"])
def test_rows_of_verl_that_do_not_tell_their_language(told, tmp_path):
    row = {"data_source": "openai/gsm8k", "prompt": _chat("q?"), "reward_model": {"ground_truth": "1"}}
    path = _lines(tmp_path / "a.jsonl", [row | ({"language": told} if told else {})])
    words = f"--from verl --input {path} --output {tmp_path / 'o'}".split()
    assert convert.main([*words, "--language", "en"]) == 0
    assert read_parquet(tmp_path / "o" / "a.parquet")[0]["prompt_lang"] == (told or "en")
    if not told:
        assert convert.main([*words[:-1], str(tmp_path / "none")]) == 1
