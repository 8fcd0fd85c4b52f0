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
    """What is known beside the picture in each call of ``PoseEstimator.estimate`` or ``estimate_found`` with an image
    that is not its warm-up."""
    given: list[dict] = []

    def recorded(real):
        def estimate(self, *arguments, **known):
            if known:
                given.append({name: known.get(name) for name in ("support", "depth")})
            return real(self, *arguments, **known)

        return estimate

    for name in ("estimate", "estimate_found"):
        monkeypatch.setattr(PoseEstimator, name, recorded(getattr(PoseEstimator, name)))
    return given
