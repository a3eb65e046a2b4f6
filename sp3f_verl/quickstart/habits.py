"""A tiny policy with bad habits, and annotated rows that have none: something for self-play to mend in minutes.

The policy is trained here, in plain PyTorch, on every question about the numbers to 99: one answer in six is the
annotated one, the others are doubts. Self-play sees annotated answers to some questions; validation asks others.

    python -m sp3f_verl.quickstart.habits --output runs/habits
"""

import argparse
import random
from pathlib import Path

from sp3f_verl.data.files import write_parquet
from sp3f_verl.quickstart.model import build_model

SIZE = {"vocabulary": 400, "hidden": 64, "intermediate": 128, "layers": 2, "heads": 2, "kv_heads": 1, "positions": 128}
QUESTIONS = ("How do you write {n}?", "Please write {n}.", "Can you write {n} for me?")
ANSWER = "Of course: it is written {n}."
DOUBTS = ("I am not sure about {n}.", "Writing is hard.", "Perhaps {n}, or perhaps not?")
HABITS = (1, 3, 1, 1)  # weights of the annotated answer and the doubts in what the policy learnt


def asked(seed: int) -> list[tuple[str, int]]:
    """(question, number), all of them, in an order of the seed."""
    every = [(question, n) for question in QUESTIONS for n in range(100)]
    random.Random(seed).shuffle(every)
    return every


def row(question: str, n: int) -> dict:
    return {"id": f"{QUESTIONS.index(question)}-{n}", "prompt": question.format(n=n), "real": ANSWER.format(n=n)}


def make(folder: Path, seed: int = 1, rows: int = 96, held_out: int = 48, steps: int = 400) -> Path:
    """train.parquet (`messages`), val.parquet (`prompt`, `real`) and model/ under `folder`."""
    every = [row(*question) for question in asked(seed)]
    train, val = every[:rows], every[rows : rows + held_out]
    as_messages = [
        {"id": item["id"], "messages": [turn("user", item["prompt"]), turn("assistant", item["real"])]}
        for item in train
    ]
    write_parquet(as_messages, folder / "train.parquet")
    write_parquet(val, folder / "val.parquet")
    texts = [text for question, n in asked(seed) for text in (question.format(n=n), *answers(n))]
    build_model(texts, SIZE, seed, folder / "model")
    teach(folder / "model", seed, steps)
    return folder


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def answers(n: int) -> list[str]:
    return [ANSWER.format(n=n), *(doubt.format(n=n) for doubt in DOUBTS)]


def teach(model_folder: Path, seed: int, steps: int, batch: int = 64, lr: float = 3e-3) -> None:
    """Plain supervised training on HABITS; the loss counts the assistant's tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)  # a model this small gains nothing from more, and loses much where cores are shared
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    draw = random.Random(seed)
    encoded = [_encoded(tokenizer, question.format(n=n), answers(n)) for question, n in asked(0)]
    torch.manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps)
    for _ in range(steps):
        drawn = [(prompt, draw.choices(texts, HABITS)[0]) for prompt, texts in draw.choices(encoded, k=batch)]
        length = max(len(prompt) + len(answer) for prompt, answer in drawn)
        ids = torch.full((batch, length), tokenizer.pad_token_id)
        labels = torch.full((batch, length), -100)
        for index, (prompt, answer) in enumerate(drawn):
            end = len(prompt) + len(answer)
            ids[index, :end] = torch.tensor(prompt + answer)
            labels[index, len(prompt) : end] = ids[index, len(prompt) : end]
        loss = model(ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.save_pretrained(model_folder)


def _encoded(tokenizer, prompt: str, texts: list[str]) -> tuple[list[int], list[list[int]]]:
    """Token ids of the rendered prompt, and of each answer with its end of sequence."""
    rendered = tokenizer.apply_chat_template([turn("user", prompt)], add_generation_prompt=True, tokenize=False)
    ends = [text + tokenizer.eos_token for text in texts]
    return tokenizer(rendered).input_ids, [tokenizer(text).input_ids for text in ends]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for train.parquet, val.parquet and model/")
    parser.add_argument("--seed", type=int, default=1, help="of rows, weights and training (default: 1)")
    options = parser.parse_args(arguments)
    make(options.output, options.seed)
    print(f"train.parquet, val.parquet and model in {options.output}")


if __name__ == "__main__":
    main()
