"""Pairs in other languages by config, over the HTTP stub and its faults: ids end to end, shares, kills."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from data_prep import architectures
from data_prep.preferences import ENGLISH
from helpers.model_server import ModelServer, Reply
from helpers.tables import write_rows
from sp3f_verl.architectures.build import read_english
from sp3f_verl.architectures.model import SourceText
from sp3f_verl.architectures.plan import SHIPPED, read_plan
from sp3f_verl.architectures.schema import Architecture
from sp3f_verl.architectures.share import COPY, jobs, quotas, spread
from sp3f_verl.data.files import read_parquet
from sp3f_verl.data.preference_rows import read_answers
from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Ask

# A sentence a recogniser is sure of; the stub's answers name what was asked behind it, in code, which is not judged.
SENTENCES = {
    "German": "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter und die Straße.",
    "Spanish": "Esta es una frase española muy corriente sobre el tiempo y la calle.",
    "English": "This is a rather ordinary sentence about the weather and the road.",
}
ROLES = {
    "A": {"prompt": {"translate": "mt"}, "chosen": {"translate": "mt"}, "rejected": {"translate": "mt"}},
    "B": {"prompt": {"translate": "mt"}, "chosen": {"generate": "strong"}, "rejected": {"generate": "weak"}},
    "C": {"prompt": {"translate": "mt"}, "chosen": {"generate": "strong"}, "rejected": {"translate": "bad_mt"}},
}


def english(count):
    return [
        {
            **{"id": f"{n:016x}", "pair_id": f"p{n}", "prompt_lang": "en", "chosen_lang": "en", "rejected_lang": "en"},
            "prompt": [{"role": "user", "content": f"question `{n}`"}],
            **{"chosen": f"good `{n}`", "rejected": f"poor `{n}`", "source": "arena", "task": "qa"},
            **{"chosen_score": 2.0, "rejected_score": 1.0, "margin": 1.0},
        }
        for n in range(count)
    ]


def asked(body):
    """(model, language or None, what it is about) of a request."""
    content = body["messages"][-1]["content"]
    language = next((name for name in ("German", "Spanish") if f"into {name}" in content), None)
    return body["model"], language, content.rpartition("\n\n")[2] if language else content


def stub(faults=None):
    def reply(body):
        model, language, about = asked(body)
        if fault := (faults or {}).get((model, about.replace("`", ""))):
            return fault
        language = language or next((name for name, text in SENTENCES.items() if text in about), "English")
        return f"{SENTENCES[language]} `{model}: {about.replace('`', '').rpartition(': ')[2]}`"

    return reply


@pytest.fixture
def base(tmp_path):
    write_rows(english(6), ENGLISH, tmp_path / "english.parquet")
    return tmp_path / "english.parquet"


def config(path, url, name, **more):
    """A config file whose four models are all at the stub."""
    models = {
        name: {"model": name, "base_url": url, "max_tokens": 99, "temperature": 0, "max_failure_share": 1}
        for name in ("mt", "bad_mt", "strong", "weak")
    }
    tree = {"name": name, "languages": {"en": 1, "de": 1, "es": 1}, "models": models, **ROLES.get(name, {}), **more}
    path.write_text(yaml.safe_dump(tree))
    return path


def run(file, base, output, *more):
    return architectures.main(["--config", str(file), "--input", str(base), "--output", str(output), *more])


def rows_of(output):
    return {(row["id"], row["prompt_lang"]): row for row in read_parquet(output / "train.parquet")}


def manifest_of(output):
    return json.loads((output / "manifest.json").read_text())


WRITERS = {
    "A": ("`mt: question {n}`", "`mt: good {n}`", "`mt: poor {n}`"),
    "B": ("`mt: question {n}`", "`strong: question {n}`", "`weak: question {n}`"),
    "C": ("`mt: question {n}`", "`strong: question {n}`", "`bad_mt: poor {n}`"),
}


@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_every_text_by_its_writer_under_its_id(name, base, tmp_path):
    with ModelServer(stub()) as server:
        assert run(config(tmp_path / "c.yaml", server.url, name), base, tmp_path / "out") == 0
    rows = rows_of(tmp_path / "out")
    assert set(rows) == {(f"{n:016x}", code) for n in range(6) for code in ("en", "de", "es")}
    for (ident, code), row in rows.items():
        n = int(ident, 16)
        texts = (row["prompt"][-1]["content"], row["chosen"], row["rejected"])
        if code == "en":
            assert texts == (f"question `{n}`", f"good `{n}`", f"poor `{n}`")
            assert (row["recipe"], row["margin"]) == (COPY, 1.0)
            continue
        sentence = SENTENCES["German" if code == "de" else "Spanish"]
        assert texts == tuple(f"{sentence} {writer.format(n=n)}" for writer in WRITERS[name])
        assert (row["recipe"], row["source"], row["margin"]) == (name, "arena", None)
        assert {row[f"{side}_lang"] for side in ("chosen", "rejected")} == {code}
    assert len({row["pair_id"] for row in rows.values()}) == 18
    how = {"A": "translate mt", "B": "generate strong", "C": "generate strong"}[name]
    assert rows[f"{1:016x}", "de"]["chosen_by"] == how
    manifest = manifest_of(tmp_path / "out")
    assert manifest["notes"]["report"]["overall"]["chosen_off_language"] == 0
    assert manifest["prompts"].keys() == {"translate.txt"} and not manifest["drops"]
    answers, dropped = read_answers(str(tmp_path / "out" / "train.parquet"), ("chosen", "rejected"))
    assert len(answers) == 18 and not dropped, "as +recipe=mdpo reads it"


FAULTS = {
    ("mt", "question 0"): Reply(status=400, json={"error": {"message": "no"}}),
    ("mt", "question 1"): Reply(text=" \n"),
    ("bad_mt", "poor 2"): Reply(text=None, refusal="I will not."),
    ("bad_mt", "poor 3"): Reply(text="Das ist ein halber", finish_reason="length"),
    ("bad_mt", "poor 4"): Reply(text="This stayed in English, all of it, as the sentence was never translated."),
}


def test_what_is_missing_takes_its_pair_out_and_is_counted(base, tmp_path):
    with ModelServer(stub(FAULTS)) as server:
        assert run(config(tmp_path / "c.yaml", server.url, "C"), base, tmp_path / "out") == 0
        generated = [asked(entry["body"])[2] for entry in server.chats() if entry["body"]["model"] == "strong"]
    assert manifest_of(tmp_path / "out")["drops"] == {
        "prompt_error": 2,
        "prompt_empty": 2,
        "rejected_refused": 2,
        "rejected_truncated": 2,
        "rejected_off_language": 2,
    }
    rows = rows_of(tmp_path / "out")
    assert {ident for ident, code in rows if code != "en"} == {f"{5:016x}"} and len(rows) == 8
    assert manifest_of(tmp_path / "out")["notes"]["pairs"]["C"] == {"wanted": 12, "made": 2}
    assert all("halber" not in row["rejected"] and "I will not" not in row["rejected"] for row in rows.values())
    assert len(generated) == 4, "no answer is paid for where the prompt or the rejected answer is missing"


def test_the_language_bar_is_the_roles_own(base, tmp_path):
    rejected = {"translate": "bad_mt", "min_language_share": 0}
    with ModelServer(stub({key: FAULTS[key] for key in [("bad_mt", "poor 4")]})) as server:
        assert run(config(tmp_path / "c.yaml", server.url, "C", rejected=rejected), base, tmp_path / "out") == 0
    assert len(rows_of(tmp_path / "out")) == 18
    assert manifest_of(tmp_path / "out")["notes"]["report"]["by_language"]["de"]["rejected_off_language"] == 1 / 6


def test_the_order_of_the_rows_changes_nothing(base, tmp_path):
    shuffled = tmp_path / "shuffled.jsonl"
    rows = read_parquet(base)
    shuffled.write_text("".join(json.dumps(row) + "\n" for row in random.Random(1).sample(rows, len(rows))))
    with ModelServer(stub(FAULTS)) as server:
        mix = mix_of(tmp_path, server.url, {"A": 1, "C": 1})
        assert run(mix, base, tmp_path / "a") == 0 and run(mix, shuffled, tmp_path / "b") == 0
    assert (tmp_path / "a" / "train.parquet").read_bytes() == (tmp_path / "b" / "train.parquet").read_bytes()
    assert manifest_of(tmp_path / "a")["drops"] == manifest_of(tmp_path / "b")["drops"]


def mix_of(folder, url, weights, languages=None):
    for name in weights:
        config(folder / f"{name}.yaml", url, name)
    tree = {"name": "mix", "mix": weights, "languages": languages or {"en": 1, "de": 1, "es": 0.5}, "seed": 3}
    (folder / "mix.yaml").write_text(yaml.safe_dump(tree))
    return folder / "mix.yaml"


def test_a_mix_has_its_shares_and_its_seed(tmp_path):
    write_rows(english(40), ENGLISH, tmp_path / "english.parquet")
    rows_by_seed = {}
    with ModelServer(stub()) as server:
        mix = mix_of(tmp_path, server.url, {"A": 3, "C": 1})
        for seed in (3, 4):
            assert run(mix, tmp_path / "english.parquet", tmp_path / f"{seed}", "--set", f"seed={seed}") == 0
            rows_by_seed[seed] = rows_of(tmp_path / f"{seed}")
    for rows in rows_by_seed.values():
        counts = Counter((row["prompt_lang"], row["recipe"]) for row in rows.values())
        assert counts == {("en", COPY): 40, ("de", "A"): 30, ("de", "C"): 10, ("es", "A"): 15, ("es", "C"): 5}
    places = [{(key, row["recipe"]) for key, row in rows.items()} for rows in rows_by_seed.values()]
    assert places[0] != places[1], "another seed, another draw"


def test_english_by_the_architecture(base, tmp_path):
    with ModelServer(stub()) as server:
        file = config(tmp_path / "c.yaml", server.url, "B", english="architecture", languages=["en"])
        assert run(file, base, tmp_path / "out") == 0
        assert {entry["body"]["model"] for entry in server.chats()} == {"strong", "weak"}
    row = rows_of(tmp_path / "out")[f"{2:016x}", "en"]
    assert row["prompt"][0]["content"] == "question `2`"
    assert row["chosen"].endswith("`strong: question 2`") and row["recipe"] == "B"


def test_turns_system_and_a_model_per_language(tmp_path):
    """A conversation is translated turn by turn; {language} of the system message; text in braces stays as it is."""
    rows = english(1)
    earlier = [{"role": "user", "content": "{target} one"}, {"role": "assistant", "content": "two"}]
    rows[0]["prompt"] = earlier + rows[0]["prompt"]
    write_rows(rows, ENGLISH, tmp_path / "english.parquet")
    with ModelServer(stub(), models=["mt-de", "mt-es"]) as server:
        file = config(tmp_path / "c.yaml", server.url, "B", languages=["de", "es"])
        per_language = 'models.mt.model_by_language={"de": mt-de, "es": mt-es}'
        system = "models.strong.system=Answer in {language}."
        assert run(file, tmp_path / "english.parquet", tmp_path / "out", "--set", per_language, system) == 0
        bodies = [entry["body"] for entry in server.chats()]
    translated = rows_of(tmp_path / "out")
    for code, name in (("de", "German"), ("es", "Spanish")):
        prompt = translated[f"{0:016x}", code]["prompt"]
        about = ("{target} one", "two", "question 0")
        assert [turn["content"] for turn in prompt] == [f"{SENTENCES[name]} `mt-{code}: {text}`" for text in about]
        assert [turn["role"] for turn in prompt] == ["user", "assistant", "user"]
        (strong,) = (
            body["messages"] for body in bodies if body["model"] == "strong" and prompt[-1] == body["messages"][-1]
        )
        assert strong == [{"role": "system", "content": f"Answer in {name}."}, *prompt]


def silent_after(goal: int, server: ModelServer):
    """Answers until so many have been asked; then it is silent, so that a kill meets the run there."""
    answer = stub()
    return lambda body: answer(body) if len(server.chats()) <= goal else Reply(hang=True)


def test_a_killed_run_asks_nothing_twice(base, tmp_path):
    command = [sys.executable, "-m", "data_prep.architectures", "--input", str(base), "--output", str(tmp_path / "out")]
    with ModelServer() as server:
        file = config(tmp_path / "c.yaml", server.url, "C")
        command += ["--config", str(file)]
        command += ["--set", *(f"models.{name}.concurrency=2" for name in ("mt", "bad_mt", "strong"))]
        answered = 0
        for goal in (5, 25):  # in the middle of the first model, and of a later one
            server.reply = silent_after(goal, server)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
            reached = server.wait_for(lambda server, goal=goal: len(server.chats()) > goal, 120)
            process.kill()
            process.wait()
            assert reached
            assert not (tmp_path / "out" / "manifest.json").exists()
        server.reply = stub()
        assert subprocess.run(command, timeout=120, capture_output=True).returncode == 0
        counts = Counter(json.dumps([body["model"], body["messages"]]) for body in (e["body"] for e in server.chats()))
        answered = len(counts)
        assert sum(counts.values()) - answered <= 2 * 2 * 2, "at most what was in flight at each kill"
        before = len(server.chats())
        assert subprocess.run(command, timeout=120, capture_output=True).returncode == 0
        assert len(server.chats()) == before, "already done"
        assert run(config(tmp_path / "d.yaml", server.url, "C"), base, tmp_path / "whole") == 0
    assert answered == 12 * 3, "prompt, chosen and rejected of six rows in two languages"
    assert (tmp_path / "out" / "train.parquet").read_bytes() == (tmp_path / "whole" / "train.parquet").read_bytes()


@pytest.mark.parametrize(
    ("more", "overrides", "message"),
    [
        ({"prompts": "copy"}, [], "prompts does not exist (did you mean 'prompt'?)"),
        ({"chosen": {"generate": "stong"}}, [], "no 'stong' (did you mean 'strong'?)"),
        ({"chosen": {"generated": "strong"}}, [], "chosen.generated does not exist (did you mean 'generate'?)"),
        ({"chosen": {"generate": "strong", "translate": "mt"}}, [], "say one of copy, translate and generate"),
        ({"prompt": {"generate": "strong"}}, [], "say one of copy, translate."),
        ({"chosen": None}, [], "chosen is missing; say copy"),
        ({"languages": {"de": 2}}, [], "languages.de=2 is no share; give one"),
        ({"languages": {"xx": 1}}, [], "unknown language 'xx'"),
        ({"models": ["mt"]}, [], "models=['mt'] is not a mapping"),
        ({"english": "keep"}, [], "english=keep; it is one of copy, architecture"),
        ({}, ["models.strong.temperatur=1"], "models.strong.temperatur does not exist (did you mean 'temperature'?)"),
        ({}, ["models.strong.max_tokens=many"], "models.strong.max_tokens='many'; give a whole number, 1 or more"),
        ({}, ["models.strong.concurrency=many"], "models.strong.concurrency='many'; give a whole number, 1 or more"),
        ({}, ["models.stong.seed=1"], "there is no 'stong' (did you mean 'strong'?)"),
        ({}, ["models.mt.template=nowhere"], "neither a file nor shipped"),
        ({}, ["models.mt.model=null", 'models.mt.model_by_language={"de": x}'], "has no entry for 'es'"),
        ({}, ['models.mt.model={"de": x}'], "mt.model is one name; write "),
        ({}, ["models.mt.batch=true"], "models.mt.batch is now backend: batch; write that"),
        ({}, ["models.mt.backend=vllm", "models.mt.model=null"], "models.mt.model is missing"),
        ({}, ["models.mt=gpt-4o"], "models.mt=gpt-4o is neither a file nor one of command_r, x_alma; write"),
        ({"models": {"mt": "gpt-4o"}}, [], "mt=gpt-4o is neither a file nor one of command_r, x_alma; write"),
        ({"chosen": {"generate": "strong", "of": "rejected"}}, [], "chosen.of='rejected' is for what is copied"),
        ({"chosen": {"copy": True, "of": "prompt"}}, [], "chosen.of=prompt; it is one of chosen, rejected"),
        ({"min_language_share": 2}, [], "c.yaml: min_language_share=2 is no share"),
        ({"mix": {"A": -1}}, [], "mix.A=-1 does not count"),
        ({}, ["seed=a: b: c"], "the value is no YAML"),
        ({}, ["seed=1.5"], "seed=1.5 is not a whole number"),
    ],
)
def test_bad_configs_are_one_sentence(base, tmp_path, capsys, more, overrides, message):
    file = config(tmp_path / "c.yaml", "http://127.0.0.1:1/v1", "C", **more)
    assert run(file, base, tmp_path / "out", *(["--set", *overrides] if overrides else [])) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_config_and_a_double_id(base, tmp_path, capsys):
    assert run("D", base, tmp_path / "out") == 1
    assert "neither a file nor one of A, B, C" in capsys.readouterr().err
    rows = english(2)
    twice = [rows[0], rows[1] | {"id": rows[0]["id"]}]
    (tmp_path / "twice.jsonl").write_text("".join(json.dumps(row) + "\n" for row in twice))
    file = config(tmp_path / "c.yaml", "http://127.0.0.1:1/v1", "A")
    assert run(file, tmp_path / "twice.jsonl", tmp_path / "out") == 1
    assert "in two rows" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_server_that_takes_no_key_stops_the_step(base, tmp_path, capsys):
    with ModelServer(stub(), api_key="right") as server:
        assert run(config(tmp_path / "c.yaml", server.url, "A"), base, tmp_path / "out") == 1
    assert "does not take the key" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_shipped_configs_are_the_papers(name):
    """SPEC 4: nine languages with English, who writes what, decoding of 4e."""
    plan = read_plan(name)
    assert set(plan.languages) == {"en", "de", "nl", "is", "es", "ar", "zh", "ja", "ru"} and plan.copy_english
    assert {role: (how.how, how.model) for role, how in plan.roles[name].items()} == {
        "prompt": ("translate", "translator"),
        "chosen": ("translate", "translator") if name == "A" else ("generate", "strong"),
        "rejected": {
            "A": ("translate", "translator"),
            "B": ("generate", "weak"),
            "C": ("translate", "weak_translator"),
        }[name],
    }
    translator = plan.models["translator"]
    assert set(translator.model_by_language) == set(plan.languages) - {"en"}
    assert (translator.temperature, translator.max_tokens, translator.seed) == (0.6, 4096, 42)
    for model in (plan.models[name] for name in ("strong", "weak") if name in plan.models):
        assert (model.temperature, model.max_tokens) == (0.7, 2048)
    if name == "C":
        assert (plan.models["weak_translator"].backend, plan.models["weak_translator"].max_tokens) == ("seq2seq", 2300)


def test_the_shipped_mix_of_two(tmp_path):
    (tmp_path / "mix.yaml").write_text("{name: half, mix: {B: 1, C: 1}}")
    plan = read_plan(str(tmp_path / "mix.yaml"))
    assert set(plan.models) == {"translator", "strong", "weak", "weak_translator"} and len(plan.languages) == 9
    (tmp_path / "E.yaml").write_text((SHIPPED / "C.yaml").read_text() + "\nmin_language_share: 0.4")
    (tmp_path / "mix.yaml").write_text("{name: half, mix: {B: 1, E: 1}}")
    shares = {
        name: parts["chosen"].min_language_share for name, parts in read_plan(str(tmp_path / "mix.yaml")).roles.items()
    }
    assert shares == {"B": 0.7, "E": 0.4}
    (tmp_path / "D.yaml").write_text((SHIPPED / "B.yaml").read_text().replace("0.5B-Instruct", "3B-Instruct"))
    (tmp_path / "mix.yaml").write_text("{name: half, mix: {B: 1, D: 1}}")
    with pytest.raises(BadInput, match="'weak' of D is another one"):
        read_plan(str(tmp_path / "mix.yaml"))


def test_numbers_stay_as_they_are_written(base, tmp_path):
    """The store's keys hold them: `temperature: 0` that became 0.0 would have every answer bought again."""
    mt = read_plan(str(config(tmp_path / "c.yaml", "http://a/v1", "A"))).models["mt"]
    ask = mt.translation(SourceText("1", "one", "en", "de"))
    assert ask.key("m") == Ask("2", ask.messages, 99, temperature=0).key("m") != replace(ask, temperature=0.0).key("m")


