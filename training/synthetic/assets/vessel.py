# SPDX-License-Identifier: Apache-2.0
"""Cups and bottles from untextured CAD files: upright on their axis, deformed into many, a handle added where asked.

Frame of a vessel: the axis of its body is object z, the origin lies half way up on it, a handle points along +x. The
CAD files have the handle along +x_cad (the left side of PASCAL3D+), so their axes are those of the object. The box's
centre would be no use as origin: it moves with the handle, which one often does not see.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dinemo_training.synthetic.shape.occupancy import surface_points

from .asset import smooth_normals
from .mesh_file import load_mesh_file

SLICES = 48
_HANDLE_SIDE = np.radians(50)  # azimuths closer to +x than this are left out when the body is measured


@dataclass(frozen=True)
class Vessel:
    """A body on its axis.

    Attributes:
        name: unique. vertices: [V, 3] metres; faces: [F, 3].
        profile: [48] radius of the body's outside per slice from bottom to top, metres, without the handle.
        normals: [F, 3, 3] float32 unit normal of each corner (sign arbitrary); small deformations keep them.
        handle, inside: [F] bool, faces of the handle, and of the inner wall of an open vessel.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    profile: np.ndarray
    normals: np.ndarray
    handle: np.ndarray
    inside: np.ndarray

    @property
    def width(self) -> float:
        """Of the body along y, metres."""
        return float(np.ptp(self.vertices[np.unique(self.faces[~self.handle]), 1]))

    @property
    def height(self) -> float:
        return float(np.ptp(self.vertices[:, 2]))

    def radius(self, z: np.ndarray) -> np.ndarray:
        """Outer radius of the body at heights ``z`` (object frame, metres)."""
        return np.interp(z, _levels(self.height), self.profile)

    def coordinates(self) -> np.ndarray:
        """Texture coordinates of the corners [F, 3, 2]: turn about the axis, height; no face runs across the seam."""
        points = self.vertices[self.faces]
        u = np.arctan2(points[..., 1], points[..., 0]) / (2 * np.pi) % 1.0
        u += (np.ptp(u, axis=1) > 0.5)[:, None] & (u < 0.5)
        return np.stack([u, np.clip(points[..., 2] / self.height + 0.5, 0.002, 0.998)], axis=-1)


def read_vessel(path: Path, height: float) -> Vessel:
    """The CAD file ``path``, ``height`` metres high."""
    mesh = load_mesh_file(path, force="mesh")
    points, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)
    lower, upper = points.min(axis=0), points.max(axis=0)
    # Whatever stands out beyond a body as long as it is wide is the handle.
    width = min(upper[1] - lower[1], upper[0] - lower[0])
    axis = np.array([lower[0] + 0.5 * width, 0.5 * (lower[1] + upper[1]), 0.5 * (lower[2] + upper[2])])
    return measured(path.stem, (points - axis) * (height / (upper[2] - lower[2])), faces)


def measured(name: str, vertices: np.ndarray, faces: np.ndarray) -> Vessel:
    """A vessel of vertices [V, 3] in metres on their axis: finds its profile, its handle and its inner wall."""
    points = surface_points(vertices, faces, 60_000)
    azimuth = np.abs(np.arctan2(points[:, 1], points[:, 0]))
    points = points[azimuth > _HANDLE_SIDE]
    height = np.ptp(vertices[:, 2])
    cell = np.clip(((points[:, 2] / height + 0.5) * SLICES).astype(int), 0, SLICES - 1)
    profile = np.zeros(SLICES)
    np.maximum.at(profile, cell, np.hypot(points[:, 0], points[:, 1]))
    known = np.flatnonzero(profile > 0)
    profile = np.interp(np.arange(SLICES), known, profile[known])
    centre = vertices[faces].mean(axis=1)
    radius, outer = np.hypot(centre[:, 0], centre[:, 1]), np.interp(centre[:, 2], _levels(height), profile)
    handle = (centre[:, 0] > 1.04 * outer) & (np.abs(np.arctan2(centre[:, 1], centre[:, 0])) < _HANDLE_SIDE)
    inside = (radius < 0.97 * outer) & (centre[:, 2] > -0.42 * height)
    return Vessel(name, vertices, faces, profile, smooth_normals(vertices, faces).astype(np.float32), handle,
                  inside & ~handle)


