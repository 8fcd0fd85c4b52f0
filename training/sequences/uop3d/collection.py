# SPDX-License-Identifier: Apache-2.0
"""Many instances in one canonical frame: all pairs aligned, synchronised, and turned so that front is front."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from tqdm import tqdm

from dinemo_ros.geometry import so3_exp, viewpoint_from_rotation

from .alignment import DEFAULT, AlignConfig, align
from .instance import Instance
from .object_sequence import ObjectSequence
from .similarity import Similarity
from .synchronization import Pairs, Synchronized, synchronize


@dataclass(frozen=True)
class Collection:
    """Instances with their transforms into the canonical frame (own frame to canonical frame)."""

    sequences: list[ObjectSequence]
    instances: list[Instance]
    alignment: Synchronized

    def azimuths(self, k: int) -> np.ndarray:
        """[N] radians: from where the frames of instance ``k`` see it, heading of the canonical frame."""
        return frame_azimuths(self.sequences[k], self.alignment.transforms[k].R)

    def turned(self, heading: float) -> Collection:
        """The canonical frame turned about its vertical: what had azimuth ``heading`` gets azimuth 0."""
        turn = Similarity(1.0, so3_exp([0, 0, -heading]), np.zeros(3))
        transforms = [turn @ T for T in self.alignment.transforms]
        return replace(self, alignment=replace(self.alignment, transforms=transforms))


def align_pairs(instances: list[Instance], config: AlignConfig = DEFAULT) -> Pairs:
    """Hypotheses of every pair (source < target)."""
    pairs = list(combinations(range(len(instances)), 2))
    return {(i, j): align(instances[i], instances[j], config) for i, j in tqdm(pairs, desc="pairs", leave=False)}


def collect(sequences: list[ObjectSequence], instances: list[Instance], config: AlignConfig = DEFAULT,
            reference: int | None = None) -> Collection:
    """Align all instances; the canonical frame is that of ``reference``, or of the one the others lie on best."""
    return Collection(sequences, instances, synchronize(align_pairs(instances, config), len(instances), reference))


def frame_azimuths(sequence: ObjectSequence, R_canonical_own: np.ndarray) -> np.ndarray:
    """[N] azimuth in radians of every frame of ``sequence`` in the canonical frame."""
    return np.array([viewpoint_from_rotation(T[:3, :3] @ R_canonical_own.T)[0] for T in sequence.T_cam_own])


def heading_from(azimuths: np.ndarray, known: np.ndarray) -> float:
    """Angle by which ``azimuths`` [N] exceed the ``known`` ones (radians): the one human choice per category."""
    return float(np.angle(np.exp(1j * (azimuths - known)).mean()))
