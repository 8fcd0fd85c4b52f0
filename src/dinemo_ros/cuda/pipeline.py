# SPDX-License-Identifier: Apache-2.0
"""The pipeline with its solver on a torch device; see ``dinemo_ros.pipeline``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..bundle import Bundle
from ..camera import Camera
from ..crop import CropCamera, warp_crop
from ..errors import BackendError
from ..features import FeatureExtractor
from ..pipeline import Solved, StagedPipeline
from .solver import DeviceSolver
from .warp import warp_crops


class TorchPipeline(StagedPipeline):
    """Warp, network and solver on one device, as far as the network can take and give tensors there.

    device: of torch. evidence: see :class:`dinemo_ros.solver.PoseSolver`.
    """

    def __init__(self, bundle: Bundle, extractor: FeatureExtractor, device: str = "cuda",
                 evidence: str = "clutter") -> None:
        super().__init__(extractor, DeviceSolver(bundle.mesh, bundle.card, device, evidence), ("solve",))
        self.device = torch.cuda.get_device_name() if device == "cuda" else "CPU, twins in torch"
        self._size = bundle.card.image.size

    def features(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera]) -> np.ndarray | Tensor:
        """Feature maps [B, D, h, h] of crops of an image, a tensor where the network gives tensors."""
        return self._features(self._warped(image, camera, crops))

    def _features(self, pixels: np.ndarray | Tensor) -> np.ndarray | Tensor:
        return self.extractor(pixels) if isinstance(pixels, np.ndarray) else self.extractor.on_device(pixels)

    def _run(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera],
             solve: Callable[[np.ndarray | Tensor], Solved]) -> Solved:
        """BackendError where features that stay on the device are not finite: the solver would only find no object."""

        def checked(features: np.ndarray | Tensor) -> Solved:
            # Asked for before the solve and read after it: nobody waits for it.
            total = features.sum() if isinstance(features, Tensor) else 0.0
            solved = solve(features)
            if not math.isfinite(float(total)):
                raise BackendError("the network's features are not all finite")
            return solved

        return super()._run(image, camera, crops, checked)

    def _warped(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera]) -> np.ndarray | Tensor:
        """uint8 [B, S, S, 3], on the device if the network takes it there: else the pixels would come back from it."""
        if takes_tensors(self.extractor, self.solver.device):
            frame = torch.from_numpy(np.ascontiguousarray(image)).to(self.solver.device)
            return warp_crops(frame, camera, crops, self.solver.loops)
        pixels = np.empty((len(crops), self._size, self._size, 3), np.uint8)
        for crop, out in zip(crops, pixels, strict=True):
            warp_crop(image, camera, crop, out)
        return pixels


def takes_tensors(extractor: FeatureExtractor, device: torch.device) -> bool:
    """Whether the network takes and gives tensors on this device."""
    return getattr(extractor, "tensor_device", None) == device.type
