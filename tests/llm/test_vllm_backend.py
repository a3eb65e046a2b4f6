"""vLLM in process on Ray Data, with a real engine on the CPU: one cluster for all tests of this file."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from helpers.adapters import an_adapter
from sp3f_verl.cli import evaluate
from sp3f_verl.data.files import write_parquet
from sp3f_verl.errors import BadInput
from sp3f_verl.llm import Ask, FailureKind, Status, Store, Totals
from sp3f_verl.llm.backends.ray_pool import Pool
from sp3f_verl.llm.backends.vllm import VLLMBackend
from sp3f_verl.llm.backends.vllm_worker import Rendering
from sp3f_verl.llm.fingerprint import fingerprint
from sp3f_verl.llm.score import TransformersScorer, VLLMScorer
from sp3f_verl.quickstart.evaluation import Decoding
from sp3f_verl.quickstart.evaluation import evaluate as held_out

POOL = Pool(workers=1, rows=300)


@pytest.fixture(scope="module")
def cluster(monkeypatch_module):
    """This machine's Ray, for the file; several pools in it one after the other."""
    import ray

    monkeypatch_module.setenv("SP3F_DEVICE", "cpu")
    monkeypatch_module.setenv("OMP_NUM_THREADS", "1")
    monkeypatch_module.delenv("RAY_ADDRESS", raising=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def chat(text):
    return [{"role": "user", "content": text}]


def candidates(n=4):
    return [
        Ask(f"row-{row}", chat(f"{row}+1?"), 8, temperature=1.0, seed=3, number=number)
        for row in range(3)
        for number in range(n)
    ]


def asked(model, asks, store=None, **options):
    totals = Totals(max_failure_share=1)
    with VLLMBackend(
        model, store=store and Store(store), totals=totals, dtype="float32", pool=POOL, **options
    ) as backend:
        answers = {(answer.id, answer.number): answer for answer in backend.answers(asks)}
    return answers, totals


GREEDY = ("1+1?", "7+5=12", "x")  # questions for the model with its adapter, and for PEFT


@pytest.fixture(scope="module")
def adapter(tiny_model, tmp_path_factory):
    return an_adapter(tiny_model, tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture(scope="module")
def first_run(cluster, tiny_model, adapter, tmp_path_factory):
    """(answers, totals, store) of candidates, and of asks that cannot be answered or are cut, in one engine with an
    adapter. Without one: the evaluation below."""
    store = tmp_path_factory.mktemp("vllm") / "answers"
    more = [
        Ask("long", chat("x" * 300), 8),
        Ask("no such field", chat("x"), 8, extra={"nope": 1}),
        Ask("no content", [{"role": "user"}], 8),  # of which the chat template says what it wants
        Ask("twin", chat("1+1?"), 8, temperature=1.0, seed=candidates()[6].own_seed),
        *(Ask("crowd", chat("2+1?"), 1, seed=9, number=number) for number in range(300)),  # prompts of 6,300 tokens
        Ask("greedy", chat("x"), 40, temperature=0.0, extra={"min_tokens": 40}),
        *(Ask(text, chat(text), 8, temperature=0.0) for text in GREEDY),
    ]
    return *asked(tiny_model, [*candidates(), *more], store, adapter=adapter), store


@pytest.mark.e2e
class TestVLLM:
    def test_candidates_differ_and_each_has_its_finish_reason_and_tokens(self, first_run, tiny_model, adapter):
        answers, totals, _ = first_run
        for row in range(3):
            group = [answers[f"row-{row}", number] for number in range(4)]
            assert len({answer.text for answer in group}) == 4
            for answer in group:
                assert answer.status is (Status.OK if answer.finish_reason == "stop" else Status.TRUNCATED)
                assert 1 <= answer.usage.completion_tokens <= 8 and answer.usage.prompt_tokens > 10
                assert answer.model == f"{fingerprint(tiny_model)}+{fingerprint(adapter)}"
        cut = answers["greedy", 0]
        assert (cut.status, cut.finish_reason, cut.usage.completion_tokens) == (Status.TRUNCATED, "length", 40)
        assert totals.fresh == 317 + len(GREEDY)

    def test_what_cannot_be_answered_is_an_error_and_the_others_go_on(self, first_run):
        answers, totals, _ = first_run
        assert (answers["long", 0].failure, answers["long", 0].text) == (FailureKind.TOO_LONG, None)
        assert "context of 64" in answers["long", 0].message
        assert (
            answers["no such field", 0].failure is FailureKind.BAD_REQUEST
            and "nope" in answers["no such field", 0].message
        )
        assert answers["no content", 0].failure is FailureKind.BAD_REQUEST
        assert totals.failures.total() == 3

    def test_the_same_asks_again_start_no_engine(self, first_run, tiny_model, adapter, monkeypatch):
        answers, _, store = first_run
        monkeypatch.setattr(Pool, "work", None)
        again, totals = asked(tiny_model, candidates(), store, adapter=adapter)
        assert {key: answer.text for key, answer in again.items()} == {key: answers[key].text for key in again}
        assert (totals.fresh, totals.reused) == (0, 12)

    def test_the_seed_alone_decides(self, first_run):
        """The same seed under another number; and beside a greedy request vLLM on a CPU would forget all seeds."""
        answers, *_ = first_run
        assert answers["twin", 0].text == answers["row-1", 2].text and not answers["twin", 0].reused

    def test_an_adapter_says_what_it_says_in_peft(self, first_run, tiny_model, adapter):
        """Greedy; without the adapter it says something else. Half a character at the end is left out by vLLM."""
        answers, *_ = first_run
        expected = [greedy(tiny_model, text, adapter) for text in GREEDY]
        assert expected != [greedy(tiny_model, text) for text in GREEDY]
        assert [answers[text, 0].text for text in GREEDY] == [text.rstrip("\ufffd") for text in expected]


@pytest.mark.e2e
def test_an_evaluation_that_was_cut_off_ends_as_an_unbroken_one(cluster, tiny_model, tmp_path):
    """A store in which every other answer is missing, as a killed run leaves it: the rest is drawn in other batches."""
    questions = tmp_path / "mgsm_es.tsv"
    questions.write_text("".join(f"{number}?\t{number}\n" for number in range(70)))
    model = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text()) | {"max_position_embeddings": 512}
    (model / "config.json").write_text(json.dumps(config))
    command = ["--model", str(model), "--dtype", "float32", "--benchmark", "mgsm", "--file", f"mgsm:es={questions}"]
    command += ["--samples", "4", "--max-tokens", "6", "--keep-truncated"]
    evaluate([*command, "--output", str(tmp_path / "whole")])
    store = shutil.copy(tmp_path / "whole.answers.sqlite", tmp_path / "broken.answers.sqlite")
    with sqlite3.connect(store) as connection:
        assert connection.execute("DELETE FROM answers WHERE rowid % 2").rowcount == 140
    evaluate([*command, "--output", str(tmp_path / "broken")])
    asked = json.loads((tmp_path / "broken" / "manifest.json").read_text())["notes"]["asked"]
    assert (asked["asked"], asked["from_store"]) == (140, 140)
    for name in ("summary.json", "mgsm/es/output.jsonl"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "whole" / "mgsm" / "es" / "output.jsonl").read_text().splitlines()]
    assert len({text for row in rows for text in row["answer"]}) > 200  # no noise that problems share


