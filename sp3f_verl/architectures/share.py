"""Which English rows get a pair in which language, and which architecture makes it: exact shares, seeded.

Whatever the order of the rows: a row's place is a hash of seed, language and id.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from sp3f_verl.data.rows import draw_rank

COPY = "english"  # the architecture of rows that stay as they are


@dataclass(frozen=True)
class Job:
    """One pair to be made: of the row `id`, in `language`, by the config's `architecture`."""

    id: str
    language: str
    architecture: str


def jobs(
    source_of: Mapping[str, str], languages: Mapping[str, float], weights: Mapping[str, float], seed: int, copy: bool
) -> list[Job]:
    """A language's share of n rows is share x n rows, halves upwards; the architectures share those out by weight.

    source_of: row id -> its language. copy: a row that is in the language already is no architecture's.
    """
    chosen = []
    for language, share in sorted(languages.items()):
        ranked = sorted(source_of, key=lambda ident: draw_rank(seed, f"{language}:{ident}"))
        count = int(Fraction(str(share)) * len(ranked) + Fraction(1, 2))
        chosen += [(ident, language) for ident in ranked[:count]]
    written = [(ident, language) for ident, language in chosen if not (copy and source_of[ident] == language)]
    mixed = dict(zip(written, spread(weights, len(written)), strict=True))
    return sorted(
        (Job(ident, language, mixed.get((ident, language), COPY)) for ident, language in chosen),
        key=lambda job: (job.id, job.language),
    )


def quotas(weights: Mapping[str, float], count: int) -> dict[str, int]:
    """Whole numbers in the ratio of the weights that add up to count: largest remainders, ties by name."""
    exact = {name: Fraction(str(weight)) for name, weight in sorted(weights.items())}
    total = sum(exact.values())
    parts = {name: weight * count / total for name, weight in exact.items()}
    whole = {name: int(part) for name, part in parts.items()}
    rest = sorted(parts, key=lambda name: (whole[name] - parts[name], name))
    for name in rest[: count - sum(whole.values())]:
        whole[name] += 1
    return whole


def spread(weights: Mapping[str, float], count: int) -> Iterable[str]:
    """A name for each of count places, in their quotas, and evenly all along: each language gets its share of each."""
    goal, given = quotas(weights, count), dict.fromkeys(sorted(weights), 0)
    for number in range(1, count + 1):
        late = {name: goal[name] * number - given[name] * count for name in given if given[name] < goal[name]}
        name = max(late, key=lambda candidate: (late[candidate], candidate))
        given[name] += 1
        yield name
