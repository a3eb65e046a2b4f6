"""Suites as data, what a harness says turned into rows, and lm-evaluation-harness itself run on a tiny model."""

import importlib.util
import json
import sys
import venv
from pathlib import Path

import pytest
import yaml

from sp3f_verl import cli
from sp3f_verl.data.files import write_text
from sp3f_verl.errors import BadInput
from sp3f_verl.evaluation.harness.model import lm_eval_model
from sp3f_verl.evaluation.harness.python import check_python
from sp3f_verl.evaluation.harness.rows import Failed, means, row
from sp3f_verl.evaluation.harness.suite import Suite, Task, read_suite
from sp3f_verl.evaluation.results import HarnessMean, HarnessTask

INSTALLED = importlib.util.find_spec("lm_eval") is not None
needs_lm_eval = pytest.mark.skipif(not INSTALLED, reason="lm-eval is not installed (pip install -e '.[harness]')")


def test_tspin_is_the_papers_table():
    shots = {"GSM8K": 5, "MATH": 4, "MUSR": 0, "MMLU": 5, "MMLU-Pro": 5, "GPQA": 0}
    shots |= {"HellaSwag": 10, "WinoGrande": 5, "BBH": 3, "IFEval": 0}
    suite = read_suite("tspin")
    assert {one.name: one.shots for one in suite.tasks} == shots
    assert {one.name for one in suite.tasks if one.metric == "acc_norm"} == {"MUSR", "GPQA", "HellaSwag", "BBH"}


@needs_lm_eval
def test_lm_eval_has_the_tasks_of_tspin():
    import lm_eval
    from lm_eval.tasks import TaskManager

    folders = [
        Path(lm_eval.__file__).parent / "tasks" / name for name in "gsm8k hellaswag leaderboard mmlu winogrande".split()
    ]
    manager = TaskManager(include_path=folders, include_defaults=False)  # reading all that it has takes long
    assert {one.task for one in read_suite("tspin").tasks} <= set(manager.all_tasks)


def test_euroeval_is_crocos_lists_mended():
    suite = read_suite("euroeval")
    languages = {}
    for one in suite.tasks:
        languages.setdefault(one.language, []).append(one.task)
    assert {code: len(names) for code, names in languages.items()} == {
        **{"da": 8, "nl": 5, "en": 7, "fr": 7, "de": 6, "it": 5, "es": 6, "no": 5, "sv": 5, "pt": 4, "fi": 3}
    }
    for code in ("sv", "pt"):
        assert languages[code][0] == f"multi-wiki-qa-{code}"
    assert languages["fi"][0] == "tydiqa-fi"
    assert suite.settings == {"num_iterations": 3, "evaluate_test_split": True, "few_shot": True}
    assert {one.name for one in suite.only(["dala"], None).tasks} == {"dala"}


# One task, as both harnesses tell it


def task_of(metric, shots=5, **more):
    return Task(name="T", task="t", metric=metric, shots=shots, **more)


def outcome_of(**more):
    values = {"acc,none": 0.25, "acc_stderr,none": 0.125, "acc_norm,none": 0.5, "acc_norm_stderr,none": "N/A"}
    return {"values": values, "shots": [5], "n": 16, "of": 20, "version": 1.0, **more}


def test_a_row_of_lm_eval_is_in_percent():
    task = task_of("acc")
    assert row("lm-eval", task, outcome_of()).model_dump(exclude_unset=True) == {
        **{"metric": "acc", "filter": "none", "value": 25.0, "stderr": 12.5, "shots": 5, "n": 16, "of": 20},
        "version": 1.0,
    }
    assert row("lm-eval", task_of("acc_norm"), outcome_of()).stderr is None


def test_a_row_of_euroeval_has_standard_errors_not_radii():
    """As EuroEval 17.0.0 tells MCCs of .1, .2 and .3: sd .1, standard error 5.7735, radius 1.96 times that."""
    values = {"test_mcc": 20.0, "test_mcc_se": 11.316065276116664, "num_failed_instances": 2.0}
    result = row(
        "euroeval",
        Task(name="dala", task="dala", metric="mcc", scale=1, language="da"),
        {"values": values, "n": 3, "version": "17.0.0"},
    )
    assert result.stderr == pytest.approx(10 / 3**0.5) and (result.value, result.failed) == (20.0, 2)
    assert (result.n, result.iterations, result.language) == (None, 3, "da")


