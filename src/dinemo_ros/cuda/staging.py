# SPDX-License-Identifier: Apache-2.0
"""Arrays to a device and back, through page-locked memory that is kept.

From ordinary memory the driver first copies to page-locked memory of its own, in pieces, and the host stands by. So the
host copies once, at its own speed, and goes on.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor


class Staging:
    """For one caller at a time; arrays [...] keep their shape, sample type (``upload_numbers``: float32) and unit.

    Args:
        device: where to. page_locked: whether it is a GPU; by default what ``device`` says.
    """

    def __init__(self, device: torch.device, page_locked: bool | None = None) -> None:
        self._device = device
        self._page_locked = device.type == "cuda" if page_locked is None else page_locked
        self._slots: defaultdict[str, _Slot] = defaultdict(_Slot)

    def upload(self, name: str, array: np.ndarray) -> Tensor:
        """A copy of ``array`` [...] on the device, under way: what is asked of the device next finds it there.

        name: of the memory it goes through; each keeps the host from its next upload until its last one has left.
        """
        array = np.ascontiguousarray(array)
        if not self._page_locked:
            return torch.from_numpy(array).to(self._device)
        slot = self._slots[name]
        host = slot.room(array.nbytes).view(torch.from_numpy(np.empty(0, array.dtype)).dtype)
        host.numpy()[...] = array.ravel()
        copy = torch.empty(array.size, dtype=host.dtype, device=self._device)
        copy.copy_(host, non_blocking=True)
        slot.event.record()
        return copy.view(array.shape)

    def upload_numbers(self, name: str, *arrays: np.ndarray) -> list[Tensor]:
        """Copies of ``arrays`` [...] as float32 on the device, through the memory ``name``, in one go."""
        flat = self.upload(name, np.concatenate([np.ravel(array) for array in arrays]).astype(np.float32))
        parts = flat.split([math.prod(np.shape(array)) for array in arrays])
        return [part.view(np.shape(array)) for part, array in zip(parts, arrays, strict=True)]

    def download(self, tensor: Tensor) -> np.ndarray:
        """A ``tensor`` [...] as the caller's own array; here the host waits for the device."""
        if not self._page_locked:
            return tensor.cpu().numpy()
        slot = self._slots["download"]
        host = slot.room(tensor.nbytes).view(tensor.dtype).view(tensor.shape)
        host.copy_(tensor, non_blocking=True)
        slot.event.record()
        slot.event.synchronize()
        return host.numpy().copy()


class _Slot:
    """Page-locked memory for one copy at a time, and when the last one was done."""

    def __init__(self) -> None:
        self._memory, self.event = _page_locked(0), torch.cuda.Event()

    def room(self, size: int) -> Tensor:
        """uint8 [size], free to be written to."""
        self.event.synchronize()
        if len(self._memory) < size:
            self._memory = _page_locked(size)
        return self._memory[:size]


def _page_locked(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)
