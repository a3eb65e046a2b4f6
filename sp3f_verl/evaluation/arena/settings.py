"""The judge of an arena: `judge=NAME sp3f.judge.X=Y` as on a training run's command line, from the same files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from sp3f_verl import RECIPES
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.judge.settings import JudgeSettings, Transcript

PROMPTS = {"text": "arena", "logprob": "arena_token"}
DEFAULTS = ("sp3f.judge.privileged=false", "sp3f.judge.transcript=null", "sp3f.judge.spending_file=null")
JUDGES = ("openai", "local")
LONG = 30 * 24 * 3600.0  # seconds: pairs wait for each other; each request has a limit of its own


def judge_settings(overrides: Sequence[str]) -> JudgeSettings:
    """Checked settings; not privileged, with the arena's prompt, where they do not say otherwise. Raises BadInput."""
    given = [each.lstrip("+") for each in overrides]
    for each in given:
        if not each.startswith(("judge=", "sp3f.judge.")):
            raise BadInput(f"{each!r} is no setting of a judge; give judge=NAME and sp3f.judge.X=Y.")
    names = [each.partition("=")[2] for each in given if each.startswith("judge=")]
    name = names[-1] if names else "none"
    if name not in JUDGES:
        told = "no judge is named" if not names else f"judge={name}{nearest(name, JUDGES)} cannot judge an arena"
        raise BadInput(f"{told}; give judge=openai, or judge=local for a server that runs already.")
    others = [f"++{each}" for each in given if not each.startswith("judge=")]  # JudgeSettings tells what it knows not
    try:
        with initialize_config_dir(version_base=None, config_dir=str(RECIPES)):
            config = compose(None, [f"+judge={name}", *DEFAULTS, *others])
    except HydraException as error:
        raise BadInput(f"the judge's settings do not compose: {' '.join(str(error).split()).rstrip('.')}.") from None
    values = OmegaConf.to_container(config.sp3f.judge, resolve=True)
    panel = values["panel"] if isinstance(values["panel"], list) else []  # JudgeSettings tells what is no panel
    members = [values, *(each for each in panel if isinstance(each, dict))]
    for each in members:  # a member takes the first's prompt, unless it is asked otherwise
        verdict, privileged = (each.get(key, values[key]) for key in ("verdict", "privileged"))
        own = verdict != values["verdict"] or privileged != values["privileged"] or each is values
        if own and each.get("prompt") is None:
            each["prompt"] = None if privileged else PROMPTS.get(verdict)
    settings = JudgeSettings.from_mapping(values)
    for member in settings.members():
        if member.name not in JUDGES or member.schedule in ("listwise", "language"):
            raise BadInput(
                f"a judge of an arena is openai or local and compares pairs, not {member.name} with schedule "
                f"{member.schedule}; change it."
            )
        if not member.base_urls():
            raise BadInput(f"judge={member.name} is asked on a server that runs already; set sp3f.judge.base_url.")
    return settings


def for_arena(member: JudgeSettings, store: Path, spending: Path, transcript: Path) -> JudgeSettings:
    """One judge that is asked every pair in both orders; its answers are kept, its failures only counted."""
    return dataclasses.replace(
        member,
        panel=(),
        schedule="all_pairs",
        credit="both",
        min_valid=0.0,
        group_seconds=LONG,
        store=member.store or str(store),
        spending_file=str(spending),
        transcript=Transcript(path=str(transcript), share=1.0, max_mb=0.0),
    )


def identity(settings: JudgeSettings) -> list[dict]:
    """What shapes the judges' answers, as JSON: one entry a judge. Not where they are or how fast they are asked."""
    told = []
    for member in settings.members():
        prompt = member.load_prompt()
        names = ("model", "weight", "privileged", "verdict", "temperature", "top_p", "max_tokens")
        entry = {name: getattr(member, name) for name in (*names, "response_chars", "malformed_retries")}
        entry |= {"judge": member.name, "extra_body": dict(member.extra_body), "prompt_version": prompt.version}
        told.append(entry | {"prompt": Path(prompt.name).name})
    return told
