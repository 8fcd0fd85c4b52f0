# SPDX-License-Identifier: Apache-2.0
"""Depth pictures and what an estimator was given, for tests of the command line."""

from __future__ import annotations

import cv2
import numpy as np

from dinemo_ros.estimator import PoseEstimator


def write_depth(path, depth: np.ndarray) -> None:
    """uint16 or float32 [H, W] as PNG or TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), depth)


def record_what_is_given(monkeypatch) -> list[dict]:
    """Keyword arguments of each call of ``PoseEstimator.estimate`` with an image that is not its warm-up."""
    given = []
    real = PoseEstimator.estimate

    def estimate(self, image, camera, rois=None, **known):
        if known:
            given.append(known)
        return real(self, image, camera, rois, **known)

    monkeypatch.setattr(PoseEstimator, "estimate", estimate)
    return given
