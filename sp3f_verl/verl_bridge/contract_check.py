"""Is what `contract.py` lists there in what is installed?"""

import functools
import importlib
import inspect
import re
from typing import Any

from sp3f_verl.verl_bridge.contract import Name


def problem(name: Name) -> str:
    """What is wrong with a name, in one line; "" where it is there and takes what it must."""
    try:
        thing = resolve(name.module, name.path)
    except (ImportError, AttributeError) as error:
        return f"{name} is gone ({error})"
    except Exception as error:  # a module that refuses this machine; the others are still looked at
        return f"{name} cannot be looked at ({type(error).__name__}: {error})"
    if name.takes is None:
        return ""
    before, _, after = name.takes.partition("*")
    ordered, anywhere = ([part.strip() for part in side.split(",") if part.strip()] for side in (before, after))
    signature = inspect.signature(inspect.unwrap(thing))
    parameters = [parameter for parameter in signature.parameters if parameter not in ("self", "cls")]
    if (parameters and not name.takes) or parameters[: len(ordered)] != ordered or not set(anywhere) <= set(parameters):
        return f"{name} takes ({', '.join(parameters)}), not ({name.takes})"
    return ""


def resolve(module: str, path: str) -> Any:
    """The thing that a name stands for. For what a class sets on its instances: the class. Raises ImportError,
    AttributeError."""
    thing = importlib.import_module(module)
    for part in filter(None, path.split(".")):
        owner = plain(thing) if not part.startswith("__ray_") else thing
        if hasattr(owner, part):
            thing = getattr(owner, part)
        elif not (inspect.isclass(owner) and sets(owner, part)):
            raise AttributeError(f"no {part}")
    return thing


def plain(thing: Any) -> Any:
    """The class that a Ray actor class was made of; anything else as it is."""
    metadata = getattr(thing, "__ray_metadata__", None)
    if metadata is None:
        return thing
    return getattr(metadata.modified_class, "__ray_actor_class__", metadata.modified_class)


@functools.cache
def _body(owner: type) -> str:
    try:
        return inspect.getsource(owner)
    except (OSError, TypeError):  # built in
        return ""


def sets(owner: type, attribute: str) -> bool:
    """Does the class declare this field, or set it on its instances?"""
    if attribute in getattr(owner, "model_fields", ()) or attribute in getattr(owner, "__dataclass_fields__", ()):
        return True
    assigned = re.compile(
        rf"^    {attribute}: |^ +(?:self\.\w+, )*self\.{attribute}(?:, self\.\w+)*(?:: [^=\n]+)? = ", re.MULTILINE
    )
    return any(assigned.search(_body(ancestor)) for ancestor in owner.__mro__)
