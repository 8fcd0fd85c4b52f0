# SPDX-License-Identifier: Apache-2.0
"""Pictures of the report: meshes, poses over photographs, features in false colours, and sheets of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.drawing.overlay import draw_poses
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.neural_mesh import NeuralMesh
from dinemo_ros.pose import ObjectPose

from ..data.picture_file import write_picture
from ..models.category_shape import CategoryShape
from ..synthetic.render.rasterizer import rasterize

TILE = 200   # pixels of one picture in a sheet
_GAP = 6
_BAR = 20    # pixels of a caption


def overlay_mesh(shape: CategoryShape) -> NeuralMesh:
    """The category's mesh as the overlay wants it; features play no part there."""
    unit = np.full((len(shape.vertices), 1), 1.0, np.float32)
    return NeuralMesh(shape.vertices.astype(np.float32), shape.faces, shape.normals.astype(np.float32), unit, unit[:1])


def posed(image: np.ndarray, K: np.ndarray, T_cam_obj: np.ndarray, size: np.ndarray, mesh: NeuralMesh) -> np.ndarray:
    """The picture [H, W, 3] uint8 RGB with the mesh, its box and its axes drawn at a pose (front warm, rear cool).

    Args:
        K: [3, 3] pixels. T_cam_obj: [4, 4] object to camera, metres. size: [3] metres.
    """
    camera = Camera(image.shape[1], image.shape[0], K)
    return draw_poses(image, camera, [ObjectPose(T_cam_obj, 0.0, size)], mesh)


def tile(image: np.ndarray, text: str = "", side: int = TILE) -> np.ndarray:
    """A picture scaled to [side, side, 3] pixels on grey, with one line of text below it."""
    scale = side / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    canvas = np.full((side, side, 3), 228, np.uint8)
    y, x = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
    canvas[y : y + small.shape[0], x : x + small.shape[1]] = small[: side - y, : side - x]
    if not text:
        return canvas
    bar = np.full((_BAR, side, 3), 255, np.uint8)
    cv2.putText(bar, text, (2, _BAR - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (40, 44, 52), 1, cv2.LINE_AA)
    return np.concatenate([canvas, bar])


def save_sheet(path: Path, tiles: Sequence[np.ndarray], columns: int) -> str:
    """Write tiles [h, w, 3] uint8 RGB of one size row by row (JPEG); returns the file's name."""
    rows = []
    for start in range(0, len(tiles), columns):
        row = list(tiles[start : start + columns])
        row += [np.full_like(tiles[0], 255)] * (columns - len(row) if len(tiles) > columns else 0)
        rows.append(np.hstack([np.pad(t, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for t in row]))
    write_picture(path, np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return path.name


def mesh_views(vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray | None = None,
               side: int = TILE) -> list[np.ndarray]:
    """Six views of a mesh on white: shaded, or in ``colours`` [V, 3] uint8 of its vertices."""
    length = float(np.linalg.norm(np.ptp(vertices, axis=0)))
    K = np.array([[3.6 * side, 0, (side - 1) / 2], [0, 3.6 * side, (side - 1) / 2], [0, 0, 1.0]])
    names = ((0, 5, "front"), (45, 20, ""), (90, 5, "left side"), (180, 5, "rear"), (225, 20, ""), (0, 89, "top"))
    views = []
    for azimuth, elevation, name in names:
        T = se3(rotation_from_viewpoint(np.deg2rad(azimuth), np.deg2rad(elevation), 0.0), [0, 0, 4.2 * length])
        seen = rasterize(vertices, faces, K, T, (side, side))
        picture = np.full((side, side, 3), 255, np.uint8)
        corners = faces[seen.face[seen.mask]]
        if colours is None:
            a, b, c = (vertices[faces[:, k]] for k in range(3))
            normal = np.cross(b - a, c - a)
            facing = np.abs((normal / np.linalg.norm(normal, axis=1, keepdims=True)) @ T[:3, :3].T[:, 2])
            picture[seen.mask] = (60 + 180 * facing[seen.face[seen.mask]])[:, None]
        else:
            weights = seen.weights[seen.mask][..., None]
            picture[seen.mask] = np.clip((weights * colours[corners]).sum(1), 0, 255)
        views.append(tile(picture, name or f"azimuth {azimuth}", side))
    return views


class FalseColours:
    """The three strongest directions in which vertex features differ, as red, green and blue.

    Args:
        features: [V, D] of the mesh; the same colours then serve the mesh and pictures.
    """

    def __init__(self, features: np.ndarray) -> None:
        self.mean = features.mean(0)
        centred = features - self.mean
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        self.axes = axes[:3].T
        values = centred @ self.axes
        self.low, self.high = np.quantile(values, 0.02, axis=0), np.quantile(values, 0.98, axis=0)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """uint8 [..., 3] of features [..., D]."""
        value = ((features - self.mean) @ self.axes - self.low) / (self.high - self.low)
        return (np.clip(value, 0, 1) * 255).astype(np.uint8)
