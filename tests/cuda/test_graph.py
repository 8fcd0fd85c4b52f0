# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Which batches share a CUDA graph, and what is put into it. A real graph where there is a GPU, else a stand-in for
torch.cuda that repeats the captured calls."""

import gc
import threading
from contextlib import nullcontext

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from cuda.graph_stand_in import Captured, cuda_graphs, recorded

from dinemo_ros.cuda import selection
from dinemo_ros.gpu import capture
from dinemo_ros.gpu.graph import GraphCache, filled_up

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def _no_capture_failed_yet(monkeypatch):
    monkeypatch.setattr(capture, "_failed", threading.Event())


@pytest.fixture
def streams(monkeypatch):
    """The stand-in, where there is no GPU."""
    if DEVICE == "cuda":
        yield None
        return
    with cuda_graphs(monkeypatch) as cuda:
        yield cuda


def function(x, y):
    """x.sum over everything but the first axis, plus y."""
    return recorded(function, (x, y), x.flatten(1).sum(1) + y)


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
    if capturing():
        torch.cuda.synchronize()
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
