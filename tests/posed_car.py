# SPDX-License-Identifier: Apache-2.0
"""Posed crops of the planted car for the tests of the training half (needs the training extra)."""

from __future__ import annotations

import cv2
import numpy as np
from painted_car import BACKGROUND, paint
from unit.planted import SIZE, car_mesh

from dinemo_ros.geometry import ray_rotation, rotation_from_viewpoint, se3
from dinemo_training.data.posed_crops import PosedCrop
from dinemo_training.models.category_shape import CategoryShape
from dinemo_training.synthetic.render.rasterizer import rasterize


def car_shape() -> CategoryShape:
    """The planted car, left-right symmetric in shape, as a category's mean shape."""
    mesh = car_mesh()
    return CategoryShape(mesh.vertices.astype(np.float64), mesh.faces, mesh.normals.astype(np.float64))


def mirror_partner(vertices: np.ndarray) -> np.ndarray:
    """[V] index of each vertex's mirror image in a left-right symmetric mesh [V, 3]."""
    distance = np.linalg.norm(vertices[:, None] * [1, -1, 1] - vertices, axis=-1)
    assert distance.min(1).max() < 1e-5, "the mesh is not left-right symmetric"
    return distance.argmin(1)


def look_at(azimuth_deg: float, elevation_deg: float = 10.0, theta_deg: float = 0.0, centre=(0.0, 0.0, 12.0)):
    """T_cam_obj [4, 4] of an object at ``centre`` seen from a viewpoint along its own ray."""
    centre = np.asarray(centre, dtype=np.float64)
    return se3(ray_rotation(centre) @ rotation_from_viewpoint(*np.deg2rad([azimuth_deg, elevation_deg, theta_deg])),
               centre)


def random_pose(rng: np.random.Generator) -> np.ndarray:
    """T_cam_obj [4, 4] of a car some 12 m away, a little off the optical axis."""
    return look_at(rng.uniform(0, 360), rng.uniform(-5, 30), rng.uniform(-10, 10),
                   [*rng.uniform(-1, 1, 2), rng.uniform(9, 15)])


def intrinsics(side: int, focal: float = 2.0) -> np.ndarray:
    """K [3, 3] of a square picture; ``focal`` in sides."""
    return np.array([[focal * side, 0, (side - 1) / 2], [0, focal * side, (side - 1) / 2], [0, 0, 1]])


def draw(T_cam_obj: np.ndarray, side: int = 200, size=SIZE, focal: float = 2.0, white: bool = False):
    """RGB uint8 [S, S, 3] of the painted (or white on black) car, and its mask uint8 [S, S]."""
    shape = car_shape()
    seen = rasterize(shape.at_size(size), shape.faces, intrinsics(side, focal), T_cam_obj, (side, side))
    points = np.einsum("ijk,ijkc->ijc", seen.weights, shape.vertices[shape.faces[seen.face]])
    image = np.where(seen.mask[..., None], paint(points.reshape(-1, 3)).reshape(points.shape), BACKGROUND)
    if white:
        image = np.repeat(255 * seen.mask[..., None], 3, 2)
    return image.round().astype(np.uint8), np.where(seen.mask, 255, 0).astype(np.uint8)


def posed_crop(T_cam_obj: np.ndarray, name: str = "car", side: int = 200, size=SIZE, focal: float = 2.0,
               masked: bool = True, white: bool = False) -> PosedCrop:
    """A crop in memory; its picture is stored without loss."""
    image, mask = draw(T_cam_obj, side, size, focal, white)
    return PosedCrop(name, _png(image[..., ::-1]), _png(mask) if masked else None, intrinsics(side, focal), T_cam_obj,
                     np.array(size))


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()
