"""The parquet files of the quickstart: SFT rows, RL rows in the canonical layout, and the held-out splits."""

import itertools
import random
from pathlib import Path

from sp3f_verl.data.files import write_parquet
from sp3f_verl.quickstart.corpus import Problem, answer, problems, question, sft_answer, split
from sp3f_verl.training.distill.prompt import load_prompt

SPLITS = ("validation", "test", "rl_only_test", "unseen_sums")


def rl_row(problem: Problem, language: str) -> dict:
    return {
        "id": f"{language}:{problem.key}",
        "data_source": "quickstart",
        "prompt": [{"role": "user", "content": question(problem, language)}],
        "reward_model": {"style": "rule", "ground_truth": str(problem.result)},
        "extra_info": {"index": 0, "kind": problem.kind},
        "language": language,
        "query_en": question(problem, "en"),
        "solution_en": answer(problem, "en"),
        "translated_solution": answer(problem, language),
    }


def write_tables(settings: dict, folder: Path) -> dict[str, int]:
    """Write sft, train and the held-out splits as parquet into `folder`; answers the number of rows of each."""
    corpus, seed = settings["corpus"], settings["data_seed"]
    parts = split(settings)

    def stream(part: str, use: str):
        return problems(parts[part], random.Random(f"{use}:{part}:{seed}"), corpus["story_share"])

    faults, shown = random.Random(f"faults:{seed}"), random.Random(f"shown:{seed}")
    prompt = load_prompt("privileged", "the quickstart's prompt")
    sft = []
    for language, problem in itertools.islice(stream("sft", "sft"), corpus["sft_rows"]):
        row = rl_row(problem, language)
        if shown.random() < corpus["privileged_share"]:
            messages, response = prompt.messages(row["prompt"], row), row["translated_solution"]
        else:
            messages, response = row["prompt"], sft_answer(problem, language, faults, settings["faults"])
        sft.append({"messages": [*messages, {"role": "assistant", "content": response}], "language": language})
    streams = {"sft": stream("sft", "rl"), "rl_only": stream("rl_only", "rl")}
    mix = random.Random(f"mix:{seed}")
    train = []
    for _ in range(corpus["rl_rows"]):
        language, problem = next(streams["rl_only" if mix.random() < corpus["rl_only_share"] else "sft"])
        train.append(rl_row(problem, language))
    tables = {"sft": sft, "train": train}
    for name in SPLITS:
        tables[name] = _held_out(parts[name], random.Random(f"{name}:{seed}"), corpus)
    for name, rows in tables.items():
        write_parquet(rows, folder / f"{name}.parquet")
    return {name: len(rows) for name, rows in tables.items()}


def _held_out(pairs: list, rng: random.Random, corpus: dict) -> list[dict]:
    """`held_out_rows` different problems of each language, spread over its pairs, ordered by language."""
    by_language: dict[str, list] = {}
    for pair in pairs:
        by_language.setdefault(pair[0], []).append(pair)
    rows = []
    for of_language in by_language.values():
        # A pair has ten problems (nine stories and a plain sum); the stream visits them evenly and repeats itself.
        stream = itertools.islice(problems(of_language, rng, corpus["story_share"]), 40 * corpus["held_out_rows"])
        distinct = {problem.key: rl_row(problem, language) for language, problem in stream}
        rows += list(distinct.values())[: corpus["held_out_rows"]]
    return rows
