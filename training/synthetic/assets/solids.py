# SPDX-License-Identifier: Apache-2.0
"""Boxes, bars and a gripper: what stands on a table, supports an object, holds it or gets between it and the camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dinemo_ros.geometry import se3

from .asset import Asset, Material, smooth_normals
from .skin import colour, cup_skin
from .vessel import lathe

_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_SIDES = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
_SIDE_UV = np.array([[0.02, 0.02], [0.02, 0.98], [0.98, 0.98], [0.98, 0.02]])
_TRIANGLES = ((0, 1, 2), (0, 2, 3))


def moved(asset: Asset, T: np.ndarray, ground: float = 0.0) -> Asset:
    """The asset in another frame.

    Args:
        T: [4, 4] the asset's frame to the other, in the asset's unit of length. ground: z of the ground there.
    """
    R, t = T[:3, :3], T[:3, 3]
    return replace(asset, vertices=asset.vertices @ R.T + t, normals=(asset.normals @ R.T).astype(np.float32),
                   ground=ground)


def cuboids(name: str, blocks: list[tuple[np.ndarray, np.ndarray]], material: Material) -> Asset:
    """One asset of boxes.

    Args:
        blocks: size [3] of each, and T [4, 4] of its middle in the asset's frame, one unit of length.
    """
    vertices, faces, normals, uv = [], [], [], []
    for size, T in blocks:
        corners = (_CORNERS * size) @ T[:3, :3].T + T[:3, 3]
        for side in _SIDES:
            normal = corners[side].mean(axis=0) - T[:3, 3]
            faces += [np.array(t) + 4 * len(vertices) for t in _TRIANGLES]
            normals += [np.tile(normal / np.linalg.norm(normal), (3, 1))] * 2
            uv += [_SIDE_UV[list(t)] for t in _TRIANGLES]
            vertices.append(corners[side])
    points = np.concatenate(vertices)
    return Asset(name, points, np.array(faces, np.int32), np.array(normals, np.float32), np.array(uv, np.float32),
                 np.zeros(len(faces), np.int32), (material,), np.ptp(points, axis=0), float(points[:, 2].min()))


def printed_box(size: np.ndarray, rng: np.random.Generator) -> Asset:
    """A carton or a book of ``size`` [3], drawn units (scaled metres), with prints on it; its origin is its middle."""
    skin = cup_skin(rng)
    return cuboids("box", [(np.asarray(size), np.eye(4))], Material((1.0, 1.0, 1.0), skin.texture, 0.3 * skin.gloss))


def bar(start: np.ndarray, end: np.ndarray, radius: float, rng: np.random.Generator) -> Asset:
    """A round bar between two points [3], as an arm of a robot or of a person, in one colour."""
    along = end - start
    length = float(np.linalg.norm(along))
    t = np.array([0, 0.06, 0.15, 1.0, 1.0]) * length
    points, faces = lathe(radius * np.array([0.05, 0.75, 1.0, 1.1, 1e-3]), t, corners=20)
    points = points @ _frame_along(along / length).T + start
    material = Material(tuple(colour(rng)), gloss=float(rng.uniform(0, 0.8)))
    return Asset("bar", points, faces.astype(np.int32), smooth_normals(points, faces).astype(np.float32),
                 np.zeros((len(faces), 3, 2), np.float32), np.zeros(len(faces), np.int32), (material,),
                 np.ptp(points, axis=0))


def gripper(radius: float, height: float, azimuth: float, unit: float, rng: np.random.Generator) -> Asset:
    """Two fingers, a palm and a wrist around an upright body of ``radius`` at ``height``, in the body's frame.

    Args:
        azimuth: from where it reaches in, radians about z from x. unit: how many units of length a metre has.
    """
    thick, high, gap = 0.012 * unit, 0.022 * unit, radius + 0.006 * unit
    reach = radius + 0.05 * unit
    boxes = [((reach + 0.02 * unit, thick, high), ((reach - 0.02 * unit) / 2, side * gap)) for side in (-1, 1)]
    boxes += [((0.05 * unit, 2 * gap + 0.03 * unit, 0.05 * unit), (reach + 0.025 * unit, 0.0)),
              ((0.25 * unit, 0.06 * unit, 0.06 * unit), (reach + 0.175 * unit, 0.0))]
    turn = np.array([[np.cos(azimuth), -np.sin(azimuth), 0], [np.sin(azimuth), np.cos(azimuth), 0], [0, 0, 1.0]])
    blocks = [(np.array(size), se3(turn, turn @ np.array([*middle, height]))) for size, middle in boxes]
    return cuboids("gripper", blocks, Material(tuple(colour(rng)), gloss=float(rng.uniform(0.1, 0.8))))


def _frame_along(z: np.ndarray) -> np.ndarray:
    """A rotation [3, 3] whose third column is the unit vector ``z`` [3]."""
    x = np.cross(z, np.eye(3)[np.argmin(np.abs(z))])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)
