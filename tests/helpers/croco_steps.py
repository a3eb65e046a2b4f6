"""Prompts in three languages, a model that answers them in every way a policy does, and a reward model."""

import hashlib
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep import croco, generate, score
from helpers.model_server import ModelServer, Reply

SAID = {
    "da": "Jeg tror, at svaret er rigtigt, fordi vi har lagt alle tallene sammen og kontrolleret dem igen",
    "en": "I think that the answer is right because we have added all of the numbers and checked them again",
    "sw": "Nadhani kwamba jibu ni sahihi kwa sababu tumejumlisha namba zote na kuzihakiki tena kwa makini",
}
ASKED = {"da": "Hvad er {} plus fem?", "en": "What is {} plus five?", "sw": "Je, {} jumlisha tano ni ngapi?"}
N = 12


def answer(body: dict) -> Reply | str:
    """What is asked and the seed decide: cut off, in English, a refusal, a text that others give, or one of its own."""
    asked = body["messages"][-1]["content"]
    code = next((code for code, text in ASKED.items() if asked.startswith(text[:3])), "en")
    number = int(hashlib.sha256(f"{asked} {body['seed']}".encode()).hexdigest()[:8], 16)
    usage = {"prompt_tokens": 9, "completion_tokens": 20 + number % 50}
    text = f"{SAID[code]}. " * (1 + number % 4) + str(number)
    kind = number % 13
    if kind == 0:
        return Reply(text=text, finish_reason="length", usage=usage)
    if kind == 1:
        return Reply(text=SAID["en"] + f" {number}", usage=usage)
    if kind == 2:
        return Reply(text=None, refusal="no", usage=usage)
    return Reply(text=f"{SAID[code]}, 12." if kind < 6 else text, usage=usage)


def prompt_rows() -> list[dict]:
    """Six prompts in three languages. p3 has the same text in all of them, p4 and p5 the same as each other."""
    rows = []
    for code, text in ASKED.items():
        for at in range(6):
            asked = "7 + 5 = ?" if at == 3 else text.format(min(at, 4))
            turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": asked}]
            turns += [{"role": "assistant", "content": "an answer of the data set"}] if at % 2 else []
            rows.append({"id": f"p{at}", "language": code, "messages": turns})
    return rows


def write_prompts(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run_generate(server: ModelServer, prompts: Path, output: Path, *more: str) -> Path:
    command = ["--prompts", str(prompts), "--output", str(output), "--base-url", server.url, "--n", str(N)]
    assert generate.main([*command, "--max-tokens", "99", "--seed", "3", *more]) == 0
    return output / "candidates.parquet"


def run_score(candidates: Path, prompts: Path, output: Path, model: Path) -> Path:
    command = ["--candidates", str(candidates), "--prompts", str(prompts), "--output", str(output)]
    assert score.main([*command, "--model", str(model), "--backend", "transformers", "--dtype", "float32"]) == 0
    return output / "candidates.parquet"


def run_croco(candidates: Path, prompts: Path, output: Path, *more: str) -> Path:
    command = ["--candidates", str(candidates), "--prompts", str(prompts), "--output", str(output)]
    assert croco.main([*command, "--validation", "0.2", *more]) == 0
    return output


def shuffled(path: Path, copy: Path, seed: int = 5) -> Path:
    table = pq.read_table(path)
    order = list(range(table.num_rows))
    random.Random(seed).shuffle(order)
    pq.write_table(table.take(pa.array(order)), copy, row_group_size=7)
    return copy


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def pairs_of(folder: Path) -> list[dict]:
    return [row for name in ("train", "validation") for row in pq.read_table(folder / f"{name}.parquet").to_pylist()]


def build_reward_model(tiny_model: Path, folder: Path, fill: float | None = None) -> Path:
    """Sequence classification with one label, random weights, room for 1,024 tokens."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, Qwen3ForSequenceClassification

    config = AutoConfig.from_pretrained(tiny_model)
    config.num_labels, config.max_position_embeddings = 1, 1024
    torch.manual_seed(2)
    model = Qwen3ForSequenceClassification(config).float()
    with torch.no_grad():
        model.score.weight.mul_(50) if fill is None else model.score.weight.fill_(fill)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder
