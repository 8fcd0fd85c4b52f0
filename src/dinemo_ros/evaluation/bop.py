# SPDX-License-Identifier: Apache-2.0
"""Poses of the objects of BOP scenes from the picture alone, with the support plane, with depth and with both: one
record per object and source, from which the rows are made.

What is compared is the frame of the category, to which the data set's own poses are brought
(:mod:`.bop_objects`); errors are those of :class:`~.truth.PoseTruth`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..camera.pinhole import Camera
from ..errors import FRAME_ERRORS, DatasetError, ImageError
from ..io.depth_file import read_depth_file
from ..io.sources.folder import read_image
from ..model.bundle import Card
from ..pose import ObjectPose
from ..scene.depth_image import DepthImage
from ..scene.observed import Observed
from ..scene.support_plane import SupportPlane
from .bop_scene import BopData, BopImage, BopInstance
from .runner import pose_errors, skipped
from .sample import Roi
from .truth import PoseTruth, ReferenceObject

RGB, SUPPORT, DEPTH, BOTH = "rgb", "support", "depth", "support+depth"
_OTHER_UNIT = 10.0  # times larger or smaller than the category: no object of it
_NO_PLANE, _NO_DEPTH = "no plane is known for this picture", "there is no depth picture"


class SceneEstimator(Protocol):
    """What is evaluated: :class:`~dinemo_ros.estimator.PoseEstimator`."""

    def estimate(self, image: np.ndarray, camera: Camera, rois: Sequence[Roi] | None = None, *,
                 support: SupportPlane | None = None, depth: DepthImage | None = None) -> list[ObjectPose]:
        """Poses in a picture uint8 [H, W, 3], best score first; rois: pixels."""


@dataclass(frozen=True)
class Judged:
    """What finds the poses of one category, the category as the errors see it, and the presence below which the bundle
    would drop a pose, see :mod:`.floor`."""

    estimator: SceneEstimator
    reference: ReferenceObject
    floor: float = 0.0


@dataclass(frozen=True)
class Found:
    """A pose in the frame of the category, for the file of results; seconds that it took."""

    scene: int
    im_id: int
    obj_id: int
    source: str
    pose: ObjectPose
    T_model_category: np.ndarray
    seconds: float


@dataclass
class BopOutcome:
    """Records of :func:`evaluate_bop`, the poses themselves, and what was strange about the observations, each
    sentence once."""

    records: list[dict] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    told: dict[str, None] = field(default_factory=dict)


def sources_of(support: bool, depth: bool) -> tuple[str, ...]:
    """What is asked for, in the order of the rows."""
    return (RGB, *[SUPPORT] * support, *[DEPTH] * depth, *[BOTH] * (support and depth))


def require_sizes(data: BopData, cards: Mapping[str, Card]) -> None:
    """DatasetError where objects are of quite another size than their category: a file in millimetres."""
    for instance in data.instances:
        side, mean = float(instance.known.size.max()), max(cards[instance.known.category].size_prior.mean_m)
        if not mean / _OTHER_UNIT <= side <= mean * _OTHER_UNIT:
            raise DatasetError(f"object {instance.obj_id}: its longest side is {side:.4g} m, of the category "
                               f"{instance.known.category} {mean:.4g} m; write size and T_model_category in metres, or "
                               "name another category")


def evaluate_bop(judged: Mapping[str, Judged], images: Iterable[BopImage], sources: Sequence[str]) -> BopOutcome:
    """Records of all objects; wrap ``images`` to show progress.

    A record holds ``scene``, ``image``, ``gt_id``, ``obj_id``, ``category``, ``source``, ``score`` and ``error_deg``
    (None without a pose), what :meth:`~.truth.PoseTruth.errors` gives, ``axis_error_deg``, ``distance_offset_m``,
    ``visib_fract``, ``extra``, ``observations`` (what the pose says that it used and refused) and ``absent`` (what was
    asked for and is not there, with the reason; the pose is then found without it). ``skipped`` says why an object
    could not be looked for, which counts as no pose.

    Args:
        judged: by category. sources: of :func:`sources_of`.
    """
    outcome = BopOutcome()
    for image in images:
        outcome.records += _of_image(judged, image, sources, outcome)
    return outcome


def _of_image(judged: Mapping[str, Judged], image: BopImage, sources: Sequence[str],
              outcome: BopOutcome) -> Iterator[dict]:
    try:
        pixels = read_image(image.path)
        camera = Camera(pixels.shape[1], pixels.shape[0], image.K)
    except FRAME_ERRORS as error:
        for source in sources:
            yield from (_base(image, i, source) | skipped(image.path.name, error) for i in image.instances)
        return
    depth, why = _depth(image, camera, outcome) if any(DEPTH in source for source in sources) else (None, "")
    for source in sources:
        observed = Observed(image.support if SUPPORT in source else None, depth if DEPTH in source else None)
        absent = {**({SUPPORT: _NO_PLANE} if SUPPORT in source and image.support is None else {}),
                  **({DEPTH: why} if DEPTH in source and depth is None else {})}
        for instance in image.instances:
            record = _base(image, instance, source) | ({"absent": absent} if absent else {})
            yield record | _judge(judged[instance.known.category], image, instance, (pixels, camera), source, observed,
                                  outcome)


def _depth(image: BopImage, camera: Camera, outcome: BopOutcome) -> tuple[DepthImage | None, str]:
    """Depth of a picture, aligned to it, or why there is none."""
    if image.depth is None:
        return None, _NO_DEPTH
    try:
        stored = read_depth_file(image.depth)
        # Millimetres as they are stored keep their 16 bits, by which a wrong unit is noticed.
        scaled = stored if image.depth_scale == 1.0 and stored.dtype == np.uint16 else (
            stored.astype(np.float32) * np.float32(1e-3 * image.depth_scale))
        depth = DepthImage.from_array(scaled, camera)
    except FRAME_ERRORS as error:
        why = str(error if isinstance(error, ImageError) else f"{image.depth.name}: {error}")
        outcome.told.setdefault(f"scene {image.scene}, image {image.im_id}: {why}; it is left out")
        return None, why
    if depth.note:
        outcome.told.setdefault(depth.note)
    return depth, ""


def _judge(judged: Judged, image: BopImage, instance: BopInstance, shown: tuple[np.ndarray, Camera], source: str,
           observed: Observed, outcome: BopOutcome) -> dict:
    """The pose of one object from one source, and its errors."""
    pixels, camera = shown
    begin = time.perf_counter()
    try:
        poses = judged.estimator.estimate(pixels, camera, [instance.roi], support=observed.support,
                                          depth=observed.depth)
    except FRAME_ERRORS as error:
        return skipped(image.path.name, error)
    seconds = time.perf_counter() - begin
    if not poses:
        return {"seconds": seconds}
    pose, T_true = poses[0], instance.T_cam_category
    outcome.found.append(Found(image.scene, image.im_id, instance.obj_id, source, pose,
                               instance.known.T_model_category, seconds))
    truth = PoseTruth(T_true, instance.known.size, camera)
    axis, axis_true = pose.T_cam_obj[:3, 2], T_true[:3, 2]
    return {
        "seconds": seconds, **pose_errors(pose, truth, judged.reference, judged.floor),
        "axis_error_deg": math.degrees(math.atan2(np.linalg.norm(np.cross(axis, axis_true)), axis @ axis_true)),
        "distance_offset_m": float(np.linalg.norm(pose.T_cam_obj[:3, 3]) - np.linalg.norm(T_true[:3, 3])),
        "T_cam_obj": pose.T_cam_obj, "pose_source": pose.source,
        "observations": [{"name": o.name, "used": o.used, "reason": o.reason,
                          "residual_m": o.residual_m if math.isfinite(o.residual_m) else None}
                         for o in pose.observations],
    }


def _base(image: BopImage, instance: BopInstance, source: str) -> dict:
    return {"scene": image.scene, "image": image.im_id, "file": image.path.name, "gt_id": instance.gt_id,
            "obj_id": instance.obj_id, "category": instance.known.category, "source": source, "score": None,
            "error_deg": None, "visib_fract": instance.visible, "extra": dict(instance.extra)}
