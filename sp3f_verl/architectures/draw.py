"""Which pairs of a source are taken: cleaned of what cannot be used, then a seeded draw. Rows may come in any order.

A pair's place in the draw is a hash of the seed and its id. Pairs are looked at in that order until enough are found:
a source of a million pairs is not tokenised for the sake of 250.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from sp3f_verl.architectures.sources import Pair
from sp3f_verl.data.rows import draw_rank
from sp3f_verl.errors import BadInput

Length = Callable[[list[str]], list[int]]  # texts -> their lengths


@dataclass
class Drawn:
    pairs: list[tuple[Pair, list[int]]] = field(default_factory=list)  # with the lengths of prompt, chosen, rejected
    dropped: Counter[str] = field(default_factory=Counter)
    left: int = 0  # good as far as is known, and not needed


def distinct(pairs: Iterable[Pair], dropped: Counter[str]) -> list[Pair]:
    """Usable pairs in the order of their ids; of those with equal texts, the first."""
    seen_ids, seen_texts, usable = set(), set(), []
    for pair in sorted(pairs, key=lambda pair: (pair.id, pair.texts)):
        texts = hashlib.sha256(json.dumps([list(pair.prompt), pair.chosen, pair.rejected]).encode()).digest()
        reason = _unusable(pair)
        if reason is None and (pair.id in seen_ids or texts in seen_texts):
            reason = "duplicate"
        if reason is not None:
            dropped[reason] += 1
            continue
        seen_ids.add(pair.id)
        seen_texts.add(texts)
        usable.append(pair)
    return usable


def draw(pairs: Iterable[Pair], count: int, seed: int, most: int, length: Length) -> Drawn:
    """`count` pairs, or all where there are fewer, of which no text is longer than `most`; in the order of the ids."""
    drawn = Drawn()
    ranked = sorted(distinct(pairs, drawn.dropped), key=lambda pair: draw_rank(seed, pair.id))
    step, start = max(count, 64), 0
    while start < len(ranked) and len(drawn.pairs) < count:
        chunk = ranked[start : start + step]
        lengths = length([text for pair in chunk for text in pair.texts])
        for index, pair in enumerate(chunk):
            if len(drawn.pairs) == count:
                break
            start += 1
            lengths_of_pair = lengths[3 * index : 3 * index + 3]
            if max(lengths_of_pair) > most:
                drawn.dropped["too_long"] += 1
            else:
                drawn.pairs.append((pair, lengths_of_pair))
    drawn.left = len(ranked) - start
    drawn.pairs.sort(key=lambda item: item[0].id)
    return drawn


def named(pairs: Iterable[Pair], ids: Collection[str], source: str, length: Length) -> Drawn:
    """Precisely the pairs with these ids. BadInput where the source lacks one."""
    drawn, wanted = Drawn(), set(ids)
    every = distinct(pairs, drawn.dropped)
    chosen = [pair for pair in every if pair.id in wanted]
    if len(chosen) < len(wanted):
        lost = sorted(wanted - {pair.id for pair in chosen})
        raise BadInput(f"{source} has no usable pair of id {lost[0]!r} ({len(lost)} such); give the file of that draw.")
    lengths = length([text for pair in chosen for text in pair.texts])
    drawn.pairs = [(pair, lengths[3 * index : 3 * index + 3]) for index, pair in enumerate(chosen)]
    drawn.left = len(every) - len(chosen)
    return drawn


def _unusable(pair: Pair) -> str | None:
    if not all(turn["content"].strip() for turn in pair.prompt):
        return "prompt_empty"
    if not (pair.chosen.strip() and pair.rejected.strip()):
        return "side_empty"
    return "sides_identical" if pair.chosen == pair.rejected else None


def characters(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


def tokens_of(name: str) -> Length:
    """Lengths in tokens of a tokenizer, a folder or a name of the Hub. BadInput where there is none."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # transformers raises many kinds, and what it says takes paragraphs
        reason = " ".join(str(error).split())[:120]
        raise BadInput(
            f"--tokenizer={name} cannot be loaded ({reason}); name a folder that holds one, or --tokenizer characters."
        ) from None

    def length(texts: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]]

    return length
