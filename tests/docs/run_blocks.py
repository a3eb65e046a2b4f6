"""Runs the fenced blocks of README.md and docs/ as they are printed, on stand-ins, and says what became of each.

    PYTHONPATH=.:tests .venv/bin/python tests/docs/run_blocks.py                     # most of an hour
    PYTHONPATH=.:tests .venv/bin/python tests/docs/run_blocks.py docs/data.md:98     # one block, or a whole file

The blocks of a page run one after the other in one folder, so that a later one finds what an earlier one wrote. Models
are tiny and random, files have a few rows, and a stub server answers in place of OpenAI. The tables below say what is
replaced by what, what is added so that a run is short, and which block is not run and why.
"""

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import yaml

from helpers import translator
from helpers.croco_steps import build_reward_model
from helpers.doc_blocks import Block, blocks, joined, words
from helpers.judging import shown
from helpers.model_server import ModelServer
from helpers.preference_runs import as_messages, pairs
from helpers.runs import make
from helpers.shared import ROOT, SHARED_DATA
from sp3f_verl import languages
from sp3f_verl.data.files import write_parquet
from sp3f_verl.judge.questions.client import PROBE
from sp3f_verl.quickstart import habits

LIMIT = 1800  # seconds of a block

# What is printed -> what runs. The folder of stand-ins is {here}, the stub server {url}.
REPLACED = {
    r"https://api\.openai\.com/v1 LLM_API_KEY=\.\.\.": "{url} LLM_API_KEY=stub",
    r"http://127\.0\.0\.1:8000/v1|http://localhost:8000/v1": "{url}",
    r"Skywork/Skywork-Reward-V2-Qwen3-8B": "{here}/reward",
    r"(?:Qwen|utter-project|CohereLabs)/[\w.-]+|/shared/models/Qwen3-8B|runs/dpo/merged": "{here}/model",
    r"checkpoints/sp3f-verl/\S+/lora_adapter": "{here}/adapter",
    r"checkpoints/sp3f-verl/\S+|runs/quickstart/sft/checkpoints/\S+": "{here}/model",
    r"(?<![\w/])(?:SFT_)?CHECKPOINT\b|(?<![\w/])MODEL\b": "{here}/model",
    r"--nproc_per_node=8": "--nproc_per_node=1",
    r"--max-model-len 32768": "--max-model-len 1024 --backend transformers --dtype float32",
    r"--config B ": "--config {here}/B.yaml ",  # its roles, written by the stub: three models of 8 B and more otherwise
    # tests/llm/test_vllm_backend.py has the engine; what a random model says is in no language, and makes no pair
    r"--backend vllm --model \S+ --n 64": "--base-url {url} --n 8",
    r"global_step_N/": "global_step_1/",
    r"RAY_ADDRESS=\S+ ": "",
    r"budget_usd=50 \.\.\.": "budget_usd=50 data.train_files=train.parquet data.val_files=validation.parquet"
    " actor_rollout_ref.model.path={here}/model",
}
# What a run is given so that it is over after a step: by what stands in its command
RUN = "trainer.total_training_steps=1 trainer.save_freq=1 data.train_batch_size="  # a multiple of the micro batch
SHORT = (
    "trainer.val_before_train=false data.max_response_length=16 data.max_prompt_length=1024"
    " actor_rollout_ref.rollout.max_model_len=1040"
)
ADDED = {
    r"data_prep\.(?:translate|wmt translate|generate)\b(?!.*--(?:base-url|backend))": "--base-url {url}",
    r"data_prep\.generate": "--max-tokens 16",
    r"data_prep\.croco": "--validation 0.4",  # a batch of SFT's validation
    r"sft_trainer": f"{RUN}8 data.max_length=512 trainer.n_gpus_per_node=1",
    r"main_ppo.*recipe=(?:sp3f|grpo)(?!.*train_batch_size)": f"{RUN}4 {SHORT}",
    r"main_ppo.*recipe=copsd": f"{RUN}8 {SHORT}",  # of one rollout each
    r"main_ppo.*recipe=(?:dpo|croco|mdpo)": f"{RUN}8 sp3f.preference.max_length=256",
    r"main_ppo.*recipe=(?:spin|tspin)(?!.*train_batch_size)": "data.train_batch_size=16 sp3f.preference.max_length=64"
    " sp3f.selfplay.generation.max_tokens=24 sp3f.selfplay.iterations=1 sp3f.selfplay.epochs=1"
    " sp3f.selfplay.generation.truncated=keep",  # a random model seldom ends
    r"judge-check": "sp3f.judge.model=stub",
    r"sp3f evaluate --model": "--max-tokens 16 --keep-truncated --backend transformers",
}
# The beginning of a block, or its place -> why it is not run
NOT_RUN = {
    "make train": "CI does both",
    'pip install -e ".[gpu]"': "changes the environment, and wants a GPU",
    "ray start": "a Ray for the whole machine, and `ray stop`; tests/e2e/test_cluster.py has both on ports of its own",
    "python -m data_prep.preferences": "downloads four sources; tests/architectures/test_english_base_set.py",
    "python -m data_prep.wmt prepare": "downloads WMT24++; tests/data/test_wmt.py and tests/evaluation have it",
    "python -m data_prep.prompts": "downloads m-ArenaHard; tests/data/test_prompt_sets.py, and the arena's tests",
    "sp3f evaluate --model CHECKPOINT --benchmark mgsm --languages": "downloads MGSM; the next block has files",
    "sp3f evaluate --harness": "an environment of its own; tests/evaluation/test_harness.py",
    "for s in 1 2 3": "three times make train",
    "cp -r runs/quickstart": "the RL stage of make train, with another method",
    ".venv/bin/sp3f quickstart --preset real": "make train-real: an hour",
    ".venv/bin/sp3f report RUN": "reports on what others left; docs/selfplay.md ends with one",
    "sp3f report RUN": "reports on what others left; docs/selfplay.md ends with one",
    "VLLM_CPU_KVCACHE_SPACE": "a server that stays; tests/e2e/test_judge.py starts it",
    "# OpenAI; the key is in": "pieces of a command; tests/docs/test_commands.py completes and parses them",
}
# The beginning of a block -> what runs before it, because it reads what no block above it writes
TRANSLATE = "python -m data_prep.translate --input gsm8k_train.jsonl --base-url {url}"
BEFORE = {
    "python -m data_prep.convert": "mkdir -p data/croco; cp data/english/train.parquet data/croco",
    "python -m data_prep.generate --prompts prompts.parquet": "rm -rf data/croco",
    "python -m data_prep.sp3f --translated data/es": f"rm -rf data/sp3f; {TRANSLATE} --languages es --output data/es; "
    f"{TRANSLATE} --languages sw --output data/sw; head -n 5 gsm8k_test.jsonl > other.jsonl",
}
SETTINGS = {"file:": "physics.yaml", "name: mine": "mine.yaml", "name: half": "half.yaml", "jv:": "jv.yaml"}


