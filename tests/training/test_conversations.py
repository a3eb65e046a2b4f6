"""Conversations as tokens: the loss of SFT is on the assistant's tokens and on no others, whatever the chat template
writes around them, and preference and self-play train on the same tokens of the same conversation."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from helpers.chat_templates import CHATML, HEADERS, SHAPES, Shape, tokenizer
from sp3f_verl.data.files import write_parquet
from sp3f_verl.training.conversations import (
    ResponseEncoder,
    Unmaskable,
    encode,
    end_of_turn,
    find_turns,
    messages_of,
    renderer,
    run_renderer,
    tokenize,
)
from sp3f_verl.training.sft.mask import fault
from sp3f_verl.verl_bridge.sft.dataset import AssistantTurnsDataset

ONE = [("user", "What is 7+5?"), ("assistant", "It is 12.")]
MANY = [("system", "Be short."), *ONE, ("user", "And 7+7?"), ("assistant", "It is 14.")]
# name -> (text of a row of one turn, text of a row of two; «what is trained on»)
EXPECTED = {
    "chatml": (
        "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nWhat is 7+5?<|im_end|>\n"
        "<|im_start|>assistant\n«It is 12.<|im_end|>»",
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nWhat is 7+5?<|im_end|>\n"
        "<|im_start|>assistant\n«It is 12.<|im_end|>»\n<|im_start|>user\nAnd 7+7?<|im_end|>\n"
        "<|im_start|>assistant\n«It is 14.<|im_end|>»",
    ),
    "headers": (
        "<|begin|><|head|>user<|/head|>\n\nWhat is 7+5?<|eot|><|head|>assistant<|/head|>\n\n«It is 12.<|eot|>»",
        "<|begin|><|head|>system<|/head|>\n\nBe short.<|eot|><|head|>user<|/head|>\n\nWhat is 7+5?<|eot|>"
        "<|head|>assistant<|/head|>\n\n«It is 12.<|eot|>»<|head|>user<|/head|>\n\nAnd 7+7?<|eot|>"
        "<|head|>assistant<|/head|>\n\n«It is 14.<|eot|>»",
    ),
    "model": (
        "<bos><turn>user\nWhat is 7+5?<end_of_turn>\n<turn>model\n«It is 12.<end_of_turn>»",
        "<bos><turn>user\nBe short.\n\nWhat is 7+5?<end_of_turn>\n<turn>model\n«It is 12.<end_of_turn>»\n"
        "<turn>user\nAnd 7+7?<end_of_turn>\n<turn>model\n«It is 14.<end_of_turn>»",
    ),
}


def messages(turns) -> list[dict]:
    return [{"role": role, "content": content} for role, content in turns]


def marked(built, ids, mask) -> str:
    """The decoded tokens, what is trained on in «»."""
    text, on = "", 0
    for token, label in zip([*ids, None], [*mask, 0], strict=True):
        text += ("«" if label else "»") if label != on else ""
        text, on = text + ("" if token is None else built.decode([token])), label
    return text


def dataset(built, folder, rows, cls=AssistantTurnsDataset, **config):
    write_parquet([{"messages": messages(row)} for row in rows], folder / "rows.parquet")
    config = OmegaConf.create({"pad_mode": "no_padding", "max_length": 4096, "truncation": "right", **config})
    return cls(str(folder / "rows.parquet"), built, config)


def of(item) -> tuple[list[int], list[int]]:
    return item["input_ids"].tolist(), item["loss_mask"].tolist()


@pytest.mark.parametrize("name", SHAPES)
def test_the_mask_is_the_assistants_content_and_end_of_turn(name, tmp_path):
    """The same file holds both rows, so that parquet could mix them up; the prompt's ids are those of generation."""
    built = tokenizer(SHAPES[name])
    read = dataset(built, tmp_path, [ONE, MANY])
    for row, turns, expected in zip(read, (ONE, MANY), EXPECTED[name], strict=True):
        ids, mask = of(row)
        print(f"\n{name}: {marked(built, ids, mask)}")
        assert marked(built, ids, mask) == expected
        prompt = built.apply_chat_template(messages(turns[:-1]), add_generation_prompt=True)["input_ids"]
        assert ids[: len(prompt)] == prompt and all(mask[len(prompt) :])
        assert row["position_ids"].tolist() == list(range(len(ids)))


