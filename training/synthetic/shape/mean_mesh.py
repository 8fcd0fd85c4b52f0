# SPDX-License-Identifier: Apache-2.0
"""Geometry of a category's neural mesh: the mean solid of a few CAD models, or a box.

    python -m dinemo_training.synthetic.shape.mean_mesh --cad CAD_FOLDER --out car_mean.npz
    python -m dinemo_training.synthetic.shape.mean_mesh --box 4.25x1.75x1.50 --out car_box.npz

Every CAD model is stretched to a common box, made solid, averaged and mirrored; the level set where half of the
models agree is the shape. Axes of CAD files are those of PASCAL3D+ (z up, front = -y, left = +x), unless --axes
says otherwise. Every length inside follows the size, so cups and cars are treated alike.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage import measure

from dinemo_ros.io.files import write_arrays
from dinemo_ros.process.console import command_main
from dinemo_training.run.inputs import parse_size

from ...run.arguments import parsed
from ..assets.mesh_file import load_mesh_file
from .occupancy import BODY, body_bounds, solid_occupancy, surface_points
from .symmetric_remesh import symmetric_remesh

CAR_SIZE = (4.25, 1.75, 1.50)  # metres, mean length, width, height of passenger cars
VOXELS = 170  # along the longest side
SMOOTHING = 1.8  # voxels, standard deviation of the blur before the level set is taken
SURFACE_POINTS = 2_000_000

# Object frame (x forward, y left, z up) from the axes of a CAD file, [3, 3].
AXES = {
    "pascal3d": np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),  # z up, front -y: PASCAL3D+, ObjectNet3D
    "ros": np.eye(3, dtype=int),                               # z up, front +x: REP 103
    "gltf": np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),       # y up, front +z: glTF, many OBJ files
}


def read_cad(path: Path, axes: str = "pascal3d") -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] in the object frame (arbitrary unit) and faces [F, 3] of a CAD file with the given axes.

    Raises:
        ValueError: the file is no mesh.
    """
    try:
        mesh = load_mesh_file(path, force="mesh")
        vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)
    except Exception as error:  # each of trimesh's readers fails in its own way
        raise ValueError(f"{path}: cannot be read as a mesh ({error or type(error).__name__})") from error
    if not len(faces) or not np.isfinite(vertices).all():
        raise ValueError(f"{path}: holds no mesh of triangles with finite vertices")
    return vertices @ AXES[axes].T, faces


def mean_occupancy(shapes: list[tuple[np.ndarray, np.ndarray]], size: np.ndarray, body: float = BODY,
                   filled: bool = True) -> np.ndarray:
    """Share (0 to 1) of ``shapes`` that fill each voxel [X, Y, Z] of a box, left-right symmetric.

    Args:
        shapes: vertices [V, 3] and faces [F, 3] each. size: [3] of the box; only its ratios count.
        body: what belongs to a model's box, see :func:`body_bounds`. filled: no gaps between left and right.
    """
    grid = tuple(2 * (size / size.max() * VOXELS / 2).astype(int) + 1)  # odd: a layer lies on the plane of symmetry
    total = np.zeros(grid)
    for vertices, faces in shapes:
        points = surface_points(vertices, faces, SURFACE_POINTS)
        lower, upper = body_bounds(points, body)
        if not body:  # what lies exactly on the box, a flat top, is inside
            upper = upper + 1e-6 * (upper - lower)
        total += solid_occupancy(points, lower, upper, grid)
    mean = 0.5 * (total + total[:, ::-1]) / len(shapes)
    if not filled:
        return mean
    # Between left and right there are no gaps: the inner sides of wheels and arches would take vertices that no
    # camera sees, and the walls there are thinner than the spacing of the vertices. Legs of a chair are another matter.
    from_left = np.maximum.accumulate(mean, axis=1)
    return np.minimum(from_left, from_left[:, ::-1])


def mean_mesh(shapes: list[tuple[np.ndarray, np.ndarray]], size: np.ndarray,
              vertex_count: int = 800, body: float = BODY, filled: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] in metres, object frame, and faces [F, 3] (outward) of the mean shape in the box ``size`` [3].

    ``body`` and ``filled``: see :func:`mean_occupancy`.

    Raises:
        ValueError: the models have no solid in common.
    """
    size = np.asarray(size, dtype=np.float64)
    occupancy = np.pad(mean_occupancy(shapes, size, body, filled), 6)
    level = ndimage.gaussian_filter(occupancy, SMOOTHING)
    if not (level > 0.5).any():
        raise ValueError(f"{len(shapes)} CAD models have no solid part in common: look at their axes and alignment, "
                         "or take a box")
    solid, parts = ndimage.label(level > 0.5)
    if parts > 1:  # keep the body: a stray blob would receive vertices that no image ever shows
        largest = 1 + int(np.argmax(ndimage.sum(level > 0.5, solid, range(1, parts + 1))))
        level[(solid != largest) & (solid != 0)] = 0.0
    left_half = level[:, level.shape[1] // 2:]  # the surface of y >= 0, open on the plane of symmetry
    vertices, faces, _, _ = measure.marching_cubes(left_half, 0.5, gradient_direction="ascent")
    vertices, faces = symmetric_remesh(_fill_box(vertices, size), faces, vertex_count)
    return _fill_box(vertices, size), faces


def _fill_box(points: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Scale and shift ``points`` [N, 3] so that their bounds are exactly +-size/2; y = 0 stays the symmetry plane."""
    lower, upper = points.min(axis=0), points.max(axis=0)
    lower[1] = -upper[1]
    return (points - 0.5 * (lower + upper)) / (upper - lower) * size


