# SPDX-License-Identifier: Apache-2.0
"""The neural mesh: a category's surface with one learnt feature per vertex, and the features of everything else.

As in NeMo (Wang et al., ICLR 2021, arXiv 2101.12378) and DINeMo (arXiv 2503.20220): vertices, faces and one feature per
vertex, beside clutter features for what is no object."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import BundleError, DocumentError
from ..io.array_file import read_arrays
from ..io.files import write_arrays

# The shipped meshes have 300 to 800 vertices. The solver draws all faces in every pose of its search before the first
# picture: with 10,000 faces a start takes three times as long as with 1,600, far beyond that minutes.
LARGEST_MESH = 128 << 20  # bytes of the file and of its arrays
_MOST = {"vertices": 5_000, "normals": 5_000, "features": 5_000, "faces": 10_000, "clutter": 1_024, "modes": 6}


@dataclass(frozen=True)
class NeuralMesh:
    """A neural mesh model N = {V, E, C} with its clutter features C_b (NeMo, DINeMo).

    Attributes:
        vertices: [V, 3] float32, metres at the category's mean size, object frame.
        faces: [F, 3] int32, counter-clockwise seen from outside.
        normals: [V, 3] float32, unit, pointing outwards.
        features: [V, D] float32, unit norm, one per vertex.
        clutter: [K, D] float32, unit norm, what is not the object.
        modes: [M, V, 3] float32, how objects differ from the mean one: metres that the vertices move by per standard
            deviation of each mode; M is 0 where nobody has measured it.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    features: np.ndarray
    clutter: np.ndarray
    modes: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.float32))

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            count = len(np.atleast_1d(getattr(self, name)))
            if count > most:
                raise BundleError(f"mesh {name} has {count} rows, allowed are {most}; make the mesh coarser")
        for name in ("vertices", "normals", "features", "clutter"):
            object.__setattr__(self, name, _finite_matrix(name, getattr(self, name)))
        faces = np.asarray(self.faces)
        if faces.ndim != 2 or faces.shape[1] != 3 or len(faces) == 0 or faces.dtype.kind not in "iu":
            raise BundleError(f"mesh faces must be integers [F, 3], got {faces.dtype} {list(faces.shape)}")
        if faces.min() < 0 or faces.max() >= len(self.vertices):
            raise BundleError(f"mesh faces name vertices {faces.min()} to {faces.max()} of "
                              f"{len(self.vertices)}")
        object.__setattr__(self, "faces", np.ascontiguousarray(faces, dtype=np.int32))
        if self.vertices.shape[1] != 3 or self.normals.shape != self.vertices.shape:
            raise BundleError(f"mesh vertices {list(self.vertices.shape)} and normals {list(self.normals.shape)} "
                              "must both be [V, 3]")
        if len(self.features) != len(self.vertices) or self.clutter.shape[1] != self.features.shape[1]:
            raise BundleError(f"mesh features {list(self.features.shape)} must have one row per vertex "
                              f"({len(self.vertices)}), clutter {list(self.clutter.shape)} the same columns")
        object.__setattr__(self, "modes", self._checked_modes())
        for name in ("normals", "features", "clutter"):
            norms = np.linalg.norm(getattr(self, name), axis=1)
            if not np.allclose(norms, 1.0, atol=1e-2):
                raise BundleError(f"mesh {name} must have unit norm, found norms from {norms.min():.3g} to "
                                  f"{norms.max():.3g}")

    def _checked_modes(self) -> np.ndarray:
        modes, shape = np.asarray(self.modes), (len(self.vertices), 3)
        if len(np.atleast_1d(modes)) == 0:
            return np.zeros((0, *shape), np.float32)
        if modes.ndim != 3 or modes.shape[1:] != shape or modes.dtype.kind != "f":
            raise BundleError(f"mesh modes must be floats [M, {shape[0]}, 3], got {modes.dtype} {list(modes.shape)}")
        if not np.isfinite(modes).all() or np.abs(modes).max() > self.extent.max():
            raise BundleError("mesh modes hold numbers that are not finite, or move vertices by more than the object "
                              "is large")
        return np.ascontiguousarray(modes, dtype=np.float32)

    @property
    def extent(self) -> np.ndarray:
        """[3] metres, length, width and height of the vertices' bounding box."""
        return np.ptp(self.vertices, axis=0)

    def save(self, path: str | Path | BinaryIO) -> None:
        """Write ``path``, or into an open file, as a compressed npz without pickles."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "modes" or len(self.modes)}
        if isinstance(path, (str, Path)):
            write_arrays(path, **arrays)
        else:
            np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> NeuralMesh:
        """Read what :meth:`save` wrote; BundleError names what is wrong with the file."""
        path = Path(path)
        try:
            names = [f.name for f in fields(cls) if f.name != "modes"]
            arrays = read_arrays(path, names, ["modes"], largest=LARGEST_MESH, rows=_MOST)
        except DocumentError as error:
            raise BundleError(f"{path}: cannot be read as a neural mesh: it {error}; copy the bundle again") from error
        try:
            return cls(**arrays)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None


def _finite_matrix(name: str, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind != "f":
        raise BundleError(f"mesh {name} must be a non-empty matrix of floats, got {array.dtype} {list(array.shape)}")
    if not np.isfinite(array).all():
        raise BundleError(f"mesh {name} holds numbers that are not finite")
    return np.ascontiguousarray(array, dtype=np.float32)
