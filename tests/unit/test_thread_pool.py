# SPDX-License-Identifier: Apache-2.0
"""Work that is shared by threads."""

import threading
import time

import pytest

from dinemo_ros.process.thread_pool import ThreadPool


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_piece_is_done_once_and_in_its_place(threads):
    done = []

    def piece(k: int) -> int:
        done.append(k)
        return k * k

    pool = ThreadPool(threads, "test")
    for count in (0, 1, 2, 50):
        done.clear()
        assert pool.map(piece, count) == [k * k for k in range(count)]
        assert sorted(done) == list(range(count))


def test_pieces_run_beside_each_other():
    meeting = threading.Barrier(3, timeout=10.0)  # nobody gets through alone
    assert sorted(ThreadPool(3, "test").map(lambda k: meeting.wait(), 3)) == [0, 1, 2]


@pytest.mark.parametrize("bad", range(4))
def test_what_a_piece_raises_is_raised_when_all_have_ended(bad):
    running, pool = [], ThreadPool(2, "test")

    def piece(k: int) -> None:
        running.append(k)
        time.sleep(0.01)
        running.remove(k)
        if k == bad:
            raise ValueError(f"piece {k}")

    with pytest.raises(ValueError, match=f"piece {bad}"):
        pool.map(piece, 4)
    assert running == []
    assert pool.map(lambda k: k, 3) == [0, 1, 2]  # and it still works


def test_the_caller_does_all_where_nobody_comes():
    """Helpers that are busy elsewhere are not waited for."""
    pool, free = ThreadPool(2, "test"), threading.Event()
    pool._helpers.submit(free.wait)
    try:
        caller = threading.current_thread()
        assert pool.map(lambda k: threading.current_thread() is caller, 3) == [True] * 3
    finally:
        free.set()
