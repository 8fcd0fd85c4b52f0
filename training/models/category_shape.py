# SPDX-License-Identifier: Apache-2.0
"""The geometry of a neural mesh before it has features: what :mod:`dinemo_training.synthetic.shape` writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.io.array_file import read_arrays

_LARGEST = 64 << 20  # bytes


@dataclass(frozen=True)
class CategoryShape:
    """A mesh at mean size, object frame.

    Attributes:
        vertices: [V, 3] float64 metres. faces: [F, 3] int32. normals: [V, 3] unit, outward.
        places: [V, 3] metres, None for the vertices themselves: how far apart two vertices count as to be told from
            each other. Those in one place cannot be, and share their feature: the ring of a cup's body at one height,
            or the ring around the tube of its handle.
        modes: [K, V, 3] metres by which the vertices of an instance move per standard deviation of its shape, see
            :class:`dinemo_ros.model.neural_mesh.NeuralMesh`; none by default.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    places: np.ndarray | None = None
    modes: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3)))

    @classmethod
    def load(cls, path: str | Path) -> CategoryShape:
        """Read what ``dinemo_training.synthetic.shape`` wrote, or a finished mesh; DatasetError if it is
        none."""
        try:
            data = read_arrays(path, ("vertices", "faces", "normals"), ("places", "modes"), _LARGEST)
            vertices, faces, normals = data["vertices"], data["faces"], data["normals"]
            modes = data.pop("modes", np.zeros((0, len(vertices), 3)))
            good = (all(a.ndim == 2 and a.shape[1] == 3 and len(a) and a.dtype.kind in "fiu" for a in data.values())
                    and modes.shape[1:] == vertices.shape and modes.dtype.kind == "f" and np.isfinite(modes).all()
                    and faces.dtype.kind in "iu" and len(normals) == len(vertices)
                    and len(data.get("places", vertices)) == len(vertices) and np.isfinite(vertices).all()
                    and faces.min() >= 0 and faces.max() < len(vertices))
            if not good:
                raise DocumentError("is no mesh: vertices, normals and places are [V, 3], modes [K, V, 3], "
                                    "faces [F, 3] numbers of vertices")
        except DocumentError as error:
            raise DatasetError(f"{path}: {error}; expected a shape as dinemo_training.synthetic.shape writes "
                               "it") from error
        return cls(vertices.astype(np.float64), faces.astype(np.int32), normals.astype(np.float64),
                   data["places"].astype(np.float64) if "places" in data else None, modes.astype(np.float64))

    def distinct_places(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Positions [P, 3] metres of the places, and the place [V] int64 of every vertex; None if each is its own."""
        if self.places is None:
            return self.vertices, None
        _, first, place = np.unique(np.round(self.places, 5), axis=0, return_index=True, return_inverse=True)
        return self.places[first], place.ravel()

    def rarity(self) -> np.ndarray | None:
        """[V] how much more often a vertex should be drawn than others, None for all alike.

        Every place as often: one with many vertices is learnt from any of them, those of a handle would come too short.
        """
        if self.places is None:
            return None
        _, place = self.distinct_places()
        return 1.0 / np.bincount(place)[place]

    @property
    def size(self) -> np.ndarray:
        """Mean length, width, height [3] in metres."""
        return np.ptp(self.vertices, axis=0)

    def at_size(self, size: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
        """Vertices [V, 3] of an instance with box ``size`` [3] metres: the mean shape scaled per axis.

        shape: [K] standard deviations of its modes; an instance without them has the mean shape.
        """
        moved = 0.0 if shape is None or not len(shape) else np.tensordot(shape, self.modes, 1)
        return (self.vertices + moved) * (np.asarray(size) / self.size)

    def resized(self, size: np.ndarray) -> CategoryShape:
        """The same shape with another mean size [3] metres."""
        scale = np.asarray(size) / self.size
        normals = self.normals / scale  # they scale inversely
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        places = None if self.places is None else self.places * np.cbrt(np.prod(scale))
        return CategoryShape(self.vertices * scale, self.faces, normals, places, self.modes * scale)
