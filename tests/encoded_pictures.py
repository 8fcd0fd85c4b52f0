# SPDX-License-Identifier: Apache-2.0
"""Pictures as the bytes of a file, by OpenCV where it writes that kind."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest


def encoded(suffix: str, picture: np.ndarray, options: Sequence[int] = ()) -> bytes:
    """``picture`` as a file with ``suffix``; the test is skipped where this OpenCV writes none."""
    try:
        ok, data = cv2.imencode(suffix, picture, list(options))
    except cv2.error:
        ok = False
    if not ok:
        pytest.skip(f"OpenCV {cv2.__version__} writes no {suffix}")
    return data.tobytes()
