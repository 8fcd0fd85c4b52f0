# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Which batches share a CUDA graph, and what is put into it. A real graph where there is a GPU, else a stand-in for
torch.cuda that repeats the captured calls."""

from contextlib import contextmanager
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

    @torch.inference_mode()  # a replay knows nothing of such modes
    def replay(self):
        self.output.copy_(self.function(*self.buffers))


class Streams:
    """torch.cuda's streams, by name, and which of them is the current one when something happens."""

    def __init__(self):
        self.current, self.made, self.waits = "node", [], []

    def stream(self, name):
        return SimpleNamespace(name=name, wait_stream=lambda other: self.waits.append((name, other.name)))

    def new(self, device):
        self.made.append(f"side {len(self.made)}")
        return self.stream(self.made[-1])

    def set(self, stream):
        self.current = stream.name

    @contextmanager
    def capture(self, one, pool, stream, capture_error_mode):
        """As torch does: a capture that fails leaves its stream as the current one."""
        assert pool == (None if Captured.made == 1 else "pool") and capture_error_mode == "thread_local"
        assert self.current == stream.name == "side 0"
        Captured.open = one
        yield
        Captured.open = None


@pytest.fixture
def streams(monkeypatch):
    """The stand-in, where there is no GPU."""
    if DEVICE == "cuda":
        yield None
        return
    streams = Streams()
    monkeypatch.setattr(Captured, "made", 0)
    monkeypatch.setattr(Captured, "open", None)
    monkeypatch.setattr(graph.torch, "cuda", SimpleNamespace(
        CUDAGraph=Captured, Stream=streams.new, current_stream=lambda device: streams.stream(streams.current),
        set_stream=streams.set, graph=streams.capture))
    graph._side_stream.cache_clear()
    yield streams
    graph._side_stream.cache_clear()


def function(x, y):
    """x.sum over everything but the first axis, plus y."""
    result = x.flatten(1).sum(1) + y
    if Captured.open is not None:
        Captured.open.function, Captured.open.buffers, Captured.open.output = function, (x, y), result
    return result


@pytest.fixture
def summed(streams):
    return GraphCache(function)


def inputs(count, seed=0):
    x = torch.randn(count, 2, 5, generator=torch.Generator().manual_seed(seed)).to(DEVICE)
    return x, torch.arange(float(count), device=DEVICE)


def test_batches_of_all_sizes(summed):
    """1, 2, 3 and 4 elements need three graphs; values are those of now, not of the capture."""
    for seed, count in enumerate((3, 1, 4, 2, 3)):
        x, y = inputs(count, seed)
        torch.testing.assert_close(summed(x, y), x.flatten(1).sum(1) + y)
    assert len(summed._graphs) == 3
    summed(torch.ones(1, 2, 6, device=DEVICE), torch.ones(1, device=DEVICE))
    assert len(summed._graphs) == 4  # another shape, another graph


def test_more_than_the_largest_graph_goes_in_parts(summed):
    x, y = inputs(19)
    torch.testing.assert_close(summed(x, y), x.flatten(1).sum(1) + y)
    assert {shape[0] for shape in summed._graphs} == {8, 4}


def test_one_stream_for_all_captures(summed, streams):
    """cuBLAS would keep memory for each; the node's own stream is the current one afterwards, and waited for."""
    if streams is None:
        pytest.skip("of the stand-in")
    summed(*inputs(1))
    Captured.made = 0
    GraphCache(function)(*inputs(2))
    assert streams.made == ["side 0"] and streams.current == "node"
    assert streams.waits == [("side 0", "node"), ("node", "side 0")] * 2


def test_a_capture_that_fails_leaves_the_stream_as_it_was(streams):
    before = None if streams else torch.cuda.current_stream()

    def failing(x):
        if Captured.open is not None or not streams and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("operation not permitted when stream is capturing")
        return x

    for _ in range(2):
        with pytest.raises(RuntimeError, match="not permitted"):
            GraphCache(failing)(torch.ones(1, 2, device=DEVICE))
        assert streams.current == "node" if streams else torch.cuda.current_stream() == before
        if streams:
            Captured.open, Captured.made = None, 0


def test_first_called_in_inference_mode(summed):
    """As a benchmark does it, and then not: torch forbids to write to tensors that were made in there."""
    with torch.inference_mode():
        summed(*inputs(2))
    x, y = inputs(2, 1)
    torch.testing.assert_close(summed(x, y), x.flatten(1).sum(1) + y)


def test_filled_up_with_the_last():
    assert filled_up(torch.tensor([[1], [2], [3]]), 5).flatten().tolist() == [1, 2, 3, 3, 3]
