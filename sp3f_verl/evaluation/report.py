"""`sp3f report` of a quickstart: report.md and its plots from what it left behind, or a table over several seeds."""

import json
from pathlib import Path

from sp3f_verl.data.files import read_parquet, write_text
from sp3f_verl.evaluation.markdown import mean_and_spread, table
from sp3f_verl.evaluation.metrics import read_metrics
from sp3f_verl.evaluation.plots import before_after, reward_curves

SPLITS = {
    "test": "held-out (language, sum) pairs whose sum SFT showed in other languages; no choice was made on them",
    "rl_only_test": "held-out pairs of sums that no SFT row shows: RL met them, in other languages, with a reward only",
    "unseen_sums": "sums that no training row shows, in any language",
    "validation": "like test, but the settings were chosen on it",
}
COLUMNS = {
    "accuracy": "boxed accuracy",
    "lenient_accuracy": "lenient accuracy",
    "fidelity": "language fidelity",
    "parseable": "boxed",
}
TERMS = {
    "reward/accuracy/mean": "accuracy",
    "reward/parseable/mean": "parseable",
    "reward/language/mean": "language",
    "reward/judge/mean": "win rate (0.5 by construction)",
}


def _change(before: float, after: float) -> str:
    return f"{before:.3f} → {after:.3f}"


def read_results(output: Path) -> dict[tuple[str, str], dict]:
    """(stage, split) -> what `evaluate` wrote, for the stages sft and sp3f. FileNotFoundError where it is not there."""
    return {
        (stage, split): json.loads((output / "evaluation" / f"{stage}_{split}.json").read_text(encoding="utf-8"))
        for stage in ("sft", "sp3f")
        for split in SPLITS
    }


def is_finished(output: Path) -> bool:
    try:
        return bool(read_results(output))
    except FileNotFoundError:
        return False


def seeds_table(folders: list[Path]) -> str:
    """Mean ± sample standard deviation over several quickstart folders, SFT → SP3F, greedy and sampled."""
    every = [read_results(folder) for folder in folders]
    text = ""
    for decoding in ("greedy", "sampled"):
        rows = []
        for split in SPLITS:
            cells = []
            for name in COLUMNS:
                before, after = (
                    [results[stage, split][decoding]["all"][name] for results in every] for stage in ("sft", "sp3f")
                )
                cells.append(f"{mean_and_spread(before)} → {mean_and_spread(after)}")
            rows.append([split, *cells])
        text += f"{decoding}, {len(folders)} seeds:\n\n{table(['split', *COLUMNS.values()], rows)}\n"
    return text


def summary_rows(results: dict, decoding: str) -> list[list[str]]:
    """One row a split: SFT → SP3F of each measure, as the mean over the languages."""
    rows = []
    for split in SPLITS:
        before, after = (results[stage, split][decoding]["all"] for stage in ("sft", "sp3f"))
        rows.append([split, *(_change(before[name], after[name]) for name in COLUMNS)])
    return rows


def _weights_sentence(steps: dict[int, dict[str, float]]) -> str:
    name = "training/rollout_probs_diff_max"
    differences = [values[name] for step, values in steps.items() if step >= 2 and name in values]
    if not differences:
        return f"Whether rollouts used the trained weights is not known: `{name}` was not logged."
    verdict = (
        "Rollouts used the trained weights" if max(differences) < 1e-4 else "ROLLOUTS DID NOT USE THE TRAINED WEIGHTS"
    )
    return f"{verdict}: `{name}` was at most {max(differences):.1e} from step 2 on."


def write_report(output: Path) -> Path:
    """Write report.md and plots into `output`, the folder of a finished quickstart (else FileNotFoundError)."""
    results = read_results(output)
    steps = read_metrics(output / "sp3f" / "metrics")
    reward_curves(steps, TERMS, output / "rewards.png")
    before, after = results["sft", "test"]["greedy"], results["sp3f", "test"]["greedy"]
    measures = {"accuracy": "boxed accuracy", "fidelity": "language fidelity"}
    before_after(before, after, measures, output / "languages.png")

    languages = [language for language in before if language != "all"]
    per_language = [
        [language, *(_change(before[language][name], after[language][name]) for name in COLUMNS)]
        for language in languages
    ]
    header = ["split", *COLUMNS.values()]
    text = f"""# SP3F quickstart

A tiny model, trained from scratch: SFT on {len(read_parquet(output / "data" / "sft.parquet")):,} rows with faults put
in on purpose (missing boxes, answers in English), then {len(steps)} steps of SP3F. Every number is SFT → SP3F, the mean
over {len(languages)} languages ({", ".join(languages)}).

Greedy decoding:

{table(header, summary_rows(results, "greedy"))}
Sampled at temperature 1:

{table(header, summary_rows(results, "sampled"))}
{chr(10).join(f"- **{split}**: {meaning}." for split, meaning in SPLITS.items())}

![reward terms over steps](rewards.png)

![accuracy and fidelity per language](languages.png)

Per language, split test, greedy:

{table(["language", *COLUMNS.values()], per_language)}
## How to read it

- *Boxed accuracy* needs the right number in the last box. *Lenient accuracy* also takes the number after the last `=`:
  where it does not move, RL taught the format and not the arithmetic.
- *Language fidelity* is the share of responses that are at least 70 % in the language of the question.
- The win rate compares the rollouts of one prompt with each other, so its mean over a group is always 0.5: it tells the
  good from the bad within a group and cannot show progress over steps.
- The judge is `judge=reference`, a deterministic stand-in that needs no model. It is not the paper's LLM judge.
- {_weights_sentence(steps)}
- One seed. docs/quickstart.md has three and their spread.
"""
    path = output / "report.md"
    write_text(text, path)
    return path
