"""Groups spread over workers so that each has about the same number of tokens."""

from collections.abc import Sequence

from verl.utils.seqlen_balancing import get_seqlen_balanced_partitions


def balanced(tokens: Sequence[int], ranks: int) -> list[int]:
    """An order of the groups in which consecutive `1/ranks` of them have about the same number of tokens."""
    if ranks == 1:
        return list(range(len(tokens)))
    parts = get_seqlen_balanced_partitions(list(tokens), ranks, equal_size=True)
    return [index for part in parts for index in part]
