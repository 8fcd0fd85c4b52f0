# SPDX-License-Identifier: Apache-2.0
"""Rendered objects with exact poses: a folder of posed crops as ``dinemo_training.synthetic.render.dataset`` writes
them.

``DIR/images/NAME.jpg`` (or another kind of image), ``DIR/masks/NAME.png`` (255 where the object is seen, another value
above 0 where something rendered covers it) and ``DIR/labels.npz`` without pickles: ``names`` [N], ``K`` [N, 3, 3]
pixels, ``T_cam_obj`` [N, 4, 4] metres, ``size`` [N, 3] metres, optional ``asset`` [N] names of the models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..camera.pinhole import Camera
from ..errors import DatasetError, ImageError
from ..io.picture_read import imread
from ..io.sources.folder import images_by_stem, read_image
from .sample import LabelledSample, Sample, mask_box
from .synthetic_labels import LABELS, read_labels
from .truth import PoseTruth

_SEEN = 255
# How many times smaller or larger than its mask an object may be by its label. A mask reaches as far as the object
# does, unless most of that lies outside of the picture; a mistaken unit is a factor of a hundred or a thousand.
_SMALLER, _LARGER = 10.0, 50.0
_OTHER_UNIT = 10.0  # times larger or smaller than the category: no object of it


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
        DatasetError: no folder, no labels, labels or masks that cannot be, a picture or mask that is missing.
    """
    labels = read_labels(directory / LABELS)
    count = len(labels["names"])
    assets = labels.get("asset", np.array([directory.resolve().name] * count))
    images, masks = images_by_stem(directory / "images"), images_by_stem(directory / "masks")
    frames = []
    for i, name in enumerate(labels["names"][:limit]):
        image = images.get(name, directory / "images" / f"{name}.jpg")
        mask = masks.get(name, directory / "masks" / f"{name}.png")
        frames.append(SyntheticFrame(image, mask, labels["K"][i], labels["T_cam_obj"][i], labels["size"][i],
                                     str(assets[i])))
    missing = [path for frame in frames for path in (frame.image, frame.mask) if not path.is_file()]
    if missing:
        raise DatasetError(f"{directory}: {len(missing)} pictures or masks of {LABELS} are missing, the first is "
                           f"{missing[0]}; names has the names of the files without suffix")
    for frame in frames:
        _check(frame)
    return frames


def _mask(frame: SyntheticFrame) -> np.ndarray:
    """uint8 [H, W]; DatasetError where it cannot be read."""
    mask = imread(frame.mask, cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DatasetError(f"{frame.mask}: cannot be read as an image")
    return mask


def _check(frame: SyntheticFrame) -> None:
    """DatasetError unless mask, picture and label can belong together; a picture that cannot be read is left alone."""
    mask = _mask(frame)
    if not (mask == _SEEN).any():
        raise DatasetError(f"{frame.mask}: has no pixel of {_SEEN}, which says where the object is seen (values there: "
                           f"{', '.join(map(str, np.unique(mask)[:5]))})")
    try:
        height, width = read_image(frame.image).shape[:2]
    except ImageError:  # counted as wrong when its turn comes
        height, width = mask.shape
    if mask.shape != (height, width):
        raise DatasetError(f"{frame.mask}: is {mask.shape[1]}x{mask.shape[0]} pixels, its picture {width}x{height}")
    box = np.array(mask_box(mask > 0))
    centre, side = 0.5 * (box[:2] + box[2:]), (box[2:] - box[:2]).max()
    x, y, z = frame.T_cam_obj[:3, 3]
    origin = frame.K[:2] @ [x / z, y / z, 1.0]
    labelled = frame.K[0, 0] * frame.size.max() / z
    if not side / _SMALLER <= labelled <= side * _LARGER or np.linalg.norm(origin - centre) > 2 * (labelled + side):
        raise DatasetError(
            f"{frame.mask}: the object is {side:.0f} pixels large around ({centre[0]:.0f}, {centre[1]:.0f}), but by "
            f"{LABELS} {labelled:.3g} pixels around ({origin[0]:.0f}, {origin[1]:.0f}); T_cam_obj and size are in "
            "metres, K in pixels of this very picture")


def require_unit(frames: Sequence[SyntheticFrame], mean_m: Sequence[float]) -> None:
    """DatasetError where the objects are of quite another size than the category, whose mean is ``mean_m`` [3]: with
    all lengths in millimetres everything fits together and only the distances are wrong, a thousand times."""
    side, expected = float(np.median([frame.size.max() for frame in frames])), max(mean_m)
    if not expected / _OTHER_UNIT <= side <= expected * _OTHER_UNIT:
        raise DatasetError(f"{LABELS}: the longest side of an object is {side:.4g} m (median of size), of the bundle's "
                           f"category {expected:.4g} m; write size and T_cam_obj in metres, or give the bundle of "
                           "that category by --bundle")


def synthetic_entries(frames: Sequence[SyntheticFrame], rois: str = "labels") -> list[LabelledSample]:
    """What :func:`~dinemo_ros.evaluation.runner.evaluate` takes.

    Args:
        rois: ``"labels"`` gives the box of the whole object, seen or covered; ``"auto"`` leaves it to the estimator.
    """
    def load(frame: SyntheticFrame) -> Sample:
        image = read_image(frame.image)
        height, width = image.shape[:2]
        mask = _mask(frame)
        camera, box = Camera(width, height, frame.K), mask_box(mask > 0)
        return Sample(image, camera, box if rois == "labels" else None, mask == _SEEN,
                      PoseTruth(frame.T_cam_obj, frame.size, camera), box)

    return [LabelledSample(frame.asset, frame.image.name, partial(load, frame)) for frame in frames]
