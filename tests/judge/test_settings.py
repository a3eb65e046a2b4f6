"""What `judge=<name>` sets: every wrong value is one sentence, recipes are accepted, keys stay in the environment."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from helpers.judging import longer_wins
from helpers.model_server import ModelServer, Reply
from helpers.recipes import compose_recipe, resolved
from sp3f_verl.data.files import write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.judge import JUDGES, judge_class, make_judge
from sp3f_verl.judge.questions.prompt import FOLDER
from sp3f_verl.judge.settings import NONE, JudgeSettings
from sp3f_verl.verl_bridge.preflight import callback as preflight
from sp3f_verl.verl_bridge.preflight import judge as preflight_judge

KEY, URL = "sk-canary-9xW3e", "http://canary-host.invalid/v1"
OPENAI = {"name": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"}


def settings(**values) -> JudgeSettings:
    return JudgeSettings.from_mapping({**OPENAI, **values})


def test_what_is_given_is_there_in_the_types_that_are_declared():
    read = settings(
        weight=2, concurrency=4.0, budget_usd=1, prices={"m": {"input": 1, "output": 2}}, panel=None, seed=3,
        transcript={"path": "t.jsonl", "share": 1}, extra_body={"reasoning_effort": "low"}, retries=0,
    )  # fmt: skip
    assert read.weight == 2.0 and read.concurrency == 4 and isinstance(read.concurrency, int)
    assert read.known_price().input == 1 and read.transcript.path == "t.jsonl" and read.transcript.share == 1.0
    assert read.extra_body == {"reasoning_effort": "low"} and read.members() == (read,)
    assert settings(prices=None, extra_body=None, transcript=None) == settings()
    assert JudgeSettings.from_mapping({"name": "none"}).members() == ()


BAD = {  # what is wrong -> (values, what the sentence says)
    "a judge that is none": ({"name": "opneai"}, "sp3f.judge.name=opneai (did you mean 'openai'?); it is one of"),
    "no judge": ({"name": None}, "sp3f.judge.name is null; give it a value"),
    "an unknown setting": ({"schedul": "ring"}, "sp3f.judge.schedul does not exist (did you mean 'schedule'?); remove"),
    "an unknown setting of the transcript": (
        {"transcript": {"shar": 1}},
        "sp3f.judge.transcript.shar does not exist (did you mean 'share'?)",
    ),
    "an unknown schedule": ({"schedule": "rings"}, "sp3f.judge.schedule=rings (did you mean 'ring'?); it is one of"),
    "an unknown verdict": ({"verdict": "logprobs"}, "sp3f.judge.verdict=logprobs (did you mean 'logprob'?); it is one"),
    "an unknown credit": ({"credit": "a"}, "sp3f.judge.credit=a; it is one of both, a_only"),
    "a null": ({"concurrency": None}, "sp3f.judge.concurrency is null; set it to a whole number from 1"),
    "a null share": ({"min_valid": None}, "sp3f.judge.min_valid is null; set it to a share from 0 to 1"),
    "half a request": ({"concurrency": 1.5}, "sp3f.judge.concurrency=1.5; set it to a whole number from 1"),
    "a word for a number": ({"weight": "much"}, "sp3f.judge.weight='much'; set it to a number above 0"),
    "a truth for a number": ({"retries": True}, "sp3f.judge.retries=True; set it to a whole number from 0"),
    "no number": ({"group_seconds": float("nan")}, "sp3f.judge.group_seconds=nan; set it to a number above 0"),
    "for ever": ({"request_seconds": float("inf")}, "sp3f.judge.request_seconds=inf; set it to a number above 0"),
    "a word for a truth": ({"privileged": "yes"}, "sp3f.judge.privileged='yes' is neither true nor false; give one"),
    "a list for a text": ({"model": ["m"]}, "sp3f.judge.model=['m'] is not a text; give one"),
    "a text for a mapping": ({"extra_body": "low"}, "sp3f.judge.extra_body='low' is not a mapping; write sp3f.judge."),
    "a text for prices": ({"prices": "1.0"}, "sp3f.judge.prices='1.0' is not a mapping; write sp3f.judge.prices="),
    "a number for a price": ({"prices": {"m": 1.0}}, "sp3f.judge.prices.m=1.0 is not a mapping"),
    "half a price": ({"price": {"input": 1.0}}, "sp3f.judge.price.output is missing"),
    "a price below 0": ({"price": {"input": -1.0, "output": 0}}, "sp3f.judge.price.input=-1.0 is no price"),
    "no weight": ({"weight": 0}, "sp3f.judge.weight=0; set it to a number above 0"),
    "no slots": ({"concurrency": 0}, "sp3f.judge.concurrency=0; set it to a whole number from 1"),
    "no offsets": ({"offsets": 0}, "sp3f.judge.offsets=0; set it to a whole number from 1"),
    "no opponents": ({"opponents": -1}, "sp3f.judge.opponents=-1; set it to a whole number from 1"),
    "no answer": ({"max_tokens": 0}, "sp3f.judge.max_tokens=0; set it to a whole number from 1"),
    "fewer than no retries": ({"retries": -1}, "sp3f.judge.retries=-1; set it to a whole number from 0"),
    "no patience": ({"request_seconds": 0}, "sp3f.judge.request_seconds=0; set it to a number above 0"),
    "no pace": ({"tokens_per_minute": 0}, "sp3f.judge.tokens_per_minute=0; set it to a number above 0, or null"),
    "no money": ({"budget_usd": 0}, "sp3f.judge.budget_usd=0; set it to a number above 0, or null"),
    "no context": ({"context_tokens": 0}, "sp3f.judge.context_tokens=0; set it to a number above 0"),
    "a response of a line": ({"response_chars": 100}, "sp3f.judge.response_chars=100; set it to at least 200"),
    "a share in percent": ({"min_valid": 50}, "sp3f.judge.min_valid=50; set it to a share from 0 to 1"),
    "a ceiling in percent": ({"failure_ceiling": 50}, "sp3f.judge.failure_ceiling=50; set it to a share from 0 to 1"),
    "a sample in percent": ({"transcript": {"share": 5}}, "sp3f.judge.transcript.share=5; set it to a share from 0"),
    "money without a price": ({"budget_usd": 5}, "sp3f.judge.budget_usd=5 needs the price of model 'm'; give it"),
    "no such prompt": ({"prompt": "plan"}, "prompt=plan (did you mean 'plain'?) is neither a name"),
    "a prompt of another verdict": (
        {"prompt": "privileged", "verdict": "logprob"},
        "sp3f.judge.prompt=privileged is a prompt of kind pairwise, but schedule=all_pairs with verdict=logprob needs "
        "one of kind token; change one of them",
    ),
    "a prompt of another schedule": (
        {"prompt": "listwise", "schedule": "ring"},
        "sp3f.judge.prompt=listwise is a prompt of kind listwise, but schedule=ring with verdict=text needs one",
    ),
    "a panel that is none": ({"panel": {"name": "policy"}}, "sp3f.judge.panel={'name': 'policy'} is not a list; write"),
    "a judge of the panel that is none": ({"panel": ["policy"]}, "sp3f.judge.panel[0]='policy' is not a mapping; give"),
    "a typo in the panel": (
        {"panel": [{"model": "n"}, {"wieght": 1}]},
        "sp3f.judge.panel[1].wieght does not exist (did you mean 'weight'?)",
    ),
    "a bad value in the panel": ({"panel": [{"weight": 0}]}, "sp3f.judge.panel[0].weight=0; set it to"),
    "a budget of one judge": (
        {"panel": [{"budget_usd": 1.0}]},
        "sp3f.judge.panel[0].budget_usd would hold for one judge, but the run has one for all; remove it",
    ),
    "a panel of the panel": ({"panel": [{"panel": []}]}, "sp3f.judge.panel[0].panel would hold for one judge"),
    "a panel without a price": (
        {"budget_usd": 1, "price": {"input": 1, "output": 1}, "panel": [{"model": "dear"}]},
        "sp3f.judge.panel[0].budget_usd=1 needs the price of model 'dear'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_value_is_one_sentence(name):
    values, sentence = BAD[name]
    with pytest.raises(BadInput) as error:
        settings(**values)
    assert sentence in str(error.value) and "\n" not in str(error.value) and str(error.value).endswith(".")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(
    st.sampled_from([*JUDGES, NONE]),
    st.dictionaries(st.sampled_from([*JudgeSettings.model_fields, "other"]), VALUES, max_size=4),
)
def test_whatever_is_given_is_taken_or_refused_in_a_sentence(name, values):
    try:
        read = JudgeSettings.from_mapping({"name": name, **values})
    except BadInput as error:
        assert str(error)
    else:
        assert read.name in (*JUDGES, NONE) or read.kind


def test_a_judge_of_the_panel_differs_where_it_says_so():
    first, second, third = settings(
        weight=2.0, temperature=0.7, base_url_env="HERE", api_key_env="THE_KEY", price={"input": 1, "output": 1},
        panel=[{"model": "n", "weight": 0.5, "schedule": "ring"}, {"name": "policy"}],
    ).members()  # fmt: skip
    assert (first.weight, first.schedule, first.model) == (2.0, "all_pairs", "m")
    assert (second.weight, second.schedule, second.model) == (0.5, "ring", "n")
    urls = [make_judge(member).base_urls() for member in (first, second, third)]
    assert second.temperature == third.temperature == 0.7 and urls[1] == urls[0]
    assert second.known_price() is None, "the price is of another model"
    assert third.name == "policy" and urls[2] == () and third.model is third.api_key_env is None
    assert not second.panel and not third.panel


def test_a_model_that_the_run_serves_itself_costs_nothing():
    served = JudgeSettings.from_mapping({"name": "policy", "budget_usd": 1.0})
    assert served.known_price() is None
    with_policy = settings(budget_usd=1.0, price={"input": 1, "output": 1}, panel=[{"name": "policy"}])
    assert [member.known_price() is None for member in with_policy.members()] == [False, True]
    with pytest.raises(BadInput, match="needs the price"):
        JudgeSettings.from_mapping({"name": "local", "base_url": "http://x/v1", "budget_usd": 1.0})


def test_a_prompt_of_ones_own(tmp_path):
    file = tmp_path / "own.txt"
    file.write_text((FOLDER / "pairwise.txt").read_text().replace("expert judge", "EXPERT"))
    privileged, plain = (settings(prompt=str(file), privileged=sees).load_prompt() for sees in (True, False))
    assert "EXPERT" in privileged.system and privileged.privileged and not plain.privileged
    with pytest.raises(BadInput, match=r"own\.txt is a prompt of kind pairwise, but schedule=listwise"):
        settings(prompt=str(file), schedule="listwise")
    file.write_text("kind: pairwise\n")
    with pytest.raises(BadInput, match="needs the lines"):
        settings(prompt=str(file))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "privileged"),
        ({"privileged": False}, "plain"),
        ({"verdict": "logprob"}, "privileged_token"),
        ({"verdict": "logprob", "privileged": False}, "plain_token"),
        ({"schedule": "listwise"}, "listwise"),
        ({"schedule": "listwise", "privileged": False}, "listwise_plain"),
        ({"schedule": "language"}, "language"),
    ],
)
def test_the_shipped_prompt_follows_from_schedule_verdict_and_privilege(values, name):
    assert settings(**values).load_prompt().name == name


@pytest.fixture
def canaries(monkeypatch):
    monkeypatch.setenv("LLM_API_KEY", KEY)
    monkeypatch.setenv("LLM_API_URL", URL)


@pytest.fixture(scope="module")
def composed() -> dict[str, dict]:
    """The resolved config of every judge, composed while the environment holds the canaries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_API_KEY", KEY)
        patch.setenv("LLM_API_URL", URL)
        return {name: resolved(compose_recipe("sp3f", f"judge={name}", "device=cpu")) for name in (*JUDGES, NONE)}


