# SPDX-License-Identifier: Apache-2.0
"""A scene in the format of the BOP benchmark, with the plane that objects stand on in files of our own.

    000000/rgb/000000.jpg                     the picture
    000000/depth/000000.png                   uint16; times depth_scale millimetres, 0 where nothing was measured
    000000/mask/000000_000000.png             255 where the object is, hidden parts as well
    000000/mask_visib/000000_000000.png       255 where it is seen
    000000/scene_camera.json                  cam_K, depth_scale
    000000/scene_gt.json                      cam_R_m2c, cam_t_m2c (millimetres), obj_id
    000000/scene_gt_info.json                 boxes [x, y, width, height], pixels, visib_fract; ours: "standing"
    000000/scene_support.json                 {"normal": [3], "offset_m": n.x} of the true plane, camera's optical frame
    000000/scene_support_NAME.json            the same with errors (dinemo_training.synthetic.plane_noise)
    objects.json                              {"objects": {ID: {"category", "T_model_category", "size"}}}, metres

``size`` is that of the very object: length with the handle, width of the body, height. Vertices of no model are
written: the model's frame is that of its category (``T_model_category`` is the identity), origin half way up the axis.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.io.files import write_file
from dinemo_ros.scene.support_plane import SupportPlane
from dinemo_training.data.picture_file import write_picture
from dinemo_training.synthetic.assets.vessel import Vessel

from .table_scene import Shot


@dataclass(frozen=True)
class Labels:
    """What is true of the one object in a picture.

    Attributes:
        K: [3, 3] pixels. T_cam_obj: [4, 4] metres. object_id: its number in ``objects.json``.
        standing: "table", "stacked" or "held".
        planes: the true plane by the name "" and others by theirs.
    """

    K: np.ndarray
    T_cam_obj: np.ndarray
    object_id: int
    standing: str
    planes: Mapping[str, SupportPlane]


@dataclass
class BopScene:
    """A scene that grows by pictures in ``folder`` and is complete once :meth:`save` was called."""

    folder: Path
    _tables: dict[str, dict[str, object]] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        for name in ("rgb", "depth", "mask", "mask_visib"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def add(self, k: int, shot: Shot, depth: np.ndarray, labels: Labels) -> None:
        """Write picture number k with its ``depth`` [H, W] uint16 millimetres, and note its labels.

        Raises:
            OSError: a file cannot be written.
        """
        name = f"{k:06d}"
        write_picture(self.folder / "rgb" / f"{name}.jpg", shot.picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        write_picture(self.folder / "depth" / f"{name}.png", depth)
        for folder, mask in (("mask", shot.mask), ("mask_visib", shot.visible)):
            write_picture(self.folder / folder / f"{name}_000000.png", 255 * mask.astype(np.uint8))
        tables, T = self._tables, labels.T_cam_obj
        tables["scene_camera"][str(k)] = {"cam_K": labels.K.ravel().tolist(), "depth_scale": 1.0}
        tables["scene_gt"][str(k)] = [{"cam_R_m2c": T[:3, :3].ravel().tolist(),
                                       "cam_t_m2c": (1000 * T[:3, 3]).tolist(), "obj_id": labels.object_id}]
        tables["scene_gt_info"][str(k)] = [_info(shot, depth) | {"standing": labels.standing}]
        for plane_name, plane in labels.planes.items():
            table = f"scene_support_{plane_name}" if plane_name else "scene_support"
            tables[table][str(k)] = {"normal": plane.normal.tolist(), "offset_m": plane.offset_m}

    def save(self) -> None:
        """Write what is known of the pictures so far."""
        for name, table in self._tables.items():
            rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in table.items())
            write_file(self.folder / f"{name}.json", f"{{\n{rows}\n}}\n", durable=False)


def write_objects(path: Path, objects: Mapping[int, tuple[str, Vessel]]) -> None:
    """Write ``objects.json``: category and shape of every object by its number."""
    rows = {str(number): {"category": category, "T_model_category": np.eye(4).tolist(), "size": object_size(vessel)}
            for number, (category, vessel) in objects.items()}
    text = ",\n".join(f"  {json.dumps(number)}: {json.dumps(row)}" for number, row in rows.items())
    write_file(path, f'{{"objects": {{\n{text}\n}}}}\n', durable=False)


def object_size(vessel: Vessel) -> list[float]:
    """Length (handle included), width of the body, height, metres."""
    return [float(np.ptp(vessel.vertices[:, 0])), vessel.width, vessel.height]


def _info(shot: Shot, depth: np.ndarray) -> dict[str, object]:
    """Boxes and counts of pixels, as the toolkit of BOP computes them."""
    every, seen = int(shot.mask.sum()), int(shot.visible.sum())
    return {"bbox_obj": _box(shot.mask), "bbox_visib": _box(shot.visible), "px_count_all": every,
            "px_count_valid": int((shot.mask & (depth > 0)).sum()), "px_count_visib": seen,
            "visib_fract": seen / max(1, every)}


def _box(mask: np.ndarray) -> list[int]:
    """x, y, width, height of the box between the outermost pixels' centres; -1 where there are none."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return [-1, -1, -1, -1]
    x, y = int(columns.min()), int(rows.min())
    return [x, y, int(columns.max()) - x, int(rows.max()) - y]
