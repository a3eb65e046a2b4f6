"""Reads out of the package's source which names of verl, vLLM, Ray and TransferQueue it relies on.

Three kinds of reliance show in the syntax alone: what is imported and the attributes asked of it; what a class of ours
overrides, reads or sets of a class of theirs that it descends from; and what a function that replaces one of their
methods reads of its `self`. What is asked of other values of theirs stands in the contract because somebody wrote it.
"""

import ast
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("sp3f_verl", "data_prep", "hydra_plugins")
THEIRS = ("verl", "vllm", "ray", "transfer_queue")
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Attributes:
    """Attributes of `self`, and of `super()`, in a piece of source."""

    defined: set[str] = field(default_factory=set)  # methods and class variables
    stored: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)

    def collect(self, node: ast.AST) -> None:
        for attribute in (item for item in ast.walk(node) if isinstance(item, ast.Attribute)):
            owner = attribute.value.func if isinstance(attribute.value, ast.Call) else attribute.value
            if isinstance(owner, ast.Name) and owner.id in ("self", "super"):
                names = self.stored if isinstance(attribute.ctx, ast.Store) else self.read
                names.add(attribute.attr)


class Source:
    """One file of the package: what its local names stand for, its classes, and its functions that take a `self`."""

    def __init__(self, file: Path):
        self.module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        self.tree = ast.parse(file.read_text(encoding="utf-8"))
        self.names: dict[str, str] = {}  # local name -> dotted name
        self.bases: dict[str, list[str]] = {}  # class -> dotted names of its bases
        self.classes: dict[str, Attributes] = {}
        self.replacements = Attributes()  # of functions outside a class
        nodes = list(ast.walk(self.tree))
        for node in nodes:
            self._imports(node)
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and (dotted := self.dotted(node.value)):
                self.names |= {target.id: dotted for target in node.targets if isinstance(target, ast.Name)}
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        self.names |= {node.name: f"{self.module}.{node.name}" for node in classes}
        for node in classes:
            self._class(node)
        methods = {id(item) for node in classes for item in node.body}
        for node in nodes:
            is_replacement = isinstance(node, FUNCTION) and id(node) not in methods and node.args.args
            if is_replacement and node.args.args[0].arg == "self":
                self.replacements.collect(node)

    def _imports(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                self.names |= {alias.asname: alias.name} if alias.asname else {top: top}
        elif isinstance(node, ast.ImportFrom) and node.module:
            self.names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}

    def _class(self, node: ast.ClassDef) -> None:
        name, attributes = f"{self.module}.{node.name}", Attributes()
        self.bases[name] = [dotted for base in node.bases if (dotted := self.dotted(base))]
        for item in node.body:
            if isinstance(item, FUNCTION):
                attributes.defined.add(item.name)
            elif isinstance(item, ast.Assign):
                attributes.defined |= {target.id for target in item.targets if isinstance(target, ast.Name)}
            elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                attributes.defined.add(item.target.id)
        attributes.collect(node)
        self.classes[name] = attributes

    def dotted(self, node: ast.AST) -> str | None:
        """`a.b.c` with `a` replaced by what it was imported as; None for anything else."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute) and (left := self.dotted(node.value)):
            return f"{left}.{node.attr}"
        return None

    def imported(self) -> set[str]:
        """Dotted names of theirs: every import, and every longest chain of attributes on one."""
        nodes = list(ast.walk(self.tree))
        inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
        chains = {self.dotted(node) for node in nodes if isinstance(node, ast.Attribute) and id(node) not in inner}
        modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        found = {*self.names.values(), *modules, *filter(None, chains)}
        return {dotted for dotted in found if dotted.partition(".")[0] in THEIRS}


@functools.cache
def sources() -> list[Source]:
    return [Source(file) for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]


def inherited(files: list[Source], has: Callable[[str, str], bool]) -> Iterator[tuple[str, str, str]]:
    """(class of ours, class of theirs, attribute of theirs that ours overrides, reads or sets).

    has: does the class of theirs have this attribute, or set it on its instances? What a class of ours reads of itself
    and neither has is given too.
    """
    bases = {name: parents for source in files for name, parents in source.bases.items()}
    classes = {name: attributes for source in files for name, attributes in source.classes.items()}

    def line_of(name: str) -> list[str]:
        return [name, *(ancestor for parent in bases.get(name, ()) for ancestor in line_of(parent))]

    for name in classes:
        line = line_of(name)
        ours = [classes[ancestor] for ancestor in line if ancestor in classes]
        mine = set().union(*(attributes.defined | attributes.stored for attributes in ours))
        read = set().union(*(attributes.read for attributes in ours))
        for root in {ancestor for ancestor in line if ancestor.partition(".")[0] in THEIRS}:
            for attribute in sorted(mine | read):
                if has(root, attribute) or attribute not in mine:
                    yield name, root, attribute
