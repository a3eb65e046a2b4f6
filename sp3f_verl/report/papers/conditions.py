"""Under which conditions a paper's numbers and a user's came about, and where these differ."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sp3f_verl.evaluation.summary_file import part, value
from sp3f_verl.report.arena import MEAN, groups_of, name_of
from sp3f_verl.report.document.inline import plain
from sp3f_verl.report.document.model import Table
from sp3f_verl.report.harness import tasks_of

COMPARED = (
    *("model", "samples", "temperature", "top_p", "languages", "judge", "prompts", "ties", "orders", "shots"),
    *("metrics", "iterations", "segments", "set", "harness", "limit"),
)


@dataclass(frozen=True)
class Condition:
    """`paper`, `yours`: None where it is not told."""

    name: str
    paper: str | None
    yours: str | None
    same: bool

    @property
    def verdict(self) -> str:
        if self.paper is None or self.yours is None:
            return "not told"
        return "same" if self.same else "**differs**"


def of_paper(conditions: Mapping[str, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    """columns: the tasks whose shots and metrics are asked about; all that are told where they name none (a mean)."""
    found = {name: conditions[name] for name in COMPARED if name in conditions}
    if "models" in conditions:
        found["model"] = conditions["models"]
    for name in ("shots", "metrics"):
        if asked := found.get(name, {}).keys() & set(columns):
            found[name] = {task: told for task, told in found[name].items() if task in asked}
    return found


def of_run(kind: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Of a summary.json, as far as it tells."""
    decoding = part(summary, "decoding")
    found: dict[str, Any] = {name: decoding.get(name) for name in ("temperature", "top_p")}
    found["samples"] = decoding.get("samples", decoding.get("n"))
    found["model"] = None if NAMELESS.fullmatch(_name(summary.get("model", ""))) else summary["model"]
    found["limit"] = summary.get("limit")
    if kind == "evaluate":
        found["languages"] = sorted({x for b in part(summary, "benchmarks").values() for x in part(b, "languages")})
    if kind == "arena":
        found["languages"] = sorted(set(groups_of(summary).get("language", {})) - {MEAN})
        found["judge"] = name_of(summary["judge"]) if "judge" in summary else None
        found |= {"ties": summary.get("ties"), "orders": "both"}
        counts = [value(each.get("prompts")) for each in part(summary, "languages").values() if isinstance(each, dict)]
        found["prompts"] = sum(filter(None, counts)) or None
    if kind == "harness":
        tasks = {normal(name): each for name, each in tasks_of(summary).items()}
        for name, column in (("shots", "shots"), ("metrics", "metric")):
            found[name] = {task: each[column] for task, each in tasks.items() if each.get(column) is not None}
        for name, column in (("languages", "language"), ("iterations", "iterations")):
            found[name] = sorted({str(each[column]) for each in tasks.values() if each.get(column) is not None})
        package = str(summary.get("package", ""))
        version = part(summary, "versions").get(package)
        found["harness"] = " ".join(filter(None, (PACKAGES.get(package, package), str(version or "")))) or None
    return {name: told for name, told in found.items() if told not in (None, [], {})}


def compared(paper: Mapping[str, Any], yours: Mapping[str, Any]) -> list[Condition]:
    """Those that the paper, or the run, tells: shots and metrics of the paper's tasks."""
    yours = dict(yours)
    for name in ("shots", "metrics"):
        if name in paper and name in yours:
            shared = {task: told for task, told in yours.pop(name).items() if task in paper[name]}
            yours |= {name: shared} if shared else {}
    paper = paper | {"limit": "all"} if "limit" in yours else paper
    return [
        Condition(name, _told(paper.get(name)), _told(yours.get(name)), _same(name, paper.get(name), yours.get(name)))
        for name in COMPARED
        if name in paper or name in yours
    ]


def _same(name: str, paper: Any, yours: Any) -> bool:
    if paper is None or yours is None:
        return False
    if name == "model":
        return any(_name(yours) == _name(each) for each in paper)
    if name == "languages":
        return set(map(str, paper)) == set(map(str, yours))
    if name == "iterations":
        return [str(paper)] == yours
    if name in ("shots", "metrics"):
        return all(_bare(told) in _names(paper[task]) for task, told in yours.items())
    if name == "harness":
        return f"{yours} ".lower().startswith(f"{paper} ".lower())
    if value(paper) is not None and value(yours) is not None:
        return abs(value(paper) - value(yours)) < 1e-9
    return _name(paper) == _name(yours)


def _name(model: Any) -> str:
    """Of `owner/Name`, or of a fingerprint `Name@16 hex digits+adapter@...`: name."""
    name = str(model).rstrip("/").rsplit("/", 1)[-1].lower()
    return name.split("+")[0].split("@")[0] if "@" in name else name


def _bare(metric: Any) -> str:
    """`acc_norm,none` of lm-evaluation-harness is acc_norm."""
    return str(metric).split(",")[0].strip().lower()


def _names(told: Any) -> list[str]:
    """What a paper tells: one name or number, or several of which any will do."""
    return [str(each).lower() for each in (told if isinstance(told, list) else [told])]


def normal(name: str) -> str:
    """A benchmark's or task's name, so that `MMLU-Pro`, `mmlu_pro` and `leaderboard_mmlu_pro` are one."""
    bare = name.lower().replace("-", "_").replace(" ", "_").removeprefix("leaderboard_")
    return ALIASES.get(bare, bare)


NAMELESS = re.compile(r"|none|huggingface|actor|checkpoints|global_step_\d+")  # or folders of each checkpoint of verl
PACKAGES = {"lm-eval": "lm-evaluation-harness", "euroeval": "EuroEval"}
ALIASES = {
    **{"math_hard": "math", "minerva_math": "math", "hendrycks_math": "math", "arc_challenge": "arc"},
    **{"global_mmlu": "global_mmlu_lite", "mt_math_100": "mt_math100", "scala": "scala_da"},
}


def _told(entry: Any) -> str | None:
    if entry is None:
        return None
    if isinstance(entry, Mapping):
        return ", ".join(f"{plain(name)} {plain('/'.join(_names(each)))}" for name, each in sorted(entry.items()))
    if isinstance(entry, list | tuple | set):
        return ", ".join(map(plain, entry))
    return plain(f"{entry:g}" if isinstance(entry, float) else entry)


def conditions_table(found: list[Condition]) -> Table:
    rows = [[each.name, each.paper or "–", each.yours or "–", each.verdict] for each in found]
    return Table(["condition", "the paper", "this run", ""], rows, "conditions")


def verdict(found: list[Condition]) -> str:
    differ = [each.name for each in found if each.verdict == "**differs**"]
    unknown = [each.name for each in found if each.verdict == "not told"]
    told = f" Not told by one side: {', '.join(unknown)}." if unknown else ""
    if len(unknown) == len(found):
        return f"No condition is told by both.{told}"
    if differ:
        return f"**Not the same conditions**: {', '.join(differ)}.{told}"
    return f"{'No condition that both tell differs' if unknown else 'The same conditions'}.{told}"
