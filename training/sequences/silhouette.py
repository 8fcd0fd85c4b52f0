# SPDX-License-Identifier: Apache-2.0
"""Camera height, distance and box proportions of a turntable sequence from its silhouettes alone.

The azimuth of each frame is known up to a common offset (:mod:`dinemo_training.sequences.posed_templates`). What
remains is the same for the whole sequence and is found by overlaying the category's mean shape: elevation, distance,
length and height of the box relative to its width. Scale and position in the picture are fitted per frame, because
cut-outs are re-centred.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import minimize

from dinemo_ros.geometry import pinhole_matrix, rotation_from_viewpoint, se3

from ..data.evenly import evenly_spread
from ..data.foreground import mask_box
from ..synthetic.render.rasterizer import rasterize

_SIDE = 96  # pixels of the rasters that are compared
_STEP = np.array([0.12, 0.3, 0.08, 0.08, 0.06])


@dataclass(frozen=True)
class SequenceFit:
    """Shared parameters of a sequence; angles in radians, distance in object lengths, size in metres."""

    elevation: float
    distance: float
    size: np.ndarray
    azimuth_offset: float
    iou: np.ndarray  # [N] per frame


def fit_sequence(mesh_vertices: np.ndarray, faces: np.ndarray, mean_size: np.ndarray, masks: list[np.ndarray],
                 azimuths: np.ndarray, fit_offset: bool = True, frames: int = 16) -> SequenceFit:
    """Fit by maximal mean overlap (IoU) over at most ``frames`` evenly chosen frames (Nelder-Mead).

    Args:
        mesh_vertices: [V, 3] metres at ``mean_size``; faces: [F, 3].
        masks: uint8 silhouettes; azimuths: [N] radians.
        fit_offset: also turn all azimuths by a small common angle.
    """
    chosen = evenly_spread(len(masks), frames)
    targets = [_normalised(masks[i]) for i in chosen]

    def cost(x):
        elevation, distance, size, offset = _unpack(x, mean_size, fit_offset)
        points = mesh_vertices * (size / mean_size)
        ious = [overlap(points, faces, azimuths[i] + offset, elevation, distance * size[0], t)[0]
                for i, t in zip(chosen, targets, strict=True)]
        # Weak priors keep what silhouettes hardly show (distance) from running away.
        return 1 - np.mean(ious) + 0.002 * x[1] ** 2 + 0.02 * (x[2] ** 2 + x[3] ** 2) + 0.05 * x[4] ** 2

    best = None
    for elevation in (0.03, 0.2):
        start = np.array([elevation, 0.0, 0.0, 0.0, 0.0])
        simplex = np.vstack([start, start + np.diag(_STEP)])
        result = minimize(cost, start, method="Nelder-Mead",
                          options={"initial_simplex": simplex, "maxfev": 220, "xatol": 3e-3, "fatol": 3e-4})
        if best is None or result.fun < best.fun:
            best = result
    elevation, distance, size, offset = _unpack(best.x, mean_size, fit_offset)
    points = mesh_vertices * (size / mean_size)
    ious = [overlap(points, faces, a + offset, elevation, distance * size[0], _normalised(m))[0]
            for a, m in zip(azimuths, masks, strict=True)]
    return SequenceFit(elevation, distance, size, offset, np.array(ious))


def _unpack(x: np.ndarray, mean_size: np.ndarray, fit_offset: bool) -> tuple[float, float, np.ndarray, float]:
    """x: elevation, log(distance / 3 lengths), log length, log height, azimuth offset."""
    size = mean_size * np.exp([x[2], 0.0, x[3]])
    return float(x[0]), 3.0 * float(np.exp(np.clip(x[1], -0.7, 1.5))), size, float(x[4]) if fit_offset else 0.0


def overlap(points: np.ndarray, faces: np.ndarray, azimuth: float, elevation: float, distance: float,
            target: tuple[np.ndarray, np.ndarray]) -> tuple[float, np.ndarray, np.ndarray]:
    """IoU of the rendered silhouette with ``target`` after a per-frame similarity, and the fitted K [3, 3], T [4, 4].

    K refers to the raster of ``target`` (see :func:`_normalised`).

    Args:
        points: [V, 3] metres. faces: [F, 3] indices. azimuth, elevation: radians. distance: metres.
    """
    mask, _ = target
    T = se3(rotation_from_viewpoint(azimuth, elevation, 0.0), [0.0, 0.0, distance])
    p = points @ T[:3, :3].T + T[:3, 3]
    uv = p[:, :2] / p[:, 2:]
    low, high = uv.min(0), uv.max(0)
    box = np.array(mask_box(mask)).reshape(2, 2)
    extent = high - low
    focal = float((box[1] - box[0]) @ extent / (extent @ extent))
    centre = 0.5 * (box[0] + box[1]) - 0.5 - focal * 0.5 * (low + high)
    K = pinhole_matrix(focal, *centre)
    drawn = rasterize(points, faces, K, T, (mask.shape[1], mask.shape[0])).mask
    union = np.logical_or(drawn, mask > 0).sum()
    return float(np.logical_and(drawn, mask > 0).sum() / max(union, 1)), K, T


def _normalised(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mask's box scaled into a small square raster, and the matrix from picture to raster pixels."""
    x0, y0, x1, y1 = mask_box(mask)
    scale = 0.86 * _SIDE / max(x1 - x0, y1 - y0)
    A = np.array([[scale, 0, _SIDE / 2 - scale * (x0 + x1) / 2],
                  [0, scale, _SIDE / 2 - scale * (y0 + y1) / 2],
                  [0, 0, 1]])
    return cv2.warpAffine(mask, A[:2], (_SIDE, _SIDE), flags=cv2.INTER_AREA), A


def frame_pose(points: np.ndarray, faces: np.ndarray, azimuth: float, elevation: float, distance: float,
               mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """K [3, 3] in pixels of the picture, T_cam_obj [4, 4] and IoU of one frame.

    Args:
        points: [V, 3] metres. faces: [F, 3] indices. azimuth, elevation: radians. distance: metres. mask: [H, W].
    """
    target = _normalised(mask)
    iou, K, T = overlap(points, faces, azimuth, elevation, distance, target)
    return np.linalg.inv(target[1]) @ K, T, iou