def reply(body: dict) -> str:
    """What the stub says: a translation where one is asked for, a verdict between two answers, else a sentence."""
    if any("\n⟦" in turn["content"] or "<translation>" in turn["content"] for turn in body["messages"]):
        return translator.reply(body)
    if len(shown(body)) != 2:
        number = (body.get("seed") or 12) % 97  # so that candidates differ
        said = rf"It is {number} in the end, and so the answer to this is \boxed{{{number}}}."
        return r"\boxed{A}" if PROBE in body["messages"][-1]["content"] else said
    solution = body["messages"][-1]["content"].split("<solution>")[-1].partition("</solution>")[0]
    a, b = (answer(text) == answer(solution) for text in shown(body))  # judge-check wants a judge that can
    return rf"As the solution says. \boxed{{{'tie' if a == b else 'A' if a else 'B'}}}"


def answer(text: str) -> str:
    return "".join(re.findall(r"\\answer\{.*?\}", text)[-1:])  # the judge's prompt shows boxes so


class Sentences(dict):
    """For translator.py: sentences of any language of the table, from the real ones where they are."""

    def __missing__(self, name: str) -> str:
        code = next(entry.code for entry in languages.all_languages() if entry.english_name == name)
        file = SHARED_DATA / "sentences" / f"{code}.txt"
        return file.read_text().splitlines()[0] if file.is_file() else words_of(languages.get(code).instruction)


