# SPDX-License-Identifier: Apache-2.0
"""PASCAL3D+ (Xiang et al., WACV 2014) and Occluded PASCAL3D+ (Wang et al., CVPR 2020) in their published layout.

PASCAL3D+ release 1.1, of which only the ImageNet part is used, as in NeMo and all that followed:

    Annotations/CLASS_imagenet/NAME.mat, Images/CLASS_imagenet/NAME.JPEG, Image_sets/CLASS_imagenet_val.txt

Occluded PASCAL3D+, made of the same pictures, levels FGLk_BGLk = L1, L2, L3:

    images/CLASSFGLk_BGLk/NAME.JPEG, annotations/CLASSFGLk_BGLk/NAME.npz, lists/CLASSFGLk_BGLk.txt

``viewpoint`` holds azimuth, elevation, theta in degrees for a camera whose optical axis meets the object, focal length
``viewport * focal`` (3000) pixels, object's origin at pixel (px, py). Pixels count from 1. Boxes are (x_min, y_min,
x_max, y_max), the last pixel included.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..camera.pinhole import Camera
from ..errors import DatasetError, DocumentError, told
from ..io.array_file import read_arrays
from ..io.bounded_file import is_name, read_bounded, size_in_words
from ..io.quoting import quoted, shown
from ..io.sources.folder import read_image
from .sample import CLEAN, LabelledSample, Sample
from .truth import ViewpointTruth

_SUFFIXES = (".JPEG", ".jpg", ".jpeg", ".png")
_LARGEST_LIST, _LARGEST_ANNOTATION = 16 << 20, 4 << 20  # bytes; annotations have a few thousand
_MAT_HEADER, _MAT_PACKED = 128, 15  # bytes before the first variable of a MATLAB 5 file; kind of a packed one


@dataclass(frozen=True)
class Pascal3dObject:
    """The first object of the category in one picture.

    Attributes:
        image: its file.
        roi: [4] pixel edges.
        azimuth, elevation, theta: degrees.
        distance: of the camera, in units of the CAD model's diagonal.
        focal: pixels.
        principal: [2] pixel (x, y) that shows the object's origin, centres at integers.
        occlusion: level, L0 for the pictures as they are.
        masks: npz with the object's and the occluders' mask, None for the pictures as they are.
    """

    image: Path
    roi: np.ndarray
    azimuth: float
    elevation: float
    theta: float
    distance: float
    focal: float
    principal: np.ndarray
    occlusion: str = CLEAN
    masks: Path | None = None

    def camera(self, width: int, height: int, hfov_deg: float | None = None) -> Camera:
        """The data set's camera, or one with a field of view of ``hfov_deg``, its axis through the picture's middle.

        The annotated principal point is the object's own place: it is truth and no property of the camera.
        """
        if hfov_deg is not None:
            return Camera.from_hfov(width, height, hfov_deg)
        return Camera.from_hfov(width, height, 2 * math.degrees(math.atan(0.5 * width / self.focal)))


def read_pascal3d(directory: Path, category: str, subset: str = "val",
                  limit: int | None = None) -> tuple[list[Pascal3dObject], list[str]]:
    """Annotated objects in the order of ``Image_sets/CATEGORY_imagenet_SUBSET.txt``, the first ``limit`` of them.

    Of a picture with several objects of the category the first one is taken, as NeMo does.

    Returns:
        The objects, and one sentence per picture that was left out because nothing in it has a fine viewpoint.

    Raises:
        DatasetError: another layout; the sentence names the file.
    """
    listed = directory / "Image_sets" / f"{category}_imagenet_{subset}.txt"
    names = _names(listed)[:limit]
    objects, left_out = [], []
    for name in names:
        if not is_name(name):
            raise DatasetError(f"{listed}: {quoted(name)} is no name of a picture")
        annotation = directory / "Annotations" / f"{category}_imagenet" / f"{name}.mat"
        found = read_annotation(annotation, category, _picture(directory / "Images" / f"{category}_imagenet", name))
        if found is None:
            left_out.append(f"{annotation.name}: no {category} with a fine viewpoint")
        else:
            objects.append(found)
    if not objects:
        raise DatasetError(f"{listed}: none of its {len(names)} pictures has a {category} with a fine viewpoint")
    return objects, left_out


def read_occluded(directory: Path, category: str, level: str,
                  clean: Sequence[Pascal3dObject]) -> list[Pascal3dObject]:
    """The objects of ``clean`` that Occluded PASCAL3D+ in ``directory`` has at ``level`` ("L1" to "L3").

    Raises:
        DatasetError: no such level, or none of the pictures.
    """
    folder = f"{category}FGL{level[1]}_BGL{level[1]}"
    images, listed = directory / "images" / folder, directory / "lists" / f"{folder}.txt"
    if not images.is_dir():
        raise DatasetError(f"{images}: no such folder; give the folder of Occluded PASCAL3D+ that holds images/, "
                           "annotations/ and lists/ (its download_FG.sh makes them)")
    there = {path.stem for path in images.iterdir()}
    if listed.is_file():
        there &= {Path(name).stem for name in _names(listed)}
    objects = []
    for item in clean:
        if item.image.stem in there:
            masks = directory / "annotations" / folder / f"{item.image.stem}.npz"
            objects.append(Pascal3dObject(**(vars(item) | {
                "image": _picture(images, item.image.stem), "occlusion": level,
                "masks": masks if masks.is_file() else None})))
    if not objects:
        raise DatasetError(f"{images}: has none of the {len(clean)} pictures that were asked for")
    return objects


def read_annotation(path: Path, category: str, image: Path) -> Pascal3dObject | None:
    """The first object of the category with a viewpoint in a ``.mat`` file, None without one.

    Raises:
        DatasetError: scipy is not installed, or this is no annotation.
    """
    record = _load(path)
    try:
        for item in np.atleast_1d(record.objects):
            if str(getattr(item, "class")) != category or not hasattr(item.viewpoint, "azimuth"):
                continue
            view = item.viewpoint
            numbers = [float(getattr(view, key)) for key in ("azimuth", "elevation", "theta", "distance", "focal",
                                                             "viewport", "px", "py")]
            box = np.asarray(item.bbox, float).reshape(4)
            if not np.isfinite([*numbers, *box]).all():
                raise ValueError("a number is not finite")
            azimuth, elevation, theta, distance, focal, viewport, px, py = numbers
            if distance <= 0:  # only the coarse viewpoint was annotated
                continue
            # Pixels from 1, the last one included: 0-based edges are x_min - 1 and x_max.
            return Pascal3dObject(image, box - [1, 1, 0, 0], azimuth, elevation, theta, distance, focal * viewport,
                                  np.array([px - 1, py - 1]))
    except (AttributeError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: not an annotation of PASCAL3D+ ({shown(error)})") from error
    return None


def _load(path: Path) -> Any:
    """``record`` of a MATLAB file, with attributes as scipy makes them."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DatasetError("annotations of PASCAL3D+ are MATLAB files: pip install scipy reads them") from error
    try:
        data = read_bounded(path, _LARGEST_ANNOTATION)
        _check_unpacked(data)
        return loadmat(io.BytesIO(data), squeeze_me=True, struct_as_record=False)["record"]
    except Exception as error:  # scipy raises a dozen unrelated types for one cause: a damaged file
        reason = str(error) if isinstance(error, DocumentError) else f"cannot be read ({shown(told(error))})"
        raise DatasetError(f"{path}: {reason}; expected an annotation of PASCAL3D+, a MATLAB file") from error