@pytest.mark.e2e
def test_the_quickstarts_evaluation_by_vllm_says_greedily_what_transformers_says(cluster, tiny_model, tmp_path):
    rows = [
        {"id": f"{code}{at}", "prompt": chat(GREEDY[at]), "language": code, "reward_model": {"ground_truth": "2"}}
        for code in ("es", "zh")
        for at in range(3)
    ]
    write_parquet(rows, tmp_path / "rows.parquet")
    said = {}
    for backend in ("transformers", "vllm"):
        held_out(tiny_model, {"test": tmp_path / "rows.parquet"}, tmp_path, backend, Decoding(1, 8, 1, backend))
        lines = (tmp_path / f"{backend}_test.responses.jsonl").read_text().splitlines()
        said[backend] = {line["id"]: line["responses"] for line in map(json.loads, lines)}
    assert said["vllm"].keys() == {row["id"] for row in rows}
    for ident, (first, sampled) in said["vllm"].items():
        assert first == said["transformers"][ident][0].rstrip("\ufffd") and sampled != first


def greedy(model, text, adapter=None):
    """What transformers says, 8 tokens at most."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    if adapter is not None:
        loaded = PeftModel.from_pretrained(loaded, adapter).eval()
    ids = torch.tensor([Rendering(tokenizer, add_generation_prompt=True).ids(chat(text))])
    generated = loaded.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
    return tokenizer.decode(generated[0, ids.shape[1] :], skip_special_tokens=True)


@pytest.fixture(scope="module")
def reward_model(tiny_model, tmp_path_factory):
    """A reward model, whose tokenizer has a first token of its own that its template writes, too: as Llama's do."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, Qwen3ForSequenceClassification

    folder = tmp_path_factory.mktemp("reward") / "model"
    config = AutoConfig.from_pretrained(tiny_model)
    config.num_labels = 1
    torch.manual_seed(2)
    Qwen3ForSequenceClassification(config).float().save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    from tokenizers.processors import TemplateProcessing

    first = "<|endoftext|>"
    tokenizer.chat_template = first + tokenizer.chat_template
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, tokenizer.convert_tokens_to_ids(first))]
    )
    tokenizer.save_pretrained(folder)
    return folder


def conversations(number):
    turns = [[*chat(f"{row}+7?"), {"role": "assistant", "content": "12 " * (row % 3)}] for row in range(number)]
    return [(f"row-{row}", row % 2, messages) for row, messages in enumerate(turns)]