@pytest.mark.parametrize("name", SHAPES)
def test_the_check_finds_every_wrong_token(name):
    """Any one label flipped, any token dropped or another one in its place is a fault; the right ones are none."""
    built = tokenizer(SHAPES[name])
    whole, turns = find_turns(renderer(built), messages(MANY), end_of_turn(built))
    ids, mask = encode(built, whole, turns)
    assert fault(built, whole, turns, ids, mask) is None
    for place in range(len(ids)):
        flipped = [1 - label if i == place else label for i, label in enumerate(mask)]
        assert fault(built, whole, turns, ids, flipped), place
        assert fault(built, whole, turns, ids[:place] + ids[place + 1 :], mask[:place] + mask[place + 1 :]), place
        assert fault(built, whole, turns, [*ids[:place], ids[place] ^ 1, *ids[place + 1 :]], mask), place


def test_what_stock_verl_trains_on(tmp_path):
    """Why there is a dataset class of our own: a newline after the turn's end, and no start at all with `model`."""
    from jinja2 import TemplateError
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

    built = tokenizer(SHAPES["chatml"])
    stock = {"cls": MultiTurnSFTDataset, "ignore_input_ids_mismatch": True}
    ids, mask = of(dataset(built, tmp_path, [ONE], **stock)[0])
    assert marked(built, ids, mask).endswith("«It is 12.<|im_end|>\n»")
    wrong = fault(built, *find_turns(renderer(built), messages(ONE), end_of_turn(built)), ids, mask)
    assert wrong == r"in turn 1 'It is 12.<|im_end|>\n' is trained on, but the assistant writes 'It is 12.<|im_end|>'"
    with pytest.raises(TemplateError, match="alternate"):
        dataset(tokenizer(SHAPES["model"]), tmp_path, [ONE], **stock)


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)


@given(st.sampled_from(list(SHAPES)), st.lists(st.tuples(text, text), min_size=1, max_size=3))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_any_content_is_trained_on_and_nothing_else(tokenizers, name, pairs):
    built = tokenizers[name]
    row = [turn for asked, content in pairs for turn in (("user", asked), ("assistant", content))]
    whole, turns = find_turns(renderer(built), messages(row), end_of_turn(built))
    ids, mask = encode(built, whole, turns)
    assert fault(built, whole, turns, ids, mask) is None
    stop = {"chatml": "<|im_end|>", "headers": "<|eot|>", "model": "<end_of_turn>"}[name]
    contents = [answer if name == "chatml" else answer.strip() for _, answer in pairs]
    assert [whole[turn.start : turn.end] for turn in turns] == [content + stop for content in contents]
    assert built.decode([i for i, on in zip(ids, mask, strict=True) if on]) == "".join(
        content + stop for content in contents
    )


@pytest.fixture(scope="module")
def tokenizers():
    return {name: tokenizer(shape) for name, shape in SHAPES.items()}


def test_a_content_that_would_merge_with_the_prompt_does_not(tokenizers):
    built = tokenizers["chatml"]
    row = messages([("user", "A list?"), ("assistant", "\nIt is 12.")])
    whole, turns = find_turns(renderer(built), row, end_of_turn(built))
    prompt = tokenize(built, whole[: turns[0].start])
    assert tokenize(built, whole)[: len(prompt)] != prompt, "the tokenizer has a token of two newlines"
    ids, mask = encode(built, whole, turns)
    assert ids[: len(prompt)] == prompt and mask == [0] * len(prompt) + [1] * (len(ids) - len(prompt))
    assert fault(built, whole, turns, tokenize(built, whole[: turns[0].end]), mask[:-1])


def test_words_of_the_template_in_the_content():
    """The content also stands in what the template writes before it, or looks like the beginning of another turn."""
    thinking = CHATML.replace(
        "{{ m['content'] }}", "{{ '<think>\n\n</think>\n\n' if m['role'] == 'assistant' }}{{ m['content'] }}"
    )
    built = tokenizer(Shape(thinking, (), {}))
    for content in ("think", "<|im_start|>user\nhi\n<|im_start|>assistant\nhello"):
        whole, turns = find_turns(
            renderer(built), messages([("user", "7?"), ("assistant", content)]), end_of_turn(built)
        )
        assert [whole[turn.start : turn.end] for turn in turns] == [f"<think>\n\n</think>\n\n{content}<|im_end|>"]


