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

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sp3f_verl import RECIPES, languages
from sp3f_verl.architectures.model import Model
from sp3f_verl.architectures.schema import ROLES, Architecture, Role
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.settings import read_yaml

SHIPPED = RECIPES / "architecture"
SET = ("seed", "english", "min_language_share", "languages")  # what --set may change beside models and architectures


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
        languages.get(code, f"{config}: languages.{code}")


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
    return tree | {
        "models": {str(name): _model_of(f"{path}: models.{name}", entry, path) for name, entry in models.items()}
    }


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
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise BadInput(f"{path} is no mapping of keys; see recipes/architecture/A.yaml.")
    return {str(key): value for key, value in tree.items()}


def _overridden(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The tree with models.mt.base_url=..., languages.de=0.5, architectures.A.chosen=copy or seed=3 over it."""
    for text in overrides:
        path, equals, _ = text.partition("=")
        override = f"--set {' '.join(text.split())}"
        *way, last = path.split(".")
        if not equals or (not way and last not in SET):
            raise BadInput(f"{override} is not KEY=VALUE of a config; say models.NAME.base_url=URL, say, or seed=2.")
        place = tree
        for key in way:
            if not isinstance(place.get(key), dict):
                known = [str(name) for name, value in place.items() if isinstance(value, dict)]
                raise BadInput(f"{override}: there is no {key!r}{nearest(key, known)}; it has {', '.join(known)}.")
            place = place[key]
        try:
            config = OmegaConf.create(tree)
            value = OmegaConf.select(OmegaConf.from_dotlist([text]), path)
            OmegaConf.update(config, path, value, merge=False)
        except (OmegaConfBaseException, yaml.YAMLError):
            raise BadInput(f"{override}: the value is no YAML; put it in quotes.") from None
        tree = OmegaConf.to_container(config)
    return tree
