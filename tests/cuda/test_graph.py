# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Which batches share a CUDA graph, and what is put into it. A real graph where there is a GPU, else a stand-in for
torch.cuda that repeats the captured calls."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dinemo_ros.cuda import graph
from dinemo_ros.cuda.graph import GraphCache, filled_up

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Captured:
    """A graph that writes the function's result for its buffers over its output."""

    open, made = None, 0

    def __init__(self):
        Captured.made += 1

    def pool(self):
        return "pool"

    def replay(self):
        self.output.copy_(self.function(*self.buffers))


@pytest.fixture
def summed(monkeypatch):
    """GraphCache of x.sum over everything but the first axis, plus y."""
    def function(x, y):
        result = x.flatten(1).sum(1) + y
        if Captured.open is not None:
            Captured.open.function, Captured.open.buffers, Captured.open.output = function, (x, y), result
        return result

    if DEVICE == "cpu":
        @contextmanager
        def capture(one, pool=None):
            assert pool == (None if Captured.made == 1 else "pool")
            Captured.open = one
            yield
            Captured.open = None

        stream = SimpleNamespace(wait_stream=lambda other: None)
        monkeypatch.setattr(Captured, "made", 0)
        monkeypatch.setattr(graph.torch, "cuda", SimpleNamespace(
            CUDAGraph=Captured, Stream=lambda device: stream, current_stream=lambda device: stream,
            stream=lambda one: nullcontext(), graph=capture))
    return GraphCache(function)


def test_batches_of_all_sizes(summed):
    """1, 2, 3 and 4 elements need three graphs; values are those of now, not of the capture."""
    generator = torch.Generator().manual_seed(0)
    for count in (3, 1, 4, 2, 3):
        x, y = torch.randn(count, 2, 5, generator=generator).to(DEVICE), torch.arange(float(count), device=DEVICE)
        torch.testing.assert_close(summed(x, y), x.flatten(1).sum(1) + y)
    assert len(summed._graphs) == 3
    summed(torch.ones(1, 2, 6, device=DEVICE), torch.ones(1, device=DEVICE))
    assert len(summed._graphs) == 4  # another shape, another graph


def test_filled_up_with_the_last():
    assert filled_up(torch.tensor([[1], [2], [3]]), 5).flatten().tolist() == [1, 2, 3, 3, 3]