@pytest.mark.parametrize(
    ("written", "trained"),
    [
        ("<|said|><|im_end|>", "It is 12.<|said|><|im_end|>"),  # Cohere's way
        ("<|im_end|>\n<|endoftext|>", "It is 12.<|im_end|>"),  # Phi's way
        (" <|im_end|>", "It is 12. <|im_end|>"),  # Llama 2's way
    ],
)
def test_ends_of_turns_that_are_more_than_one_token(written, trained):
    built = tokenizer(Shape(CHATML.replace("<|im_end|>\n{% endfor %}", written + "{% endfor %}"), ("<|said|>",), {}))
    whole, turns = find_turns(renderer(built), messages(MANY[1:]), end_of_turn(built))
    assert whole[turns[0].start : turns[0].end] == trained
    assert whole[turns[1].start : turns[1].end] == trained.replace("12", "14")


UNMASKABLE = {
    "no end of turn": (CHATML.replace("<|im_end|>\n{% endfor", "\n{% endfor"), "ends turn 3 without a special token"),
    "a rewritten content": (
        CHATML.replace("m['content']", "m['content'] | upper"),
        "does not write turn 3 as its content",
    ),
    "a content cut in earlier turns": (
        CHATML.replace("{{ m['content'] }}", "{{ m['content'] if loop.last or m['role'] == 'user' else '...' }}"),
        "writes nothing of the content of turn 1 (assistant)",
    ),
    "a prompt that is not in the whole": (
        CHATML.replace("assistant\n{% endif", "assistant\n<think>{% endif"),
        r"im_start|>assistant\n<think>', but the chat template writes ...'im_start|>assistant\nIt is 12.",
    ),
    "an end of its own for the last turn": (
        CHATML.replace(
            "<|im_end|>\n{% endfor",
            "{{ '<|endoftext|>' if m['role'] == 'assistant' and not loop.last else '<|im_end|>' }}{% endfor",
        ),
        "does not write turn 1 as its content and the end of a turn",
    ),
    "roles that it does not know": (
        HEADERS.replace(
            "{% for", "{% if messages[-1]['role'] == 'assistant' %}{{ raise_exception('no!') }}{% endif %}{% for"
        ),
        "refuses the turns (no!)",
    ),
}


@pytest.mark.parametrize("name", UNMASKABLE)
def test_a_template_that_hides_the_assistants_tokens_is_refused(name):
    template, sentence = UNMASKABLE[name]
    shape = SHAPES["headers"] if "head" in template else SHAPES["chatml"]
    built = tokenizer(Shape(template, shape.special, shape.settings))
    with pytest.raises(Unmaskable) as error:
        find_turns(renderer(built), messages(MANY[1:]), end_of_turn(built))
    assert sentence in str(error.value) and str(error.value).endswith(".")


def test_a_token_that_nothing_comes_before_has_no_label(tmp_path):
    """Packed, the row before would be trained to go on with it."""
    built = tokenizer(SHAPES["chatml"])
    ids, mask = of(dataset(built, tmp_path, [ONE], max_length=3, truncation="left")[0])
    assert len(ids) == 3 and mask == [0, 1, 1]


def test_the_place_of_a_row_without_a_label_is_taken_by_the_next(tmp_path):
    built = tokenizer(SHAPES["chatml"])
    long = [("user", "What is 7+5? " * 20), ONE[1]]
    read = dataset(built, tmp_path, [long, ONE, long], max_length=60, truncation="right")
    right = of(read[1])
    assert any(right[1]) and of(read[0]) == right and of(read[2]) == right
    assert not any(of(read.cut_row(0))[1])


@pytest.mark.parametrize(("truncation", "kept"), [("left", slice(-12, None)), ("right", slice(12))])
def test_long_rows_are_cut_where_it_is_said(truncation, kept, tmp_path):
    built = tokenizer(SHAPES["chatml"])
    ids, mask = of(dataset(built, tmp_path, [ONE])[0])
    cut = dataset(built, tmp_path, [ONE], max_length=12, truncation=truncation).cut_row(0)
    assert of(cut) == (ids[kept], mask[kept]) and cut["position_ids"].tolist() == list(range(12))
    with pytest.raises(ValueError, match=f"row 0 has {len(ids)} tokens and data.max_length=12; raise it"):
        dataset(built, tmp_path, [ONE], max_length=12, truncation="error")[0]


