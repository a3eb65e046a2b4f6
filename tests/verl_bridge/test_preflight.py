"""Bad input is one sentence (what, where, the mend) and exit code 1, before Ray or vLLM start."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from verl.utils.config import omega_conf_to_dataclass

from helpers.recipes import compose_recipe, refused
from hydra_plugins.sp3f_verl_recipes import wrong_trainer
from sp3f_verl.data.check import check_rl
from sp3f_verl.data.files import write_parquet
from sp3f_verl.data.rows import REFERENCE, canonical
from sp3f_verl.errors import BadInput
from sp3f_verl.verl_bridge import versions
from sp3f_verl.verl_bridge.preflight import callback as preflight

pytestmark = pytest.mark.usefixtures("unchanged_environment")
ROW = {
    "prompt": [{"role": "user", "content": "¿Cuánto es 7+5?"}],
    "reward_model": {"ground_truth": "12"},
    "language": "es",
    "query_en": "What is 7+5?",
    "solution_en": r"7+5=12 \boxed{12}",
}
PUBLISHED = {
    "input": ROW["prompt"],
    "reward_model": {"ground_truth": "12"},
    "extra_info": {"task": "train_dataset", "ground_truth": "12", "lang": "es", "use_lang": False},
    "query": ROW["query_en"],
    "solution": ROW["solution_en"],
    "translated_solution": "None",
    "messages": [*ROW["prompt"], {"role": "assistant", "content": r"7+5=12 \boxed{12}"}],
    "data_source": "train_dataset",
}


def composed(*overrides: str, recipe: str = "sp3f"):
    return compose_recipe(recipe, *overrides)


@pytest.fixture
def rl(tmp_path, tiny_model):
    """Overrides that pass every check; a test breaks one."""
    write_parquet([ROW], tmp_path / "rows.parquet")
    files = [f"data.{name}={tmp_path / 'rows.parquet'}" for name in ("train_files", "val_files")]
    return ["device=cpu", *files, f"actor_rollout_ref.model.path={tiny_model}"]


def test_a_good_run_passes(rl):
    preflight.Preflight().on_job_start(composed(*rl))
    assert os.environ["SP3F_DEVICE"] == "cpu" and os.environ["SP3F_LOGICAL_GPUS"] == "1"


@pytest.mark.parametrize("given", [None, "elsewhere.jsonl"])
def test_the_file_log_goes_into_the_run_a_file_an_attempt(rl, tmp_path, monkeypatch, given):
    """verl empties the file that it opens: the attempt before must not lose what it logged."""
    monkeypatch.setenv(preflight.FILE_LOG, given or "")
    folder = tmp_path / "run" / "metrics"
    config = composed(*rl, f"trainer.default_local_dir={tmp_path / 'run'}", "trainer.logger=[console,file]")
    preflight.Preflight().on_job_start(config)
    assert os.environ[preflight.FILE_LOG] == (given or str(folder / "000.jsonl"))
    if given is None:
        (folder / "000.jsonl").touch()
        monkeypatch.setenv(preflight.FILE_LOG, "")
        preflight.Preflight().on_job_start(config)
        assert os.environ[preflight.FILE_LOG] == str(folder / "001.jsonl")


def without(*names: str) -> dict:
    return {name: value for name, value in ROW.items() if name not in names}


def asking(*turns: tuple) -> dict:
    return {**ROW, "prompt": [{"role": role, "content": content} for role, content in turns]}


ROWS = {
    "a missing column": (without("reward_model"), "no column 'reward_model.ground_truth'; give every row"),
    "a misspelt column": (
        {**without("solution_en"), "solution_eng": "x"},
        "no column 'solution_en' or 'solution' (did you mean 'solution_eng'?)",
    ),
    "no ground truth": ({**ROW, "reward_model": {"ground_truth": ""}}, "row 0: 'reward_model.ground_truth' is empty"),
    "no reference": (
        {**ROW, "solution_en": "None"},
        "row 0: 'solution_en' or 'solution' is empty; give every row the English",
    ),
    "no query": ({**ROW, "query_en": ""}, "row 0: 'query_en' or 'query' is empty"),
    "an unknown language": ({**ROW, "language": "xx"}, "'xx'"),
    **{
        f"a gold answer of {gold!r}": (
            {**ROW, "reward_model": {"ground_truth": gold}},
            "row 0: 'reward_model.ground_truth' is " + repr(gold),
        )
        for gold in (["4", "5"], True, {"a": 1})
    },
    "a language in a list": ({**ROW, "language": ["es"]}, "is ['es']; give it a text"),
    "extra_info as text": ({**ROW, "extra_info": "x"}, "row 0: 'extra_info' is 'x'; give a mapping, or leave it out"),
    "an id in a list": ({**ROW, "id": ["a"]}, "row 0 has the id ['a']; give it a text or a whole number"),
    "a blank question": (asking(("user", " ")), "row 0: the prompt has no text in turn 0 (user); add it"),
    "a role of another library": (asking(("human", "7+5?")), "row 0: the prompt has the role 'human' in turn 0"),
    "parts of a message": (asking(("user", ["7+5?"])), "row 0: the prompt has no text in turn 0 (user)"),
    "an answered question": (
        asking(("user", "7+5?"), ("assistant", "12")),
        "ends with the assistant's turn",
    ),
    "a prompt that is text": ({**ROW, "prompt": "7+5?"}, "row 0: the prompt is not a list of {role, content} messages"),
}


@pytest.mark.parametrize("name", ROWS)
def test_bad_rows(rl, tmp_path, capsys, name):
    row, sentence = ROWS[name]
    write_parquet([row], tmp_path / "rows.parquet")
    error = refused(composed(*rl), capsys)
    assert sentence in error and "rows.parquet" in error and "data.train_files" in error


def test_rows_without_a_reference_are_good_enough_where_no_judge_needs_one(rl, tmp_path):
    write_parquet([without("query_en", "solution_en")], tmp_path / "rows.parquet")
    preflight.Preflight().on_job_start(composed(*rl, "judge=none"))


def test_token_credit_needs_the_solution_that_its_teacher_reads(rl, tmp_path, capsys):
    write_parquet([without("solution_en")], tmp_path / "rows.parquet")
    run = [*rl, "judge=none", "sp3f.token_credit=rlsd", "data.max_response_length=8"]
    assert "no column 'solution_en' or 'solution'; give every row the English solution" in refused(
        composed(*run), capsys
    )
    preflight.Preflight().on_job_start(composed(*run, "sp3f.rlsd.prompt=translation", *ROOM))


DISTILL = {
    "an unknown divergence": (["sp3f.distill.divergence=forward"], "(did you mean 'forward_kl'?)"),
    "an estimate of another divergence": (["sp3f.distill.support=sampled"], "set sp3f.distill.divergence=reverse_kl"),
    "an estimate at another temperature": (
        ["sp3f.distill.support=sampled", "sp3f.distill.divergence=reverse_kl"],
        "temperature=1.1, but sp3f.distill.support=sampled estimates from tokens drawn at 1; set it to 1.",
    ),
    "fused log-probs": (["actor_rollout_ref.model.use_fused_kernels=true"], "reads rows of logits; set it to false"),
    "a short list of log-probs": (
        ["actor_rollout_ref.rollout.engine_kwargs.vllm.max_logprobs=20"],
        "max_logprobs=20 is less than sp3f.distill.k=64; set it to -1.",
    ),
    "two uses of a teacher": (["sp3f.token_credit=rlsd"], "asks one teacher two things; set sp3f.token_credit=null."),
    "no servers for a live teacher": (["trainer.v1.trainer_mode=separate_async"], "set it to sync."),
    "another way of choosing a teacher": (["sp3f.distill.teacher=initial"], "choose by teacher=NAME alone."),
    "the vocabulary of a teacher of its own": (
        ["teacher=initial", "sp3f.distill.support=full"],
        "sp3f.distill.support=full with sp3f.distill.teacher=initial, whose servers answer k tokens",
    ),
    "no model of the path": (["teacher=path"], "model_path is empty; name the teacher's model, or use teacher=live."),
}


@pytest.mark.parametrize("name", DISTILL)
def test_bad_settings_of_a_distillation(rl, capsys, name):
    overrides, sentence = DISTILL[name]
    assert sentence in refused(composed(*rl, *overrides, recipe="copsd"), capsys)


def test_a_distillation_passes_and_a_teacher_has_the_students_vocabulary(rl, tmp_path, tiny_model, capsys):
    run = [*rl, *ROOM, "data.max_response_length=8"]
    preflight.Preflight().on_job_start(composed(*run, recipe="copsd"))
    key = "distillation.teacher_models.teacher_model.model_path"
    shutil.copytree(tiny_model, tmp_path / "other")
    settings = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**settings, "vocab_size": settings["vocab_size"] + 8}))
    error = refused(composed(*run, "teacher=path", f"{key}={tmp_path / 'other'}", recipe="copsd"), capsys)
    assert "has another vocabulary" in error and error.rstrip().endswith("give a model of the same.")
    preflight.Preflight().on_job_start(composed(*run, "teacher=initial", recipe="copsd"))
    assert os.environ["SP3F_LOGICAL_GPUS"] == "2", "the teacher's server has a place of its own"
    teachers = omega_conf_to_dataclass(composed(*run, "teacher=initial", recipe="copsd").distillation).teacher_models
    assert next(iter(teachers.values())).model_path == str(tiny_model), "verl's own checks of its servers pass"


ROOM = ("actor_rollout_ref.rollout.max_model_len=400", "data.max_prompt_length=20")


def test_bad_files(rl, tmp_path, capsys):
    (tmp_path / "rows.parquet").write_text("not parquet")
    assert "rows.parquet is not a parquet file" in refused(composed(*rl), capsys)
    write_parquet([ROW], tmp_path / "rows.parquet")
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(tmp_path / "rows.parquet").slice(0, 0), tmp_path / "rows.parquet")
    assert "rows.parquet has no rows" in refused(composed(*rl), capsys)
    (tmp_path / "rows.parquet").unlink()
    assert "rows.parquet does not exist" in refused(composed(*rl), capsys)
    assert "data.train_files has '' for a path" in refused(composed(*rl, "data.train_files="), capsys)
    for name, text, words in (
        ("rows.jsonl", json.dumps(ROW), "is JSON lines, and this run reads parquet; write it as that, say by datasets"),
        ("rows.csv", "prompt,answer\n", "is text, and this run reads parquet; write it as that, say by data"),
    ):
        (tmp_path / name).write_text(text)
        assert f"{name} {words}" in refused(composed(*rl, f"data.train_files={tmp_path / name}"), capsys)
    write_parquet([ROW], tmp_path / "rows.pq")
    error = refused(composed(*rl, f"data.train_files={tmp_path / 'rows.pq'}"), capsys)
    assert "is parquet by another name, which verl does not read; rename it to NAME.parquet" in error


SETTINGS = {
    "n of 1": (["actor_rollout_ref.rollout.n=1"], "actor_rollout_ref.rollout.n=1, but a pairwise judge"),
    "an unknown term": (
        ["+sp3f.reward.weights.acuracy=1"],
        "sp3f.reward.weights: unknown reward term 'acuracy' (the nearest is 'accuracy'); rename",
    ),
    "a judge of weight 0": (["sp3f.reward.weights.judge=0"], "judge=reference has sp3f.reward.weights.judge=0"),
    "a weight without a judge": (
        ["judge=none", "sp3f.reward.weights.judge=1"],
        "sp3f.reward.weights.judge=1 with judge=none",
    ),
    "a term of another judge": (
        ["reward=acc_lc_cta"],
        "sp3f.reward.weights.consistency=1.0, but judge=reference with schedule=all_pairs gives judge; set one weight",
    ),
    "a score that no model gives": (
        ["+sp3f.judge.schedule=consistency", "sp3f.reward.weights.judge=0", "+sp3f.reward.weights.consistency=1"],
        "judge=reference cannot answer sp3f.judge.schedule=consistency; name a model's.",
    ),
    "an unknown token credit": (["sp3f.token_credit=rlds"], "sp3f.token_credit=rlds (did you mean 'rlsd'?); set it to"),
    "token credit at another temperature": (
        ["sp3f.token_credit=rlsd", "actor_rollout_ref.rollout.temperature=0.8"],
        "rollout.temperature=0.8, but sp3f.token_credit=rlsd compares the log-probs of sampling",
    ),
    "token credit without log-probs": (
        ["sp3f.token_credit=rlsd", "actor_rollout_ref.rollout.calculate_log_probs=false"],
        "set actor_rollout_ref.rollout.calculate_log_probs=true",
    ),
    "token credit of an asynchronous mode": (
        ["sp3f.token_credit=rlsd", "trainer.v1.trainer_mode=separate_async"],
        "sp3f.token_credit=rlsd asks them; set it to sync",
    ),
    "token credit by an unknown prompt": (
        ["sp3f.token_credit=rlsd", "sp3f.rlsd.prompt=privilege"],
        "sp3f.rlsd.prompt=privilege (did you mean 'privileged'?)",
    ),
    "a teacher without room": (
        ["sp3f.token_credit=rlsd", "actor_rollout_ref.rollout.max_model_len=40", "data.max_response_length=16"],
        "max_model_len=40, but a privileged prompt takes up to",
    ),
    "an unknown judge": (
        ["sp3f.judge.name=oracle"],
        "sp3f.judge.name=oracle; it is one of openai, local, policy, reference, none",
    ),
    "an unknown language": (["sp3f.languages=[es,klingon]"], "'klingon'"),
    "a micro-batch that does not divide": (
        ["trainer.n_gpus_per_node=2", "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=32"],
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=32 does not divide the 16 sequences of a worker",
    ),
    "a policy that is none": (["sp3f.group.on_failed_sibling=drop"], "sp3f.group.on_failed_sibling=drop; it is one of"),
    "no ceiling": (["sp3f.group.replacement_ceiling=no"], "sp3f.group.replacement_ceiling='no'; set it to a number"),
    "no deadline": (["sp3f.group.deadline_seconds=0"], "sp3f.group.deadline_seconds=0; set it to a number of seconds"),
    "a rule that is no yes or no": (
        ["sp3f.reward.reduced=perhaps"],
        "sp3f.reward.reduced='perhaps' is neither true nor false",
    ),
    "a threshold in percent": (
        ["sp3f.reward.language_threshold=70"],
        "sp3f.reward.language_threshold=70; set it to a share",
    ),
    "languages as text": (["sp3f.languages=es"], "sp3f.languages=es is not a list; write sp3f.languages=[es]"),
    "another reward manager": (["reward.reward_manager.name=naive"], "reward.reward_manager.name=naive, but"),
    "no training files": (["data.train_files=null"], "data.train_files is empty"),
    "a reward model": (
        ["reward.reward_model.enable=true"],
        "reward.reward_model.enable=true starts a server that no judge uses",
    ),
    "another agent loop": (
        ["actor_rollout_ref.rollout.agent.agent_loop_manager_class=null"],
        "agent_loop_manager_class=None, but a pairwise judge needs sp3f_verl.verl_bridge.rl.group.Group",
    ),
    "no such model": (
        ["actor_rollout_ref.model.path=/no/such/model"],
        "actor_rollout_ref.model.path=/no/such/model does not exist",
    ),
    "a custom reward": (
        ["reward.custom_reward_function.path=x.py"],
        "give the term a weight (+sp3f.reward.weights.custom=1.0)",
    ),
    "a weight of no custom reward": (["+sp3f.reward.weights.custom=1"], "set the function's path"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_settings(rl, capsys, name):
    overrides, sentence = SETTINGS[name]
    assert sentence in refused(composed(*rl, *overrides), capsys)


def test_bad_model_folders(rl, tiny_model, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    path = f"actor_rollout_ref.model.path={copy}"
    (copy / "chat_template.jinja").unlink()
    assert "has no chat template" in refused(composed(*rl, path), capsys)
    (copy / "config.json").unlink()
    assert "has no config.json" in refused(composed(*rl, path), capsys)


def test_files_of_both_layouts_do_not_make_one_run(rl, tmp_path, capsys):
    write_parquet([PUBLISHED], tmp_path / "published.parquet")
    files = f"data.train_files=[{tmp_path / 'rows.parquet'},{tmp_path / 'published.parquet'}]"
    assert "keep their prompts in different columns" in refused(composed(*rl, files), capsys)


def test_a_check_that_cannot_be_made_stops_the_run(rl, monkeypatch, capsys):
    """Hydra turns the exception of a callback into a warning; an unchecked run must not go on."""

    def disk_gone(config):
        raise PermissionError("no access")

    monkeypatch.setattr(preflight, "checks_of", lambda config: (disk_gone,))
    assert "the check 'disk_gone' failed with PermissionError: no access." in refused(composed(*rl), capsys)


def test_no_shared_memory(tmp_path):
    with pytest.raises(BadInput, match=r"cannot be written.*--shm-size"):
        preflight.shared_memory(None, str(tmp_path / "absent"))


def test_too_little_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(preflight, "SHARED_MEMORY_MIB", 2**40)
    with pytest.raises(BadInput, match=r"MiB free and a run needs 1099511627776; give"):
        preflight.shared_memory(None, str(tmp_path))


def test_an_unsupported_verl(rl, monkeypatch, capsys):
    monkeypatch.setattr(versions, "installed", lambda name: "0.8.0")
    assert "verl 0.8.0 is installed and sp3f_verl supports verl>=0.9.1,<0.10" in refused(composed(*rl), capsys)


@pytest.mark.parametrize(
    ("recipe", "module", "wanted"),
    [
        ("croco_sft", "main_ppo", "sft_trainer"),  # it says so itself nowhere: recipe/sft.yaml under it does
        ("sft", "main_ppo", "sft_trainer"),
        ("sp3f", "sft_trainer", "main_ppo"),
        ("grpo", "sft_trainer_ray", "main_ppo"),
        ("sp3f", "main_ppo", None),
        ("sft", "sft_trainer_ray", None),
        ("croco_sft", "sft_trainer", None),
        ("croco", "main_ppo", None),
        ("somebody_elses", "main_ppo", None),
    ],
)
def test_the_wrong_trainer_for_a_recipe(recipe, module, wanted):
    sentence = wrong_trainer([f"+recipe={recipe}", "trainer.nnodes=1"], f"verl.trainer.{module}")
    if wanted is None:
        assert sentence is None
    else:
        assert f"+recipe={recipe} is for `python -m verl.trainer.{wanted}`, not verl.trainer.{module};" in sentence


def test_a_gpu_that_is_not_there_and_a_cpu_that_is_not_meant(rl, monkeypatch, capsys):
    import verl.plugin.platform as platform

    assert "device=gpu, but verl finds no accelerator" in refused(composed(*rl, "device=gpu"), capsys)
    monkeypatch.setattr(platform, "get_platform", lambda: type("P", (), {"device_name": "cuda"}))
    assert "set VERL_PLATFORM=cpu" in refused(composed(*rl), capsys)


def test_rows_of_the_published_training_data_load_as_they_are(tmp_path):
    write_parquet([PUBLISHED], tmp_path / "rows.parquet")
    assert check_rl(str(tmp_path / "rows.parquet"), REFERENCE) == ("es",)
    ours, theirs = canonical(ROW), canonical(PUBLISHED)
    assert list(ours) == list(theirs), "rows of both layouts can share a batch"
    assert {**ours, "data_source": 0, "extra_info": 0} == {**theirs, "data_source": 0, "extra_info": 0}


def run(*overrides: str, trainer: str = "main_ppo", **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"verl.trainer.{trainer}", "+recipe=sp3f", "judge=reference", *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **env})


def test_the_command_line_says_one_sentence_and_starts_nothing(rl, tmp_path):
    result = run(*rl, "actor_rollout_ref.rollout.n=1", f"hydra.run.dir={tmp_path / 'hydra'}")
    lines = [line for line in result.stderr.splitlines() if line.startswith("sp3f_verl: ")]
    assert result.returncode == 1 and len(lines) == 1 and "rollout.n=1" in lines[0]
    assert "Traceback" not in result.stderr and "ray init" not in result.stdout


def test_the_wrong_trainer_on_the_command_line():
    result = run(trainer="sft_trainer")
    assert result.returncode == 1 and "sp3f_verl: +recipe=sp3f is for" in result.stderr
    assert "Traceback" not in result.stderr


def test_where_the_plugin_is_switched_off_the_recipe_is_still_found_and_says_so(rl, tmp_path):
    result = run(*rl, f"hydra.run.dir={tmp_path / 'hydra'}", VERL_USE_EXTERNAL_PLUGINS="none", VERL_PLATFORM="")
    assert result.returncode == 1 and "VERL_USE_EXTERNAL_PLUGINS=none keeps it from doing so." in result.stderr
    assert "Traceback" not in result.stderr and "ray init" not in result.stdout


def test_the_published_layout_reaches_the_rollouts_under_canonical_names(tmp_path, tiny_model):
    from omegaconf import OmegaConf
    from transformers import AutoTokenizer

    from sp3f_verl.verl_bridge.rl.dataset import SP3FDataset

    write_parquet([PUBLISHED], tmp_path / "rows.parquet")
    config = OmegaConf.create({"prompt_key": "prompt", "cache_dir": str(tmp_path), "filter_overlong_prompts": False})
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    row = SP3FDataset([str(tmp_path / "rows.parquet")], tokenizer, config)[0]
    assert row["raw_prompt"] == PUBLISHED["input"] and row["solution_en"] == PUBLISHED["solution"]
    assert row["language"] == "es" and json.dumps(row["reward_model"]) == '{"style": "rule", "ground_truth": "12"}'


def test_rows_that_verl_leaves_out_for_their_length_are_told_down_to_none(tmp_path, tiny_model, capsys):
    from omegaconf import OmegaConf
    from transformers import AutoTokenizer

    from sp3f_verl.verl_bridge.rl.dataset import SP3FDataset

    long = {**PUBLISHED, "input": [{"role": "user", "content": "7+5? " * 200}]}
    write_parquet([PUBLISHED, long, PUBLISHED], tmp_path / "rows.parquet")
    config = OmegaConf.create({"prompt_key": "prompt", "cache_dir": str(tmp_path), "max_prompt_length": 128})
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert len(SP3FDataset([str(tmp_path / "rows.parquet")], tokenizer, config)) == 2
    assert "1 of 3 rows of" in capsys.readouterr().err
    config.max_prompt_length = 1
    with pytest.raises(BadInput, match=r"none of the 3 rows of .* is left: .*data.max_prompt_length=1 tokens"):
        SP3FDataset([str(tmp_path / "rows.parquet")], tokenizer, config)


def test_fewer_rows_than_a_batch_are_refused_before_a_worker_starts():
    from sp3f_verl.verl_bridge.rl.trainer import _with_a_batch

    trainer = SimpleNamespace(train_dataset=range(7), config=compose_recipe("grpo", "data.train_batch_size=8"))
    with pytest.raises(BadInput, match=r"leaves 7 rows, data.train_batch_size=8 needs more"):
        _with_a_batch(lambda self: None)(trainer)


def test_steps_are_those_of_the_rows_that_verl_keeps():
    from sp3f_verl.verl_bridge.rl.trainer import _with_a_batch

    for wanted, steps in ((9, 4), (4, 4), (3, 3)):  # 17 of 40 rows are left: 2 batches of 8, twice
        config = compose_recipe("grpo", "data.train_batch_size=8", "trainer.total_epochs=2")
        config.actor_rollout_ref.actor.optim.total_training_steps = 3 * wanted  # as verl sets it
        trainer = SimpleNamespace(
            train_dataset=range(17),
            config=config,
            steps_per_epoch=2,
            total_training_steps=wanted,
            parameter_sync_step=3,
        )
        _with_a_batch(lambda self: None)(trainer)
        assert trainer.total_training_steps == steps
        assert config.actor_rollout_ref.actor.optim.total_training_steps == 3 * steps
