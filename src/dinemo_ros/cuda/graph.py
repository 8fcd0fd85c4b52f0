# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: the few hundred small operations of a solve become one launch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UP = 3  # runs before a capture, which compile the kernels and fill the allocator


class GraphCache:
    """Calls ``function`` through a CUDA graph per batch size and shape of its inputs.

    Batches are filled up to the next power of two with copies of their last element, so that the number of objects in
    a frame, which changes all the time, needs few graphs. Their working memory is one pool: they never run together.

    ``function`` must not look at the values of its tensors. What it returns is overwritten by the next call.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._graphs: dict[tuple, tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]] = {}
        self._pool = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        count = len(inputs[0])
        room = 1 << (count - 1).bit_length()
        shape = room, *(tensor.shape[1:] for tensor in inputs)
        if shape not in self._graphs:
            self._graphs[shape] = self._capture([filled_up(tensor, room) for tensor in inputs])
        graph, buffers, output = self._graphs[shape]
        for buffer, tensor in zip(buffers, inputs, strict=True):
            buffer[:count].copy_(tensor)
            buffer[count:].copy_(tensor[-1:].expand_as(buffer[count:]))
        graph.replay()
        return output[:count]

    def _capture(self, buffers: list[Tensor]):
        device = buffers[0].device
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self._function(*buffers)
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = self._function(*buffers)
        self._pool = graph.pool()
        return graph, buffers, output


def filled_up(tensor: Tensor, count: int) -> Tensor:
    """A new tensor with ``count`` elements, the last of ``tensor`` repeated."""
    return torch.cat([tensor, tensor[-1:].expand(count - len(tensor), *tensor.shape[1:])])