def _check_unpacked(data: bytes) -> None:
    """DocumentError for packed variables of a MATLAB 5 file that are larger than annotations are; scipy unpacks all."""
    at, left = _MAT_HEADER, _LARGEST_ANNOTATION
    while at + 8 <= len(data):
        kind, size = (int.from_bytes(data[at + k:at + k + 4], "little") for k in (0, 4))
        if kind == _MAT_PACKED:
            unpacker = zlib.decompressobj()
            left -= len(unpacker.decompress(data[at + 8:at + 8 + size], left + 1))
            if left < 0:
                raise DocumentError(f"unpacks to more than {size_in_words(_LARGEST_ANNOTATION)}")
        at += 8 + size


def _names(path: Path) -> list[str]:
    try:
        return read_bounded(path, _LARGEST_LIST).decode("utf-8").split()
    except (DocumentError, UnicodeDecodeError) as error:
        reason = error if isinstance(error, DocumentError) else "cannot be read (it is no text)"
        raise DatasetError(f"{path}: {reason}; expected the layout of PASCAL3D+ release 1.1: "
                           "Annotations/, Images/, Image_sets/") from error


def _picture(folder: Path, name: str) -> Path:
    for suffix in _SUFFIXES:
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise DatasetError(f"{folder / name}{_SUFFIXES[0]}: no such picture")


def pascal3d_entries(objects: Sequence[Pascal3dObject], category: str, rois: str = "labels", hfov_deg: float
                     | None = None) -> list[LabelledSample]:
    """What :func:`~dinemo_ros.evaluation.runner.evaluate` takes.

    Args:
        rois: ``"labels"`` gives the annotated boxes, ``"auto"`` leaves it to the estimator.
        hfov_deg: horizontal field of view instead of the data set's, degrees.
    """
    def load(item: Pascal3dObject) -> Sample:
        image = read_image(item.image)
        height, width = image.shape[:2]
        box = tuple(item.roi)
        return Sample(image, item.camera(width, height, hfov_deg), box if rois == "labels" else None, None,
                      ViewpointTruth(item.azimuth, item.elevation, item.theta), box, _coverage(item.masks))

    return [LabelledSample(category, item.image.name, partial(load, item), item.occlusion) for item in objects]


def _coverage(path: Path | None) -> float | None:
    """Share of the object that its occluders hide, None where the npz does not say so without pickles."""
    if path is None:
        return None
    try:
        arrays = read_arrays(path, ["mask", "occluder_mask"])
        seen, occluder = np.squeeze(arrays["mask"]) > 10, np.squeeze(arrays["occluder_mask"]) > 0.5
    except (DocumentError, TypeError):  # TypeError: texts
        return None
    if seen.shape != occluder.shape or not seen.any():
        return None
    return float((seen & occluder).sum() / seen.sum())
