# SPDX-License-Identifier: Apache-2.0
"""From an image and crop cameras to pose hypotheses: warp, network, solver; at low confidence, flip TTA.

On the CPU here, on a GPU in ``cuda/inference.py``; ``cuda/selection.py`` chooses.

Flip test-time augmentation (TTA) adds the crop's mirror image (``model/mirror.py``). It costs more than the crop alone
and gives little in a clear picture: of 300 held-out renders of cars 92.7 % are within ten degrees without it and 92.3 %
with it, of 82 real frames 89.0 and 92.7 %, of renders hidden by three fifths or more 46.7 and 51.3 %. So it is done
where the score is low; what clear real frames would gain is given up for the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from .camera.crop import CropCamera, warp_crop
from .camera.pinhole import Camera
from .features import FeatureExtractor
from .features.flip_tta import beside, flipped
from .model.bundle import Bundle
from .solver import PoseSolver, SolvedPose, Start, prepare_category
from .solver.category import for_flip_tta
from .solver.coarse import TERMS, Target
from .verification.verifier import Verifier, verified, verifier_of

Solved = list[list[SolvedPose]]  # per crop its hypotheses
Result = TypeVar("Result")


class Pipeline(Protocol):
    """What the estimator drives.

    Attributes:
        device: what the solver runs on, for a person to read.
        timings: milliseconds of wall-clock time per stage of the last call.
        terms: names of what the solver can use beside the picture, see :attr:`Target.terms`. Others it leaves out.
        presences: of the last call, per crop the probability that its first hypothesis is of an object, None where
            there is none or the bundle does not tell.
    """

    @property
    def device(self) -> str: ...

    @property
    def terms(self) -> frozenset[str]: ...

    @property
    def timings(self) -> dict[str, float]: ...

    @property
    def presences(self) -> Sequence[float | None]: ...

    def solve(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera], targets: Sequence[Target],
              min_score: float = 0.0) -> Solved:
        """Hypotheses of each crop, likeliest first; image uint8 [H, W, 3] RGB. At least one crop.

        min_score: a score below which flip TTA is not worth its time.

        Raises:
            BackendError: the network cannot run.
        """
        ...

    def follow(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera], targets: Sequence[Target],
               starts: Sequence[Start]) -> Solved:
        """Of each crop the pose near its start, then its flip, if there is such a thing.

        Args:
            image: uint8 [H, W, 3] RGB. camera, crops, targets: as for :meth:`solve`.
            starts: one per crop, in its crop camera's frame, metres.

        Raises:
            BackendError: the network cannot run.
        """
        ...

    def solve_features(self, features: np.ndarray, targets: Sequence[Target], starts: Sequence[Start] | None = None,
                       flip_tta: bool = False) -> Solved:
        """:meth:`solve`, or with ``starts`` :meth:`follow`, from feature maps [B, D, h, h] float32 on.

        flip_tta: they are those of crops and of their mirror images, [B, 2 D, h, h]. No flip is added.
        """
        ...

    def same_image(self) -> AbstractContextManager:
        """Around calls with one image that nobody writes to meanwhile: it is brought to the device once."""
        ...


class StagedPipeline:
    """What every pipeline does: warp, network and solver one after the other, each timed.

    Args:
        extractor: the network. solver: :class:`PoseSolver` or one that does the same.
        flip_solver: the same for the features of crops and their mirror images; None without flip TTA.
        tta_threshold: score below which it is asked.
        stages: names of the solver's timings.
        verifier: of the bundle, see :mod:`dinemo_ros.verification`.
    """

    def __init__(self, extractor: FeatureExtractor, solver: PoseSolver, flip_solver: PoseSolver | None,
                 tta_threshold: float, stages: Sequence[str], verifier: Verifier | None = None) -> None:
        self.extractor, self.solver, self.verifier = extractor, solver, verifier
        self.presences: Sequence[float | None] = []
        self.flip_solver, self.tta_threshold = flip_solver, tta_threshold
        self.timings = dict.fromkeys(("crop", "features", *stages), 0.0)

    def solve(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera], targets: Sequence[Target],
              min_score: float = 0.0) -> Solved:
        """Hypotheses of each crop, likeliest first; see :meth:`Pipeline.solve`."""
        return self._run(image, camera, crops, Asked(targets), min_score)

    def follow(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera], targets: Sequence[Target],
               starts: Sequence[Start]) -> Solved:
        """Of each crop the pose near its start, then its flip; see :meth:`Pipeline.follow`."""
        return self._run(image, camera, crops, Asked(targets, starts), 0.0)

    def solve_features(self, features: np.ndarray, targets: Sequence[Target], starts: Sequence[Start] | None = None,
                       flip_tta: bool = False) -> Solved:
        """From ``features`` [B, D, h, h] float32 on, without warp and network; see :meth:`Pipeline.solve_features`."""
        return self._answer(self.flip_solver if flip_tta else self.solver, Asked(targets, starts))(features)

    def same_image(self) -> AbstractContextManager:
        """Nothing to be kept: the image is in the host's memory, where it is needed."""
        return nullcontext()

    def _run(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera], asked: Asked,
             min_score: float) -> Solved:
        """Times are those of the host: on a GPU a stage ends when it is asked for, and "solve" has all the waiting."""
        self.timings = dict.fromkeys(self.timings, 0.0)
        answer = self._answer(self.solver, asked)
        pixels = self._timed("crop", lambda: self._warped(image, camera, crops))
        features = self._timed("features", lambda: self._features(pixels))
        solved = self._solved(self.solver, answer, features)
        low = [k for k, poses in enumerate(solved)
               if min_score <= (poses[0].score if poses else 0.0) < self.tta_threshold]  # of low confidence
        if self.flip_solver and low:
            answer = self._answer(self.flip_solver, asked.only(low))
            both = self._timed("features", lambda: beside(features[low], self._features(flipped(pixels[low]))))
            for k, poses in zip(low, self._solved(self.flip_solver, answer, both), strict=True):
                solved[k] = poses
        self.presences = verified(self.verifier, features, asked.targets, solved)
        return solved

    def _timed(self, stage: str, call: Callable[[], Result]) -> Result:
        begin = time.perf_counter()
        result = call()
        self.timings[stage] += 1e3 * (time.perf_counter() - begin)
        return result

    def _solved(self, solver: PoseSolver, answer: Callable[..., Solved], features: np.ndarray) -> Solved:
        solved = answer(features)
        for stage, milliseconds in solver.timings.items():
            self.timings[stage] += milliseconds
        return solved

    def _warped(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera]) -> np.ndarray:
        """uint8 [B, S, S, 3] in one batch, where the network takes it."""
        raise NotImplementedError

    def _features(self, pixels: np.ndarray) -> np.ndarray:
        """Feature maps [B, D, h, h], one call of the network."""
        return self.extractor(pixels)

    def _answer(self, solver: PoseSolver, asked: Asked) -> Callable[..., Solved]:
        """What makes hypotheses of feature maps; called before these are there, so that it can prepare."""
        if asked.starts is None:
            return lambda features: solver.solve_batch(features, asked.targets)
        return lambda features: solver.follow_batch(features, asked.targets, asked.starts)


