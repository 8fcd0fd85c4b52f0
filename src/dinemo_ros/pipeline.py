# SPDX-License-Identifier: Apache-2.0
"""From an image and crop cameras to pose hypotheses: warp, network, solver.

On the CPU here, on a GPU in ``cuda/pipeline.py``; ``cuda/selection.py`` chooses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from .bundle import Bundle
from .camera import Camera
from .crop import CropCamera, warp_crop
from .features import FeatureExtractor
from .solver import PoseSolver, SolvedPose, Start
from .solver.coarse import Target

Solved = list[list[SolvedPose]]  # per crop its hypotheses


class Pipeline(Protocol):
    """What the estimator drives.

    Attributes:
        device: what the solver runs on, for a person to read.
        timings: milliseconds of wall-clock time per stage of the last call.
    """

    device: str
    timings: dict[str, float]

    def solve(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera],
              targets: Sequence[Target]) -> Solved:
        """Hypotheses of each crop, likeliest first; image uint8 [H, W, 3] RGB. At least one crop.

        Raises:
            BackendError: the network cannot run.
        """
        ...

    def follow(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera], targets: Sequence[Target],
               starts: Sequence[Start]) -> Solved:
        """Of each crop the pose near its start, then its flip, if there is such a thing."""
        ...

    def solve_features(self, features: np.ndarray, targets: Sequence[Target],
                       starts: Sequence[Start] | None = None) -> Solved:
        """:meth:`solve`, or with ``starts`` :meth:`follow`, from feature maps [B, D, h, h] float32 on."""
        ...


class CpuPipeline:
    """The pipeline that runs everywhere; the network may still run on a GPU.

    extractor: the network. threads, evidence: see :class:`PoseSolver`.
    """

    device = "CPU"

    def __init__(self, bundle: Bundle, extractor: FeatureExtractor, threads: int = 2,
                 evidence: str = "clutter") -> None:
        self.extractor, self.solver = extractor, PoseSolver(bundle.mesh, bundle.card, threads, evidence)
        size = bundle.card.image.size
        self._crops = np.empty((4, size, size, 3), np.uint8)  # grows with the number of crops
        self.timings = dict.fromkeys(("crop", "features", "similarity", "coarse", "refine"), 0.0)

    def solve(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera],
              targets: Sequence[Target]) -> Solved:
        return self._run(image, camera, crops, lambda features: self.solver.solve_batch(features, targets))

    def follow(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera], targets: Sequence[Target],
               starts: Sequence[Start]) -> Solved:
        return self._run(image, camera, crops, lambda features: self.solver.follow_batch(features, targets, starts))

    def solve_features(self, features: np.ndarray, targets: Sequence[Target],
                       starts: Sequence[Start] | None = None) -> Solved:
        if starts is None:
            return self.solver.solve_batch(features, targets)
        return self.solver.follow_batch(features, targets, starts)

    def _run(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera],
             solve: Callable[[np.ndarray], Solved]) -> Solved:
        """One warp per crop into one batch, one call of the network."""
        begin = time.perf_counter()
        if len(crops) > len(self._crops):
            self._crops = np.empty((len(crops), *self._crops.shape[1:]), np.uint8)
        for crop, pixels in zip(crops, self._crops, strict=False):
            warp_crop(image, camera, crop, pixels)
        warped = time.perf_counter()
        features = self.extractor(self._crops[:len(crops)])
        seen = time.perf_counter()
        solved = solve(features)
        self.timings = {"crop": 1e3 * (warped - begin), "features": 1e3 * (seen - warped), **self.solver.timings}
        return solved