@pytest.mark.parametrize("name", [*JUDGES, NONE])
def test_the_recipe_of_every_judge_is_accepted_and_holds_no_secret(composed, canaries, name):
    config = composed[name]
    read = JudgeSettings.from_mapping(config["sp3f"]["judge"])
    assert read.name == name and bool(config["sp3f"]["reward"]["weights"]["judge"]) == (name != "none")
    text = yaml.safe_dump(config)
    assert KEY not in text and URL not in text and "${" not in text
    if name == "openai":
        assert make_judge(read).base_urls() == (URL,) and read.known_price() is not None and KEY not in repr(read)
    if name != NONE and judge_class(read).asks_a_model:
        assert read.transcript.path.endswith("judge_transcript.jsonl") and read.group_seconds < 600
        assert JudgeSettings.from_mapping({"name": name, **config["sp3f"]["judge"]}) == read


def test_the_shared_defaults_are_those_of_the_settings(composed):
    """One default each: a Desk made by hand asks as a run does."""
    shared = dict(composed["policy"]["sp3f"]["judge"])
    of_the_run = {name: shared.pop(name) for name in ("spending_file", "transcript", "panel")}
    assert of_the_run["panel"] == []
    read, bare = JudgeSettings.from_mapping(shared), JudgeSettings.from_mapping({"name": "policy"})
    differing = {name for name in shared if getattr(read, name) != getattr(bare, name)}
    assert differing == {"temperature"}, "1.0, as the original"


