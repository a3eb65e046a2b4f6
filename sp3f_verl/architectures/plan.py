"""Who writes the prompt, the chosen and the rejected answer in each language: a YAML file, read and checked.

    name: B
    languages: {en: 1, de: 1, sw: 0.5}   # share of the English rows that each gets a pair of
    prompt: {translate: mt}              # or copy
    chosen: {generate: strong}           # or {translate: mt}, or copy
    rejected: {generate: weak, min_language_share: 0}
    models:
      mt: {model: gpt-4o, temperature: 0, max_tokens: 2048}
      strong: command_r                  # or a file that holds these keys
      ...

In place of the three roles, `mix: {A: 2, C: 1}` names other configs and their shares of the pairs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from sp3f_verl import RECIPES, languages
from sp3f_verl.architectures.model import Model
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.settings import Settings, Text, Whole, mend

SHIPPED = RECIPES / "architecture"
ROLES = ("prompt", "chosen", "rejected")
SET = ("seed", "english", "min_language_share", "languages")  # what --set may change beside models and architectures
LANGUAGE_SHARE = 0.7  # of a text's letters that are in its language, below which the row is left out


@dataclass(frozen=True)
class Role:
    """How a text is made: copied, translated from the English text of `of`, or generated from the new prompt."""

    how: str  # copy, translate, generate
    model: str = ""
    of: str = ""
    min_language_share: float = LANGUAGE_SHARE


@dataclass(frozen=True)
class Plan:
    roles: dict[str, dict[str, Role]]  # architecture -> role -> how
    weights: dict[str, float]  # architecture -> its weight among the pairs
    languages: dict[str, float]
    models: dict[str, Model]
    seed: int
    copy_english: bool  # rows that are in the target language already are copied, whatever the architecture

    def settings(self) -> dict[str, Any]:
        """All that shapes the output: no addresses, prices or numbers of workers."""
        return {
            "architectures": {
                name: {role: asdict(how) for role, how in roles.items()} for name, roles in self.roles.items()
            },
            "weights": self.weights,
            "languages": self.languages,
            "seed": self.seed,
            "english": "copy" if self.copy_english else "architecture",
            "models": {name: model.settings() for name, model in self.models.items()},
        }


def _share(value: Any) -> float:
    if _weight(value) > 1:
        raise ValueError("is no share; give one from 0 to 1")
    return float(value)


def _weight(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise ValueError("does not count; give a number of 0 or more")
    return float(value)


def _shares(value: Any) -> Any:
    return dict.fromkeys(value, 1) if isinstance(value, list) else value


def _way(value: Any) -> Any:
    return {"copy": True} if value == "copy" else value


Share = Annotated[float, BeforeValidator(_share)]
Weight = Annotated[float, BeforeValidator(_weight)]


class AnswerRole(Settings):
    """How the file says that an answer is made: one of copy, translate and generate."""

    ways: ClassVar[tuple[str, ...]] = ("copied", "translate", "generate")

    copied: Any = Field(None, alias="copy")
    translate: Text | None = None
    generate: Text | None = None
    of: Literal["chosen", "rejected"] | None = None
    min_language_share: Share | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        named = [way for way in AnswerRole.ways if getattr(self, way) is not None]
        if len(named) != 1 or named[0] not in self.ways:
            raise ValueError  # the field's mend says the rest
        return self

    @field_validator("of", mode="after")
    @classmethod
    def _of_a_text(cls, of: str | None, info: ValidationInfo) -> str | None:
        if of is not None and info.data.get("generate") is not None:
            raise ValueError("is for what is copied or translated; remove it")
        return of

    def role(self, name: str, share: float | None) -> Role:
        """share: of the whole config, where the role says none."""
        how = next(way for way in self.ways if getattr(self, way) is not None)
        shares = (self.min_language_share, share, LANGUAGE_SHARE)
        least = next(value for value in shares if value is not None)
        return Role("copy" if how == "copied" else how, self.translate or self.generate or "", self.of or name, least)


class PromptRole(AnswerRole):
    """How the file says that a prompt is made: copied, or translated."""

    ways: ClassVar[tuple[str, ...]] = ("copied", "translate")

    of: Literal["prompt"] | None = None


MEND_ANSWER = mend("say one of copy, translate and generate")


class Architecture(Settings):
    """A config file: its three roles, or a mix of other configs."""

    name: Text | None = None
    mix: dict[str, Weight] | None = None
    languages: Annotated[dict[str, Share] | None, BeforeValidator(_shares)] = None
    english: Literal["copy", "architecture"] = "copy"
    seed: Whole = 1
    min_language_share: Share | None = None
    prompt: Annotated[PromptRole | None, BeforeValidator(_way), mend("say one of copy, translate")] = None
    chosen: Annotated[AnswerRole | None, BeforeValidator(_way), MEND_ANSWER] = None
    rejected: Annotated[AnswerRole | None, BeforeValidator(_way), MEND_ANSWER] = None
    models: dict[str, Any] = Field(default_factory=dict)


def read_plan(config: str, overrides: Sequence[str] = ()) -> Plan:
    """The plan of a shipped config (A, B, C) or of a YAML file, with `key.key=value` overrides over it.

    Raises BadInput, one sentence, for an unknown key, model, language or config, and for a value of another kind.
    """
    tree = _read(config)
    weights, members = _members(config, tree)
    models = _models(config, tree, members)
    first = next(iter(members.values()))
    roles = {name: {role: member.get(role) for role in ROLES} for name, member in members.items()}
    shared = {key: first[key] for key in ("languages",) if key in first} | tree | {"models": models}
    shared = {key: value for key, value in shared.items() if key not in (*ROLES, "mix", "name")}
    whole = _overridden({**shared, "architectures": roles}, overrides)
    roles = whole.pop("architectures")
    settings = _checked(config, whole)
    plan = Plan(
        roles={name: _roles(config, name, roles[name], whole, member) for name, member in members.items()},
        weights=weights,
        languages=settings.languages or {},
        models={},
        seed=settings.seed,
        copy_english=settings.english == "copy",
    )
    _check_languages(config, plan)
    return replace(plan, models=_used_models(config, plan, whole["models"]))


def _members(config: str, tree: dict[str, Any]) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """The architectures' weights and files, by name: those of a mix, or the config alone."""
    name = str(tree.get("name", Path(config).stem))
    if "mix" not in tree:
        return {name: 1.0}, {name: tree}
    if doubled := next((role for role in ROLES if role in tree), None):
        raise BadInput(f"{config}: has {doubled!r}, which `mix` replaces; remove one of them.")
    weights = {str(name): float(weight) for name, weight in tree["mix"].items()}
    if not any(weights.values()):
        raise BadInput(f"{config}: mix gives all weight to nothing; give a number above 0.")
    members = {name: _read(name, _file_of(config).parent) for name in weights}
    for name, member in members.items():
        if "mix" in member:
            raise BadInput(f"{config}: {name} is a mix itself; name what it is made of.")
    return weights, members


