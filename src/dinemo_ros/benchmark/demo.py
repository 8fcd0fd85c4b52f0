# SPDX-License-Identifier: Apache-2.0
"""The shipped demo sequence, and any folder like it, as samples with exact poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..camera.pinhole import Camera
from ..errors import DatasetError, DocumentError
from ..evaluation.sample import LabelledSample, Sample
from ..evaluation.truth import PoseTruth
from ..io.bounded_file import is_name
from ..io.document import read_json
from ..io.quoting import quoted, shown
from ..io.sources.folder import CAMERA_FILE, TRUTH_FILE, read_image
from ..model.bundle import find_bundle


def demo_sequence() -> Path:
    """Folder of the demo sequence that ships with the package."""
    return find_bundle("car").parents[1] / "config" / "demo_sequence"  # engines/car and config share their parent


def demo_entries(folder: Path) -> list[LabelledSample]:
    """Frames of ``folder`` with region and pose from its ``ground_truth.json``; none where there is no such file.

    Raises:
        DatasetError: the file is not what ``dinemo_training.synthetic.render.demo_sequence`` writes.
    """
    file = folder / TRUTH_FILE
    if not file.is_file():
        return []
    camera = Camera.from_yaml(folder / CAMERA_FILE)
    try:
        frames = read_json(file)["frames"]
        known = {name: (tuple(map(float, frame["roi"])), np.array(frame["T_cam_obj"], np.float64).reshape(4, 4),
                        np.array(frame["size"], np.float64).reshape(3)) for name, frame in frames.items()}
        wrong = [name for name, numbers in known.items() if not is_name(name) or len(numbers[0]) != 4
                 or not all(np.isfinite(part).all() for part in numbers)]
        if wrong:
            raise ValueError(f"{quoted(wrong[0])} is no name, or has numbers that are not finite")
    except (DocumentError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DatasetError(f"{file}: not a ground truth file ({shown(error)}); expected frames.NAME with roi [4], "
                           "T_cam_obj [4][4] and size [3]") from error

    def load(name: str) -> Sample:
        roi, T_cam_obj, size = known[name]
        return Sample(read_image(folder / name), camera, roi, None, PoseTruth(T_cam_obj, size, camera), roi)

    return [LabelledSample(folder.name, name, lambda name=name: load(name)) for name in known]