def test_overrides_of_the_command_line():
    judge = resolved(
        compose_recipe(
            "sp3f",
            "judge=openai",
            "sp3f.judge.schedule=ring",
            "sp3f.judge.price={input: 1.0, output: 2.0}",
            "sp3f.judge.extra_body={max_tokens: null, max_completion_tokens: 512}",
            "sp3f.judge.panel=[{name: policy, weight: 0.5}]",
        )
    )["sp3f"]["judge"]
    first, second = JudgeSettings.from_mapping(judge).members()
    assert first.schedule == second.schedule == "ring" and first.known_price().output == 2.0
    assert first.extra_body == {"max_tokens": None, "max_completion_tokens": 512}
    assert (second.name, second.weight, make_judge(second).base_urls()) == ("policy", 0.5, ())


def test_verl_takes_the_settings_of_the_judges_own_server(composed):
    from verl.utils.config import omega_conf_to_dataclass

    read = omega_conf_to_dataclass(OmegaConf.create(composed["local"]["reward"]["reward_model"]))
    assert read.enable and read.enable_resource_pool and (read.n_gpus_per_node, read.nnodes) == (1, 1)
    assert (read.rollout.name, read.rollout.dtype, read.rollout.tensor_model_parallel_size) == ("vllm", "float32", 1)
    assert read.rollout.skip_tokenizer_init is False, "a question comes as text"
    assert not composed["openai"]["reward"]["reward_model"]["enable"]
    assert composed["policy"]["actor_rollout_ref"]["rollout"]["skip_tokenizer_init"] is False


