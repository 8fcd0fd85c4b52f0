# SPDX-License-Identifier: Apache-2.0
"""The pipeline with its solver on a torch device; see ``dinemo_ros.inference``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ..camera.crop import CropCamera, warp_crop
from ..camera.pinhole import Camera
from ..errors import BackendError
from ..features import FeatureExtractor
from ..inference import Asked, Solved, StagedPipeline
from ..model.bundle import Bundle
from ..solver import prepare_category
from ..solver.category import for_flip_tta
from ..verification.verifier import verifier_of
from .solver import DeviceSolver
from .warp import warp_crops


class TorchPipeline(StagedPipeline):
    """Warp, network and solver on one device, as far as the network can take and give tensors there.

    device: of torch. evidence: see :func:`dinemo_ros.solver.prepare_category`.
    """

    terms: frozenset[str] = frozenset()  # it knows neither support plane nor depth

    def __init__(self, bundle: Bundle, extractor: FeatureExtractor, device: str = "cuda",
                 evidence: str = "clutter") -> None:
        category = prepare_category(bundle.mesh, bundle.card, evidence)
        flip_solver = DeviceSolver(for_flip_tta(category), device) if bundle.card.features.flip_tta else None
        super().__init__(extractor, DeviceSolver(category, device), flip_solver, bundle.card.score.tta_threshold,
                         ("solve",), verifier_of(bundle))
        self.device = torch.cuda.get_device_name() if device == "cuda" else "CPU, twins in torch"
        self._size = bundle.card.image.size
        self._frame: tuple[np.ndarray, Tensor] | None = None  # the last image and its copy
        self._same_image = False

    @contextmanager
    def same_image(self) -> Iterator[None]:
        """Around calls with one image that nobody writes to meanwhile: it is copied to the GPU by the first of them."""
        self._same_image = True
        try:
            yield
        finally:
            self._same_image, self._frame = False, None

    def features(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera]) -> np.ndarray | Tensor:
        """Feature maps [B, D, h, h] of unit length per cell, a tensor where the network gives tensors.

        Args:
            image: uint8 [H, W, 3] RGB, of ``camera``. crops: B of them, at least one.
        """
        return self._features(self._warped(image, camera, crops))

    def _features(self, pixels: np.ndarray | Tensor) -> np.ndarray | Tensor:
        return self.extractor(pixels) if isinstance(pixels, np.ndarray) else self.extractor.on_device(pixels)

    def _answer(self, solver: DeviceSolver, asked: Asked) -> Callable[[np.ndarray | Tensor], Solved]:
        """BackendError where features that stay on the device are not finite: the solver would only find no object."""
        rows = solver.prepared(asked.targets, asked.starts)  # on their way while the network runs

        def checked(features: np.ndarray | Tensor) -> Solved:
            # Asked for before the solve and read after it: nobody waits for it.
            total = features.sum() if isinstance(features, Tensor) else 0.0
            solved = solver.solved(features, rows)
            if not math.isfinite(float(total)):
                raise BackendError("the network's features are not all finite")
            return solved

        return checked

    def _warped(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera]) -> np.ndarray | Tensor:
        """uint8 [B, S, S, 3], on the device if the network takes it there: else the pixels would come back from it."""
        if takes_tensors(self.extractor, self.solver.device):
            return warp_crops(self._uploaded(image), camera, crops, self.solver.loops, self.solver.staging)
        pixels = np.empty((len(crops), self._size, self._size, 3), np.uint8)
        for crop, out in zip(crops, pixels, strict=True):
            warp_crop(image, camera, crop, out)
        return pixels

    def _uploaded(self, image: np.ndarray) -> Tensor:
        """The image on the device; of the same one, a re-crop takes the copy of the first crop."""
        if self._frame is None or self._frame[0] is not image:
            frame = image, self.solver.staging.upload("frame", image)
            if not self._same_image:  # whose memory may be another image's by the next call
                return frame[1]
            self._frame = frame
        return self._frame[1]


def takes_tensors(extractor: FeatureExtractor, device: torch.device) -> bool:
    """Whether the network takes and gives tensors on this device."""
    return getattr(extractor, "tensor_device", None) == device.type
