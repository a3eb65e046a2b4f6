"""Items made ahead by a thread: the same ones, the same errors, and no more of them than asked for."""

import threading

import pytest

from sp3f_verl.data.tables.prefetch import ahead


def test_the_items_come_in_their_order_from_another_thread():
    makers = []

    def source():
        for number in range(100):
            makers.append(threading.get_ident())
            yield number

    assert list(ahead(source())) == list(range(100))
    assert set(makers) != {threading.get_ident()} and len(set(makers)) == 1
    assert list(ahead([])) == []


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield 1
        raise ValueError("row 2")

    got = ahead(source())
    assert next(got) == 1
    with pytest.raises(ValueError, match="row 2"):
        next(got)


def test_who_stops_early_leaves_no_thread_and_closes_the_source():
    numbers, closed = [], []

    def source():
        try:
            for number in range(1000):
                numbers.append(number)
                yield number
        finally:
            closed.append(True)

    before, got = threading.active_count(), ahead(source(), depth=3)
    assert next(got) == 0
    got.close()
    del got
    assert threading.active_count() == before
    assert len(numbers) <= 4 and closed == [True]
