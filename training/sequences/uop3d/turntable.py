# SPDX-License-Identifier: Apache-2.0
"""Cameras of a walk around an object, in a frame of its own, from order, silhouettes and features alone.

UOP3D takes videos whose cameras structure from motion has found. Turntables of a few dozen frames in a studio give it
nothing to hold on to, but they have order: a full turn in about equal steps. What is left is found so:

* height and distance of the camera: silhouette coherence (Hernandez, Schmitt and Cipolla, PAMI 2007): with the right
  camera the visual hull fills the silhouettes that it was cut from, with a wrong one it is too small;
* sense of rotation: seen from far and at eye level, a turn the other way fits silhouettes just as well (Necker's
  reversal); features tell, because under the wrong sense one vertex collects two different places of the object;
* the place of each picture, which may be re-centred: the hull's box is laid on the silhouette's box.

The camera is assumed above the horizon and upright, the turn to be complete. Uneven steps start as equal ones
(:mod:`dinemo_training.sequences.uop3d.turn_refinement`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from dinemo_ros.geometry import pinhole_matrix, rotation_from_viewpoint, se3
from dinemo_training.data.batches import project
from dinemo_training.data.evenly import evenly_spread
from dinemo_training.data.foreground import mask_box
from dinemo_training.synthetic.shape.visual_hull import hull_overlap, visual_hull

from .instance import view_agreement, with_features
from .object_sequence import Frames, ObjectSequence
from .turn_refinement import refine_turn

_ELEVATIONS = np.radians([1, 5, 9, 13, 17, 22, 28])
_DISTANCES = (2.2, 3.0, 4.2, 6.5)  # in units of the widest silhouette
_TYPICAL = (np.radians(10), 4.2)   # elevation and distance at which both senses are compared
_FRAMES, _RESOLUTION = 18, 32      # of the coarse hulls that are compared
ORDERS = ("auto", "equal", "uneven")
_CLEARLY = 0.03                    # gain in score that uneven steps must bring
_AGREEMENT = 2.0                   # weight of feature agreement against silhouette coherence


@dataclass(frozen=True)
class Turntable:
    """A posed sequence with the evidence for its cameras.

    Attributes:
        how: equal or uneven steps; azimuths: [N] radians, relative; elevation: radians; distance: in widest
            silhouettes; coherence: mean IoU of the hull with its silhouettes; agreement: mean cosine of one vertex's
            features across views.
    """

    sequence: ObjectSequence
    how: str
    azimuths: np.ndarray
    elevation: float
    distance: float
    coherence: float
    agreement: float

    @property
    def score(self) -> float:
        return self.coherence + _AGREEMENT * self.agreement


def pose_turntable(frames: Frames, maps: Tensor, order: str = "auto") -> Turntable:
    """Cameras for ``frames``; ``maps`` [N, D, h, w] are their teacher features.

    Args:
        order: ``equal`` steps, ``uneven`` steps in capture order, or ``auto``: uneven where that explains clearly more.

    Raises:
        ValueError: there is no such order.
    """
    if order not in ORDERS:
        raise ValueError(f"order {order!r} is none of {', '.join(ORDERS)}")
    steps = 2 * np.pi * np.arange(len(frames.masks)) / len(frames.masks)
    both = [_scored(frames, maps, sense * steps, *_TYPICAL, _RESOLUTION) for sense in (1, -1)]
    equal = fit_cameras(frames, maps, max(both, key=lambda t: t.score).azimuths)
    if order == "equal":
        return equal
    uneven = fit_cameras(frames, maps, refine_turn(equal.sequence, maps, equal.azimuths))
    if order == "auto" and uneven.score < equal.score + _CLEARLY:
        return equal
    return replace(uneven, how="uneven")


def fit_cameras(frames: Frames, maps: Tensor, azimuths: np.ndarray) -> Turntable:
    """Best height and distance for relative azimuths [N] in radians, and the sequence with its evidence."""
    chosen = evenly_spread(len(frames.masks), _FRAMES)
    few = frames.subset(chosen)

    def coherence(elevation, distance):
        return _settle(few, azimuths[chosen], elevation, distance, _RESOLUTION)[1]

    elevation = max(_ELEVATIONS, key=lambda e: coherence(e, _TYPICAL[1]))
    distance = max(_DISTANCES, key=lambda d: coherence(elevation, d))
    elevation = max(np.maximum(elevation + np.radians([-2, 0, 2]), 0), key=lambda e: coherence(e, distance))
    return _scored(frames, maps, azimuths, float(elevation), distance, 48)


def _scored(frames: Frames, maps: Tensor, azimuths: np.ndarray, elevation: float, distance: float,
           resolution: int) -> Turntable:
    """The sequence with these cameras, and the evidence for them."""
    sequence, iou = _settle(frames, azimuths, elevation, distance, resolution)
    agreement = view_agreement(with_features(sequence, *visual_hull(sequence), maps))
    return Turntable(sequence, "equal", azimuths, elevation, distance, iou, agreement)


def _settle(frames: Frames, azimuths: np.ndarray, elevation: float, distance: float, resolution: int,
            rounds: int = 2) -> tuple[ObjectSequence, float]:
    """Sequence whose pictures are centred so that the hull lies on the silhouettes, and their mean IoU."""
    boxes = np.array([_box_in_picture(m, A) for m, A in zip(frames.masks, frames.crop_from_picture, strict=True)])
    centres = boxes.mean(1)
    scale = float((boxes[:, 1] - boxes[:, 0]).max())
    sequence = _with_cameras(frames, azimuths, elevation, distance, scale, centres)
    for _ in range(rounds):
        vertices, _ = visual_hull(sequence, resolution**3, resolution, misses=0.15)
        for i, (K, T) in enumerate(zip(sequence.K, sequence.T_cam_own, strict=True)):
            uv = project(vertices, np.linalg.inv(frames.crop_from_picture[i]) @ K, T)
            centres[i] += boxes[i].mean(0) - 0.5 * (uv.min(0) + uv.max(0))
        sequence = _with_cameras(frames, azimuths, elevation, distance, scale, centres)
    return sequence, hull_overlap(sequence, resolution)


def _with_cameras(frames: Frames, azimuths: np.ndarray, elevation: float, distance: float, scale: float,
                  centres: np.ndarray) -> ObjectSequence:
    """Cameras that look at the origin, which is seen at ``centres`` [N, 2]; one unit is ``scale`` picture pixels."""
    focal = scale * distance
    K = np.array([A @ pinhole_matrix(focal, *c)
                  for A, c in zip(frames.crop_from_picture, centres, strict=True)])
    T = np.array([se3(rotation_from_viewpoint(a, elevation, 0.0), [0, 0, distance]) for a in azimuths])
    return ObjectSequence(frames.name, frames.files, frames.images, frames.masks, frames.crop_from_picture, K, T)


def _box_in_picture(mask: np.ndarray, crop_from_picture: np.ndarray) -> np.ndarray:
    """Corners [2, 2] of the mask's box, pixel centres of the uncropped picture."""
    corners = np.array(mask_box(mask)).reshape(2, 2) - 0.5
    return (corners - crop_from_picture[:2, 2]) / np.diag(crop_from_picture)[:2]
