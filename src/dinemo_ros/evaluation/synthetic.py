# SPDX-License-Identifier: Apache-2.0
"""Rendered objects with exact poses: a folder of posed crops as ``training.render.dataset`` writes them.

``DIR/images/NAME.jpg`` (or .png), ``DIR/masks/NAME.png`` (255 where the object is seen, another value above 0 where
something rendered covers it) and ``DIR/labels.npz`` without pickles: ``names`` [N], ``K`` [N, 3, 3] pixels,
``T_cam_obj`` [N, 4, 4] metres, ``size`` [N, 3] metres, optional ``asset`` [N] names of the models.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..camera import Camera
from ..errors import DatasetError, ImageError
from ..sources.folder import read_image
from .sample import Entry, Sample, mask_box
from .truth import PoseTruth

LABELS = "labels.npz"
_SHAPES = {"names": (), "K": (3, 3), "T_cam_obj": (4, 4), "size": (3,)}
_SEEN = 255


@dataclass(frozen=True)
class SyntheticFrame:
    """One render: its files, K [3, 3] pixels, T_cam_obj [4, 4] metres, size [3] metres, and the model rendered."""

    image: Path
    mask: Path
    K: np.ndarray
    T_cam_obj: np.ndarray
    size: np.ndarray
    asset: str


def read_synthetic(directory: Path, limit: int | None = None) -> list[SyntheticFrame]:
    """Frames in the order of the labels, the first ``limit`` of them.

    Raises:
        DatasetError: no folder, no labels, labels of another layout, a picture or mask that is missing.
    """
    labels = _read_labels(directory / LABELS)
    count = len(labels["names"])
    assets = labels.get("asset", np.array([directory.name] * count))
    frames = []
    for i, name in enumerate(labels["names"][:limit]):
        image = directory / "images" / f"{name}.jpg"
        image = image if image.is_file() else image.with_suffix(".png")
        frames.append(SyntheticFrame(image, directory / "masks" / f"{name}.png", labels["K"][i],
                                     labels["T_cam_obj"][i], labels["size"][i], str(assets[i])))
    missing = [path for frame in frames for path in (frame.image, frame.mask) if not path.is_file()]
    if missing:
        raise DatasetError(f"{directory}: {len(missing)} pictures or masks of {LABELS} are missing, the first is "
                           f"{missing[0]}")
    return frames


def _read_labels(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            labels = {key: archive[key] for key in (*_SHAPES, "asset") if key in archive}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); expected what training.render.dataset writes") from error
    lacking = [key for key in _SHAPES if key not in labels]
    if lacking:
        raise DatasetError(f"{path}: lacks {', '.join(lacking)}; expected what training.render.dataset writes")
    count = len(labels["names"]) if labels["names"].ndim else 0
    for key, shape in _SHAPES.items():
        if count == 0 or labels[key].shape != (count, *shape):
            raise DatasetError(f"{path}: {key} has the shape {list(labels[key].shape)}, expected [N"
                               f"{''.join(f', {side}' for side in shape)}] with N names, at least one")
        if shape and not np.isfinite(labels[key]).all():
            raise DatasetError(f"{path}: {key} holds numbers that are not finite")
    return labels


def synthetic_entries(frames: Sequence[SyntheticFrame], rois: str = "labels") -> list[Entry]:
    """What :func:`~dinemo_ros.evaluation.runner.evaluate` takes.

    Args:
        rois: ``"labels"`` gives the box of the whole object, seen or covered; ``"auto"`` leaves it to the estimator.
    """
    def load(frame: SyntheticFrame) -> Sample:
        image = read_image(frame.image)
        height, width = image.shape[:2]
        mask = cv2.imread(str(frame.mask), cv2.IMREAD_GRAYSCALE)
        if mask is None or mask.shape != (height, width):
            raise ImageError(f"{frame.mask.name}: mask cannot be read or has another size than its picture")
        camera = Camera(width, height, frame.K)
        box = mask_box(mask > 0) or (0.0, 0.0, float(width), float(height))
        return Sample(image, camera, box if rois == "labels" else None, mask == _SEEN,
                      PoseTruth(frame.T_cam_obj, frame.size, camera), box)

    return [Entry(frame.asset, frame.image.name, lambda frame=frame: load(frame)) for frame in frames]
