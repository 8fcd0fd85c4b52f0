# SPDX-License-Identifier: Apache-2.0
"""Work on a stream of one's own between what torch was asked for before and what it is asked for next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..gpu.cuda_driver import CudaStream

if TYPE_CHECKING:
    import torch


@contextmanager
def in_torch_order(stream: CudaStream, *tensors: torch.Tensor) -> Iterator[int]:
    """The CUDA handle of ``stream``, which works on ``tensors`` of torch's; the host waits for nothing.

    On CUDA's default stream, which is torch's, libraries would synchronise with the host.

    tensors: at least one, of any shape, all on one GPU; only the order of work on them matters here, no unit.
    """
    import torch

    stream.enter()
    device = tensors[0].device
    own, current = torch.cuda.ExternalStream(stream.handle, device), torch.cuda.current_stream(device)
    own.wait_stream(current)
    for tensor in tensors:
        tensor.record_stream(own)  # torch may not give its memory to others before this stream is done with it
    try:
        yield stream.handle
    finally:
        current.wait_stream(own)
