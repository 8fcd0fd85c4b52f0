# SPDX-License-Identifier: Apache-2.0
"""Template bank: teacher features of the mesh's visible vertices in posed views, mirror images included."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dinemo_ros.geometry import allocentric, mirror_rotation, se3, viewpoint_from_rotation

from ..data.batches import CorrespondenceSampler, grid_coordinates, project
from ..data.posed_crops import PosedCrop
from ..models.teachers import Teacher, prepare_picture

SIDE = 224        # pixels that templates and photographs are brought to before the teacher sees them
VERTICES = 400    # enough that neighbours lie within a feature cell of each other
_HIDDEN = 96      # mask values below: background, or (64) an occluder of a render


@dataclass(frozen=True)
class TemplateBank:
    """Posed views with one teacher feature per visible vertex; every view shares one list of vertices.

    Attributes:
        vertices: [V] ids in the category mesh; points: [V, 3] metres at mean size.
        features: [K, V, D] unit norm, zero where not visible; visible: [K, V] bool.
        layout: [K, V, 2] where the view shows a vertex: offset (x, y) from the middle of the object's box, in units of
            its larger side.
        rotations: [K, 3, 3] object to camera along the viewing ray; azimuths, elevations: [K] radians.
        mirrored: [K] bool, the view is the mirror image of the one before it.
        instance: [K] which object (sequence, CAD model) is seen, as a number.
    """

    vertices: np.ndarray
    points: np.ndarray
    features: Tensor
    visible: Tensor
    layout: Tensor
    rotations: np.ndarray
    azimuths: np.ndarray
    elevations: np.ndarray
    mirrored: np.ndarray
    instance: np.ndarray

    def views(self, keep: np.ndarray) -> TemplateBank:
        """The bank of the views in ``keep``, [K] bool or indices."""
        index = torch.from_numpy(np.arange(len(self.azimuths))[keep])
        return TemplateBank(self.vertices, self.points, self.features[index], self.visible[index], self.layout[index],
                            self.rotations[keep], self.azimuths[keep], self.elevations[keep], self.mirrored[keep],
                            self.instance[keep])


def build_bank(crops: list[PosedCrop], sampler: CorrespondenceSampler, teacher: Teacher, vertices: int = VERTICES,
               side: int = SIDE) -> TemplateBank:
    """Bank over ``crops`` (posed views, see :mod:`dinemo_training.sequences.posed_templates`) and their mirror images.

    A vertex is looked up where the posed mesh projects it, if it is visible there; the mirror image of a posed view is
    a posed view of the mirrored object, which a left-right symmetric category gives for free. Views are of one
    instance if their names agree up to the last underscore.

    Args:
        vertices: how many of the mesh are used, spread evenly; the same ones in every view, so that a vertex is absent
            from a view only if the view cannot see it.

    Raises:
        ValueError: there are no views.
    """
    if not crops:
        raise ValueError("no template views; give a folder of posed crops that has some")
    ids = spread_vertices(sampler.shape.vertices, vertices)
    instances = list(dict.fromkeys(instance_name(c.name) for c in crops))
    rows = []
    for crop in crops:
        image, mask = crop.image(), crop.foreground()
        rows.append((*_look_up(image, mask, crop.K, crop.T_cam_obj, crop.size, ids, sampler, teacher, side), False))
        flip = np.array([[-1.0, 0, image.shape[1] - 1], [0, 1, 0], [0, 0, 1]])
        T = se3(mirror_rotation(crop.T_cam_obj[:3, :3]), crop.T_cam_obj[:3, 3] * [-1, 1, 1])
        rows.append((*_look_up(np.ascontiguousarray(image[:, ::-1]), None if mask is None else mask[:, ::-1],
                               flip @ crop.K @ np.diag([-1.0, 1, 1]), T, crop.size, ids, sampler, teacher, side), True))
    features, visible, layout, rotations, mirrored = zip(*rows, strict=True)
    angles = np.array([viewpoint_from_rotation(R) for R in rotations])
    return TemplateBank(ids, sampler.shape.vertices[ids], torch.stack(features), torch.from_numpy(np.stack(visible)),
                        torch.from_numpy(np.stack(layout)).float(), np.stack(rotations), angles[:, 0], angles[:, 1],
                        np.array(mirrored), np.repeat([instances.index(instance_name(c.name)) for c in crops], 2))


def instance_name(name: str) -> str:
    """Name of the object that a view named ``<object>_<frame>`` shows."""
    return name.rpartition("_")[0] or name


def spread_vertices(points: np.ndarray, count: int) -> np.ndarray:
    """Sorted indices of ``count`` points [V, 3] spread evenly: each one farthest from those before it."""
    if len(points) <= count:
        return np.arange(len(points))
    chosen = [int(np.argmax(np.linalg.norm(points - points.mean(0), axis=1)))]
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.sort(chosen)


def _look_up(image: np.ndarray, mask: np.ndarray | None, K: np.ndarray, T: np.ndarray, size: np.ndarray,
             ids: np.ndarray, sampler: CorrespondenceSampler, teacher: Teacher,
             side: int) -> tuple[Tensor, np.ndarray, np.ndarray, np.ndarray]:
    """One view: features [V, D], visible [V], layout [V, 2], rotation [3, 3]."""
    S = image.shape[0]
    points = project(sampler.shape.at_size(size), K, T)
    uv, low, high = points[ids], points.min(0), points.max(0)
    visible = sampler.visible(T, size)[ids] & (uv >= -0.5).all(1) & (uv <= S - 0.5).all(1)
    if mask is not None:
        pixel = np.clip(uv.round().astype(int), 0, S - 1)
        rim = max(1, S // 48)  # the projected mean shape overlaps this instance's own outline only so well
        visible &= _dilated(mask, rim)[pixel[:, 1], pixel[:, 0]] >= _HIDDEN
    maps = teacher(prepare_picture(image, side)).float().cpu()
    grid = torch.from_numpy(grid_coordinates(uv, S))
    sampled = F.grid_sample(maps, grid[None, :, None], align_corners=False)[0, :, :, 0].T
    features = F.normalize(sampled, dim=1) * torch.from_numpy(visible)[:, None]
    layout = (uv - 0.5 * (low + high)) / (high - low).max()
    return features, visible, layout, allocentric(T)


def _dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return cv2.dilate(np.ascontiguousarray(mask), kernel)
