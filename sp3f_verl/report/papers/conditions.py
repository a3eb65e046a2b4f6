"""Under which conditions a paper's numbers and a user's came about, and where these differ."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from sp3f_verl.evaluation.results import ArenaSummary, BenchmarkSummary, HarnessSummary, Summary
from sp3f_verl.report.arena import judge_name
from sp3f_verl.report.document.blocks import Table
from sp3f_verl.report.document.escape import Markdown, joined

COMPARED = (
    *("model", "samples", "temperature", "top_p", "languages", "judge", "prompts", "ties", "orders", "shots"),
    *("metrics", "iterations", "segments", "set", "harness", "limit"),
)
NAMELESS = re.compile(r"|none|huggingface|actor|checkpoints|global_step_\d+")  # or folders of each checkpoint of verl
PACKAGES = {"lm-eval": "lm-evaluation-harness", "euroeval": "EuroEval"}
ALIASES = {
    "math_hard": "math",
    "minerva_math": "math",
    "hendrycks_math": "math",
    "arc_challenge": "arc",
    "global_mmlu": "global_mmlu_lite",
    "mt_math_100": "mt_math100",
    "scala": "scala_da",
}
NOT_KNOWN, DIFFERS, SAME = "not told", Markdown("**differs**"), "same"


class Condition(NamedTuple):
    """`paper`, `yours`: `–` where that side does not say."""

    name: str
    paper: str
    yours: str
    verdict: str


def of_paper(conditions: Mapping[str, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    """columns: the tasks whose shots and metrics are asked about; all of them where they name none (a mean)."""
    known = {name: conditions[name] for name in COMPARED if name in conditions}
    if "models" in conditions:
        known["model"] = conditions["models"]
    for name in ("shots", "metrics"):
        if asked := known.get(name, {}).keys() & set(columns):
            known[name] = {task: value for task, value in known[name].items() if task in asked}
    return known


def of_run(summary: Summary) -> dict[str, Any]:
    """Of a summary, as far as it says."""
    known: dict[str, Any] = {}
    match summary:
        case BenchmarkSummary():
            known = {name: getattr(summary.decoding, name) for name in ("samples", "temperature", "top_p")}
            known |= {"model": _named(summary.model), "limit": summary.limit}
            known["languages"] = sorted({code for one in summary.benchmarks.values() for code in one.languages})
        case ArenaSummary():
            known = {
                "languages": sorted(summary.languages),
                "judge": judge_name(summary) if summary.judge else None,
                "prompts": sum(cell.prompts or 0 for cell in summary.languages.values()) or None,
                "ties": summary.ties,
                "orders": "both",
            }
        case HarnessSummary():
            tasks = {normal(name): task for name, task in summary.tasks.items()}
            package = summary.package or ""
            known = {
                "model": _named(summary.model),
                "limit": summary.limit,
                "shots": {name: task.shots for name, task in tasks.items() if task.shots is not None},
                "metrics": {name: task.metric for name, task in tasks.items() if task.metric is not None},
                "languages": sorted({task.language for task in tasks.values()} - {None}),
                "iterations": sorted({str(task.iterations) for task in tasks.values() if task.iterations is not None}),
                "harness": f"{PACKAGES.get(package, package)} {summary.versions.get(package) or ''}".strip() or None,
            }
    return {name: value for name, value in known.items() if value not in (None, [], {})}


def _named(model: str | None) -> str | None:
    """None for a name that tells nothing of the model."""
    return None if model is None or NAMELESS.fullmatch(_name(model)) else model


def compared(paper: Mapping[str, Any], yours: Mapping[str, Any]) -> list[Condition]:
    """Those that the paper, or the run, has: shots and metrics of the paper's tasks."""
    paper, yours = dict(paper), dict(yours)
    for name in ("shots", "metrics"):
        if name in paper and name in yours:
            shared = {task: value for task, value in yours.pop(name).items() if task in paper[name]}
            yours |= {name: shared} if shared else {}
    if "limit" in yours:
        paper["limit"] = "all"
    conditions = []
    for name in COMPARED:
        if name in paper or name in yours:
            both = (paper.get(name), yours.get(name))
            outcome = NOT_KNOWN if None in both else SAME if _same(name, *both) else DIFFERS
            conditions.append(Condition(name, *map(_shown, both), outcome))
    return conditions


def _same(name: str, paper: Any, yours: Any) -> bool:
    match name:
        case "model":
            return _name(yours) in map(_name, paper)
        case "languages":
            return set(map(str, paper)) == set(map(str, yours))
        case "iterations":
            return [str(paper)] == yours
        case "shots" | "metrics":  # `acc_norm,none` of lm-evaluation-harness is acc_norm
            return all(str(one).split(",")[0].strip().lower() in _choices(paper[task]) for task, one in yours.items())
        case "harness":
            return f"{yours} ".lower().startswith(f"{paper} ".lower())
    if isinstance(paper, int | float) and isinstance(yours, int | float):
        return abs(paper - yours) < 1e-9
    return _name(paper) == _name(yours)


def _name(model: Any) -> str:
    """Of `owner/Name`, or of a fingerprint `Name@16 hex digits+adapter@...`: name."""
    name = str(model).rstrip("/").rsplit("/", 1)[-1].lower()
    return name.split("+")[0].split("@")[0] if "@" in name else name


def _choices(entry: Any) -> list[str]:
    """What a paper has: one name or number, or several of which any will do."""
    return [str(one).lower() for one in (entry if isinstance(entry, list) else [entry])]


def normal(name: str) -> str:
    """A benchmark's or task's name, so that `MMLU-Pro`, `mmlu_pro` and `leaderboard_mmlu_pro` are one."""
    bare = name.lower().replace("-", "_").replace(" ", "_").removeprefix("leaderboard_")
    return ALIASES.get(bare, bare)


def _shown(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return joined(f"{name} {'/'.join(_choices(value))}" for name, value in sorted(entry.items()))
    if isinstance(entry, list | tuple | set):
        return joined(entry)
    return "–" if entry is None else f"{entry:g}" if isinstance(entry, float) else str(entry)


def conditions_table(conditions: list[Condition]) -> Table:
    return Table(["condition", "the paper", "this run", ""], conditions)


def verdict(conditions: list[Condition]) -> Markdown:
    differ = [one.name for one in conditions if one.verdict == DIFFERS]
    unknown = [one.name for one in conditions if one.verdict == NOT_KNOWN]
    rest = f" Not told by one side: {', '.join(unknown)}." if unknown else ""
    if len(unknown) == len(conditions):
        return Markdown(f"No condition is told by both.{rest}")
    if differ:
        return Markdown(f"**Not the same conditions**: {', '.join(differ)}.{rest}")
    return Markdown(f"{'No condition that both tell differs' if unknown else 'The same conditions'}.{rest}")
