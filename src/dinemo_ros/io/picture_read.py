# SPDX-License-Identifier: Apache-2.0
"""Pictures that are read as they are stored: masks, cut-outs, training data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..errors import ImageError
from .picture_guard import guarded, read_picture_file


def imread(path: str | Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """As ``cv2.imread``, which crashes on a name that is no UTF-8: [H, W, 3] uint8 BGR, or what ``flags`` ask for.

    None where it cannot be read, is no picture, or one that would fill the memory
    (:mod:`dinemo_ros.io.picture_guard`).
    """
    try:
        data, header = guarded(read_picture_file(Path(path)))
        return None if header is None else cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (OSError, ImageError, cv2.error):
        return None