def words_of(instruction: str) -> str:
    return instruction.replace(r"\boxed{}", "")  # as nobody translates something into a box


def stand_ins(folder: Path, url: str) -> None:
    """Models and the files that the pages name."""
    plan = yaml.safe_load((ROOT / "recipes" / "architecture" / "B.yaml").read_text())
    plan["models"] = {name: {"model": "stub", "base_url": url, "max_tokens": 99} for name in plan["models"]}
    (folder / "B.yaml").write_text(yaml.safe_dump(plan))
    make(folder)  # model/, data/
    build_reward_model(folder / "model", folder / "reward")
    from helpers.adapters import an_adapter

    an_adapter(folder / "model", folder / "adapter")


def page_folder(page: str, here: Path) -> Path:
    """The folder in which the blocks of a page run, with what its first commands read."""
    folder = here / page.replace("/", "_").removesuffix(".md")
    folder.mkdir(exist_ok=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    data = here / "data"
    for name in ("train", "validation", "sft"):
        shutil.copy(data / f"{name}.parquet", folder / f"{name}.parquet")
    if page == "docs/recipe-sft.md":
        shutil.copy(data / "sft.parquet", folder / "train.parquet")
        shutil.copy(data / "sft.parquet", folder / "validation.parquet")
    write_parquet(as_messages(pairs(32, 1)), folder / "pairs.parquet")
    if page == "docs/dpo.md":
        for name in ("train", "validation"):
            shutil.copy(folder / "pairs.parquet", folder / f"{name}.parquet")
    if page == "docs/selfplay.md":
        made = habits.make(folder / "habits", rows=48, held_out=16, steps=1)
        shutil.copy(made / "train.parquet", folder / "train.parquet")
        shutil.copy(made / "val.parquet", folder / "validation.parquet")
    if page == "docs/data.md":
        data_page(folder)
    if page in ("docs/data.md", "docs/languages.md", "docs/evaluation.md") and SHARED_DATA.is_dir():
        for code in ("es", "sw", "th"):
            lines = (SHARED_DATA / "mgsm" / f"mgsm_{code}.tsv").read_text().splitlines(keepends=True)
            (folder / f"mgsm_{code}.tsv").write_text("".join(lines[:40]))
        for name, source in (("gsm8k_train", "train"), ("gsm8k_test", "test_first_250")):
            lines = (SHARED_DATA / "gsm8k" / f"{source}.jsonl").read_text().splitlines(keepends=True)
            (folder / f"{name}.jsonl").write_text("".join(lines[:40]))
    for code in ("es", "sw"):
        rows = [{"question": f"{n} + 4 = ?", "answer": str(n + 4)} for n in range(8)]
        write_parquet(rows, folder / f"physics_{code}.parquet")
    return folder


def data_page(folder: Path) -> None:
    rows = [
        {"id": f"p{n}", "language": code, "messages": [{"role": "user", "content": f"{n} + {code}?"}]}
        for n in range(24)
        for code in ("da", "en")
    ]
    write_parquet(rows, folder / "prompts.parquet")
    spin = []
    for row in as_messages(pairs(32, 1)):
        spin.append({"real": row["prompt"] + row["chosen"], "generated": row["prompt"] + row["rejected"]})
    write_parquet(spin, folder / "train_prefs.parquet")
    english = [
        {
            "id": f"{row['id']:016x}",
            "pair_id": f"p{row['id']}",
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "chosen": row["chosen"],
            "rejected": row["rejected"],
            **dict.fromkeys(("prompt_lang", "chosen_lang", "rejected_lang"), "en"),
            "source": "arena",
            "task": "qa",
            "chosen_score": 2.0,
            "rejected_score": 1.0,
            "margin": 1.0,
        }
        for row in pairs(24, 5)
    ]
    write_parquet(english, folder / "data" / "english" / "train.parquet")


def rewritten(block: Block, here: Path, url: str) -> str:
    """The block's text with its stand-ins."""
    lines = []
    for line in joined(block.text):
        for printed, stand_in in REPLACED.items():
            line = re.sub(printed, lambda _, text=stand_in: text.format(here=here, url=url), line)
        more = [text for command, text in ADDED.items() if re.search(command, line)]
        line, _, _comment = line.partition("  # ")
        lines.append(" ".join([line, *more]).format_map({"url": url, "here": here}) if more else line)
    return "\n".join(lines)


def why_not(block: Block) -> str | None:
    if block.kind != "commands":
        return {"shown": "only shown", "python": "tests/docs/test_commands.py imports its names"}.get(block.kind, "")
    return next((why for start, why in NOT_RUN.items() if block.text.startswith(start)), None)


def run(block: Block, folder: Path, here: Path, url: str, log: Path) -> int:
    environment = {
        **os.environ,
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "VERL_PLATFORM": "cpu",
        "LLM_API_URL": url,
        "LLM_API_KEY": "stub",
        "OPENAI_API_KEY": "stub",
        "RAY_prestart_worker_first_driver": "0",
    }
    before = next((text for start, text in BEFORE.items() if block.text.startswith(start)), "true")
    script = f"{before.format(url=url)}\n{rewritten(block, here, url)}"
    with log.open("w") as sink:
        sink.write(f"{script}\n\n")
        sink.flush()
        try:
            return subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, stdout=sink, stderr=sink,
                timeout=LIMIT, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return -1


@contextmanager
def alone(lock: Path | None):
    """Holds the lock, as flock(1) does, so that a machine that others use too runs one heavy thing at a time."""
    with open(lock or os.devnull, "a") as held:
        if lock:
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="pages, or blocks as page:line (default: all)")
    parser.add_argument("--folder", type=Path, help="where everything is written (default: a temporary one, kept)")
    parser.add_argument("--lock", type=Path, metavar="FILE", help="hold it while a block runs, a block at a time")
    parser.add_argument("--list", action="store_true", help="print what would run, and run nothing")
    options = parser.parse_args()
    here = options.folder or Path(tempfile.mkdtemp(prefix="docs-"))
    here.mkdir(parents=True, exist_ok=True)
    chosen = [block for block in blocks() if not options.only or {block.file, block.place} & set(options.only)]
    translator.SENTENCES = Sentences(translator.SENTENCES)
    failed, folders = 0, {}
    with ModelServer(reply) as server:
        if not options.list:
            stand_ins(here, server.url)
        for number, block in enumerate(chosen):
            why = why_not(block)
            if options.list:
                print(f"\n== {block.place}{f': not run, {why}' if why else ''}")
                print(block.text if why or block.kind == "yaml" else rewritten(block, here, server.url))
                continue
            if block.file not in folders:
                folders[block.file] = page_folder(block.file, here)
            if block.kind == "yaml":
                name = next((name for begin, name in SETTINGS.items() if begin in block.text), None)
                if name:
                    text = block.text.replace("http://127.0.0.1:8000/v1", server.url)
                    (folders[block.file] / name).write_text(text)
                if name == "jv.yaml":  # a language that the stub, too, learns here
                    for entry in yaml.safe_load(text).values():
                        translator.SENTENCES[entry["english_name"]] = words_of(entry["instruction"])
                print(f"{block.place}: {f'written as {name}' if name else 'only shown'}", flush=True)
            elif why:
                print(f"{block.place}: not run ({why})", flush=True)
            else:
                log = here / f"{number:02}.log"
                with alone(options.lock):
                    start = time.monotonic()
                    code = run(block, folders[block.file], here, server.url, log)
                failed += code != 0
                first = " ".join(words(block.commands[0])[:4])
                result = "ok" if code == 0 else f"FAILED with {code}"
                print(f"{block.place}: {result}, {time.monotonic() - start:.0f} s, {first} ...; {log}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