@dataclass(frozen=True)
class Asked:
    """What is to be found in each crop: the object, or where it went from its start."""

    targets: Sequence[Target]
    starts: Sequence[Start] | None = None

    def only(self, chosen: Sequence[int]) -> Asked:
        """The same for the crops with the indices ``chosen``, in that order."""
        return Asked([self.targets[k] for k in chosen], self.starts and [self.starts[k] for k in chosen])


class CpuPipeline(StagedPipeline):
    """The pipeline that runs everywhere; the network may still run on a GPU.

    Of one crop all threads compute the features and one the pose; of several each thread takes whole ones, stage by
    stage.

    extractor: the network. threads: see :class:`PoseSolver`. evidence: see :func:`prepare_category`.
    """

    device, terms = "CPU", TERMS

    def __init__(self, bundle: Bundle, extractor: FeatureExtractor, threads: int = 2,
                 evidence: str = "clutter") -> None:
        card, category = bundle.card, prepare_category(bundle.mesh, bundle.card, evidence)
        flip_solver = PoseSolver(for_flip_tta(category), threads) if card.features.flip_tta else None
        super().__init__(extractor, PoseSolver(category, threads), flip_solver, card.score.tta_threshold,
                         ("similarity", "coarse", "refine"), verifier_of(bundle))
        self._crops = np.empty((4, card.image.size, card.image.size, 3), np.uint8)  # grows with the number of crops

    def _warped(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera]) -> np.ndarray:
        if len(crops) > len(self._crops):
            self._crops = np.empty((len(crops), *self._crops.shape[1:]), np.uint8)
        for crop, pixels in zip(crops, self._crops, strict=False):  # OpenCV shares each among its own threads
            warp_crop(image, camera, crop, pixels)
        return self._crops[:len(crops)]
