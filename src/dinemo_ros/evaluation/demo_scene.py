# SPDX-License-Identifier: Apache-2.0
"""The scenes that ship for the demo: pictures with depth, the table's plane and the true pose, from BOP files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..camera.pinhole import Camera
from ..errors import DatasetError
from ..geometry import se3
from ..io.depth_file import read_depth_file
from ..io.quoting import quoted, shown_path
from ..io.sources.folder import read_image
from ..model.bundle import find_bundle
from ..pose import Roi
from ..scene.support_plane import SupportPlane
from .bop_objects import read_objects
from .bop_scene import BopImage, SupportFile, read_bop

_PREFIX = "demo_scene_"
_LEAST_X = 1e-3  # length of the object's x axis in the plane, below which it tells no direction there


@dataclass(frozen=True)
class SceneView:
    """One picture of a scene and what is true of it.

    Attributes:
        name: of the picture. image: uint8 [H, W, 3] RGB. depth: uint16 [H, W], millimetres, 0 where there is none.
        roi: of the object, pixels. T_cam_obj: its true pose [4, 4], metres, camera's optical frame.
        T_table_cam: [4, 4] metres, the camera in a frame that lies on the table, z up, the same for all views.
    """

    name: str
    image: np.ndarray
    camera: Camera
    depth: np.ndarray
    roi: Roi
    T_cam_obj: np.ndarray
    T_table_cam: np.ndarray


@dataclass(frozen=True)
class DemoScene:
    """Views of one object of one category."""

    category: str
    views: tuple[SceneView, ...]


def scene_folder(name: str) -> Path:
    """Folder of the scene that ships under ``name``.

    Raises:
        DatasetError: there is none of that name.
    """
    config = find_bundle("car").parents[1] / "config"  # engines/car and config share their parent
    known = {path.name.removeprefix(_PREFIX): path for path in sorted(config.glob(f"{_PREFIX}*")) if path.is_dir()}
    if name not in known:
        raise DatasetError(f"scene {quoted(name, 40)} does not ship with the package; there is "
                           f"{', '.join(known) or 'none'}")
    return known[name]


def read_demo_scene(folder: Path) -> DemoScene:
    """The pictures of a BOP split of which ``objects.json`` is beside the scenes.

    Raises:
        DatasetError, ImageError: a file is missing or something else, or a picture has not one object, plane and depth.
    """
    objects = read_objects(folder / "objects.json")
    data = read_bop(folder, objects, support=SupportFile(), depth=True)
    categories = sorted({instance.known.category for instance in data.instances})
    if len(categories) > 1:
        raise DatasetError(f"{shown_path(folder)}: has objects of {', '.join(categories)}; a scene of the demo has one "
                           "category")
    return DemoScene(categories[0], tuple(_view(image) for image in data.images))


def _view(image: BopImage) -> SceneView:
    if len(image.instances) != 1 or image.support is None or image.depth is None:
        raise DatasetError(f"{shown_path(image.path)}: has {len(image.instances)} objects to look for, "
                           f"{'no' if image.support is None else 'a'} plane and {'no' if image.depth is None else 'a'} "
                           "depth picture; each picture of a scene of the demo has one of each")
    pixels, T_cam_obj = read_image(image.path), image.instances[0].T_cam_category
    depth = read_depth_file(image.depth)
    if depth.dtype != np.uint16 or image.depth_scale != 1.0:
        raise DatasetError(f"{shown_path(image.depth)}: is {depth.dtype} with depth_scale {image.depth_scale:g}; a "
                           "scene of the demo has whole millimetres (uint16, depth_scale 1)")
    return SceneView(image.path.name, pixels, Camera(pixels.shape[1], pixels.shape[0], image.K), depth,
                     image.instances[0].roi, T_cam_obj, np.linalg.inv(table_frame(image.support, T_cam_obj)))


def table_frame(plane: SupportPlane, T_cam_obj: np.ndarray) -> np.ndarray:
    """T_cam_table [4, 4] metres: on ``plane`` below the object of the pose [4, 4], x as the object's, z up.

    An object that rests has one such frame whatever the camera does.

    Raises:
        DatasetError: the object's x axis stands upright on the plane.
    """
    z, centre = np.asarray(plane.normal, dtype=np.float64), T_cam_obj[:3, 3]
    x = T_cam_obj[:3, 0] - (T_cam_obj[:3, 0] @ z) * z
    if np.linalg.norm(x) < _LEAST_X:
        raise DatasetError("the x axis of the object stands upright on the support, so no frame there follows from its "
                           "pose; a scene of the demo has an object that stands")
    x /= np.linalg.norm(x)
    return se3(np.column_stack([x, np.cross(z, x), z]), centre - (z @ centre - plane.offset_m) * z)
