# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Which batches share a CUDA graph, and what is put into it. A real graph where there is a GPU, else a stand-in for
torch.cuda that repeats the captured calls."""

import gc
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dinemo_ros.cuda import capture, graph, selection
from dinemo_ros.cuda.graph import GraphCache, filled_up

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


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

    def synchronize(self, device):
        assert Captured.open is None, "operation not permitted when stream is capturing"

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


@pytest.fixture(autouse=True)
def _no_capture_failed_yet(monkeypatch):
    monkeypatch.setattr(capture, "_failed", threading.Event())


@pytest.fixture
def streams(monkeypatch):
    """The stand-in, where there is no GPU."""
    if DEVICE == "cuda":
        yield None
        return
    cuda = Cuda()
    monkeypatch.setattr(Captured, "made", 0)
    monkeypatch.setattr(Captured, "open", None)
    monkeypatch.setattr(Captured, "collected", [])
    monkeypatch.setattr(graph.torch, "cuda", cuda)
    monkeypatch.setattr(graph.torch._C, "_cuda_endAllocateToPool", cuda.end_allocate, raising=False)
    graph._side_stream.cache_clear()
    yield cuda
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


def capturing():
    return Captured.open is not None or DEVICE == "cuda" and torch.cuda.is_current_stream_capturing()


def waits_for_the_device(x):
    """What a capture does not survive: on a GPU the real thing."""
    if capturing() and DEVICE == "cuda":
        torch.cuda.synchronize()
    if capturing():
        torch.cuda.invalid = True
        raise RuntimeError("operation not permitted when stream is capturing")
    return x


def test_a_capture_that_fails_leaves_the_stream_as_it_was(streams):
    before = None if streams else torch.cuda.current_stream()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not permitted"):
            GraphCache(waits_for_the_device)(torch.ones(1, 2, device=DEVICE))
        assert streams.current == "node" if streams else torch.cuda.current_stream() == before


def test_after_a_capture_that_failed_others_succeed(summed, streams):
    """In another cache and in the same one, whose pool is left alone; and nobody frees memory any more."""
    x, y = inputs(2)
    expected = x.flatten(1).sum(1) + y
    torch.testing.assert_close(summed(x, y), expected)
    freed = streams.emptied if streams else 0
    fails = True

    def moody(x, y):
        return waits_for_the_device(x).flatten(1).sum(1) + y if fails else function(x, y)

    cache = GraphCache(moody)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="not permitted"):
            cache(x, y)
        if streams:
            assert streams.underway == set(), "torch's allocator believes that it is still capturing"
            freed += 1 if freed == 1 else 0  # before the first one failed
            assert streams.emptied == freed
    fails = False
    torch.testing.assert_close(cache(x, y), expected)
    torch.testing.assert_close(GraphCache(function)(x, y), expected)
    torch.testing.assert_close(summed(*inputs(2, 1)), inputs(2, 1)[0].flatten(1).sum(1) + y)  # the old graph
    selection.free_memory()
    if streams:
        assert streams.emptied == freed and len(set(streams.pools)) == len(streams.pools) > 4
    else:  # tensors still come and go
        for _ in range(3):
            torch.empty(1 << 20, device=DEVICE).record_stream(torch.cuda.Stream())
        torch.cuda.synchronize()


def test_a_capture_that_only_its_end_complains_about(streams):
    """Something in it was not allowed, and whoever asked for it did not look."""
    if streams is None:
        pytest.skip("of the stand-in")

    def careless(x):
        streams.invalid = capturing()
        return x

    with pytest.raises(RuntimeError, match="previous error during capture"):
        GraphCache(careless)(torch.ones(1, 2))
    assert streams.underway == set() and capture._failed.is_set() and gc.isenabled()


@pytest.mark.parametrize("collects", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_collected_inside_a_capture(streams, collects, fails):
    """An event or a graph that is destroyed there would end it. The process's own choice comes back afterwards."""
    seen = []

    def watched(x):
        seen.append((bool(capturing()), gc.isenabled()))
        return waits_for_the_device(x) if fails else function(x, x[:, 0])

    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(RuntimeError) if fails else nullcontext():
            GraphCache(watched)(torch.ones(1, 2, device=DEVICE))
        assert gc.isenabled() == collects
    finally:
        gc.enable()
    assert seen == [(False, collects)] * 3 + [(True, False)]
    assert streams is None or Captured.collected == [False]


def test_captures_of_two_threads_keep_the_collector_off():
    theirs = capture.collector_off()
    with capture.collector_off():
        with capture.collector_off():
            pass
        assert not gc.isenabled()
        thread = threading.Thread(target=theirs.__enter__)
        thread.start()
        thread.join()
    assert not gc.isenabled(), "the other thread is still capturing"
    theirs.__exit__(None, None, None)
    assert gc.isenabled()


def test_first_called_in_inference_mode(summed):
    """As a benchmark does it, and then not: torch forbids to write to tensors that were made in there."""
    with torch.inference_mode():
        summed(*inputs(2))
    x, y = inputs(2, 1)
    torch.testing.assert_close(summed(x, y), x.flatten(1).sum(1) + y)


def test_filled_up_with_the_last():
    assert filled_up(torch.tensor([[1], [2], [3]]), 5).flatten().tolist() == [1, 2, 3, 3, 3]
