# SPDX-License-Identifier: Apache-2.0
"""One capture of a CUDA graph, and what has to be done about one that fails.

Up to 2.12 torch goes on believing in a capture whose end CUDA refuses (pytorch#180395): from then on it may free no
memory, and an internal assertion says so wherever it tries, the start of the next capture included. So the end is
told to its allocator here, and nobody asks it to free what it keeps any more.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

_failed = threading.Event()
_lock = threading.Lock()
_captures = 0  # that are underway, in all threads
_collects = True  # whether Python's collector was on before the first of them


@contextmanager
def captured(graph: torch.cuda.CUDAGraph, pool: tuple[int, int], device: torch.device) -> Iterator[None]:
    """What is asked for inside, on the current stream, becomes ``graph``, which works in memory of ``pool``.

    Args:
        pool: from ``torch.cuda.graph_pool_handle``; one in which a capture failed is not to be used again.

    Raises:
        whatever is raised inside, or by CUDA about what was asked for there.
    """
    torch.cuda.synchronize(device)
    empty_cache()  # a graph cannot use what is kept for others
    with collector_off():
        try:
            # Other threads of a node (a network in TensorRT, another camera) may allocate memory meanwhile.
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                yield
            except BaseException:
                with suppress(RuntimeError):  # it would only say that the capture failed
                    graph.capture_end()  # or the stream goes on capturing
                raise
            graph.capture_end()
        except BaseException:
            _give_up(pool, device)
            raise


def empty_cache() -> None:
    """Give back what torch keeps of the GPU's memory for later, unless a capture has failed in this process."""
    if not _failed.is_set():
        torch.cuda.empty_cache()


@contextmanager
def collector_off() -> Iterator[None]:
    """Python's collector must not destroy CUDA's objects (events, graphs) inside a capture: that would end it.

    torch collects before a capture in some versions, and forbids it inside one in none.
    """
    global _captures, _collects
    with _lock:
        if _captures == 0:
            _collects = gc.isenabled()
            gc.disable()
        _captures += 1
    try:
        yield
    finally:
        with _lock:
            _captures -= 1
            if _captures == 0 and _collects:
                gc.enable()


def _give_up(pool: tuple[int, int], device: torch.device) -> None:
    """Tell torch's allocator that the capture is over. Where it knows, it refuses, and nothing is lost."""
    _failed.set()
    end = getattr(torch._C, "_cuda_endAllocateToPool", None)
    if end is not None:
        with suppress(RuntimeError):
            end(torch.cuda.current_device() if device.index is None else device.index, pool)
