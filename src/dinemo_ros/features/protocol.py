# SPDX-License-Identifier: Apache-2.0
"""What every inference backend offers, and the names under which they are asked for."""

from __future__ import annotations

from typing import Protocol

import numpy as np

#: Values of ``backend``: auto takes the fastest that works on this machine.
BACKENDS = ("auto", "onnxruntime", "tensorrt", "openvino", "torch")

#: Numbers inside the network; what goes in and comes out is the same for all.
PRECISIONS = ("fp32", "fp16", "bf16", "int8")

#: Values of ``precision``. auto: on a GPU the first of fp16, bf16 and fp32 that is right; on a CPU int8 where it is
#: fast and exact in it and the bundle brings it, else fp32.
PRECISION_CHOICES = ("auto", *PRECISIONS)

#: Pixels: every backend takes pictures with sides up to this; engines are built for no more.
LARGEST_SIDE = 1024


class FeatureExtractor(Protocol):
    """A backbone, ready to run.

    Attributes:
        name: which backend computes.
        precision: one of PRECISIONS, what it really computes in.
        device: what it runs on, for a person to read.
        reason: one sentence, why this backend.

    Some have, and who does not has no such attribute or None:
        alone: the same on the calling thread alone, for several threads at a time.
        tensor_device, on_device: where tensors are taken and given, and the call that does it.
    """

    name: str
    precision: str
    device: str
    reason: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features of a batch of equally large pictures.

        Args:
            images: uint8 [N, H, W, 3] RGB, H and W multiples of 32.

        Returns:
            float32 [N, D, H/8, W/8], unit norm over D. The caller's own array: later calls do not change it.

        Raises:
            BackendError: the device cannot do it (out of memory, larger than the engine was built for).
        """
        ...
