# SPDX-License-Identifier: Apache-2.0
"""Poses as the BOP benchmark wants them: of the model, in millimetres, a line of CSV each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bop import Found

HEADER = "scene_id,im_id,obj_id,score,R,t,time"
_MM = 1000.0


def bop_results(found: Sequence[Found]) -> str:
    """CSV of poses of one source: R row by row, t in millimetres, both of the model in the camera's frame; ``time`` the
    seconds that all objects of the picture took, which is one number for all of its lines."""
    seconds: dict[tuple[int, int], float] = {}
    for item in found:
        key = item.scene, item.im_id
        seconds[key] = seconds.get(key, 0.0) + item.seconds
    return "\n".join([HEADER, *(_line(item, seconds[item.scene, item.im_id]) for item in found)]) + "\n"


def _line(item: Found, seconds: float) -> str:
    T_cam_model = item.pose.T_cam_obj @ np.linalg.inv(item.T_model_category)
    R = " ".join(f"{value:.9g}" for value in T_cam_model[:3, :3].ravel())
    t = " ".join(f"{value:.9g}" for value in _MM * T_cam_model[:3, 3])
    return f"{item.scene},{item.im_id},{item.obj_id},{float(item.pose.score):.6g},{R},{t},{seconds:.6g}"
