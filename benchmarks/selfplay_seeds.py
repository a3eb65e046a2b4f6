"""T-SPIN beside SPIN on the same data: exact match and held-out log-likelihood gap by iteration, over seeds.

The task is sp3f_verl/quickstart/habits.py: data, initial weights, order and sampling all follow the seed. Each run is
one command of verl's main_ppo on a CPU (about a minute). Finished runs are not repeated.

    python benchmarks/selfplay_seeds.py --output runs/selfplay_seeds
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

from sp3f_verl.quickstart.habits import make
from sp3f_verl.report.preference.run import PreferenceRun

ITERATIONS = 4
METRICS = {"gap": "gap/per_token", "real": "logp/real"}
# (name, recipe, overrides); one learning rate and number of epochs for all, since the optimiser is the same
RUNS = (
    ("T-SPIN", "tspin", ()),
    ("SPIN", "spin", ("sp3f.selfplay.schedule.beta=[0.1]",)),
    ("T-SPIN, beta = 0", "tspin", ("sp3f.selfplay.schedule.beta=[0]",)),
)


def run(data: Path, folder: Path, recipe: str, seed: int, options, overrides: tuple[str, ...]) -> None:
    command = [
        *(sys.executable, "-m", "verl.trainer.main_ppo", f"+recipe={recipe}", "device=cpu"),
        f"data.train_files={data / 'train.parquet'}",
        f"data.val_files={data / 'val.parquet'}",
        f"actor_rollout_ref.model.path={data / 'model'}",
        *("data.train_batch_size=16", f"data.seed={seed}", "sp3f.preference.max_length=64"),
        *("sp3f.selfplay.generation.max_tokens=24", f"sp3f.selfplay.generation.seed={seed}"),
        *(f"sp3f.selfplay.iterations={ITERATIONS}", f"sp3f.selfplay.schedule.lr=[{options.lr}]"),
        f"sp3f.selfplay.epochs={options.epochs}",
        *("trainer.save_freq=-1", "trainer.test_freq=100", "trainer.logger=[console]"),
        *(f"trainer.default_local_dir={folder}", f"hydra.run.dir={folder / 'hydra'}", *overrides),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "run.log").open("ab") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "VERL_PLATFORM": "cpu"}
        subprocess.run(command, stdout=log, stderr=log, env=environment, timeout=900, check=True)


def by_policy(folder: Path) -> list[dict[str, float]]:
    """The policies pi_0, pi_1, ...: exact match, and L(y) and L(y) - L(y') per token after the training that made it
    (of pi_0 before any)."""
    run, policies = PreferenceRun(folder), []
    for t, exact in run.of_policy("generation/exact_match").items():
        measured = {key: run.after(name, t - 1) if t else [run.before(name, 0)] for key, name in METRICS.items()}
        values = {key: points[-1].value if points else float("nan") for key, points in measured.items()}
        policies.append({"exact": exact.value, **values})
    return policies


def cell(values: list[float]) -> str:
    """Mean and spread over the runs that came this far."""
    if not values:
        return "     –      "
    return f"{mean(values):6.2f}" + (f" ±{stdev(values):4.2f}" if len(values) > 1 else "      ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--lr", type=float, default=3e-5)
    parser.add_argument("--epochs", type=int, default=2, help="an iteration (default: 2)")
    parser.add_argument("--steps", type=int, default=400, help="that the initial policy is taught (default: 400)")
    parser.add_argument(
        "--runs", nargs="+", choices=[name for name, _, _ in RUNS], default=[name for name, _, _ in RUNS]
    )
    options = parser.parse_args()
    results: dict[str, list] = {name: [] for name in options.runs}
    for seed in options.seeds:
        data = options.output / f"data-{options.steps}-{seed}"
        if not (data / "model" / "model.safetensors").is_file():
            make(data, seed, steps=options.steps)
        for name, recipe, overrides in (row for row in RUNS if row[0] in options.runs):
            slug = name.lower().replace(", ", "-").replace(" = ", "")
            folder = (
                options.output / f"{slug}-steps{options.steps}-lr{options.lr:g}-epochs{options.epochs}" / f"seed{seed}"
            )
            if not (folder / "selfplay" / "final.json").is_file():
                run(data, folder, recipe, seed, options, overrides)
            results[name].append(by_policy(folder))
            exact = [round(policy["exact"], 2) for policy in results[name][-1]]
            print(f"{name}, seed {seed}: exact match {exact}", flush=True)
    print(f"\nlearning rate {options.lr:g}, {options.epochs} epochs; policies pi_0 ... pi_{ITERATIONS},", end=" ")
    print(f"mean ± sd over {len(options.seeds)} seeds")
    for key, title in (
        ("exact", "exact match of greedy answers to held-out questions"),
        ("gap", "held-out L(y) - L(y') per token; pi_k on y' ~ pi_{k-1} (pi_0 on its own)"),
        ("real", "held-out L(y), nats a response"),
    ):
        print(f"\n{title}")
        for name, runs in results.items():
            print(f"{name:18}", *(cell([run[i][key] for run in runs if i < len(run)]) for i in range(ITERATIONS + 1)))


if __name__ == "__main__":
    main()