class TestScores:
    def test_transformers_takes_the_last_token_whatever_it_is(self, reward_model, tmp_path):
        """By hand: the model on one text at a time, its last hidden state through its head. The template's last token
        is a line break; one text here ends with the padding token all the same, by way of its template."""
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(reward_model)
        tokenizer.chat_template += "<|endoftext|>"
        folder = tmp_path / "padded"
        model = AutoModelForSequenceClassification.from_pretrained(reward_model)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        items = conversations(7)
        with TransformersScorer(folder, dtype="float32", batch=3) as scorer:
            scores = {(score.id, score.number): score for score in scorer.scores(items)}
        for name, number, messages in items:
            text = tokenizer.apply_chat_template(messages, tokenize=False)
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            assert ids[0, -1] == tokenizer.pad_token_id
            with torch.inference_mode():
                expected = model.score(model.model(ids).last_hidden_state[0, -1]).item()
            assert scores[name, number].raw == pytest.approx(expected, abs=1e-5)
            assert scores[name, number].tokens == ids.shape[1]

    def test_the_template_is_tokenised_once(self, reward_model):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(reward_model)
        first = tokenizer.convert_tokens_to_ids("<|endoftext|>")
        assert tokenizer("x")["input_ids"][0] == first  # it would write a second one
        for add in (True, False):
            assert Rendering(tokenizer, add).ids(chat("x")).count(first) == 1

    def test_what_is_not_finite_or_too_long_is_no_score_and_is_not_kept(self, reward_model, tmp_path):
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        model = AutoModelForSequenceClassification.from_pretrained(reward_model)
        with torch.no_grad():
            model.score.weight.fill_(float("inf"))
        model.save_pretrained(tmp_path / "model")
        AutoTokenizer.from_pretrained(reward_model).save_pretrained(tmp_path / "model")
        items = [*conversations(1), ("long", 0, chat("x" * 300))]
        with TransformersScorer(tmp_path / "model", store=Store(tmp_path / "s")) as scorer:
            scores = {score.id: score for score in scorer.scores(items)}
            assert len(scorer.store) == 0
        assert (scores["row-0"].status, scores["row-0"].raw) == (Status.ERROR, None)
        assert (scores["long"].status, scores["long"].raw) == (Status.TRUNCATED, None) and scores["long"].tokens > 64

    def test_a_model_with_several_labels_is_none(self, tiny_model, tmp_path):
        from transformers import AutoConfig, AutoTokenizer, Qwen3ForSequenceClassification

        config = AutoConfig.from_pretrained(tiny_model)
        config.num_labels = 2
        Qwen3ForSequenceClassification(config).save_pretrained(tmp_path / "model")
        AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "model")
        with (
            TransformersScorer(tmp_path / "model") as scorer,
            pytest.raises(ValueError, match="2 numbers, not one"),
        ):
            list(scorer.scores(conversations(1)))

    @pytest.mark.e2e
    def test_vllm_and_transformers_agree_on_the_raw_logit(self, cluster, reward_model, tmp_path, monkeypatch):
        items = [*conversations(20), ("long", 0, chat("x" * 300)), ("again", 5, conversations(1)[0][2])]
        with TransformersScorer(reward_model, dtype="float32") as scorer:
            theirs = {(score.id, score.number): score for score in scorer.scores(items)}
        with VLLMScorer(reward_model, dtype="float32", pool=POOL, store=Store(tmp_path / "s")) as scorer:
            ours = {(score.id, score.number): score for score in scorer.scores(items)}
        assert ours.keys() == theirs.keys() and len(ours) == 22
        for key, score in ours.items():
            assert (score.status, score.tokens) == (theirs[key].status, theirs[key].tokens)
            assert score.raw == pytest.approx(theirs[key].raw, abs=1e-4)
        assert len({round(score.raw, 4) for score in ours.values() if score.raw is not None}) > 10
        monkeypatch.setattr(Pool, "work", None)
        with VLLMScorer(reward_model, dtype="float32", pool=POOL, store=Store(tmp_path / "s")) as scorer:
            again = list(scorer.scores(items[:20]))
        assert {(score.id, score.number): score for score in again} == {
            key: ours[key] for key in ours if "row" in key[0]
        }


class TestFolders:
    def test_a_retrained_model_has_another_name_and_a_copy_the_same(self, tiny_model, tmp_path):
        import shutil

        copy = shutil.copytree(tiny_model, tmp_path / tiny_model.name)
        assert fingerprint(copy) == fingerprint(tiny_model)
        weights = copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
        assert fingerprint(copy) != fingerprint(tiny_model)

    @pytest.mark.parametrize("model", ["/no/such/model", "nothing", "a/b/c", "./a"])
    def test_no_model(self, model):
        with pytest.raises(BadInput, match="no folder"):
            VLLMBackend(model)

    def test_no_adapter(self, tiny_model):
        with pytest.raises(BadInput, match="no LoRA adapter"):
            VLLMBackend(tiny_model, adapter=tiny_model)

    def test_a_folder_that_holds_something_else(self, tmp_path):
        with pytest.raises(BadInput, match=r"config\.json"):
            VLLMScorer(tmp_path)


def test_neither_ray_nor_vllm_is_imported_before_it_is_used():
    ours = "from sp3f_verl.llm.backends import batch, ray_pool, transformers, vllm, vllm_worker; "
    ours += "from sp3f_verl.llm import cli_options, score"
    program = f"import sys; {ours}; print({{'ray', 'vllm', 'torch'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "set()"
