# SPDX-License-Identifier: Apache-2.0
"""Training batches: augmented crops with vertex-to-pixel links and background cells."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dinemo_ros.solver.visibility import direction_index, visibility_table

from ..models.category_shape import CategoryShape
from . import augmentation as augment
from .posed_crops import PosedCrop


@dataclass(frozen=True)
class BatchConfig:
    """How many links are sampled per picture; the loss averages over them."""

    vertices: int = 96    # visible vertices per picture
    background: int = 64  # background points per picture


class CorrespondenceSampler:
    """Projects the category mesh, scaled to the instance's box, into augmented crops.

    An instance whose shape is not told has the mean one: the student learns where a pixel lies *in the category box*,
    which is what the solver needs to know, rather than which part it is (a hood is longer here and shorter there).
    """

    def __init__(self, shape: CategoryShape, augmentation: augment.AugmentConfig,
                 config: BatchConfig = BatchConfig()) -> None:
        self.shape, self.augmentation, self.config = shape, augmentation, config
        self.rarity = shape.rarity()
        self.table = visibility_table(shape.vertices, shape.faces, shape.normals)

    def visible(self, T_cam_obj: np.ndarray, size: np.ndarray) -> np.ndarray:
        """[V] bool: vertices of the instance that face this camera and are not behind the object itself."""
        scale = size / self.shape.size
        centre = camera_centre(T_cam_obj) / scale  # the camera in the frame of the mean shape
        row = self.table.visible[direction_index(centre, self.table.azimuths, self.table.elevations)] > 0
        return row & (((centre - self.shape.vertices) * self.shape.normals).sum(1) > 0)

    def sample(self, rng: np.random.Generator, crop: PosedCrop, background: np.ndarray, occluder: np.ndarray,
               neighbour: PosedCrop | None = None) -> dict[str, np.ndarray]:
        """One training example from ``crop``.

        What may be pasted: ``background`` and ``occluder`` [S, S, 3], and the object of ``neighbour`` (with a mask).
        """
        a = self.augmentation
        points = self.shape.at_size(crop.size, crop.shape)
        image, mask, K, T = augment.random_view(rng, crop.image(), crop.foreground(), crop.K, crop.T_cam_obj,
                                                project(points, crop.K, crop.T_cam_obj), background, a)
        if mask is not None and mask.any() and rng.random() < a.background:
            image = augment.replace_background(image, mask, background)
        hidden, beside = np.zeros((2, *image.shape[:2]), np.uint8)
        if neighbour is not None and mask is not None and rng.random() < a.neighbour:
            image, beside, hidden = augment.add_neighbour(rng, image, mask, neighbour.image(), neighbour.foreground())
        if rng.random() < a.occlude:
            image, occluded = augment.occlude(rng, image, occluder)
            hidden |= occluded
        pasted = cv2.erode(hidden | beside, np.ones((9, 9)))  # cells on its rim show the object too
        if mask is not None:
            hidden[(mask > 32) & (mask < 96)] = 255  # renders mark what an occluder covers with 64
        image = augment.photometric(rng, image, a.low_resolution)

        uv = project(points, K, T)
        visible = self.visible(T, crop.size)
        inside = (uv >= 0).all(1) & (uv <= a.size - 1).all(1)
        shown = np.zeros(len(uv), bool)
        cells = uv[inside].round().astype(int)
        if mask is not None and self.shape.places is not None:
            # Handles differ by more than they are thick: the mean one often lies beside the real one, on the table.
            hidden[cv2.dilate(mask, np.ones((7, 7))) == 0] = 255
        shown[inside] = hidden[cells[:, 1], cells[:, 0]] == 0
        candidates = np.flatnonzero(visible & shown)
        off = (self._silhouette(uv, mask) == 0) | (pasted > 0)
        return {"image": image, **self._pick_vertices(rng, candidates, uv, crop.weight, a.size),
                **self._pick_background(rng, off, a.size)}

    def _pick_vertices(self, rng: np.random.Generator, candidates: np.ndarray, uv: np.ndarray, weight: float,
                       S: int) -> dict[str, np.ndarray]:
        n = self.config.vertices
        ids, w = np.zeros(n, np.int64), np.zeros(n, np.float32)
        if len(candidates):
            share = None if self.rarity is None else self.rarity[candidates] / self.rarity[candidates].sum()
            chosen = rng.choice(candidates, min(n, len(candidates)), replace=False, p=share)
            ids[: len(chosen)], w[: len(chosen)] = chosen, weight
        return {"vertex_ids": ids, "weights": w, "pixels": grid_coordinates(uv[ids], S)}

    def _silhouette(self, uv: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Pixels that may belong to the object: its hull, and the mask where one exists, with a rim."""
        S = self.augmentation.size
        filled = np.zeros((S, S), np.uint8)
        hull = cv2.convexHull(np.clip(uv, -4 * S, 4 * S).astype(np.float32)).astype(np.int32)
        cv2.fillConvexPoly(filled, hull, 255)
        filled = cv2.dilate(filled, np.ones((13, 13)))  # real outlines differ from the mean shape's
        if mask is not None:
            filled[cv2.dilate(mask, np.ones((9, 9))) == 0] = 0
        return filled

    def _pick_background(self, rng: np.random.Generator, off: np.ndarray, S: int) -> dict[str, np.ndarray]:
        """Points where no vertex is seen: off the object, or on what was pasted over it. ``off``: [S, S] bool."""
        m = self.config.background
        rows, columns = np.nonzero(off)
        points, w = np.zeros((m, 2)), np.zeros(m, np.float32)
        if len(rows):
            chosen = rng.integers(0, len(rows), m)
            points, w[:] = np.stack([columns[chosen], rows[chosen]], 1), 1.0
        return {"background": grid_coordinates(points, S), "background_weight": w}


def project(points: np.ndarray, K: np.ndarray, T_cam_obj: np.ndarray) -> np.ndarray:
    """Pixels [V, 2] of object points [V, 3] in metres; points behind the camera land far outside."""
    p = points @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    q = p @ K.T
    return q[:, :2] / np.maximum(q[:, 2:], 1e-3)


def camera_centre(T_cam_obj: np.ndarray) -> np.ndarray:
    """Camera position [3] in the object frame, metres."""
    return -T_cam_obj[:3, :3].T @ T_cam_obj[:3, 3]


def grid_coordinates(uv: np.ndarray, size: int) -> np.ndarray:
    """Integer-centred pixels [N, 2] -> torch ``grid_sample`` coordinates (align_corners=False), float32."""
    return ((2 * uv + 1) / size - 1).astype(np.float32)