def test_the_pure_rooms_leave_the_heavy_packages_alone():
    program = """
import importlib, json, pkgutil, sys
for name in ("sp3f_verl.judge", "sp3f_verl.llm", "sp3f_verl.translate"):
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
        importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    loaded = set(json.loads(done.stdout))
    assert {"sp3f_verl.judge.desk", "sp3f_verl.judge.check", "sp3f_verl.llm.requests.client"} <= loaded
    assert not loaded & {"verl", "ray", "torch", "transformers", "vllm", "hydra"}


ROW = {
    "prompt": [{"role": "user", "content": "¿Cuánto es 7+5?"}],
    "reward_model": {"ground_truth": "12"},
    "language": "es",
    "query_en": "What is 7+5?",
    "solution_en": r"7+5=12 \boxed{12}",
}


BAD_RUNS = {
    "no URL": (["judge=openai"], "judge=openai has no URL; set sp3f.judge.base_url, or the environment variable"),
    "no key": (
        ["judge=openai", "sp3f.judge.base_url=http://127.0.0.1:1/v1"],
        "the environment variable LLM_API_KEY holds no key",
    ),
    "local without a model": (["judge=local"], "judge=local: reward.reward_model.model_path is empty; name the"),
    "local without a server": (
        ["judge=local", "reward.reward_model.enable=false"],
        "judge=local has no server; set sp3f.judge.base_url, or reward.reward_model.enable=true",
    ),
    "local with two servers": (
        ["judge=local", "sp3f.judge.base_url=http://127.0.0.1:1/v1"],
        "reward.reward_model.enable=true starts a server that no judge uses",
    ),
    "local without GPUs of its own": (
        ["judge=local", "reward.reward_model.enable_resource_pool=false"],
        "enable_resource_pool=false makes the judge wait for all rollouts; set it to true",
    ),
    "a judge slower than its group": (
        ["judge=policy", "sp3f.judge.group_seconds=600"],
        "sp3f.judge.group_seconds=600 is not below sp3f.group.deadline_seconds=",
    ),
    "a policy that takes no text": (
        ["judge=policy", "actor_rollout_ref.rollout.skip_tokenizer_init=true"],
        "actor_rollout_ref.rollout.skip_tokenizer_init=false",
    ),
    "a policy of the panel that takes no text": (
        ["judge=openai", "sp3f.judge.panel=[{name: policy}]", "actor_rollout_ref.rollout.skip_tokenizer_init=true"],
        "judge=policy asks the rollout servers in text",
    ),
    "no weight": (["judge=policy", "sp3f.reward.weights.judge=0"], "judge=policy has sp3f.reward.weights.judge=0"),
}  # fmt: skip


class TestPreflight:
    """Of a whole command line: one sentence and exit code 1, before Ray or vLLM start."""

    @pytest.fixture(autouse=True)
    def unchanged_environment(self, monkeypatch):
        for name in ("SP3F_DEVICE", "SP3F_LOGICAL_GPUS", "RAY_ADDRESS", "LLM_API_URL", "LLM_API_KEY"):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        yield
        for name in ("SP3F_DEVICE", "SP3F_LOGICAL_GPUS"):
            os.environ.pop(name, None)

    @pytest.fixture
    def rl(self, tmp_path, tiny_model):
        """Overrides that pass every check with a judge that needs no server."""
        write_parquet([ROW], tmp_path / "rows.parquet")
        files = [f"data.{name}={tmp_path / 'rows.parquet'}" for name in ("train_files", "val_files")]
        return ["device=cpu", *files, f"actor_rollout_ref.model.path={tiny_model}"]

    def passes(self, *overrides: str) -> None:
        preflight.Preflight().on_job_start(compose_recipe("sp3f", *overrides))

    def refused(self, capsys, *overrides: str) -> str:
        with pytest.raises(SystemExit) as stop:
            self.passes(*overrides)
        error = capsys.readouterr().err
        assert stop.value.code == 1
        assert error.startswith("sp3f_verl: ") and error.count("\n") == 1 and error.rstrip().endswith("."), error
        return error

    @pytest.mark.parametrize("name", BAD_RUNS)
    def test_what_does_not_fit_together(self, rl, capsys, name):
        overrides, sentence = BAD_RUNS[name]
        assert sentence in self.refused(capsys, *rl, *overrides)

    @pytest.mark.parametrize(
        ("overrides", "numbers"),
        [
            (["actor_rollout_ref.rollout.max_model_len=400"], r"take 400 tokens, .* 2 x 16 for responses, 64 for the"),
            (
                ["sp3f.judge.schedule=listwise", "data.max_response_length=4000"],
                r"8 x 4000 for .*; lower data\.max_resp",
            ),
            (["sp3f.judge.max_tokens=100000"], r"100000 for the answer\); lower data.max_response_length or"),
        ],
    )
    def test_a_policy_whose_servers_take_no_question(self, rl, tiny_model, tmp_path, capsys, overrides, numbers):
        shutil.copytree(tiny_model, tmp_path / "longer")
        config = json.loads((tmp_path / "longer" / "config.json").read_text()) | {"max_position_embeddings": 16384}
        (tmp_path / "longer" / "config.json").write_text(json.dumps(config))
        small = ["judge=policy", "data.max_response_length=16", "sp3f.judge.max_tokens=64"]
        small += ["actor_rollout_ref.rollout.n=8", f"actor_rollout_ref.model.path={tmp_path / 'longer'}"]
        error = self.refused(capsys, *rl, *small, *overrides)
        assert re.search(numbers, error)
        if "max_model_len=400" in overrides[0]:  # what it asks for is enough, and one less is not
            wanted = int(re.search(r"set actor_rollout_ref\.rollout\.max_model_len=(\d+)", error)[1])
            key = "actor_rollout_ref.rollout.max_model_len"
            self.passes(*rl, *small, f"{key}={wanted}")
            assert f"take {wanted - 1} tokens" in self.refused(capsys, *rl, *small, f"{key}={wanted - 1}")

    def test_a_healthy_endpoint_passes_and_gets_one_short_question(self, rl, monkeypatch):
        monkeypatch.setenv("LLM_API_KEY", KEY)
        with ModelServer(longer_wins, api_key=KEY) as server:
            monkeypatch.setenv("LLM_API_URL", server.url)
            self.passes(*rl, "judge=openai", "sp3f.judge.extra_body={max_completion_tokens: 9, max_tokens: null}")
            (entry,) = server.chats()
        assert entry["body"]["max_completion_tokens"] == 9 and "max_tokens" not in entry["body"]
        assert entry["body"]["model"] == "gpt-4o-mini"

    def test_a_wrong_key_is_told_without_it(self, rl, monkeypatch, capsys):
        monkeypatch.setenv("LLM_API_KEY", KEY)
        with ModelServer(longer_wins, api_key="another") as server:
            monkeypatch.setenv("LLM_API_URL", server.url)
            error = self.refused(capsys, *rl, "judge=openai")
        assert "judge=openai does not answer (authentication" in error and "401" in error and KEY not in error

    def test_a_setting_that_the_endpoint_refuses_is_told_before_the_run(self, rl, capsys):
        def reply(body):
            message = "Unsupported parameter: 'max_tokens'; use 'max_completion_tokens' instead."
            return Reply(status=400, json={"error": {"message": message}}) if "max_tokens" in body else "A"

        with ModelServer(reply) as server:
            where = [f"sp3f.judge.base_url={server.url}", "sp3f.judge.api_key_env=null"]
            assert "max_completion_tokens" in self.refused(capsys, *rl, "judge=openai", *where)

    def test_a_server_of_ones_own_and_a_second_judge_are_asked_too(self, rl, capsys):
        with ModelServer(longer_wins, models=["mine"]) as server:
            where = [f"sp3f.judge.base_url={server.url}", "reward.reward_model.enable=false"]
            self.passes(*rl, "judge=local", *where)
            assert [entry["body"]["model"] for entry in server.chats()] == ["mine"]
            second = "sp3f.judge.panel=[{base_url: 'http://127.0.0.1:1/v1', retries: 0}]"
            assert "does not answer (connection" in self.refused(capsys, *rl, "judge=local", *where, second)

    def test_a_cluster_whose_processes_have_the_variables_is_left_to_them(self, monkeypatch):
        config = compose_recipe("sp3f", "judge=openai", "device=cpu")
        with pytest.raises(BadInput, match="no URL"):
            preflight_judge.judge_answers(config)
        monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere:10001")
        preflight_judge.judge_answers(config)


def test_bounds_and_prices_of_a_request():
    price = {"gpt-4o-mini": {"input": 0.15, "output": 0.6}}
    read = settings(
        name="openai", base_url=URL, model="openai/gpt-4o-mini-2024-07-18", prices=price, extra_body={"n": 4}
    )
    assert read.known_price().output == 0.6
    assert (read.longest_answer(), read.most_generated()) == (1024, 4096)
    with pytest.raises(BadInput, match="takes max_tokens away"):
        settings(
            name="openai",
            base_url=URL,
            model="gpt-4o-mini",
            prices=price,
            budget_usd=1,
            extra_body={"max_tokens": None},
        )