@pytest.mark.parametrize(
    ("task", "result", "expected"),
    [
        (task_of("f1"), outcome_of(), "no metric f1,none; it has acc,none, acc_norm,none"),
        (task_of("acc", filter="strict"), outcome_of(), "no metric acc,strict"),
        (task_of("acc", shots=3), outcome_of(), r"ran with \[5\] shots, not 3"),
        (task_of("acc", scale=1000), outcome_of(), "times scale 1000 no number up to 100"),
        (task_of("acc"), outcome_of(values={"acc,none": float("nan")}), "is nan"),
        (task_of("acc"), {"error": "KeyError: 'x'"}, "KeyError"),
        (task_of("acc"), {}, "left it out"),
    ],
)
def test_a_task_without_a_value_says_why(task, result, expected):
    with pytest.raises(Failed, match=expected):
        row("lm-eval", task, result)


def test_means_by_language_weigh_tasks():
    rows = {"a": HarnessTask(value=10.0, language="da"), "b": HarnessTask(value=20.0, language="da")}
    rows["c"] = HarnessTask(value=60.0)
    of_danish = HarnessMean(value=15.0, tasks=2)
    assert means(rows) == HarnessMean(value=30.0, tasks=3, languages={"da": of_danish})


# Models


def adapter(folder, base, rank=64):
    config = {"base_model_name_or_path": str(base), "r": rank}
    write_text(json.dumps(config), folder / "adapter_config.json")
    return str(folder)


def test_models_as_lm_eval_wants_them(tmp_path):
    lora = adapter(tmp_path / "global_step_3" / "actor" / "lora_adapter", "org/base")
    step = str(tmp_path / "global_step_3")
    assert lm_eval_model("org/m", None, None, None, {}) == ("hf", {"pretrained": "org/m"})
    assert lm_eval_model(step, "transformers", None, "org/t", {"dtype": "float32"}) == (
        "hf",
        {"pretrained": "org/base", "peft": lora, "tokenizer": "org/t", "dtype": "float32"},
    )
    _, model_args = lm_eval_model(step, "vllm", None, None, {})
    assert model_args == {"pretrained": "org/base", "lora_local_path": lora, "max_lora_rank": 64}, (
        "vLLM's own default is 16"
    )
    url = "http://localhost:8000/v1/"
    assert lm_eval_model("m", None, url, None, {}) == (
        "local-completions",
        {"model": "m", "base_url": "http://localhost:8000/v1/completions"},
    )
    _, model_args = lm_eval_model("m", "openai", url, None, {})
    assert model_args["base_url"] == "http://localhost:8000/v1/chat/completions"
    for backend, base_url, why in (("completions", None, "give its --base-url"), ("vllm", url, "leave out")):
        with pytest.raises(BadInput, match=why):
            lm_eval_model("m", backend, base_url, None, {})


# The command


@pytest.fixture
def bare_python(tmp_path):
    """A Python without any package."""
    venv.create(tmp_path / "bare", with_pip=False)
    return tmp_path / "bare" / "bin" / "python"


def evaluate(*options, monkeypatch, capfd):
    """(exit status, stdout, the last line of stderr) of `sp3f evaluate --harness`."""
    monkeypatch.setattr(sys, "argv", ["sp3f", "evaluate", "--harness", *map(str, options)])
    status = cli.main()
    captured = capfd.readouterr()
    return status, captured.out, (captured.err.strip().splitlines() or [""])[-1]


