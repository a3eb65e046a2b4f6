"""The judge of an arena: `judge=NAME sp3f.judge.X=Y` as on a training run's command line, from the same files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from sp3f_verl import RECIPES
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.judge import JUDGES, make_judge
from sp3f_verl.judge.settings import NONE, JudgeSettings, Transcript

PROMPTS = {"text": "arena", "logprob": "arena_token"}  # by verdict
KNOWN_FIELDS = ("query_en", "solution_en")  # what an arena can show a judge; the solution only where a prompt has one
LONG = 30 * 24 * 3600.0  # seconds: pairs wait for each other; each request has a limit of its own
FOLDERS = "hydra.searchpath="  # of judges of one's own


def judge_settings(overrides: Sequence[str]) -> JudgeSettings:
    """Checked settings; not privileged, with the arena's prompt, where they do not say otherwise. Raises BadInput."""
    overrides = [override.lstrip("+") for override in overrides]
    for override in overrides:
        if not override.startswith(("judge=", "sp3f.judge.", FOLDERS)):
            raise BadInput(f"{override!r} is no setting of a judge; give judge=NAME and sp3f.judge.X=Y.")
    names = [override.partition("=")[2] for override in overrides if override.startswith("judge=")]
    settings = JudgeSettings.from_mapping(_arena_values(_compose(names[-1] if names else NONE, overrides)))
    if not settings.members():
        raise BadInput("no judge is named; give judge=openai, or judge=local for a server that runs already.")
    for member in settings.members():
        judge = make_judge(member)
        missing = [name for name in judge.needed_fields() if name not in KNOWN_FIELDS]
        if missing:
            raise BadInput(
                f"judge={member.name} cannot judge an arena, which has no {' or '.join(missing)}; give judge=openai, "
                "or judge=local for a server that runs already."
            )
        if not judge.asks_pairs():
            raise BadInput(
                f"a judge of an arena compares pairs, not {member.name} with schedule {member.schedule}; change it."
            )
        if judge.is_served_by_the_run():
            raise BadInput(f"judge={member.name} is asked on a server that runs already; set sp3f.judge.base_url.")
    return settings


def _compose(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """What the recipe `judge=name` and the overrides set under sp3f.judge, but for what belongs to a training run."""
    folders = [override for override in overrides if override.startswith(FOLDERS)]
    changes = [override for override in overrides if override.startswith("sp3f.judge.")]
    of_the_run = ("sp3f.judge.transcript=null", "sp3f.judge.spending_file=null")
    try:
        with initialize_config_dir(version_base=None, config_dir=str(RECIPES)):
            # ++, since from_mapping tells what it knows not, and a judge of one's own need not have what is of a run
            config = compose(None, [*folders, f"+judge={name}", *(f"++{change}" for change in (*of_the_run, *changes))])
    except HydraException as error:
        known = (*JUDGES, NONE)
        if not folders and name not in known:
            raise BadInput(f"judge={name}{nearest(name, known)} cannot judge an arena; give judge=openai.") from None
        raise BadInput(f"the judge's settings do not compose: {' '.join(str(error).split()).rstrip('.')}.") from None
    values = OmegaConf.to_container(config.sp3f.judge, resolve=True)
    if "privileged" in values and not any(change.startswith("sp3f.judge.privileged=") for change in changes):
        values["privileged"] = False
    return values


def _arena_values(values: dict[str, Any]) -> dict[str, Any]:
    """With the arena's prompt for each judge that has one, unless it is asked otherwise; a member of the panel takes
    the first's."""
    if "prompt" not in values:
        return values
    panel = values.get("panel")
    panel = panel if isinstance(panel, list) else []  # JudgeSettings.from_mapping tells what is no panel
    for member in (values, *(member for member in panel if isinstance(member, dict))):
        verdict, privileged = (member.get(key, values[key]) for key in ("verdict", "privileged"))
        differs = verdict != values["verdict"] or privileged != values["privileged"] or member is values
        if differs and member.get("prompt") is None:
            member["prompt"] = None if privileged else PROMPTS.get(verdict)
    return values


def for_arena(member: JudgeSettings, store: Path, spending: Path) -> JudgeSettings:
    """One judge that is asked every pair in both orders; its answers are kept, its failures only counted."""
    return member.changed(
        panel=(),
        schedule="all_pairs",
        credit="both",
        min_valid=0.0,
        on_jam="neutral",  # a pair has no siblings to be compared with; what failed is counted and shown
        group_seconds=LONG,
        store=member.store or str(store),
        spending_file=str(spending),
        transcript=Transcript(),  # every answer is in preferences.parquet
    )


def identity(settings: JudgeSettings) -> list[dict[str, Any]]:
    """What shapes the judges' answers, as JSON: one entry a judge. Not where they are or how fast they are asked."""
    return [make_judge(member).identity() for member in settings.members()]
