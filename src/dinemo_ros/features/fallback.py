# SPDX-License-Identifier: Apache-2.0
"""What happens when a network on a GPU fails after it was chosen: out of memory, a fault, a driver that went away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..errors import BackendError, PictureSizeError
from .protocol import FeatureExtractor

if TYPE_CHECKING:
    import torch

Features = TypeVar("Features", "np.ndarray", "torch.Tensor")

_log = logging.getLogger(__name__)


class FallbackExtractor:
    """A network on a GPU, and one on the CPU for good once that one failed; the call it failed on is done again.

    A :class:`dinemo_ros.features.FeatureExtractor` whose attributes are those of the one in use.

    Args:
        first: the GPU's. fallback: the CPU's.
    """

    def __init__(self, first: FeatureExtractor, fallback: FeatureExtractor) -> None:
        self._active, self._fallback = first, fallback

    @property
    def name(self) -> str:
        return self._active.name

    @property
    def precision(self) -> str:
        return self._active.precision

    @property
    def device(self) -> str:
        return self._active.device

    @property
    def reason(self) -> str:
        return self._active.reason

    @property
    def tensor_device(self) -> str:
        """Where :meth:`on_device` takes and gives torch tensors; empty where it does not."""
        return getattr(self._active, "tensor_device", "")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self._tried(lambda extractor: extractor(images), lambda: self._fallback(images))

    def on_device(self, images: torch.Tensor) -> torch.Tensor:
        """Features float32 [N, D, H/8, W/8] of pictures uint8 [N, H, W, 3], both tensors on the GPU."""
        import torch

        return self._tried(lambda extractor: extractor.on_device(images),
                           lambda: torch.from_numpy(self._fallback(images.cpu().numpy())).to(images.device))

    def _tried(self, call: Callable[..., Features], instead: Callable[[], Features]) -> Features:
        if self._active is self._fallback:
            return instead()
        try:
            return self._finite(call(self._active))
        except PictureSizeError as error:  # nothing is broken, and other pictures will fit again
            _log.debug("this call on the CPU: %s", error)
            return instead()
        except Exception as error:  # libraries for GPUs raise what they like, and a robot goes on all the same
            _log.debug("the network on the GPU", exc_info=True)
            lines = str(error).splitlines() or [type(error).__name__]
            reason = f"{self._active.name} on {self._active.device} failed: {lines[0]}"
            _log.warning("features: %s goes on on the CPU, because %s", self._fallback.name, reason)
        self._active = self._fallback
        self._active.reason = reason
        return instead()

    def _finite(self, features: Features) -> Features:
        """BackendError if fp16 overflowed. On the device nobody waits for it here; the pipeline asks."""
        # The sum of unit vectors is finite if each of them is.
        if isinstance(features, np.ndarray) and not np.isfinite(features.sum()):
            raise BackendError(f"its features in {self._active.precision} are not all finite")
        return features