def suite_file(path, package="lm-eval", **tasks):
    path.write_text(yaml.safe_dump({"package": package, "tasks": tasks}))
    return path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["tspn"], "(did you mean 'tspin'?)"),
        (["tspin", "--tasks", "GSM8k"], "--tasks: no 'GSM8k' (did you mean 'GSM8K'?)"),
        (["tspin", "--languages", "de"], "--languages: no 'de'; tspin tells none"),
        (["tspin", "--python", "no/python"], "--python=no/python is not there"),
        (["tspin"], "lm-eval is not installed in {python}: `pip install 'lm-eval[hf]'`"),
        (["euroeval"], "euroeval is not installed in {python}: `pip install 'euroeval[generative]'`"),
    ],
)
def test_bad_options_are_one_sentence(options, expected, bare_python, tmp_path, monkeypatch, capfd):
    if "--python" not in options:
        options = [*options, "--python", bare_python]
    output = tmp_path / "out"
    status, _, error = evaluate(*options, "--model", "m", "--output", output, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 1 and expected.format(python=bare_python) in error and error.endswith(".") and not output.exists()


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        ("package: [", "cannot be read as YAML"),
        ("package: helm\ntasks: {}", "give `package: lm-eval`"),
        ("package: lm-eval\ntasks: {}", "name at least one task"),
        ("package: lm-eval\ntasks: {a: {metric: acc}}", "tasks.a.shots=None; give 0 or more"),
        ("package: lm-eval\ntasks: {a: {shots: 1}}", "tasks.a.metric is missing; give the harness's name of one"),
        (
            "package: lm-eval\ntasks: {a: {shots: 1, metrik: acc, metric: acc}}",
            "tasks.a.metrik does not exist (did you mean 'metric'?)",
        ),
        ("package: lm-eval\ntasks: {a/b: {shots: 1, metric: acc}}", "leave out the slash"),
        (
            "package: lm-eval\ntasks: {a: {shots: 1, metric: acc, needs: ['=1']}}",
            "tasks.a.needs=['=1']; give what pip can read",
        ),
        ("package: lm-eval\ntasks: {a: {shots: 1, metric: acc, scale: x}}", "tasks.a.scale='x'; give a number"),
        ("package: euroeval\ntasks: {a: {shots: 1, metric: mcc}}", "which EuroEval chooses itself"),
    ],
)
def test_bad_suites_are_one_sentence(expected, why, tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(expected)
    with pytest.raises(BadInput) as error:
        read_suite(str(path))
    assert str(path) in str(error.value) and why in str(error.value) and "\n" not in str(error.value)


def test_a_task_that_needs_another_version_is_refused_before_the_model_is_asked():
    """As T-SPIN's MATH in verl's environment: lm-eval finds out only when it scores the answers."""
    suite = Suite.model_construct(name="s", package="pyyaml", tasks=())
    task = Task(name="MATH", task="math", metric="exact_match", shots=4, needs=("pyyaml<1",))
    with pytest.raises(BadInput, match=r"MATH needs pyyaml<1, and .* has \d.*leave the task out"):
        check_python(sys.executable, suite.model_copy(update={"tasks": (task,)}))
    assert "pyyaml" in check_python(sys.executable, suite)


# EuroEval's part by a stand-in with its record (version 17.0.0), as EuroEval needs Python 3.12 and its own pins

STAND_IN = """
import json
from pathlib import Path

class Result(dict):
    def model_dump(self):
        return dict(self)

class Benchmarker:
    def __init__(self, dataset, **settings):
        self.dataset, self.settings, self.record = dataset, settings, Path("record.jsonl")

    @property
    def benchmark_results(self):
        return [Result(json.loads(line)) for line in self.record.read_text().splitlines()]

    def benchmark(self, model):
        with open("asked.txt", "a") as file:
            file.write(" ".join(self.dataset) + "\\n")
        there = {each["dataset"] for each in self.benchmark_results} if self.record.exists() else set()
        for name in set(self.dataset) - there:
            if name == "danwic" and not Path("../../../mended").exists():
                continue  # EuroEval says why, goes on, and ends well
            raw = [{"test_mcc": 0.2}] * self.settings["num_iterations"]
            total = {"test_mcc": 20.0, "test_mcc_se": 1.96, "num_failed_instances": 0.0}
            told = {"dataset": name, "results": {"raw": raw, "total": total}, "few_shot": True}
            with open(self.record, "a") as file:
                file.write(json.dumps({**told, "validation_split": False, "euroeval_version": "17.0.0"}) + "\\n")
"""


def test_datasets_that_euroeval_leaves_out_are_no_scores(bare_python, tmp_path, monkeypatch, capfd):
    packages = next((bare_python.parent.parent / "lib").iterdir()) / "site-packages"
    write_text(STAND_IN, packages / "euroeval.py")
    write_text(
        "Metadata-Version: 2.1\nName: euroeval\nVersion: 17.0.0\n", packages / "euroeval-17.0.0.dist-info/METADATA"
    )
    options = ["euroeval", "--tasks", "dala,danwic", "--model", "org/m", "--iterations", "2", "--python", bare_python]
    options += ["--output", tmp_path / "out"]
    status, _, error = evaluate(*options, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 1 and "1 of 2 tasks failed (danwic: the harness left it out" in error
    assert not (tmp_path / "out" / "summary.json").exists()
    others = [*options, "--iterations", "3"]  # its record of these is not for the run that is asked for next
    assert evaluate(*others, monkeypatch=monkeypatch, capfd=capfd)[0] == 1
    (tmp_path / "mended").touch()
    assert evaluate(*options, monkeypatch=monkeypatch, capfd=capfd)[0] == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["tasks"]["danwic"] == {
        **{"metric": "mcc", "value": 20.0, "stderr": 1.0, "language": "da", "shots": None, "iterations": 2, "n": None},
        **{"failed": 0, "version": "17.0.0"},
    }
    assert summary["tasks"]["dala"]["iterations"] == 2
    assert summary["mean"]["languages"] == {"da": {"value": 20.0, "tasks": 2}}


# lm-evaluation-harness itself, offline: two tasks of one's own, on a LoRA adapter in a verl checkpoint

CHOICES = """
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/sums.jsonl, train: FOLDER/shots.jsonl}}
output_type: multiple_choice
test_split: test
fewshot_split: train
fewshot_config: {sampler: first_n}
doc_to_text: "Q: {{question}} A:"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 3}
"""
WRITTEN = """
task: told
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/told.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["<|endoftext|>"], do_sample: false, max_gen_toks: 5}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture
def checkpoint(tmp_path):
    """global_step_3 with a LoRA adapter that changes its random base model a lot; and (model, tokenizer)."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sp3f_verl.quickstart.model import build_model

    size = {"vocabulary": 300, "hidden": 32, "intermediate": 32, "layers": 1, "heads": 1, "kv_heads": 1}
    build_model(["Q: What is 7+5? A: 12"] * 3, {**size, "positions": 128}, 1, tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    torch.manual_seed(1)
    for name, weights in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights)
    model.save_pretrained(tmp_path / "global_step_3" / "actor" / "lora_adapter")
    return tmp_path / "global_step_3", model.eval(), AutoTokenizer.from_pretrained(tmp_path / "base")


def log_likelihood(model, tokenizer, context, text):
    import torch

    ids = torch.tensor([tokenizer(context + text)["input_ids"]])
    start = len(tokenizer(context)["input_ids"])
    with torch.no_grad():
        logs = model(ids).logits.log_softmax(-1)
    return sum(float(logs[0, at - 1, ids[0, at]]) for at in range(start, ids.shape[1]))


def greedy(model, tokenizer, question):
    ids = tokenizer(question, return_tensors="pt")["input_ids"]
    made = model.generate(input_ids=ids, max_new_tokens=5, do_sample=False)
    return tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)


@needs_lm_eval
def test_lm_eval_gives_what_the_model_says(checkpoint, tmp_path, monkeypatch, capfd):
    """Accuracy and exact match against the model asked directly; what lacks its data is asked later."""
    folder, model, tokenizer = checkpoint
    rows = [{"question": f"What is {a}+4?", "choices": [str(a), str(a + 4), "17"], "answer": 1} for a in range(12)]
    shot = "Q: What is 2+3? A: 5\n\n"
    right = 0
    for one in rows:
        asked = f"{shot}Q: {one['question']} A:"
        likelihoods = [log_likelihood(model, tokenizer, asked, f" {choice}") for choice in one["choices"]]
        right += likelihoods.index(max(likelihoods)) == one["answer"]
    lines = {"sums": rows, "shots": [{"question": "What is 2+3?", "choices": ["5", "6", "7"], "answer": 0}]}
    known = [greedy(model, tokenizer, f"Tell {n}") for n in range(6)]
    lines["told"] = [{"question": f"Tell {n}", "answer": known[n] if n < 4 else "never"} for n in range(6)]
    for name, one in lines.items():
        write_text("".join(json.dumps(row) + "\n" for row in one), tmp_path / f"{name}.jsonl")
    for name, text in (("sums", CHOICES), ("told", WRITTEN)):
        write_text(text.replace("FOLDER", str(tmp_path)), tmp_path / "tasks" / f"{name}.yaml")
    (tmp_path / "told.jsonl").rename(tmp_path / "later")

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tasks = {"Sums": {"task": "sums", "metric": "acc", "shots": 1}, "told": {"metric": "exact_match", "shots": 0}}
    suite = suite_file(tmp_path / "mine.yaml", **tasks)
    options = [suite, "--model", folder, "--include", tmp_path / "tasks", "--output", tmp_path / "out"]
    options += ["--device", "cpu", "--batch-size", "4", "--log-samples"]
    status, _, error = evaluate(*options, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 1 and "1 of 2 tasks failed (told: FileNotFoundError: " in error
    assert not (tmp_path / "out" / "summary.json").exists()
    (tmp_path / "later").rename(tmp_path / "told.jsonl")
    (tmp_path / "sums.jsonl").unlink()
    status, out, _ = evaluate(*options, monkeypatch=monkeypatch, capfd=capfd)
    assert status == 0, "sums was not asked again"

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    share = right / 12
    assert summary["tasks"]["Sums"] == {
        **{"metric": "acc", "filter": "none", "value": pytest.approx(100 * share), "shots": 1, "n": 12, "of": 12},
        **{"stderr": pytest.approx(100 * (share * (1 - share) / 11) ** 0.5), "version": 3},
    }
    assert summary["tasks"]["told"]["value"] == pytest.approx(100 * 4 / 6)
    assert summary["mean"]["value"] == pytest.approx((100 * share + 100 * 4 / 6) / 2)
    assert 0 < right < 12, "a model that is always right or wrong would prove little"
    assert summary["kind"] == "harness" and summary["suite"] == "mine" and summary["versions"]["lm-eval"]
    assert "| Sums |" in (tmp_path / "out" / "report.md").read_text() and "\nSums  acc  " in out
    assert not (tmp_path / "out" / ".tasks").exists()
    samples = (tmp_path / "out" / "tasks" / "told.samples.jsonl").read_text().splitlines()
    assert {json.loads(line)["resps"][0][0] for line in samples} == set(known)