def test_settings_of_the_template_reach_it(tmp_path):
    template = "{% if enable_thinking is defined %}thinking {{ enable_thinking }}\n{% endif %}{{ note or '' }}" + CHATML
    built = tokenizer(Shape(template, (), {}))
    begins = {
        "": {},
        "thinking False\n": {"enable_thinking_default": False},
        "hm": {"apply_chat_template_kwargs": {"note": "hm"}},
    }
    for text, config in begins.items():
        ids, mask = of(dataset(built, tmp_path, [ONE], **config)[0])
        assert marked(built, ids, mask).startswith(text + "<|im_start|>system")


@pytest.mark.parametrize("name", SHAPES)
def test_all_methods_train_on_the_same_tokens_of_a_conversation(name):
    """A response of a pair is the last turn of the conversation that SFT would train on, header and newline apart."""
    built = tokenizer(SHAPES[name])
    encode_responses = ResponseEncoder(built)
    for turns in (ONE, MANY):
        row = messages(turns)
        whole, places = find_turns(renderer(built), row, end_of_turn(built))
        ids, _ = encode(built, whole, places)
        prompt, (response, other) = encode_responses(row[:-1], (turns[-1][1], "No."))
        assert prompt + response == ids
        assert prompt == built.apply_chat_template(row[:-1], add_generation_prompt=True)["input_ids"]
        assert built.decode(other) == "No." + EXPECTED[name][0].rpartition("It is 12.")[2].rstrip("»")


@pytest.mark.parametrize(
    ("template", "eos", "expected"),
    [
        (UNMASKABLE["no end of turn"][0], "<|im_end|>", "12.<|im_end|>"),
        (UNMASKABLE["a rewritten content"][0], "<|im_end|>", "12.<|im_end|>"),
        (
            CHATML.replace("<|im_end|>\n{% endfor", "<|im_end|>\n<|endoftext|>{% endfor"),
            "<|endoftext|>",
            "12.<|im_end|>",
        ),
        (CHATML.replace("<|im_end|>\n{% endfor", "<|im_end|><|endoftext|>{% endfor"), "<|im_end|>", "12.<|im_end|>"),
    ],
)
def test_what_sft_refuses_is_trained_on_as_it_was_generated(template, eos, expected):
    """Nothing that the template writes after a turn's end is trained on, even where an end of sequence follows."""
    built = tokenizer(Shape(template, (), {"eos": eos}))
    prompt, (response,) = ResponseEncoder(built)(messages(ONE[:1]), ("12.",))
    assert built.decode(response) == expected
    assert prompt == built.apply_chat_template(messages(ONE[:1]), add_generation_prompt=True)["input_ids"]


