# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs without a GPU: what was captured is called again at each replay."""

import gc
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import torch

from dinemo_ros.gpu import capture, graph


class Captured:
    """A graph that writes the function's result for its buffers over its output."""

    open, made, collected = None, 0, []

    def __init__(self):
        Captured.made += 1

    def capture_begin(self, pool, capture_error_mode):
        assert capture_error_mode == "thread_local"
        torch.cuda.began(pool)
        Captured.open = self
        Captured.collected.append(gc.isenabled())

    def capture_end(self):
        Captured.open = None
        torch.cuda.ended()

    @torch.inference_mode()  # a replay knows nothing of such modes
    def replay(self):
        self.output.copy_(self.function(*self.buffers))


class Cuda:
    """torch.cuda: streams by name, which of them is the current one when something happens, and an allocator.

    As in torch 2.12, a capture whose end fails stays underway for the allocator until it is told otherwise, and as long
    it may not be asked to free anything.
    """

    CUDAGraph = Captured
    is_available = staticmethod(lambda: True)

    def __init__(self):
        self.current, self.made, self.waits = "node", [], []
        self.invalid, self.underway, self.pools, self.emptied = False, set(), [], 0

    def stream(self, name):
        return SimpleNamespace(name=name, wait_stream=lambda other: self.waits.append((name, other.name)))

    def Stream(self, device):
        self.made.append(f"side {len(self.made)}")
        return self.stream(self.made[-1])

    def current_stream(self, device):
        return self.stream(self.current)

    def set_stream(self, stream):
        self.current = stream.name

    def current_device(self):
        return 0

    def is_current_stream_capturing(self):
        return Captured.open is not None

    def synchronize(self, device=None):
        if Captured.open is not None:
            self.invalid = True
            raise RuntimeError("operation not permitted when stream is capturing")

    def graph_pool_handle(self):
        self.pools.append((0, len(self.pools) + 1))
        return self.pools[-1]

    def began(self, pool):
        assert self.current == "side 0" and pool == self.pools[-1]
        self.underway.add(pool)

    def ended(self):
        if self.invalid:
            self.invalid = False
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        self.underway.clear()

    def end_allocate(self, device, pool):
        if pool not in self.underway:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.underway.remove(pool)

    def empty_cache(self):
        if self.underway:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")
        self.emptied += 1


def recorded(function, inputs, result):
    """For a function that may be captured, on its way out: what a replay has to call, and where its result goes."""
    if Captured.open is not None:
        Captured.open.function, Captured.open.buffers, Captured.open.output = function, inputs, result
    return result


@contextmanager
def cuda_graphs(monkeypatch):
    """torch's CUDA, replaced by the stand-in."""
    cuda = Cuda()
    for name, value in (("made", 0), ("open", None), ("collected", [])):
        monkeypatch.setattr(Captured, name, value)
    monkeypatch.setattr(capture, "_failed", threading.Event())
    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", cuda.end_allocate, raising=False)
    graph._side_stream.cache_clear()
    yield cuda
    graph._side_stream.cache_clear()
