"""Triplets from annotated rows and responses: what goes where, what is left out, in which order it is trained on."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sp3f_verl.data.preference_rows import Answers
from sp3f_verl.training.selfplay.triplets import Annotated, Response, assemble, batches, sampling_seed

PAIR, TRIPLET = ("real", "generated"), ("real", "generated", "proto")


def ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def row(*real: int) -> Annotated:
    return Annotated(Answers(({"role": "user", "content": "?"},), ("!",)), ids(1, 2), ids(*real))


def response(*values: int, complete: bool = True) -> Response:
    return Response(ids(*values), -1.0, complete)


def responses(assembled) -> list[list[list[int]]]:
    return [[ids_of_role.tolist() for ids_of_role in group.responses] for group in assembled.groups]


def test_roles_in_order_and_sampled_ids_untouched():
    assembled = assemble([row(7, 9)], {2: [response(8, 9)]}, [response(5, 5, 9)], TRIPLET, False)
    assert responses(assembled) == [[[7, 9], [8, 9], [5, 5, 9]]]
    assert (assembled.rows, assembled.iterations, assembled.status) == ([0], [2], ["ok"]) and not assembled.dropped
    assert assembled.groups[0].prompt.tolist() == [1, 2]


def test_a_truncated_response_trains_nothing_unless_kept_and_a_proto_counts_where_it_is_used():
    rows, generated, first = [row(7, 9)] * 3, [response(8, complete=False), *[response(8, 9)] * 2], [response(5, 9)] * 2
    first = [*first, response(5, complete=False)]
    assert assemble(rows, {1: generated}, first, TRIPLET, False).status == ["truncated", "ok", "truncated"]
    pairs = assemble(rows, {1: generated}, first, PAIR, False)
    assert pairs.status == ["truncated", "ok", "ok"] and pairs.dropped == {"truncated": 1}
    kept = assemble(rows, {1: generated}, first, TRIPLET, True)
    assert kept.status == ["ok"] * 3 and responses(kept)[0][1] == [8], "no end of sequence is put behind it"


def test_identical_sides_are_left_out_but_history_alone_still_trains():
    rows, same, other = [row(7, 9)], response(7, 9), response(5, 9)
    assert assemble(rows, {0: [same]}, [same], PAIR, False).status == ["identical"]
    assert assemble(rows, {1: [same]}, [other], PAIR, False).status == ["identical"]
    assert assemble(rows, {1: [same]}, [other], TRIPLET, False).status == ["ok"]
    assert assemble(rows, {1: [same]}, [same], TRIPLET, False).status == ["identical"]


def test_several_iterations_of_responses():
    rows = [row(7, 9), row(6, 9)]
    by_iteration = {1: [response(1, 9), response(2, 9)], 0: [response(3, 9), response(6, 9)]}
    assembled = assemble(rows, by_iteration, by_iteration[0], PAIR, False)
    assert assembled.asked == [0, 1]
    assert (assembled.iterations, assembled.rows, assembled.status) == (
        [0, 1, 1],
        [0, 0, 1],
        ["ok", "identical", "ok", "ok"],
    )


@given(
    count=st.integers(1, 40),
    size=st.integers(1, 8),
    seed=st.integers(0, 9),
    t=st.integers(0, 5),
    done=st.integers(0, 30),
)
def test_every_epoch_sees_each_group_once_and_a_resumed_order_is_the_same(count, size, seed, t, done):
    if count < size:
        return
    per_epoch = count // size
    whole = list(itertools.islice(batches(count, size, seed, t, 0), done + 2 * per_epoch))
    epoch = list(itertools.chain(*whole[:per_epoch]))
    assert len(set(epoch)) == len(epoch) == per_epoch * size and set(epoch) <= set(range(count))
    assert list(itertools.islice(batches(count, size, seed, t, done), per_epoch)) == whole[done : done + per_epoch]


def test_orders_and_seeds_differ():
    orders = [next(batches(50, 50, seed, t, done)) for seed, t, done in ((1, 0, 0), (1, 1, 0), (1, 0, 1), (2, 0, 0))]
    assert len({tuple(order) for order in orders}) == 4
    seeds = {sampling_seed(s, t, split, row) for s in (1, 2) for t in (0, 1) for split in "ab" for row in range(50)}
    assert len(seeds) == 400
