r"""The other methods from the SFT checkpoint of `sp3f quickstart --preset real`, each evaluated as the quickstart does.

    .venv/bin/sp3f quickstart --preset real --output runs/real
    .venv/bin/python benchmarks/real_methods.py --run runs/real --output runs/methods --methods tspin spin more_sft
    .venv/bin/python benchmarks/real_methods.py ... --methods A B C --translator URL

Every method is a command or a few, which are printed; what is done is not done again. `gains.json` has, of every
method, means and differences from the SFT checkpoint with 95 % intervals, resampled by sum as the quickstart's are.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from sp3f_verl.data.files import read_parquet, write_json
from sp3f_verl.evaluation.checkpoints import model_folder
from sp3f_verl.quickstart import corpus, settings
from sp3f_verl.quickstart.evaluation import MEASURES, Decoding, evaluate
from sp3f_verl.quickstart.gains import DECODINGS, tables
from sp3f_verl.quickstart.tables import SPLITS
from sp3f_verl.stats.clustered import grouped_difference

LANGUAGES = ("en", "es")  # of CroCo's pools and the architectures; Apertium translates between them
PROBLEMS, CANDIDATES = 96, 16
SELF_PLAY_ROWS, SELF_PLAY_VALIDATION, ITERATIONS = 96, 32, 3
MINUTES = 90  # of one command
GROUPS = {"all": (True, False), "en, es": (True,), "the others": (False,)}  # of a mean: is a language of LANGUAGES?


class Bench:
    def __init__(self, options: argparse.Namespace):
        self.run, self.output, self.translator = options.run.resolve(), options.output.resolve(), options.translator
        self.settings = settings.load("real")
        self.start = self.run / "sft" / "checkpoints" / f"global_step_{self.settings['sft']['steps']}" / "huggingface"

    # commands

    def call(self, name: str, *words: str) -> None:
        """A command with a log of its own under `name`; not again where it went through before."""
        folder = self.output / name
        if (folder / "seconds.json").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", *words]
        print(f"{name}: {' '.join(command)}", flush=True)
        begun = time.monotonic()
        with (folder / "run.log").open("ab") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
            subprocess.run(command, stdout=log, stderr=log, env=environment, timeout=60 * MINUTES, check=True)
        write_json({"seconds": round(time.monotonic() - begun), "command": " ".join(words)}, folder / "seconds.json")

    def train(self, name: str, recipe: str, rows: Path, held_out: Path, *more: str) -> None:
        folder = self.output / name
        self.call(
            name,
            "verl.trainer.main_ppo",
            f"+recipe={recipe}",
            "device=cpu",
            f"data.train_files={rows}",
            f"data.val_files={held_out}",
            f"actor_rollout_ref.model.path={self.start}",
            *("data.train_batch_size=16", "sp3f.preference.max_length=192"),
            *(f"trainer.default_local_dir={folder / 'checkpoints'}", f"hydra.run.dir={folder / 'hydra'}"),
            *("trainer.logger=[console,file]", *more),
        )

    # SP3F without a judge

    def no_judge(self) -> None:
        """The quickstart's own RL stage with `judge=none` in place of its judge."""
        overrides = yaml.safe_load((self.run / "sp3f" / "hydra" / ".hydra" / "overrides.yaml").read_text())
        folder, old = self.output / "no_judge", self.run / "sp3f"
        moved = [word.replace(str(old), str(folder)) for word in overrides if not word.startswith("judge=")]
        self.call("no_judge", "verl.trainer.main_ppo", *moved, "judge=none")

    # Self-play

    def self_play_rows(self) -> tuple[Path, Path]:
        train, held_out = (self.output / "selfplay" / f"{name}.parquet" for name in ("train", "validation"))
        if not held_out.exists():
            train.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pq.read_table(self.run / "data" / "sft.parquet").slice(0, SELF_PLAY_ROWS), train)
            rows = read_parquet(self.run / "data" / "validation.parquet")
            kept = random.Random(1).sample(rows, min(SELF_PLAY_VALIDATION, len(rows)))
            said = [[*row["prompt"], {"role": "assistant", "content": row["translated_solution"]}] for row in kept]
            pq.write_table(pa.Table.from_pylist([{"messages": turns} for turns in said]), held_out)
        return train, held_out

    def self_play(self, name: str, recipe: str, *more: str) -> None:
        self.train(
            name,
            recipe,
            *self.self_play_rows(),
            f"sp3f.selfplay.iterations={ITERATIONS}",
            "sp3f.selfplay.epochs=1",
            "sp3f.selfplay.generation.max_tokens=64",
            "sp3f.selfplay.schedule.lr=[1e-5]",
            *more,
        )

    def more_sft(self) -> None:
        """As many steps on the same rows, by SFT."""
        folder, (train, _) = self.output / "more_sft", self.self_play_rows()
        self.call(
            "more_sft",
            *("torch.distributed.run", "--standalone", "--nproc_per_node=1", "-m", "verl.trainer.sft_trainer"),
            *("+recipe=sft", "device=cpu", f"data.train_files={train}", "data.train_batch_size=16"),
            *("data.micro_batch_size_per_gpu=8", "data.max_length=192", f"model.path={self.start}", "optim.lr=1e-5"),
            *(f"trainer.total_epochs={ITERATIONS}", "trainer.save_freq=1000", "trainer.logger=[console,file]"),
            *(f"trainer.default_local_dir={folder / 'checkpoints'}", f"hydra.run.dir={folder / 'hydra'}"),
        )

    # CroCo

    def prompts(self) -> Path:
        """The same problems in LANGUAGES, of sums that SFT's or RL's rows may show and no split holds in either."""
        file = self.output / "prompts.jsonl"
        if not file.exists():
            parts = corpus.split(self.settings)
            held_out = {pair for name in SPLITS for pair in parts[name]}
            trained = [fact for code, fact in parts["sft"] + parts["rl_only"] if code == LANGUAGES[0]]
            facts = [fact for fact in trained if not any((code, fact) in held_out for code in LANGUAGES)]
            stream = corpus.problems(
                [("", fact) for fact in facts], random.Random(1), self.settings["corpus"]["story_share"]
            )
            found = {problem.key: problem for _, problem in (next(stream) for _ in range(PROBLEMS))}
            lines = [
                {
                    "id": key,
                    "prompt_lang": code,
                    "prompt": corpus.question(problem, code),
                    "ground_truth": str(problem.result),
                    "solution": corpus.answer(problem, code),
                }
                for key, problem in found.items()
                for code in LANGUAGES
            ]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        return file

    def scored(self, name: str = "candidates", model: Path | None = None, n: int = CANDIDATES) -> tuple[Path, Path]:
        """(candidates with their rewards, prompts) of a model's answers."""
        folder, scored = self.output / name / "said", self.output / name / "scored"
        loading = ("--backend", "vllm", "--dtype", "float32", "--max-model-len", "256", "--workers", "1")
        drawn = ("--n", str(n), "--max-tokens", "64", "--model", str(model or self.start), *loading)
        prompts = ("--prompts", str(self.prompts()))
        self.call(f"{name}/generate", "data_prep.generate", *prompts, "--output", str(folder), *drawn)
        files = ("--candidates", str(folder / "candidates.parquet"), "--prompts", str(folder / "prompts.parquet"))
        rule = ("--reward", "acc_parseable_threshold", "--output", str(scored))
        self.call(f"{name}/score", "data_prep.score", *files, *rule)
        return scored / "candidates.parquet", folder / "prompts.parquet"

    def pairs(self, name: str, *more: str) -> Path:
        candidates, prompts = self.scored()
        folder = self.output / name / "pairs"
        files = ("--candidates", str(candidates), "--prompts", str(prompts), "--output", str(folder))
        self.call(f"{name}/choose", "data_prep.croco", *files, "--validation", "0.05", "--scale", "raw", *more)
        return folder

    def _preference(self, name: str, rows: Path, held_out: Path) -> None:
        rate = ("actor_rollout_ref.actor.optim.lr=1e-4", "trainer.total_epochs=2")
        self.train(name, "croco", rows, held_out, *rate)

    def croco(self, name: str, *more: str) -> None:
        folder = self.pairs(name, *more)
        self._preference(name, folder / "train.parquet", folder / "validation.parquet")

    def croco_off_policy(self) -> None:
        """Pairs of texts that this policy did not write: the corpus' solution over the base model's answer."""
        folder = self.output / "croco_off_policy"
        candidates, _ = self.scored("base_candidates", self.run / "model", 1)
        wrong = {
            (row["id"], row["lang_declared"]): row["text"]
            for row in read_parquet(candidates)
            if row["text"] and row["reward_raw"] < 3
        }
        rows = []
        for row in map(json.loads, self.prompts().read_text(encoding="utf-8").splitlines()):
            if text := wrong.get((row["id"], row["prompt_lang"])):
                rows.append({"prompt": row["prompt"], "chosen": row["solution"], "rejected": text, "id": row["id"]})
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in (("validation", rows[:8]), ("train", rows[8:])):
            pq.write_table(pa.Table.from_pylist(part), folder / f"{name}.parquet")
        self._preference("croco_off_policy", folder / "train.parquet", folder / "validation.parquet")

    # Architectures of preference data: Spanish pairs from English ones

    def architecture(self, name: str) -> None:
        """English pairs: CroCo's, in language. Translator: Apertium. Strong writer: the SFT checkpoint, greedy; weak:
        the same at temperature 1.5."""
        rows = [row for row in read_parquet(self.pairs("croco") / "train.parquet") if row["prompt_lang"] == "en"]
        folder = self.output / name
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / "english.parquet")
        writer = {
            **{"backend": "vllm", "model": str(self.start), "dtype": "float32", "max_model_len": 256, "workers": 1},
            **{"max_tokens": 64, "seed": 1},
        }
        roles = {
            "A": {"chosen": {"translate": "mt"}, "rejected": {"translate": "mt"}},
            "B": {"chosen": {"generate": "strong"}, "rejected": {"generate": "weak"}},
            "C": {"chosen": {"generate": "strong"}, "rejected": {"translate": "mt"}},
        }
        plan = {
            **{"name": name, "languages": {"es": 1}, "english": "copy", "seed": 1, "min_language_share": 0.5},
            **{"prompt": {"translate": "mt"}, **roles[name]},
            "models": {"mt": {"base_url": self.translator, "model": "apertium", "max_tokens": 256, "temperature": 0}},
        }
        used = {word for role in roles[name].values() for word in role.values()}
        warmth = {"strong": 0.0, "weak": 1.5}
        plan["models"] |= {key: {**writer, "temperature": warmth[key]} for key in warmth if key in used}
        (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
        files = ("--config", str(folder / "plan.yaml"), "--input", str(folder / "english.parquet"))
        self.call(f"{name}/pairs", "data_prep.architectures", *files, "--output", str(folder / "set"))
        held_out = self.output / "croco" / "pairs" / "validation.parquet"
        self._preference(name, folder / "set" / "train.parquet", held_out)

    # Evaluation

    def evaluate(self, name: str) -> None:
        folder = self.output / "evaluation"
        if (folder / f"{name}_{SPLITS[-1]}.json").exists():
            return
        decoding = Decoding(**self.settings["evaluation"], seed=self.settings["train_seed"])
        files = {split: self.run / "data" / f"{split}.parquet" for split in SPLITS}
        evaluate(Path(model_folder(self.output / name / "checkpoints")), files, folder, name, decoding)

    def gains(self, names: list[str]) -> list[dict]:
        """Of the methods and SP3F against the SFT checkpoint and SP3F: each split, and all of them together."""
        found, stages = [], {"sft": self.run / "evaluation", "sp3f": self.run / "evaluation"}
        stages |= dict.fromkeys(names, self.output / "evaluation")

        def read(stage: str, splits: Sequence[str]) -> dict[tuple[str, str], np.ndarray]:
            return tables(*(stages[stage] / f"{stage}_{split}.responses.jsonl" for split in splits))

        codes = sorted(self.settings["languages"])
        for splits in (*((split,) for split in SPLITS), SPLITS):
            read_before = {before: read(before, splits) for before in ("sft", "sp3f")}
            every = itertools.product(("sp3f", *names), read_before.items(), GROUPS.items())
            for name, (before, old), (group, chosen) in every:
                if name == before:
                    continue
                new = read(name, splits)
                columns = [at for at, code in enumerate(codes) if (code in LANGUAGES) in chosen]
                for decoding, measure in itertools.product(DECODINGS, MEASURES):
                    one, other = (table[decoding, measure][:, columns] for table in (new, old))
                    gap = grouped_difference(one, other)
                    found.append(
                        {"method": name, "before": before, "split": splits[0] if len(splits) == 1 else "all"}
                        | {"languages": group, "decoding": decoding, "measure": measure, "sums": gap.n}
                        | {"was": float(np.nanmean(other)), "is": float(np.nanmean(one))}
                        | {field: getattr(gap, field) for field in ("mean", "low", "high")}
                    )
        return found


METHODS = {
    "no_judge": Bench.no_judge,
    "tspin": lambda bench: bench.self_play("tspin", "tspin"),
    "tspin_anchored": lambda bench: bench.self_play(
        "tspin_anchored", "tspin", "sp3f.preference.objective.nll_anchor=1"
    ),
    "spin": lambda bench: bench.self_play(
        "spin", "spin", "sp3f.selfplay.schedule.beta=[0.1]", "sp3f.selfplay.previous_iterations=0"
    ),
    "more_sft": Bench.more_sft,
    "croco": lambda bench: bench.croco("croco"),
    "croco_q1": lambda bench: bench.croco("croco_q1", "--rule", "q1"),
    "croco_cross": lambda bench: bench.croco("croco_cross", "--pool", "cross_language"),
    "croco_off_policy": Bench.croco_off_policy,
    **{name: lambda bench, name=name: bench.architecture(name) for name in "ABC"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the finished quickstart")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, required=True)
    parser.add_argument("--translator", default="http://127.0.0.1:8391/v1", help="what A and C translate by")
    options = parser.parse_args()
    bench = Bench(options)
    for name in options.methods:
        METHODS[name](bench)
        bench.evaluate(name)
    done = [name for name in METHODS if (bench.output / "evaluation" / f"{name}_{SPLITS[-1]}.json").exists()]
    write_json(bench.gains(done), bench.output / "gains.json")


if __name__ == "__main__":  # vLLM's engine starts a process that imports this file
    main()