@given(
    st.dictionaries(st.sampled_from("ABCDE"), st.integers(1, 9).map(lambda n: n / 4), min_size=1),
    st.integers(0, 60),
)
def test_spread_gives_quotas_and_stays_near_them(weights, count):
    names = list(spread(weights, count))
    assert Counter(names) == +Counter(quotas(weights, count)) and len(names) == count
    total = sum(weights.values())
    for name in weights:
        for end in range(count + 1):
            assert abs(names[:end].count(name) - weights[name] / total * end) < len(weights)


@given(st.integers(0, 30), st.floats(0, 1), st.integers(0, 5))
def test_a_language_gets_its_share_of_the_rows(count, share, seed):
    sources = {str(n): "en" for n in range(count)}
    chosen = jobs(sources, {"de": share, "en": 1}, {"A": 1}, seed, True)
    assert abs(sum(job.language == "de" for job in chosen) - share * count) <= 0.5 + 1e-9
    assert sum(job.architecture == COPY for job in chosen) == count
    backwards = jobs(dict(reversed(sources.items())), {"en": 1, "de": share}, {"A": 1}, seed, True)
    assert backwards == chosen


KEYS = ["translate", "generate", "of", "mt", "de", "model", "stop"]
SCALARS = st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.sampled_from(["copy", "mt", "", "a: b"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
PATHS = [
    *("languages", "languages.de", "seed", "models.mt", "models.mt.stop", "models.mt.extra", "english", "mix"),
    *("architectures.C.chosen", "architectures.C.chosen.of", "min_language_share", "models.weak.model_by_language"),
]


@given(
    st.dictionaries(st.sampled_from([*Architecture.model_fields, "modles"]), VALUES, max_size=3),
    st.lists(st.tuples(st.sampled_from(PATHS), VALUES), max_size=2),
)
def test_whatever_a_config_holds_is_a_plan_or_one_sentence(tmp_path_factory, keys, overrides):
    file = config(tmp_path_factory.getbasetemp() / "any.yaml", "http://a/v1", "C")
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | keys))
    try:
        read_plan(str(file), [f"{path}={yaml.safe_dump(value, default_flow_style=True)}" for path, value in overrides])
    except BadInput as error:
        assert str(error).endswith(".") and "\n" not in str(error)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": [{"role": "user", "content": None}]}, "line 2: a turn of 'prompt' has no 'content'"),
        ({"prompt": [None]}, "line 2: a turn of 'prompt' has no 'role'"),
        (
            {"prompt": [{"role": "user", "content": "q", "tool_calls": [{"id": 1}]}]},
            "line 2: 'prompt' has tool calls in a turn; remove",
        ),
        ({"tools": [{"name": "w"}]}, "line 2: 'prompt' has tools; remove"),
    ],
)
def test_a_prompt_that_would_lose_a_part_is_told_before_a_model_is_asked(change, sentence, tmp_path):
    rows = english(2)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (rows[0], rows[1] | change)))
    with pytest.raises(BadInput, match=re.escape(sentence)):
        read_english(tmp_path / "in.jsonl")
