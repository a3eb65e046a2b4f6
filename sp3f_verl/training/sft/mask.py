"""Is the loss of SFT on exactly the assistant's tokens?"""

from collections.abc import Sequence

from sp3f_verl.training.conversations import Turn, short, tokenize


def fault(tokenizer, whole: str, turns: Sequence[Turn], ids: Sequence[int], mask: Sequence[int]) -> str | None:
    """What is wrong with a dataset's ids and mask of a conversation: None, or a clause.

    Texts are compared as the tokenizer writes them back, as it may normalise.
    """
    edges = [i for i in range(len(ids) + 1) if (i < len(ids) and mask[i]) != (i > 0 and mask[i - 1])]
    runs = list(zip(edges[::2], edges[1::2], strict=True))
    if len(runs) != len(turns):
        return f"{len(runs)} stretches of tokens are trained on, but the assistant has {len(turns)} turns"

    def text(tokens: Sequence[int]) -> str:
        return tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    for turn, (start, end) in zip(turns, runs, strict=True):
        before, through = (text(tokenize(tokenizer, whole[:stop])) for stop in (turn.start, turn.end))
        decoded_before, decoded = text(ids[:start]), text(ids[:end])
        if decoded[len(decoded_before) :] != through[len(before) :]:
            trained, right = short(decoded[len(decoded_before) :]), short(through[len(before) :])
            return f"in turn {turn.number} {trained} is trained on, but the assistant writes {right}"
        same = list(ids[:start]) == tokenize(tokenizer, whole[: turn.start])
        if decoded_before != before or (turn is turns[0] and not same):  # later ones may be cut otherwise: see encode
            return f"the tokens before turn {turn.number} are not those after which it is generated"
    return None