def deformed(vessel: Vessel, rng: np.random.Generator, strength: float = 1.0) -> Vessel:
    """Another vessel of the same kind: other proportions, another profile, another handle. Height is kept.

    ``strength``: factor of all changes; 0 keeps it as it is.
    """
    vertices, H = vessel.vertices.copy(), vessel.height
    reach = vertices[:, 0] - vessel.radius(vertices[:, 2])
    on_handle = np.unique(vessel.faces[vessel.handle])
    out = np.zeros(len(vertices))
    out[on_handle] = np.clip(reach[on_handle], 0.0, None)
    vertices[:, 0] += out * (np.exp(strength * rng.normal(0, 0.2)) - 1)
    vertices[on_handle, 1] *= np.exp(strength * rng.normal(0.15, 0.25))
    # A smooth change of the radius with height: a bulge, a waist, a cone.
    z = vertices[:, 2] / H
    change = sum(rng.normal(0, 0.05) * np.cos(k * np.pi * (z + 0.5)) for k in (1, 2, 3))
    vertices[:, :2] *= np.exp(strength * (rng.normal(0, 0.10) + change))[:, None]
    return replace(vessel, vertices=vertices, profile=vessel.profile * _slice_change(vessel, vertices))


def _levels(height: float) -> np.ndarray:
    """Heights [48] of the slices' middles, metres."""
    return ((np.arange(SLICES) + 0.5) / SLICES - 0.5) * height


def _slice_change(vessel: Vessel, vertices: np.ndarray) -> np.ndarray:
    """[48] by which factor the radius changed per slice, read off the body's vertices."""
    body = np.setdiff1d(np.unique(vessel.faces), np.unique(vessel.faces[vessel.handle]))
    before = np.hypot(vessel.vertices[body, 0], vessel.vertices[body, 1])
    body, before = body[before > 1e-4], before[before > 1e-4]
    ratio = np.hypot(vertices[body, 0], vertices[body, 1]) / before
    order = np.argsort(vessel.vertices[body, 2])
    return np.interp(_levels(vessel.height), vessel.vertices[body, 2][order], ratio[order])


def with_handle(vessel: Vessel, rng: np.random.Generator | None = None) -> Vessel:
    """The vessel with an ear: a flattened tube that leaves the wall high, swings out and comes back low."""
    rng = rng or np.random.default_rng(0)
    H = vessel.height
    top, bottom = rng.uniform(0.22, 0.42) * H, -rng.uniform(0.15, 0.40) * H
    reach = rng.uniform(0.25, 0.42) * H
    angle = np.linspace(-np.pi / 2, np.pi / 2, 25)
    power = rng.uniform(0.6, 1.0)  # below one the ear is squarish
    out = np.cos(angle) ** power * reach
    z = 0.5 * (top + bottom) + 0.5 * (top - bottom) * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
    x = vessel.radius(z) * np.cos(np.pi / 24) - 0.01 * H + out  # polygonal walls lie inside of their corners' circle
    thick, wide = rng.uniform(0.035, 0.06) * H, rng.uniform(0.05, 0.09) * H
    tube, faces = sweep(np.stack([x, np.zeros_like(x), z], axis=1), thick, wide)
    count = len(faces)
    return Vessel(vessel.name, np.concatenate([vessel.vertices, tube]),
                  np.concatenate([vessel.faces, faces + len(vessel.vertices)]), vessel.profile,
                  np.concatenate([vessel.normals, smooth_normals(tube, faces).astype(np.float32)]),
                  np.concatenate([vessel.handle, np.ones(count, bool)]),
                  np.concatenate([vessel.inside, np.zeros(count, bool)]))


