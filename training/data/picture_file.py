# SPDX-License-Identifier: Apache-2.0
"""Pictures, masks and sheets of the training half on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.errors import OutputError
from dinemo_ros.io.files import write_file


def write_picture(path: str | Path, picture: np.ndarray, options: Sequence[int] = ()) -> None:
    """Write a picture (uint8 [H, W, 3] BGR or [H, W]) whole, in the format of the name, with OpenCV's ``options``.

    Raises:
        OutputError: it cannot be written, or the name's ending is of no format.
    """
    try:
        done, data = cv2.imencode(Path(path).suffix, picture, list(options))
    except cv2.error as error:
        raise OutputError(f"{path}: cannot be made a picture ({error.err}); give a name that ends in .png or "
                          ".jpg") from error
    if not done:
        raise OutputError(f"{path}: cannot be made a picture of this format")
    write_file(path, data.tobytes(), durable=False)