def _models(config: str, tree: dict[str, Any], members: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The models of all members, and over them those of the config."""
    models: dict[str, Any] = {}
    for name, member in members.items():
        for key, value in member["models"].items():
            if models.setdefault(key, value) != value:
                raise BadInput(f"{config}: the model {key!r} of {name} is another one elsewhere; give it another name.")
    return models | tree["models"]


def _roles(config: str, name: str, roles: Any, whole: dict[str, Any], member: dict[str, Any]) -> dict[str, Role]:
    share = whole.get("min_language_share", member.get("min_language_share"))
    settings = _checked(f"{config}: {name}", {**roles, "min_language_share": share})
    settings_of = {role: getattr(settings, role) for role in ROLES}
    if missing := next((role for role, how in settings_of.items() if how is None), None):
        raise BadInput(f"{config}: {name}.{missing} is missing; say copy, translate: MODEL, or generate: MODEL.")
    return {role: how.role(role, settings.min_language_share) for role, how in settings_of.items()}


def _check_languages(config: str, plan: Plan) -> None:
    if not plan.languages:
        raise BadInput(f"{config}: languages is missing; give codes and shares, such as {{de: 1, sw: 0.5}}.")
    for code in plan.languages:
        try:
            languages.get(code)
        except languages.UnknownLanguage as error:
            raise BadInput(f"{config}: {error}") from None


def _used_models(config: str, plan: Plan, models: Mapping[str, Any]) -> dict[str, Model]:
    roles = [role for parts in plan.roles.values() for role in parts.values()]
    targets = {code for code, share in plan.languages.items() if share}
    used: dict[str, Model] = {}
    for name in sorted({role.model for role in roles if role.model}):
        if name not in models:
            raise BadInput(f"{config}: models has no {name!r}{nearest(name, models)}; add it.")
        place = f"{config}: models.{name}"
        used[name] = Model.read(_model_of(place, models[name], _file_of(config)), place)
        used[name].check(lambda field, place=place: f"{place}.{field}")
        writes = any(role.model == name and role.how == "generate" for role in roles)
        english = set() if writes and not plan.copy_english else {"en"}  # else English is copied
        if lacks := used[name].lacks(targets - english):
            raise BadInput(
                f"{place}.model_by_language has no entry for {lacks[0]!r}; add one, or a model for the rest."
            )
    return used


def _file_of(config: str, beside: Path | None = None) -> Path:
    named = [Path(config), *([beside / config, beside / f"{config}.yaml"] if beside else [])]
    for path in (*named, SHIPPED / f"{config}.yaml"):
        if path.is_file():
            return path
    shipped = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    raise BadInput(f"--config={config} is neither a file nor one of {', '.join(shipped)}; name one of them.")


def _read(config: str, beside: Path | None = None) -> dict[str, Any]:
    """The file's mapping, its keys checked, and the files of its models read."""
    path = _file_of(config, beside)
    tree = _mapping_of(path)
    tree = {key: value for key, value in tree.items() if value is not None or key in ROLES}
    _checked(str(path), tree)
    models = tree.get("models", {})
    return tree | {"models": {name: _model_of(f"{path}: models.{name}", entry, path) for name, entry in models.items()}}


def _model_of(place: str, entry: Any, config: Path) -> Any:
    """A model's mapping, read where the entry names a file: one's own, beside the config, or a shipped one."""
    if not isinstance(entry, str):
        return entry
    for file in (config.parent / entry, config.parent / f"{entry}.yaml", SHIPPED / "models" / f"{entry}.yaml"):
        if file.is_file():
            return _mapping_of(file)
    shipped = sorted(file.stem for file in (SHIPPED / "models").glob("*.yaml"))
    raise BadInput(
        f"{place}={entry} is neither a file nor one of {', '.join(shipped)}; write {place}={{model: {entry}}}."
    )


def _checked(place: str, tree: dict[str, Any]) -> Architecture:
    try:
        return Architecture.read(tree, "")
    except BadInput as error:
        raise BadInput(f"{place}: {error}") from None


def _mapping_of(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path} is no YAML ({' '.join(str(error).split())}); mend it.") from None
    if not isinstance(tree, dict):
        raise BadInput(f"{path} is no mapping of keys; see recipes/architecture/A.yaml.")
    return {str(key): value for key, value in tree.items()}


def _overridden(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The tree with models.mt.base_url=..., languages.de=0.5, architectures.A.chosen=copy or seed=3 over it."""
    for text in overrides:
        path, equals, _ = text.partition("=")
        *way, last = path.split(".")
        if not equals or (not way and last not in SET):
            raise BadInput(f"--set {text} is not KEY=VALUE of a config; say models.NAME.base_url=URL, say, or seed=2.")
        place = tree
        for key in way:
            if not isinstance(place.get(key), dict):
                known = [name for name, value in place.items() if isinstance(value, dict)]
                raise BadInput(f"--set {text}: there is no {key!r}{nearest(key, known)}; it has {', '.join(known)}.")
            place = place[key]
        try:
            config = OmegaConf.create(tree)
            value = OmegaConf.select(OmegaConf.from_dotlist([text]), path)
            OmegaConf.update(config, path, value, merge=False)
        except (OmegaConfBaseException, yaml.YAMLError):
            raise BadInput(f"--set {text}: the value is no YAML; put it in quotes.") from None
        tree = OmegaConf.to_container(config)
    return tree
