# SPDX-License-Identifier: Apache-2.0
"""A photograph and its mirror image must have mirrored poses: a cheap test for left/right and front/rear flips.

A model that takes left for right or front for rear rarely makes the mirrored mistake. Disagreement rejects a label, or
a runner-up on which both agree corrects it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dinemo_ros.geometry import allocentric, mirror_rotation
from dinemo_ros.model.symmetry import NO_SYMMETRY, Symmetry

AGREE_DEG = 20.0  # mirrored poses closer than this are one pose
MODES = ("off", "reject", "correct")


@dataclass(frozen=True)
class Candidate:
    """One pose of one picture: T_cam_obj [4, 4], size [3], score 0..1."""

    T_cam_obj: np.ndarray
    size: np.ndarray
    score: float

    @property
    def rotation(self) -> np.ndarray:
        """[3, 3] as seen along the ray to the object."""
        return allocentric(self.T_cam_obj)


@dataclass(frozen=True)
class Label(Candidate):
    """The chosen pose; ``margin``: how far the best consistent pose leads over the next different one.

    agreement_deg: turn between the two pictures' poses; NaN where the mirror image was not used.
    """

    margin: float
    agreement_deg: float


def reconcile(original: list[Candidate], mirrored: list[Candidate], mode: str = "correct",
              symmetry: Symmetry = NO_SYMMETRY) -> Label | None:
    """The pose on which a picture and its mirror image agree best, or None.

    Args:
        original, mirrored: candidates, best first; the mirrored ones are mirrored back here.
        mode: "correct" lets any two candidates agree, "reject" only the best ones, "off" uses the picture alone.
        symmetry: of the category; poses that it makes one agree, and are no others.

    Raises:
        ValueError: there is no such mode.
    """
    if mode not in MODES:
        raise ValueError(f"mirror check {mode!r}; give one of {', '.join(MODES)}")
    back = [mirror_rotation(c.T_cam_obj[:3, :3]) for c in mirrored]
    if mode == "off":
        pairs = [(2 * c.score, float("nan"), c) for c in original[:1]]
        mirrored, back = [], []
    else:
        first = 1 if mode == "reject" else None
        pairs = []
        for a in original[:first]:
            for b, R in zip(mirrored[:first], back[:first], strict=True):
                angle = float(np.rad2deg(symmetry.distance(a.T_cam_obj[:3, :3], R)))
                if angle < AGREE_DEG:
                    pairs.append((a.score + b.score, angle, a))
    if not pairs:
        return None
    total, angle, best = max(pairs, key=lambda p: p[0])
    singles = [(c.score, c.T_cam_obj[:3, :3]) for c in original]
    singles += [(c.score, R) for c, R in zip(mirrored, back, strict=True)]
    others = [s for s, R in singles if np.rad2deg(symmetry.distance(R, best.T_cam_obj[:3, :3])) > 2 * AGREE_DEG]
    return Label(best.T_cam_obj, best.size, total / 2, total / 2 - max(others, default=0.0), angle)
