# SPDX-License-Identifier: Apache-2.0
"""Draw the boxes that led to no pose, with the reason: why is there nothing at that place?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ..detection.labelled_box import LabelledBox
from ..io.quoting import shown

_LINE, _TEXT = (255, 255, 255), (255, 255, 255)
_DARK = (24, 24, 28)  # below line and letters, so that both are seen on any picture
_LONGEST = 24  # characters of a label; a reason is short


def draw_refused(canvas: np.ndarray, boxes: Sequence[LabelledBox]) -> None:
    """Thin boxes with "label score: reason" at their lower edge, on ``canvas`` uint8 [H, W, 3] RGB itself.

    Boxes are in its pixels; what is beyond the picture is cut off. Only ASCII letters are drawn.
    """
    height, width = canvas.shape[:2]
    zoom = math.sqrt(height * width / (640 * 480))
    scale, stroke = 0.36 * zoom, max(1, round(zoom))
    for box in boxes:
        if not np.isfinite(box.roi).all():
            continue
        x_min, y_min, x_max, y_max = (round(float(np.clip(edge, -1, size))) for edge, size in
                                      zip(box.roi, (width, height, width, height), strict=True))
        cv2.rectangle(canvas, (x_min, y_min), (x_max, y_max), _DARK, stroke + 2)
        cv2.rectangle(canvas, (x_min, y_min), (x_max, y_max), _LINE, stroke)
        place = (max(0, x_min + stroke + 2), min(height - stroke - 2, y_max - stroke - 3))
        text = told(box)
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, _DARK, stroke + 2, cv2.LINE_AA)
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, _TEXT, stroke, cv2.LINE_AA)


def told(box: LabelledBox) -> str:
    """What stands at a box: ``Mug 0.62: presence 0.03 < 0.20``."""
    name = shown(box.label or box.category, _LONGEST)
    score = "" if box.score is None or math.isnan(box.score) else f" {box.score:.2f}"
    return f"{name}{score}: {box.refused}".encode("ascii", "replace").decode().lstrip(": ")