def test_a_prompt_that_the_template_refuses_is_a_sentence():
    built = tokenizer(SHAPES["model"])
    with pytest.raises(Unmaskable, match=r"refuses the turns \(roles must alternate\); change"):
        ResponseEncoder(built)(messages([("user", "7?"), ("user", "8?")]), ("12.",))


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Vigo"}}}
ASKED = [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]}]
TOLD = [{"role": "tool", "content": "sun"}, {"role": "assistant", "content": "No."}]
WRITTEN = (
    "{{ tools | tojson if tools else '' }}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m.reasoning_content and loop.last %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m['content'] }}"
    "{% for call in m.tool_calls or [] %}<|call|>{{ call['function']['name'] }}<|end_call|>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_turn_with_calls_ends_after_them():
    """Also where special tokens begin and end a call, and where a turn has nothing but calls."""
    built = tokenizer(Shape(WRITTEN, ("<|call|>", "<|end_call|>"), {}))
    for content in ("Let me look.", "", None):
        row = [ASKED[0], {**ASKED[1], "content": content}, *TOLD]
        called = f"{content or ''}<|call|>weather<|end_call|><|im_end|>"
        for turns, expected in ((row, [called, "No.<|im_end|>"]), (row[:2], [called])):
            whole, places = find_turns(renderer(built), messages_of(turns), end_of_turn(built))
            assert [whole[turn.start : turn.end] for turn in places] == expected


def test_nulls_of_parquet_are_not_written():
    tools = [{"function": {"name": "f", "description": None}}]
    for column in (tools, json.dumps(tools)):
        render = run_renderer(tokenizer(Shape(WRITTEN, (), {})), None, {}, column, None)
        assert render(messages(ONE), False).startswith('[{"function": {"name": "f"}}]<|im_start|>')
    with pytest.raises(Unmaskable, match="no JSON"):
        run_renderer(None, None, {}, "weather", None)
    arguments = {"place": "Vigo", "day": None}
    turn = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
    (message,) = messages_of([{**turn, "name": None}])
    assert message.pop("tool_calls") == [{"function": {"name": "f", "arguments": {"place": "Vigo"}}}]
    assert message == {"role": "assistant", "content": None}


DROPPED = {
    "tools": (CHATML, ASKED[:1], [CALL], "the row's tools"),
    "calls": (CHATML, [*ASKED, TOLD[0]], None, "the tool_calls of turn 1 (assistant)"),
    "a system turn": (
        CHATML.replace("{% for m in messages", "{% for m in messages if m['role'] != 'system'"),
        [{"role": "system", "content": "In French."}, *ASKED[:1]],
        None,
        "the content of turn 0 (system)",
    ),
    "thoughts": (
        CHATML,
        [ASKED[0], {"role": "assistant", "content": "No.", "reasoning_content": "clouds"}, ASKED[0]],
        None,
        "the reasoning_content of turn 1 (assistant)",
    ),
}


@pytest.mark.parametrize("name", DROPPED)
def test_what_a_template_leaves_out_is_told(name):
    template, prompt, tools, part = DROPPED[name]
    with pytest.raises(Unmaskable) as error:
        ResponseEncoder(tokenizer(Shape(template, (), {})))(prompt, ("No.",), tools)
    assert str(error.value).startswith(f"the chat template writes nothing of {part}; set model.custom_chat_template")
    if name != "a system turn":  # a template that writes the part takes the row
        ResponseEncoder(tokenizer(Shape(WRITTEN, ("<|call|>", "<|end_call|>"), {})))(prompt, ("No.",), tools)


@pytest.mark.parametrize("answer", ["It is 12.<|im_end|>", "It is <|im_end|>12.", "12<|endoftext|>."])
@pytest.mark.parametrize("template", [CHATML, UNMASKABLE["a rewritten content"][0]])
def test_an_answer_that_holds_an_end_is_not_trained_on(answer, template):
    """Nothing after it would ever be generated; its own end beside the template's would be there twice."""
    built = tokenizer(Shape(template, (), {"eos": "<|endoftext|>"}))
    with pytest.raises(Unmaskable, match="at which generation would end; take it out"):
        ResponseEncoder(built)(messages(ONE[:1]), (answer,))


def test_a_header_is_no_part_of_an_answer():
    """A turn that goes on after a tool's answer has none where it is generated (Gemma 4's way)."""
    continued = (
        "{% for m in messages %}{{ '' if m['role'] == 'tool' else '<|im_start|>' + m['role'] + '\n' }}"
        "{{ m['content'] }}{{ '<|call|>' + m['tool_calls'][0]['function']['name'] if m['tool_calls'] else '' }}"
        "{{ '' if m['role'] == 'tool' else '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt and messages[-1]['role'] != 'tool' %}<|im_start|>assistant\n{% endif %}"
    )
    built = tokenizer(Shape(continued, ("<|call|>",), {}))
    prompt, (response,) = ResponseEncoder(built)([*ASKED, TOLD[0]], ("No.",))
    assert built.decode(prompt).endswith("sun") and built.decode(response) == "No.<|im_end|>"
    with pytest.raises(Unmaskable, match=r"writes '<\|im_start\|>assistant' in turn 3"):
        find_turns(renderer(built), [*ASKED, *TOLD], end_of_turn(built))


def test_a_header_that_is_always_written_is_no_part_of_the_end():
    """Command R7B's way: the next turn's header, asked for or not."""
    always = CHATML.partition("{% if add_generation_prompt %}")[0].replace(
        "<|im_end|>\n{% endfor", "<|im_end|>{% endfor"
    )
    built = tokenizer(Shape(always + "{{ '<|im_start|>assistant\n' }}", (), {}))
    whole, turns = find_turns(renderer(built), messages(ONE), end_of_turn(built))
    assert whole.endswith("It is 12.<|im_end|><|im_start|>assistant\n")
    assert whole[turns[0].start : turns[0].end] == "It is 12.<|im_end|>"
