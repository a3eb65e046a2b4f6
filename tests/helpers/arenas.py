"""What the tests of the arena share: prompts, outputs in two languages, and a judge that repeats itself."""

import hashlib
import json
import random

from helpers.judging import shown
from helpers.model_server import Reply

WORDS = {
    "es": "la casa grande está cerca del río y los niños juegan en el parque todos los días con su perro",
    "de": "das große Haus steht am Fluss und die Kinder spielen jeden Tag mit dem Hund im Park",
}


def sentence(code, rng, words=25):
    return " ".join(rng.choice(WORDS[code].split()) for _ in range(words))


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def prompts(folder, count=12, codes=("de", "es")):
    rows = [
        {
            "id": f"q{number:03}", "prompt_lang": code, "source": "test", "task": ["coding", "writing"][number % 2],
            "prompt": [{"role": "user", "content": f"Question {number} in {code}?"}],
        }
        for number in range(count)
        for code in codes
    ]  # fmt: skip
    return write(folder / "prompts.jsonl", rows)


def outputs(folder, name, count=12, codes=("de", "es"), seed=1, words=25, change=lambda row: row):
    """Answers that the judge below tells apart by the name that they begin with."""
    rng = random.Random(f"{name} {seed}")
    rows = [
        {"id": f"q{number:03}", "language": code, "text": f"{name}. {sentence(code, rng, words)}"}
        for number in range(count)
        for code in codes
    ]
    return write(folder / f"{name}.jsonl", [row for row in map(change, rows) if row is not None])


def draw(*parts):
    """A number in [0, 1) that depends on the parts alone."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


def taste(strength, first=0.0, malformed=0.0):
    """A judge that draws between two answers with the odds of their models' strength (logits), `first` more for the
    one shown first; a share of its answers hold no verdict."""

    def reply(body):
        texts = shown(body)
        if len(texts) != 2:
            return "\\boxed{A}"
        if draw("malformed", *texts) < malformed:
            return Reply(text="I cannot decide.", usage={"prompt_tokens": 100, "completion_tokens": 20})
        a, b = (strength[text.partition(".")[0]] for text in texts)
        wins = draw(*texts) < 1 / (1 + 2.718281828459045 ** -(a - b + first))
        text = f"Reasons. \\boxed{{{'A' if wins else 'B'}}}"
        return Reply(text=text, usage={"prompt_tokens": 100, "completion_tokens": 20})

    return reply


def judge_of(server, **settings):
    values = {"base_url": server.url, "api_key_env": "null", "model": "stub", "malformed_retries": 0} | settings
    return ["judge=openai", *(f"sp3f.judge.{name}={value}" for name, value in values.items())]
