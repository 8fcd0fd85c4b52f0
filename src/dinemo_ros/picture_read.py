# SPDX-License-Identifier: Apache-2.0
"""Pictures that are read as they are stored: masks, cut-outs, training data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def imread(path: str | Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """As ``cv2.imread``, which crashes on a name that is no UTF-8; None where it cannot be read or is no picture."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError:
        return None
    return cv2.imdecode(data, flags) if len(data) else None
