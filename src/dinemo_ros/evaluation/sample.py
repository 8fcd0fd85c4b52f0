# SPDX-License-Identifier: Apache-2.0
"""One object in one picture with what is known about it, whatever data set it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..camera.pinhole import Camera
from ..errors import DatasetError
from ..pose import Roi
from .truth import Truth

ALL = "all"  # name of the row that sums up several groups
CLEAN = "L0"  # name of the level at which nothing was pasted over the picture


@dataclass(frozen=True)
class Sample:
    """One object to be found.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        camera: of this image.
        roi: (x_min, y_min, x_max, y_max) pixel edges, None leaves finding the object to the estimator.
        mask: bool [H, W] where the object is seen, None where nobody knows.
        truth: what an estimate is compared with.
        box: pixel edges of the whole object, seen or covered, where the data set knows them: for baselines.
        coverage: share of the object that the data set itself has covered, None where it says nothing.
    """

    image: np.ndarray
    camera: Camera
    roi: Roi | None
    mask: np.ndarray | None
    truth: Truth
    box: Roi | None = None
    coverage: float | None = None


@dataclass(frozen=True)
class LabelledSample:
    """A sample that is read when its turn comes.

    Attributes:
        group: what it is summarised with: a sequence, a category.
        name: unique in its group.
        load: reads it; an error of :data:`~dinemo_ros.errors.FRAME_ERRORS` where the picture cannot be used.
        occlusion: level at which the data set itself has occluded it.
    """

    group: str
    name: str
    load: Callable[[], Sample]
    occlusion: str = CLEAN

    def __post_init__(self) -> None:
        if self.group == ALL:
            raise DatasetError(f"a set is called {ALL!r}, as the table's row of all sets together; call that "
                               "sequence or asset something else")


def mask_box(mask: np.ndarray) -> Roi | None:
    """Bounds of a mask [H, W] as pixel edges, None for an empty one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
