"""Random pairs of expressions: what `answers_match` calls equal is equal to 60 digits.

    python benchmarks/answer_fuzz.py [--pairs 5000] [--seed 1]

Each pair is an expression and a near relative of it (rewritten, or with one number or sign changed), both evaluated by
mpmath from the tree that they were written from, never from their text. Prints how many pairs are equal, how many of
these are found, and every pair that is called equal and is not; exit status 1 where there is one.
"""

import argparse
import random
import sys
from dataclasses import dataclass

from mpmath import mp, mpf

from sp3f_verl.rewards import answers_match

mp.dps = 60


@dataclass(frozen=True)
class Node:
    """A number (`kind` is "number", `value` its text) or an operation on `parts`."""

    kind: str
    value: str = ""
    parts: tuple["Node", ...] = ()

    def exact(self) -> mpf:
        a, b = ([part.exact() for part in self.parts] + [None, None])[:2]
        match self.kind:
            case "number":
                return mpf(self.value)
            case "+":
                return a + b
            case "-":
                return a - b
            case "*":
                return a * b
            case "/":
                return a / b
            case "sqrt":
                return mp.sqrt(a)
            case "!":
                return mp.factorial(a)
            case "^":
                return a**b
            case "e":
                return mp.exp(a)
            case _:
                return a * mp.pi

    def latex(self) -> str:
        a, b = ([part.latex() for part in self.parts] + ["", ""])[:2]
        form = {
            "number": self.value,
            "+": f"{a}+{b}",
            "-": rf"{a}-\left({b}\right)",
            "*": rf"\left({a}\right)\cdot\left({b}\right)",
            "/": rf"\frac{{{a}}}{{{b}}}",
            "sqrt": rf"\sqrt{{{a}}}",
            "!": f"{a}!",
            "^": f"{{{a}}}^{{{b}}}",
            "e": f"e^{{{a}}}",
            "pi": rf"\left({a}\right)\pi",
        }
        return form[self.kind]


def number(rng: random.Random, most: int = 30) -> Node:
    return Node("number", str(rng.randint(1, most)))


def tree(rng: random.Random, depth: int) -> Node:
    if depth == 0 or rng.random() < 0.2:
        return number(rng)
    kind = rng.choice(["+", "-", "*", "/", "/", "sqrt", "!", "^", "e", "pi"])
    if kind == "!":
        return Node("!", parts=(number(rng, 25),))
    if kind == "^":
        return Node("^", parts=(number(rng, 9), number(rng, 9)))
    if kind == "e":
        return Node("e", parts=(Node("number", str(-rng.randint(1, 60))),))
    if kind in ("sqrt", "pi"):
        return Node(kind, parts=(number(rng) if kind == "sqrt" else tree(rng, depth - 1),))
    return Node(kind, parts=(tree(rng, depth - 1), tree(rng, depth - 1)))


def relative(node: Node, rng: random.Random) -> Node:
    """The same tree with sides exchanged, or with one number changed by one."""
    if node.kind == "number":
        return Node("number", str(int(node.value) + rng.choice([-1, 0, 1])))
    if node.kind in ("+", "*") and rng.random() < 0.5:
        return Node(node.kind, parts=node.parts[::-1])
    at = rng.randrange(len(node.parts))
    return Node(node.kind, parts=tuple(relative(p, rng) if k == at else p for k, p in enumerate(node.parts)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng, equal, found, wrong, pairs = random.Random(options.seed), 0, 0, [], 0
    while pairs < options.pairs:
        one = tree(rng, 2)
        other = relative(one, rng)
        try:
            values = one.exact(), other.exact()
        except (ValueError, ZeroDivisionError, OverflowError):
            continue
        if not all(mp.isfinite(value) for value in values):
            continue
        pairs += 1
        same = abs(values[0] - values[1]) <= mpf(10) ** -50 * max(map(abs, values))
        called = answers_match(one.latex(), other.latex())
        equal, found = equal + same, found + (same and called)
        if called and not same:
            wrong.append((one.latex(), other.latex()))
    for pair in wrong:
        print("called equal, and is not:", *pair)
    print(f"{options.pairs} pairs, {equal} equal, {found} of them found, {len(wrong)} false positives")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
