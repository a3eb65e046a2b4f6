"""Under which conditions a paper's numbers and a user's came about, and where these differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sp3f_verl.evaluation.arena_report import MEAN, groups_of, name_of
from sp3f_verl.evaluation.document.inline import plain
from sp3f_verl.evaluation.document.model import Table
from sp3f_verl.evaluation.harness_report import tasks_of
from sp3f_verl.evaluation.summary_file import part, value

COMPARED = ("model", "samples", "temperature", "top_p", "languages", "judge", "prompts", "shots", "metrics", "harness")


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
    """columns: the tasks whose shots and metrics are asked about."""
    found = {name: conditions[name] for name in COMPARED if name in conditions}
    found["model"] = conditions.get("models")
    for name in ("shots", "metrics"):
        if name in found:
            found[name] = {task: told for task, told in found[name].items() if task in columns}
    return found


def of_run(kind: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Of a summary.json, as far as it tells."""
    decoding = part(summary, "decoding")
    found: dict[str, Any] = {name: decoding.get(name) for name in ("temperature", "top_p")}
    found["samples"] = decoding.get("samples", decoding.get("n"))
    found["model"] = summary.get("model") or (name_of(summary["candidate"]) if "candidate" in summary else None)
    if kind == "evaluate":
        found["languages"] = sorted({x for b in part(summary, "benchmarks").values() for x in part(b, "languages")})
    if kind == "arena":
        found["languages"] = sorted(set(groups_of(summary).get("language", {})) - {MEAN})
        found["judge"] = name_of(summary["judge"]) if "judge" in summary else None
        counts = [value(each.get("prompts")) for each in part(summary, "languages").values() if isinstance(each, dict)]
        found["prompts"] = sum(filter(None, counts)) or None
    if kind == "harness":
        tasks = {normal(name): each for name, each in tasks_of(summary).items()}
        found["shots"] = {name: each.get("shots") for name, each in tasks.items()}
        found["metrics"] = {name: each.get("metric") for name, each in tasks.items()}
        package = str(summary.get("package", ""))
        version = part(summary, "versions").get(package)
        found["harness"] = " ".join(filter(None, (PACKAGES.get(package, package), str(version or "")))) or None
    return {name: told for name, told in found.items() if told not in (None, [], {})}


def compared(paper: Mapping[str, Any], yours: Mapping[str, Any]) -> list[Condition]:
    """Those that the paper, or the run, tells."""
    return [
        Condition(name, _told(paper.get(name)), _told(yours.get(name)), _same(name, paper.get(name), yours.get(name)))
        for name in COMPARED
        if name in paper or name in yours
    ]


def _same(name: str, paper: Any, yours: Any) -> bool:
    if paper is None or yours is None:
        return False
    if name == "model":
        return any(_base(yours) == _base(each) for each in paper)
    if name == "languages":
        return set(map(str, paper)) == set(map(str, yours))
    if name in ("shots", "metrics"):
        return all(_bare(yours[task]) in _names(told) for task, told in paper.items() if task in yours)
    if name == "harness":
        return f"{yours} ".lower().startswith(f"{paper} ".lower())
    if value(paper) is not None and value(yours) is not None:
        return abs(value(paper) - value(yours)) < 1e-9
    return _base(paper) == _base(yours)


def _base(name: Any) -> str:
    return str(name).rstrip("/").rsplit("/", 1)[-1].lower()


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
    if differ:
        return f"**Not the same conditions**: {', '.join(differ)}.{told}"
    return f"{'No condition that both tell differs' if unknown else 'The same conditions'}.{told}"