def box_mesh(size: np.ndarray, vertex_count: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] in metres and faces [F, 3] of a cuboid with NeMo's grid spacing (edge = sqrt(area / count)).

    As in NeMo the six sides have vertices of their own, so edges and corners are doubled and every vertex has one
    clear normal.
    """
    size = np.asarray(size, dtype=np.float64)
    area = 2 * (size[0] * size[1] + size[1] * size[2] + size[2] * size[0])
    edge = np.sqrt(area / vertex_count)
    samples = (size / edge + 1).astype(int)
    vertices, faces = [], []
    for axis in (2, 1, 0):
        for sign in (-1.0, 1.0):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            nu, nv = max(2, samples[u]), max(2, samples[v])
            grid_u, grid_v = np.meshgrid(np.linspace(-0.5, 0.5, nu), np.linspace(-0.5, 0.5, nv), indexing="ij")
            side = np.zeros((nu * nv, 3))
            side[:, axis], side[:, u], side[:, v] = 0.5 * sign, grid_u.ravel(), grid_v.ravel()
            corner = (np.arange(nu - 1)[:, None] * nv + np.arange(nv - 1)).ravel()
            quads = np.stack([corner, corner + nv, corner + nv + 1, corner + 1], axis=1)
            quads = quads if sign > 0 else quads[:, ::-1]
            offset = sum(len(part) for part in vertices)
            faces += [quads[:, [0, 1, 2]] + offset, quads[:, [0, 2, 3]] + offset]
            vertices.append(side * size)
    return np.concatenate(vertices), np.concatenate(faces)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted outward unit normals [V, 3]."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    face_normals = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, faces[:, k], face_normals)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def save_shape(path: Path, vertices: np.ndarray, faces: np.ndarray, places: np.ndarray | None = None,
               modes: np.ndarray | None = None) -> None:
    """Write vertices, faces, normals and, where there are any, places and modes as npz (float32 metres, faces int32).

    places [V, 3], modes [K, V, 3]: see :class:`dinemo_training.models.category_shape.CategoryShape`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    more = {} if places is None else {"places": places.astype(np.float32)}
    more |= {} if modes is None else {"modes": modes.astype(np.float32)}
    write_arrays(path, vertices=vertices.astype(np.float32), faces=faces.astype(np.int32),
                 normals=vertex_normals(vertices, faces).astype(np.float32), **more)


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.shape.mean_mesh``.

    Raises:
        SystemExit: there is no CAD file at the given place.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cad", type=Path, nargs="+", help="folders or files of CAD models (OBJ, OFF)")
    source.add_argument("--box", help="LENGTHxWIDTHxHEIGHT in metres: a cuboid instead of a CAD mean")
    parser.add_argument("--size", default="x".join(map(str, CAR_SIZE)), help="box of the mean shape, metres")
    parser.add_argument("--vertices", type=int, default=800)
    parser.add_argument("--body", type=float, default=BODY, help="share of the largest cross-section from which on a "
                        "slice belongs to a model's box; 0: everything does (default: %(default)s)")
    parser.add_argument("--hollow", action="store_true", help="keep gaps between left and right: legs")
    parser.add_argument("--axes", choices=AXES, default="pascal3d", help="axes of the CAD files (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="npz to write")
    args = parsed(parser)
    if args.box:
        vertices, faces = box_mesh(np.array(parse_size(args.box)))
    else:
        files = [f for p in args.cad for f in (sorted(p.glob("*.o[bf][jf]")) if p.is_dir() else [p])]
        if not files:
            raise SystemExit(f"no .obj or .off file in {', '.join(map(str, args.cad))}")
        vertices, faces = mean_mesh([read_cad(f, args.axes) for f in files], np.array(parse_size(args.size)),
                                    args.vertices, args.body, not args.hollow)
    save_shape(args.out, vertices, faces)
    print(f"{args.out}: {len(vertices)} vertices, {len(faces)} faces")


if __name__ == "__main__":
    command_main(main)
