# SPDX-License-Identifier: Apache-2.0
"""BOP scenes of painted cars (see painted_car.py) with everything that ``dinemo eval bop`` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from painted_car import SIZE, depth_picture, photograph

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.geometry import ray_rotation, rotation_from_viewpoint, se3, turn

CAMERA = Camera.from_hfov(640, 480, 60)
CAR = 3  # BOP's number of the object
# The model's frame is turned and stands on the ground, as makers of models like it.
T_MODEL_CATEGORY = se3(turn(np.pi / 2), np.array([0.3, -0.2, 0.75]))


@dataclass
class Placed:
    """A car at a pose [4, 4], category frame to camera, and what scene_gt_info.json says of it."""

    T: np.ndarray
    obj_id: int = CAR
    info: dict = field(default_factory=dict)


def on_ground(position, azimuth_deg: float, elevation_deg: float = 10.0) -> np.ndarray:
    """T_cam_category [4, 4] of a car seen under these angles along the ray to it."""
    R = rotation_from_viewpoint(*np.radians([azimuth_deg, elevation_deg, 0.0]))
    return se3(ray_rotation(np.array(position)) @ R, np.array(position, float))


def plane_under(T: np.ndarray) -> dict:
    """The ground that the car at ``T`` stands on, as scene_support.json has it."""
    up = T[:3, 2]
    return {"normal": up.tolist(), "offset_m": float(up @ (T[:3, 3] - 0.5 * SIZE[2] * up))}


def write_objects(path: Path, category: str = "car", **changes) -> Path:
    """The file that says what the objects are."""
    entry = {"category": category, "T_model_category": T_MODEL_CATEGORY.tolist(), "size": list(SIZE)} | changes
    path.write_text(json.dumps({"objects": {str(CAR): entry}}))
    return path


def write_scene(folder: Path, pictures: list[list[Placed]], depth_scale: float = 1.0) -> Path:
    """A scene folder with a picture for each list of cars; ``pictures`` on the ground of their first car."""
    for name in ("rgb", "depth", "mask_visib"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cameras, truths, infos, planes = {}, {}, {}, {}
    for k, cars in enumerate(pictures):
        poses = [car.T for car in cars]
        cv2.imwrite(str(folder / "rgb" / f"{k:06d}.png"), photograph(poses, CAMERA)[..., ::-1])
        steps = np.round(1000.0 / depth_scale * depth_picture(poses, CAMERA))
        cv2.imwrite(str(folder / "depth" / f"{k:06d}.png"), steps.astype(np.uint16))
        cameras[k] = {"cam_K": CAMERA.K.ravel().tolist(), "depth_scale": depth_scale}
        truths[k], infos[k] = [], []
        for index, car in enumerate(cars):
            T = car.T @ np.linalg.inv(T_MODEL_CATEGORY)
            truths[k].append({"cam_R_m2c": T[:3, :3].ravel().tolist(), "cam_t_m2c": (1000 * T[:3, 3]).tolist(),
                              "obj_id": car.obj_id})
            mask = depth_picture(car.T, CAMERA) > 0
            cv2.imwrite(str(folder / "mask_visib" / f"{k:06d}_{index:06d}.png"), 255 * mask.astype(np.uint8))
            rows, columns = np.flatnonzero(mask.any(1)).tolist(), np.flatnonzero(mask.any(0)).tolist()
            box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
            infos[k].append({"bbox_obj": box, "bbox_visib": box, "px_count_all": int(mask.sum()), "visib_fract": 1.0}
                            | car.info)
        planes[k] = plane_under(cars[0].T)
    for name, content in (("camera", cameras), ("gt", truths), ("gt_info", infos), ("support", planes)):
        (folder / f"scene_{name}.json").write_text(json.dumps(content))
    return folder


def edit(path: Path, change) -> None:
    """Let ``change`` alter what a JSON file says."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
