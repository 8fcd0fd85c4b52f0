# SPDX-License-Identifier: Apache-2.0
"""From an image and crop cameras to pose hypotheses: warp, network, solver.

On the CPU here, on a GPU in ``cuda/pipeline.py``; ``cuda/selection.py`` chooses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
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

    def same_image(self) -> AbstractContextManager:
        """Around calls with one image that nobody writes to meanwhile: it is brought to the device once."""
        ...


class StagedPipeline:
    """What every pipeline does: warp, network and solver one after the other, each timed.

    Args:
        extractor: the network. solver: :class:`PoseSolver` or one that does the same.
        stages: names of the solver's timings.
    """

    def __init__(self, extractor: FeatureExtractor, solver: PoseSolver, stages: Sequence[str]) -> None:
        self.extractor, self.solver = extractor, solver
        self.timings = dict.fromkeys(("crop", "features", *stages), 0.0)

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

    def same_image(self) -> AbstractContextManager:
        return nullcontext()

    def _run(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera],
             solve: Callable[[np.ndarray], Solved]) -> Solved:
        """Times are those of the host: on a GPU a stage ends when it is asked for, and "solve" has all the waiting."""
        begin = time.perf_counter()
        pixels = self._warped(image, camera, crops)
        warped = time.perf_counter()
        features = self._features(pixels)
        seen = time.perf_counter()
        solved = solve(features)
        self.timings = {"crop": 1e3 * (warped - begin), "features": 1e3 * (seen - warped), **self.solver.timings}
        return solved

    def _warped(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera]) -> np.ndarray:
        """uint8 [B, S, S, 3] in one batch, where the network takes it."""
        raise NotImplementedError

    def _features(self, pixels: np.ndarray) -> np.ndarray:
        """Feature maps [B, D, h, h], one call of the network."""
        return self.extractor(pixels)


class CpuPipeline(StagedPipeline):
    """The pipeline that runs everywhere; the network may still run on a GPU.

    extractor: the network. threads, evidence: see :class:`PoseSolver`.
    """

    device = "CPU"

    def __init__(self, bundle: Bundle, extractor: FeatureExtractor, threads: int = 2,
                 evidence: str = "clutter") -> None:
        super().__init__(extractor, PoseSolver(bundle.mesh, bundle.card, threads, evidence),
                         ("similarity", "coarse", "refine"))
        size = bundle.card.image.size
        self._crops = np.empty((4, size, size, 3), np.uint8)  # grows with the number of crops

    def _warped(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera]) -> np.ndarray:
        if len(crops) > len(self._crops):
            self._crops = np.empty((len(crops), *self._crops.shape[1:]), np.uint8)
        for crop, pixels in zip(crops, self._crops, strict=False):
            warp_crop(image, camera, crop, pixels)
        return self._crops[:len(crops)]
