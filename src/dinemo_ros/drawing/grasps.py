# SPDX-License-Identifier: Apache-2.0
"""Draw where a gripper would take hold: for every grasp a parallel jaw as wide open as the object needs it.

What is drawn is the geometry of the frames and no robot: two fingers that end at the fingertips, the bar that joins
them, and the way from the pre-grasp frame to the grasp. Nothing hides anything: a finger inside a cup is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ..camera.pinhole import Camera
from ..model.grasps import Grasp
from .overlay import draw_line, in_view
from .palette import DARK, GRASPS

FINGER_M = 0.045  # length of a drawn finger, of common parallel jaws


def jaw_lines(grasp: Grasp) -> list[np.ndarray]:
    """Lines [N, 3] in the object's frame, metres: fingers and bar as one, and from the pre-grasp frame to the bar."""
    half = grasp.opening_m / 2.0
    jaw = np.array([[0, -half, 0], [0, -half, -FINGER_M], [0, half, -FINGER_M], [0, half, 0]])
    stem = np.array([[0, 0, -max(grasp.pregrasp_m, FINGER_M)], [0, 0, -FINGER_M]])
    R, t = grasp.T_obj_grasp[:3, :3], grasp.T_obj_grasp[:3, 3]
    return [line @ R.T + t for line in (jaw, stem)]


def draw_grasps(image: np.ndarray, camera: Camera, T_cam_obj: np.ndarray, grasps: Sequence[Grasp],
                names: bool = True) -> np.ndarray:
    """A copy of ``image`` with the grasps of one object.

    Args:
        image: uint8 [H, W, 3] RGB; left as it is.
        camera: of this image.
        T_cam_obj: [4, 4] object frame to camera optical frame, metres.
        grasps: of this object, see :func:`dinemo_ros.model.grasps.grasp_frames`.
        names: write the grasp's name where the gripper waits.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    canvas = image.copy()
    zoom = math.sqrt(image.shape[0] * image.shape[1] / (640 * 480))
    width = max(1, round(1.6 * zoom))
    R, t = T_cam_obj[:3, :3], T_cam_obj[:3, 3]
    lines = [[line @ R.T + t for line in jaw_lines(grasp)] for grasp in grasps]
    order = sorted(range(len(lines)), key=lambda k: -float(lines[k][1][0, 2]))  # far ones first
    for k in order:
        for colour, more in ((DARK, 2), (GRASPS[k % len(GRASPS)], 0)):
            _draw_jaw(canvas, camera, lines[k], colour, width + more)
    if names:
        for k in order:
            _write(canvas, camera, lines[k][1][0], grasps[k].name, GRASPS[k % len(GRASPS)], zoom)
    return canvas


def _draw_jaw(canvas: np.ndarray, camera: Camera, lines: Sequence[np.ndarray], colour: tuple[int, int, int],
              width: int) -> None:
    jaw, stem = lines
    for a, b in zip(jaw[:-1], jaw[1:], strict=True):
        draw_line(canvas, camera, a, b, colour, width)
    draw_line(canvas, camera, stem[0], stem[1], colour, max(1, width // 2), arrow=True)


def _write(canvas: np.ndarray, camera: Camera, point: np.ndarray, text: str, colour: tuple[int, int, int],
           zoom: float) -> None:
    """``text`` beside the ``point`` [3] of the camera frame."""
    if not in_view(camera, point[None]).all():
        return
    x, y = np.rint(camera.project(point[None])[0] + 4 * zoom).astype(int).tolist()
    for ink, width in ((DARK, 3), (colour, 1)):
        cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42 * zoom, ink, max(1, round(width * zoom)),
                    cv2.LINE_AA)
