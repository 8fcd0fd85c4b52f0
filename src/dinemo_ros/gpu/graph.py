# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: the few hundred small operations of a solve become one launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

from .capture import captured

_WARM_UP = 3  # runs before a capture, which compile the kernels and fill the allocator

#: Batches that graphs are made for; larger ones go in parts. A graph keeps the memory that it works in.
SIZES = (1, 2, 4, 8)


class GraphCache:
    """Calls ``function`` through a CUDA graph per batch size and shape of its inputs.

    Batches are filled up to the next of SIZES with copies of their last element, so that the number of objects in a
    frame, which changes all the time, needs few graphs. Their working memory is one pool: they never run together.

    ``function`` must not look at the values of its tensors. What it returns may be overwritten by the next call.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._graphs: dict[tuple, tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]] = {}
        self._pool: tuple[int, int] | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        most = SIZES[-1]
        if len(inputs[0]) <= most:
            return self._replayed(inputs)
        parts = zip(*(tensor.split(most) for tensor in inputs), strict=True)
        return torch.cat([self._replayed(part).clone() for part in parts])

    def _replayed(self, inputs: tuple[Tensor, ...]) -> Tensor:
        count = len(inputs[0])
        room = next(size for size in SIZES if size >= count)
        shape = room, *(tensor.shape[1:] for tensor in inputs)
        if shape not in self._graphs:
            # The caller may be in inference mode or not, and not the same the next time: ordinary tensors suit both.
            with torch.inference_mode(False):
                buffers = [filled_up(tensor, room) for tensor in inputs]
            self._graphs[shape] = self._capture(buffers)
        graph, buffers, output = self._graphs[shape]
        for buffer, tensor in zip(buffers, inputs, strict=True):
            buffer[:count].copy_(tensor)
            buffer[count:].copy_(tensor[-1:].expand_as(buffer[count:]))
        graph.replay()
        return output[:count]

    def _capture(self, buffers: list[Tensor]) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]:
        graph, device = torch.cuda.CUDAGraph(), buffers[0].device
        pool, self._pool = self._pool or torch.cuda.graph_pool_handle(), None  # not again where the capture fails
        with _beside(device):
            for _ in range(_WARM_UP):
                self._function(*buffers)
            with captured(graph, pool, device):
                output = self._function(*buffers)
        self._pool = pool
        return graph, buffers, output


@contextmanager
def _beside(device: torch.device) -> Iterator[torch.cuda.Stream]:
    """On the side stream, after what was asked for so far; afterwards on the former stream, also if a capture fails."""
    stream, before = _side_stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(before)
    torch.cuda.set_stream(stream)
    try:
        yield stream
    finally:
        torch.cuda.set_stream(before)  # a capture that fails leaves its own as the current one
    before.wait_stream(stream)


@lru_cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all warm-ups and captures of this process: cuBLAS keeps some megabytes for every stream it has seen."""
    return torch.cuda.Stream(device)


def filled_up(tensor: Tensor, count: int) -> Tensor:
    """A new tensor [count, ...] of any unit: the rows of ``tensor`` [N, ...], N <= count, the last one repeated."""
    return torch.cat([tensor, tensor[-1:].expand(count - len(tensor), *tensor.shape[1:])])
