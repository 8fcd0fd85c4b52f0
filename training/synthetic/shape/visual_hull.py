# SPDX-License-Identifier: Apache-2.0
"""Shape of an object from its silhouettes: the visual hull (Laurentini, PAMI 1994) as a mesh.

Coarse for the alignment of sequences (:mod:`dinemo_training.sequences.uop3d`); even and metric as the neural mesh of
one object (``--shape hull``). What no silhouette shows, such as the inside of a cup, stays filled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import trimesh
from scipy import ndimage
from skimage import measure

from dinemo_training.data.batches import camera_centre, project
from dinemo_training.data.foreground import mask_box
from dinemo_training.sequences.uop3d.object_sequence import ObjectSequence
from dinemo_training.synthetic.render.rasterizer import rasterize

from .even_remesh import even_remesh

MISSES = 0.08   # share of the frames whose silhouette may miss a point of the object: masks are not perfect
_SMOOTHING = 1.0  # voxels
_RIM = 0.008      # by which silhouettes of the final hull are widened, share of their picture: a handle is not much
                  # thicker than cameras are wrong
_LOWEST = 1.5     # heights of the object that the hull may have before it is cut
_SLACK = 1.04     # times the height of the object at which it is: sizes are measured by hand
_FINE = 88        # voxels per side of the hull that is remeshed


@dataclass(frozen=True)
class HullMesh:
    """A hull in metres, its box centred at the origin.

    Attributes:
        vertices: [V, 3] metres, object frame. faces: [F, 3] outward. centre: [3] of the box in the sequence's own
            frame and unit. scale: metres per own unit.
    """

    vertices: np.ndarray
    faces: np.ndarray
    centre: np.ndarray
    scale: float


def hull_mesh(sequence: ObjectSequence, size: np.ndarray, vertex_count: int) -> HullMesh:
    """The hull with about ``vertex_count`` even vertices, its frame turned as the sequence's own.

    Cameras above an object do not see where it ends below: the hull goes on as a cone. It is cut off where the height
    of ``size`` says, at most by a third.

    Args:
        size: [3] metres, length, width and height of the object. Proportions are the silhouettes', so what counts of
            length and width is their mean scale.
    """
    size = np.asarray(size, dtype=np.float64)
    sequence = replace(sequence, masks=[_widened(mask) for mask in sequence.masks])
    vertices, faces = visual_hull(sequence, _FINE**3, _FINE)
    lower, upper = vertices.min(0), vertices.max(0)
    scale = float(np.sqrt(np.prod(size[:2] / (upper - lower)[:2])))
    floor = min(upper[2] - _SLACK * size[2] / scale, upper[2] - (upper - lower)[2] / _LOWEST)
    if floor > lower[2]:
        vertices, faces = visual_hull(sequence, _FINE**3, _FINE, floor=floor)
    vertices, faces = even_remesh(vertices, faces, vertex_count)
    lower, upper = vertices.min(0), vertices.max(0)
    scale = float(np.exp(np.log(size / (upper - lower)).mean()))
    centre = 0.5 * (lower + upper)
    return HullMesh((vertices - centre) * scale, faces, centre, scale)


def _widened(mask: np.ndarray) -> np.ndarray:
    side = 2 * round(_RIM * max(mask.shape)) + 1
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def visual_hull(sequence: ObjectSequence, vertex_count: int = 400, resolution: int = 56,
                misses: float = MISSES, floor: float = -np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] in the own frame, in its unit, and outward faces [F, 3] of the hull (Laurentini, PAMI 1994).

    Args:
        vertex_count: about so many vertices. resolution: voxels per side. misses: share of the frames that may miss a
            point of the object. floor: z in the own frame below which there is nothing.

    Raises:
        ValueError: no point lies inside the silhouettes.
    """
    centre, radius = bounding_sphere(sequence)
    axis = np.linspace(-radius, radius, resolution)
    grid = centre + np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    inside = inside_share(sequence, grid.reshape(-1, 3)).reshape((resolution,) * 3) >= 1 - misses
    inside &= grid[..., 2] >= floor
    parts, count = ndimage.label(inside)
    if count == 0:
        raise ValueError(f"{sequence.name}: no point lies inside the silhouettes of {1 - misses:.0%} of the frames; "
                         "check masks, order and cameras of the sequence")
    largest = 1 + int(np.argmax(ndimage.sum(inside, parts, range(1, count + 1))))
    level = ndimage.gaussian_filter(np.pad(parts == largest, 3).astype(np.float32), _SMOOTHING)
    vertices, faces, _, _ = measure.marching_cubes(level, 0.5, gradient_direction="ascent")
    vertices = centre - radius + (vertices - 3) * (axis[1] - axis[0])
    mesh = trimesh.Trimesh(vertices, faces)
    # A closed surface has about twice as many faces as vertices (Euler).
    if len(mesh.vertices) > vertex_count:
        mesh = mesh.simplify_quadric_decimation(face_count=2 * vertex_count)
    return np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)


def hull_overlap(sequence: ObjectSequence, resolution: int = 48) -> float:
    """Mean IoU of the hull's pictures with the silhouettes it was cut from: 1 for perfect masks and cameras."""
    vertices, faces = visual_hull(sequence, resolution**3, resolution)
    overlaps = []
    for K, T, mask in zip(sequence.K, sequence.T_cam_own, sequence.masks, strict=True):
        small = np.diag([0.5, 0.5, 1.0]) @ K
        small[:2, 2] -= 0.25
        drawn = rasterize(vertices, faces, small, T, (mask.shape[1] // 2, mask.shape[0] // 2)).mask
        target = mask[::2, ::2] > 0
        overlaps.append((drawn & target).sum() / max((drawn | target).sum(), 1))
    return float(np.mean(overlaps))


def inside_share(sequence: ObjectSequence, points: np.ndarray) -> np.ndarray:
    """[P] share of the frames in whose silhouette the points [P, 3] lie."""
    count = np.zeros(len(points), np.float32)
    for K, T, mask in zip(sequence.K, sequence.T_cam_own, sequence.masks, strict=True):
        rim = np.pad(mask > 0, 1)  # what lies outside of the picture lies on its empty rim
        column, row = np.clip(np.round(project(points, K, T)) + 1, 0, np.array(rim.shape[::-1]) - 1).astype(int).T
        count += rim[row, column]
    return count / len(sequence.masks)


def bounding_sphere(sequence: ObjectSequence) -> tuple[np.ndarray, float]:
    """Centre [3] and radius of a ball that holds the object: where the rays to the boxes' centres meet.

    Both in the unit of the sequence's own frame.
    """
    A, b, spread = np.zeros((3, 3)), np.zeros(3), []
    for K, T, mask in zip(sequence.K, sequence.T_cam_own, sequence.masks, strict=True):
        x0, y0, x1, y1 = mask_box(mask)
        ray = np.linalg.inv(K) @ [0.5 * (x0 + x1) - 0.5, 0.5 * (y0 + y1) - 0.5, 1.0]
        ray = T[:3, :3].T @ ray / np.linalg.norm(ray)
        across = np.eye(3) - np.outer(ray, ray)
        A += across
        b += across @ camera_centre(T)
        spread.append(0.5 * np.hypot(x1 - x0, y1 - y0) / K[0, 0])
    centre = np.linalg.solve(A, b)
    distance = [np.linalg.norm(T[:3, :3] @ centre + T[:3, 3]) for T in sequence.T_cam_own]
    return centre, 1.15 * float(np.max(np.array(spread) * distance))
