import threading
from collections.abc import Iterator

import pytest

from peclip.inference.ahead import ahead


def numbers(most: int, closed: list[str]) -> Iterator[int]:
    try:
        yield from range(most)
    finally:
        closed.append(threading.current_thread().name)


def test_items_come_in_order_from_a_thread():
    closed: list[str] = []
    assert list(ahead(numbers(100, closed), 3)) == [*range(100)]
    assert closed != [threading.current_thread().name]


def test_it_is_at_most_so_many_items_ahead_and_ends_with_its_reader():
    made, closed = [], []
    stream = ahead((made.append(number) or number for number in numbers(10_000, closed)), 3)
    assert [next(stream) for _ in range(5)] == [*range(5)]
    stream.close()
    assert len(made) <= 5 + 3 + 2  # those that wait, and the one in hand
    assert len(closed) == 1


def test_a_failure_comes_behind_the_items_before_it():
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("here")

    stream = ahead(failing(), 3)
    assert next(stream) == 1
    with pytest.raises(ValueError, match="here"):
        next(stream)


def test_where_there_is_no_room_the_oldest_is_left_out():
    omitted, all_made = [], threading.Event()

    def made() -> Iterator[int]:
        yield from range(5)
        all_made.set()

    stream = ahead(made(), 1, omit=omitted.append)
    kept = []
    for number in stream:
        kept.append(number)
        all_made.wait(60)  # a reader that is too slow
    assert kept[-1] == 4
    assert sorted(kept + omitted) == [0, 1, 2, 3, 4]
    assert omitted


def test_something_is_done_while_nothing_is_there():
    done = threading.Event()

    def made() -> Iterator[int]:
        assert done.wait(60)
        yield 1

    assert list(ahead(made(), 1, idle=done.set)) == [1]