def sweep(line: np.ndarray, thick: float, wide: float, corners: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Tube along a line in the plane y = 0: vertices [N * corners, 3] and faces [F, 3].

    Args:
        line: [N, 3]. thick, wide: whole axes in that plane and along y, in the line's unit. corners: of each ring.
    """
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = np.stack([-tangent[:, 2], np.zeros(len(line)), tangent[:, 0]], axis=1)
    angle = 2 * np.pi * np.arange(corners) / corners
    ring = 0.5 * (thick * np.cos(angle)[:, None, None] * across + wide * np.sin(angle)[:, None, None] * [0, 1.0, 0])
    points = (line[None] + ring).transpose(1, 0, 2).reshape(-1, 3)
    return points, grid_faces(len(line), corners)


def lathe(radius: np.ndarray, z: np.ndarray, corners: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Surface of revolution about object z: vertices [N * corners, 3] and outward faces [F, 3].

    Args:
        radius, z: [N] of the line that is turned, in one unit of length. corners: of each ring.
    """
    angle = 2 * np.pi * np.arange(corners) / corners
    points = np.stack([radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle),
                       np.repeat(z[:, None], corners, 1)], axis=-1).reshape(-1, 3)
    return points, grid_faces(len(radius), corners)


def grid_faces(rows: int, corners: int) -> np.ndarray:
    """Faces [F, 3], as indices, between closed rings of ``corners`` points; vertex = row * corners + corner."""
    row, corner = np.mgrid[:rows - 1, :corners]
    a, b = row * corners + corner, row * corners + (corner + 1) % corners
    quads = np.stack([a, b, b + corners, a + corners], axis=-1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def random_mug(rng: np.random.Generator) -> Vessel:
    """An invented mug with a handle, 0.1 m high: from a narrow beaker to a wide coffee cup, straight or conical."""
    radius = float(np.exp(rng.uniform(np.log(0.33), np.log(0.68))))
    return _mug(radius, float(np.clip(rng.normal(0.06, 0.12), -0.2, 0.4)), rng)


def plain_mug(rng: np.random.Generator) -> Vessel:
    """An invented mug of usual proportions, 0.1 m high."""
    return _mug(rng.uniform(0.36, 0.62), rng.normal(0.03, 0.08), rng)


def _mug(radius: float, taper: float, rng: np.random.Generator) -> Vessel:
    """``radius``: mean, over the height. taper: how much wider the rim is than that, and narrower the foot."""
    H, mean = 0.1, radius * 0.1
    t = np.linspace(0, 1, 20)
    bulge = rng.normal(0.0, 0.06)
    outer = mean * (1 + taper * (2 * t - 1) + bulge * np.sin(np.pi * t))
    foot = rng.uniform(0.6, 1.0) if rng.random() < 0.5 else 1.0  # rounded towards the table
    outer *= 1 - (1 - foot) * np.exp(-t / rng.uniform(0.05, 0.2))
    wall = rng.uniform(0.04, 0.09) * mean
    radius = np.concatenate([[1e-4], outer, [outer[-1] - 0.5 * wall], (outer - wall)[::-1][:-2], [1e-4]])
    z = np.concatenate([[0.0], t, [1.01], t[::-1][:-2], [t[2]]]) * H - H / 2
    vertices, faces = lathe(radius, z)
    vertices[:, 2] -= 0.5 * (vertices[:, 2].min() + vertices[:, 2].max())
    return with_handle(measured("mug", vertices, faces), rng)


def random_bottle(rng: np.random.Generator) -> Vessel:
    """An invented bottle, about 0.25 m high: belly, shoulder, neck, mouth; one in two is a squat one or a jar."""
    squat = rng.random() < 0.5
    H, belly = 0.25, rng.uniform(*((0.16, 0.34) if squat else (0.11, 0.18))) * 0.25
    neck, shoulder = rng.uniform(0.3, 0.85 if squat else 0.5) * belly, rng.uniform(0.4, 0.8 if squat else 0.65)
    start = rng.uniform(0.06 if squat else 0.12, 0.3)
    t = np.linspace(0, 1, 40)
    blend = np.clip((t - shoulder) / start, 0, 1)
    radius = neck + (belly - neck) * 0.5 * (1 + np.cos(np.pi * blend))
    radius = np.where(t > 0.95, 1.12 * neck, radius)
    vertices, faces = lathe(np.r_[1e-4, radius, 1e-4], np.r_[0, t, 1] * H - H / 2)
    return measured("bottle", vertices, faces)
