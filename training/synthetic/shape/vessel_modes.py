# SPDX-License-Identifier: Apache-2.0
"""How cups and bottles differ from the mean one: modes of the profile and of the handle, for labels and solver.

The profiles of vessels that training draws (none of the held-out ones), each over its own width, give principal
components of the logarithm of the radius by height (an active shape model, Cootes et al., 1995): such a mode moves
the vertices of the body towards the axis or away from it, and a handle with the wall that it is on. A handle has three
modes more: how far it reaches, how high its middle is, and how much of the height it spans.

A render's label tells the coefficients of its vessel (:meth:`VesselModes.coefficients`), so that the network learns
where the rim of a cone is and where a short handle ends; the mesh of the bundle has the same modes
(:meth:`VesselModes.of_mesh`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dinemo_training.synthetic.assets.vessel import SLICES, Vessel
from dinemo_training.synthetic.assets.vessel_catalogue import VesselCatalogue

from .vessel_mesh import HANDLE_HIGH, HANDLE_LOW, HANDLE_THICK

MODES = 3  # of the profile
_DRAWN = 150
_MARGIN = 2  # slices at either end whose radius is that of a rounded edge
_SMALLEST = 0.05  # radius over the largest one: less is the inside of a foot or a stopper
_FARTHEST = 2.5  # standard deviations that a label tells, as the solver believes


@dataclass(frozen=True)
class VesselModes:
    """Of one category.

    Attributes:
        mean: [48] logarithm of the mean vessel's radius over its largest, bottom to top: the profile of the mesh.
        profile: [P, 48] of that logarithm per standard deviation.
        handle: [3, 2] the mesh's, and the standard deviation about it, of reach beyond the wall over half the body's
            width, and of middle and half span over the height; None without a handle.
    """

    mean: np.ndarray
    profile: np.ndarray
    handle: np.ndarray | None

    def __len__(self) -> int:
        return len(self.profile) + (0 if self.handle is None else len(self.handle))

    def coefficients(self, vessel: Vessel) -> np.ndarray:
        """[K] standard deviations by which ``vessel`` differs from the mean one."""
        change = relative_profile(vessel) - self.mean
        found = np.linalg.lstsq(self.profile.T, change, rcond=None)[0]
        if self.handle is not None:
            found = np.concatenate([found, (handle_of(vessel) - self.handle[:, 0]) / self.handle[:, 1]])
        return np.clip(found, -_FARTHEST, _FARTHEST)

    def of_mesh(self, vertices: np.ndarray, faces: np.ndarray, width: float) -> np.ndarray:
        """[K, V, 3] float32 metres per standard deviation of ``vertices`` [V, 3], their body ``width`` metres wide."""
        z = vertices[:, 2] / np.ptp(vertices[:, 2]) + 0.5
        levels = (np.arange(SLICES) + 0.5) / SLICES
        radius = np.hypot(vertices[:, 0], vertices[:, 1])
        outward = vertices[:, :2] / np.maximum(radius, 1e-9)[:, None]
        moved = np.minimum(radius, 0.5 * width)[:, None] * outward
        change = np.stack([np.interp(z, levels, mode) for mode in self.profile])
        modes = np.concatenate([change[..., None] * moved, np.zeros((*change.shape, 1))], axis=-1)
        if self.handle is not None:
            modes = np.concatenate([modes, self._of_handle(vertices, ear_vertices(faces, vertices), width)])
        return modes.astype(np.float32)

    def _of_handle(self, vertices: np.ndarray, ear: np.ndarray, width: float) -> np.ndarray:
        """[3, V, 3] of the vertices ``ear`` [V] bool; the others stay."""
        height = np.ptp(vertices[:, 2])
        x, z = vertices[ear, 0], vertices[ear, 2]
        out = np.clip((x - x.min()) / np.ptp(x), 0, 1)
        along = 2 * (z - z.min()) / np.ptp(z) - 1
        modes = np.zeros((3, *vertices.shape))
        reach, middle, span = self.handle[:, 1]
        modes[0, ear, 0] = out * reach * 0.5 * width
        modes[1, ear, 2] = middle * height
        modes[2, ear, 2] = span * height * along
        return modes


def vessel_modes(catalogue: VesselCatalogue, count: int = MODES, seed: int = 0) -> VesselModes:
    """The modes of what ``catalogue`` draws, about their mean."""
    rng = np.random.default_rng(seed)
    drawn = [catalogue.draw(rng) for _ in range(_DRAWN)]
    relative = np.array([relative_profile(vessel) for vessel in drawn])
    mean = np.exp(relative).mean(0)
    mean = np.log(mean / mean.max())
    _, spread, modes = np.linalg.svd(relative - relative.mean(0), full_matrices=False)
    profile = modes[:count] * (spread[:count, None] / np.sqrt(len(relative)))
    return VesselModes(mean, profile, handle_statistics(drawn, catalogue.category.length, mean))


def handle_statistics(vessels: list[Vessel], length: float, mean: np.ndarray) -> np.ndarray | None:
    """[3, 2] of :attr:`VesselModes.handle`: what the mesh of ``vessel_mesh`` has, and how far vessels are from it.

    length: of the mesh's box over the body's width. mean: [48], see :attr:`VesselModes.mean`.
    """
    if not any(vessel.handle.any() for vessel in vessels):
        return None
    reach = 2 * length - 1 - np.exp(mean[SLICES // 2])
    ours = np.array([reach, 0.5 * (HANDLE_HIGH + HANDLE_LOW), 0.5 * (HANDLE_HIGH - HANDLE_LOW + HANDLE_THICK)])
    handles = np.array([handle_of(vessel) for vessel in vessels])
    return np.stack([ours, np.sqrt(np.mean((handles - ours) ** 2, axis=0))], axis=1)


def relative_profile(vessel: Vessel) -> np.ndarray:
    """[48] logarithm of the radius over the largest one, bottom to top, without the roundness of the edges."""
    relative = np.log(np.maximum(vessel.profile / vessel.profile.max(), _SMALLEST))
    relative[:_MARGIN], relative[-_MARGIN:] = relative[_MARGIN], relative[-_MARGIN - 1]
    return relative


def handle_of(vessel: Vessel) -> np.ndarray:
    """[3], without a unit: reach beyond the wall over half the body's width, middle and half span over the height."""
    points = vessel.vertices[np.unique(vessel.faces[vessel.handle])]
    tip = points[points[:, 0].argmax()]
    top, bottom = points[:, 2].max(), points[:, 2].min()
    reach = (tip[0] - float(vessel.radius(tip[2:])[0])) / (0.5 * vessel.width)
    return np.array([reach, 0.5 * (top + bottom) / vessel.height, 0.5 * (top - bottom) / vessel.height])


def ear_vertices(faces: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """[V] bool: vertices of the handle of a mesh of ``vessel_mesh``, a piece of its own at the side."""
    count = len(vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    _, piece = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)), directed=False)
    middle = np.bincount(piece, vertices[:, 0]) / np.bincount(piece)
    return piece == int(middle.argmax())
