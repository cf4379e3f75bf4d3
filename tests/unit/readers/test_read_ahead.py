"""Files are read in order, one ahead at least, and never more bytes than allowed."""

from __future__ import annotations

import threading

import pytest

from tierflow.io.readers.ahead import read_ahead


class Counter:
    """Counts the bytes that are read and not yet done with."""

    def __init__(self):
        self.lock = threading.Lock()
        self.held = 0
        self.most = 0
        self.started = []
        self.threads = set()

    def read(self, item):
        with self.lock:
            self.threads.add(threading.get_ident())
            self.started.append(item)
            self.held += item[1]
            self.most = max(self.most, self.held)
        return item

    def done(self, item):
        with self.lock:
            self.held -= item[1]


def consume(sizes, ahead_bytes):
    counter = Counter()
    items = list(enumerate(sizes))
    found = []
    for item in read_ahead([(i, i[1]) for i in items], counter.read, ahead_bytes=ahead_bytes):
        found.append(item)
        counter.done(item)
    assert found == items
    return counter


def test_order_is_kept_and_one_thread_reads():
    counter = consume([3, 1, 4, 1, 5, 9, 2, 6] * 20, ahead_bytes=10)
    assert len(counter.threads) == 1
    assert threading.get_ident() not in counter.threads


def test_bytes_are_bounded():
    # What waits, and the one that the loop body holds.
    assert consume([10] * 200, ahead_bytes=35).most <= 35 + 10


def test_an_item_above_the_limit_waits_alone():
    assert consume([100] * 20, ahead_bytes=10).most <= 200


@pytest.mark.timeout(30)
def test_the_next_is_read_while_one_is_in_use():
    started = threading.Event()

    def read(item):
        if item == 1:
            started.set()
        return item

    source = read_ahead([(0, 100), (1, 100)], read, ahead_bytes=1)
    assert next(source) == 0
    assert started.wait(20)
    assert list(source) == [1]


def test_nothing_to_read():
    assert list(read_ahead([], Counter().read, ahead_bytes=1)) == []


def test_an_error_comes_in_its_turn():
    def read(item):
        if item == 2:
            raise ValueError("two")
        return item

    found = []
    with pytest.raises(ValueError, match="two"):
        found.extend(read_ahead([(i, 1) for i in range(5)], read, ahead_bytes=3))
    assert found == [0, 1]


def test_who_stops_early_leaves_no_thread_and_reads_no_more():
    counter = Counter()
    source = read_ahead([((i, 1), 1) for i in range(1000)], counter.read, ahead_bytes=1)
    next(source)
    source.close()
    assert len(counter.started) < 10
    assert not any(t.name.startswith("read-ahead") for t in threading.enumerate())
