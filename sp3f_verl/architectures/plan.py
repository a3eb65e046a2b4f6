"""Who writes the prompt, the chosen and the rejected answer in each language: a YAML file, read and checked.

    name: B
    languages: {en: 1, de: 1, sw: 0.5}   # share of the English rows that each gets a pair of
    prompt: {translate: mt}              # or copy
    chosen: {generate: strong}           # or {translate: mt}, or copy
    rejected: {generate: weak, min_language_share: 0}
    models:
      mt: {model: gpt-4o, temperature: 0, max_tokens: 2048}
      ...

In place of the three roles, `mix: {A: 2, C: 1}` names other configs and their shares of the pairs.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import yaml

from sp3f_verl import RECIPES, languages
from sp3f_verl.architectures.model import DECODING, Model
from sp3f_verl.errors import BadInput, nearest
from sp3f_verl.llm.cli_options import add_backend_arguments

SHIPPED = RECIPES / "architecture"
ROLES = ("prompt", "chosen", "rejected")
KEYS = {"name", "mix", "languages", "english", "seed", "min_language_share", "models", *ROLES}
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
        roles = {name: {role: vars(how) for role, how in roles.items()} for name, roles in self.roles.items()}
        return {
            **{"architectures": roles, "weights": self.weights, "languages": self.languages, "seed": self.seed},
            **{"english": "copy" if self.copy_english else "architecture"},
            "models": {name: model.settings() for name, model in self.models.items()},
        }


def read_plan(config: str, overrides: Sequence[str] = ()) -> Plan:
    """The plan of a shipped config (A, B, C) or of a YAML file, with `key.key=value` overrides over it.

    BadInput, one sentence, for an unknown key, model, language or config, and for a value of another kind.
    """
    tree = _read(config)
    members = {str(tree.get("name", Path(config).stem)): tree}
    weights = dict.fromkeys(members, 1.0)
    if "mix" in tree:
        _no_keys(config, tree, ROLES, "which `mix` replaces")
        weights = _numbers(f"{config}: mix", tree["mix"])
        beside = _file_of(config).parent
        members = {name: _read(name, beside) for name in weights}
        for name, member in members.items():
            if "mix" in member:
                raise BadInput(f"{config}: {name} is a mix itself; name what it is made of.")
    models: dict[str, Any] = {}
    for name, member in members.items():
        for key, value in (member.get("models") or {}).items():
            if models.setdefault(key, value) != value:
                raise BadInput(f"{config}: the model {key!r} of {name} is another one elsewhere; give it another name.")
    models |= tree.get("models") or {}
    first = next(iter(members.values()))
    whole = {**{key: first[key] for key in ("languages",) if key in first}, **tree, "models": models}
    architectures = {name: {role: member.get(role) for role in ROLES} for name, member in members.items()}
    whole = {key: value for key, value in whole.items() if key not in ROLES}
    for each in overrides:
        _override(whole | {"architectures": architectures}, whole, each)
    roles = {
        name: {role: _role(f"{name}: {role}", role, how) for role, how in parts.items()}
        for name, parts in architectures.items()
    }
    for name, member in members.items():
        share = whole.get("min_language_share", member.get("min_language_share"))
        if share is not None:
            roles[name] = _with_share(roles[name], architectures[name], _share("min_language_share", share))
    return _checked(config, whole, roles, weights)


def _checked(config: str, whole: dict, roles: dict[str, dict[str, Role]], weights: dict[str, float]) -> Plan:
    if not any(weights.values()):
        raise BadInput(f"{config}: mix gives all weight to nothing; give a number above 0.")
    shares = whole.get("languages")
    shares = dict.fromkeys(shares, 1) if isinstance(shares, list) else shares
    shares = _numbers(f"{config}: languages", shares)
    for code, share in shares.items():
        try:
            languages.get(code)
        except languages.UnknownLanguage as error:
            raise BadInput(f"{config}: {error}") from None
        _share(f"{config}: languages.{code}", share)
    english, seed = whole.get("english", "copy"), whole.get("seed", 1)
    if english not in ("copy", "architecture"):
        raise BadInput(f"{config}: english is {english!r}; it is copy or architecture.")
    if not isinstance(seed, int):
        raise BadInput(f"{config}: seed is {seed!r}; give a whole number.")
    used = {role.model for parts in roles.values() for role in parts.values() if role.model}
    for name in sorted(used):
        if name not in whole["models"]:
            raise BadInput(f"{config}: models has no {name!r}{nearest(name, whole['models'])}; add it.")
    found = {name: _model(f"{config}: models.{name}", name, whole["models"][name]) for name in sorted(used)}
    targets = {code for code, share in shares.items() if share}
    writers = {role.model for parts in roles.values() for role in parts.values() if role.how == "generate"}
    for name, model in found.items():
        own = model.languages()
        free = set() if english == "architecture" and name in writers else {"en"}  # English is copied
        if own is not None and (lacks := targets - free - own):
            raise BadInput(f"{config}: models.{name}.model has no entry for {sorted(lacks)[0]!r}; add one.")
    return Plan(roles, weights, shares, found, seed, english == "copy")


def _file_of(config: str, beside: Path | None = None) -> Path:
    named = [Path(config), *([beside / config, beside / f"{config}.yaml"] if beside else [])]
    for path in (*named, SHIPPED / f"{config}.yaml"):
        if path.is_file():
            return path
    shipped = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    raise BadInput(f"--config={config} is neither a file nor one of {', '.join(shipped)}; name one of them.")


def _read(config: str, beside: Path | None = None) -> dict[str, Any]:
    path = _file_of(config, beside)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path} is no YAML ({' '.join(str(error).split())}); mend it.") from None
    if not isinstance(tree, dict):
        raise BadInput(f"{path} is no mapping of keys; see recipes/architecture/A.yaml.")
    for key in tree:
        if key not in KEYS:
            raise BadInput(f"{path}: unknown key {key!r}{nearest(key, KEYS)}; remove or rename it.")
    if not isinstance(tree.get("models") or {}, dict):
        raise BadInput(f"{path}: models is {tree['models']!r}; give names, each with its keys.")
    return tree


def _no_keys(config: str, tree: Mapping, keys: Sequence[str], why: str) -> None:
    for key in keys:
        if key in tree:
            raise BadInput(f"{config}: has {key!r}, {why}; remove one of them.")


def _override(view: dict[str, Any], whole: dict[str, Any], text: str) -> None:
    """Sets a value in the tree: models.mt.base_url=..., languages.de=0.5, architectures.A.chosen=copy, seed=3."""
    path, equals, value = text.partition("=")
    *way, last = path.split(".")
    place = view if way else whole
    for key in way:
        if not isinstance(place.get(key), dict):
            known = [name for name, each in place.items() if isinstance(each, dict)]
            raise BadInput(f"--set {text}: there is no {key!r}{nearest(key, known)}; it has {', '.join(known)}.")
        place = place[key]
    if not equals or (not way and last not in ("seed", "english", "min_language_share", "languages")):
        raise BadInput(f"--set {text} is not KEY=VALUE of a config; say models.NAME.base_url=URL, say, or seed=2.")
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise BadInput(f"--set {text}: the value is no YAML; put it in quotes.") from None


def _role(where: str, role: str, how: Any) -> Role:
    how = {"copy": role} if how == "copy" else how
    if not isinstance(how, dict):
        raise BadInput(f"{where} is {how!r}; say copy, translate: MODEL, or generate: MODEL.")
    known = ("copy", "translate", "generate", "of", "min_language_share")
    for key in how:
        if key not in known:
            raise BadInput(f"{where}: unknown key {key!r}{nearest(key, known)}; remove or rename it.")
    kinds = [kind for kind in known[:3] if kind in how]
    if len(kinds) != 1 or (role == "prompt" and kinds == ["generate"]):
        raise BadInput(f"{where} says {how}; say one of copy, translate{'' if role == 'prompt' else ' and generate'}.")
    of = how.get("of", role)
    if of not in ROLES or (of != role and "prompt" in (of, role)) or (kinds == ["generate"] and "of" in how):
        raise BadInput(f"{where}.of is {of!r}; a copied or translated answer is of chosen or rejected.")
    share = _share(f"{where}.min_language_share", how.get("min_language_share", LANGUAGE_SHARE))
    return Role(kinds[0], "" if kinds == ["copy"] else str(how[kinds[0]]), of, share)


def _with_share(roles: dict[str, Role], told: dict[str, Any], share: float) -> dict[str, Role]:
    """The config's own min_language_share for the roles that do not say one."""
    own = {role for role, how in told.items() if isinstance(how, dict) and "min_language_share" in how}
    return {role: how if role in own else replace(how, min_language_share=share) for role, how in roles.items()}


def _model(where: str, name: str, told: Any) -> Model:
    if not isinstance(told, dict):
        raise BadInput(f"{where} is {told!r}; give it the keys model, max_tokens and so on.")
    parser = argparse.ArgumentParser(add_help=False)
    add_backend_arguments(parser)
    options = {action.dest: action for action in parser._actions if action.dest != "store"}
    known = {*options, *DECODING}
    for key in told:
        if key not in known:
            raise BadInput(f"{where}: unknown key {key!r}{nearest(key, known)}; remove or rename it.")
    return Model.of(where, name, told, options)


def _numbers(where: str, told: Any) -> dict[str, float]:
    if not isinstance(told, dict) or not told:
        raise BadInput(f"{where} is {told!r}; give names and numbers, such as {{a: 1, b: 0.5}}.")
    for name, value in told.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
            raise BadInput(f"{where}.{name} is {value!r}; give a number of 0 or more.")
    return {str(name): float(value) for name, value in told.items()}


def _share(where: str, value: Any) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value <= 1:
        raise BadInput(f"{where} is {value!r}; give a share from 0 to 1.")
    return float(value)
