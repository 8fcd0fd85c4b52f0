# SPDX-License-Identifier: Apache-2.0
"""What is said while kernels are compiled, and when nothing has to be said."""

import threading
import time

from dinemo_ros.solver import jit


def test_the_start_of_compiling_is_said_at_once_and_then_how_far_it_is():
    said: list[str] = []
    with jit.compilation_told(said.append, period_s=0.02):
        assert not said
        jit._compiling()
        deadline = time.monotonic() + 30.0
        while len(said) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "compiling the solver: only the first start waits for this" in said[0] or "cannot be kept" in said[0]
    assert f"of {jit.progress().total} kernels" in said[1]
    count = len(said)
    jit._compiling()
    time.sleep(0.1)
    assert len(said) == count, "the body is over"


def test_nothing_is_said_where_nothing_is_compiled():
    said: list[str] = []
    with jit.compilation_told(said.append, period_s=0.001):
        time.sleep(0.1)
    assert not said


def test_no_thread_is_left_behind():
    before = threading.active_count()
    for _ in range(5):
        with jit.compilation_told(lambda sentence: None):
            pass
    assert threading.active_count() == before


def test_where_kernels_cannot_be_kept_no_later_start_is_promised(monkeypatch):
    class Nowhere:
        store = None

    monkeypatch.setattr(jit, "KERNEL_FOLDER", Nowhere)
    said: list[str] = []
    with jit.compilation_told(said.append, period_s=60.0):
        jit._compiling()
        deadline = time.monotonic() + 30.0
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
    assert said == ["compiling the solver: every start waits for this, because they cannot be kept"]
