# SPDX-License-Identifier: Apache-2.0
"""Pose errors on the cars of KITTI's easy set, with given or own regions of interest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import rotation_angle
from ..pose import Hypothesis, ObjectPose
from ..sources.folder import read_image
from .boxes import area, intersection, iou, match_greedily
from .kitti_labels import KittiFrame, KittiObject
from .metrics import azimuth_error_deg

if TYPE_CHECKING:
    from ..estimator import PoseEstimator

IOU_THRESHOLD = 0.5
_MIN_HEIGHT_PX = 40.0  # of the easy set; smaller detections are neither right nor wrong, as in KITTI's own protocol


def evaluate_kitti(estimator: PoseEstimator, frames: Iterable[KittiFrame], rois: str = "labels") -> dict:
    """Estimate the easy cars of every frame and compare with the 3-D labels.

    Args:
        frames: as from :func:`~dinemo_ros.evaluation.kitti_labels.read_kitti`; wrap it to show progress.
        rois: ``"labels"`` gives the 2-D boxes of the labels, ``"auto"`` leaves finding the cars to the estimator.

    Returns:
        ``{"cars": [entry each], "all": {n, azimuth_acc30, rotation_median_deg, distance_median_pct,
        translation_median_m, missing}}``; with ``"auto"`` also ``recall`` and ``precision`` in ``all``. A car without
        a pose is wrong in ``azimuth_acc30`` and worst in the medians. ``precision`` is None when nothing was found.

    Raises:
        ImageError: a picture that cannot be read.
    """
    cars, wrong = [], 0
    for frame in frames:
        image = read_image(frame.image)
        camera = frame.camera(image.shape[1], image.shape[0])
        easy = [o for o in frame.objects if o.is_easy_car]
        if rois == "labels":
            held = [_best(estimator.estimate(image, camera, rois=[tuple(car.roi)])) for car in easy]
        else:
            poses = estimator.estimate(image, camera)
            held, false_positives = assign_own(poses, frame.objects)
            wrong += false_positives
        cars += [_entry(frame.image.name, car, pose) for car, pose in zip(easy, held, strict=True)]
    summary = summarise_cars(cars)
    if rois == "auto":
        right = sum(car["found"] for car in cars)
        summary |= {"recall": right / len(cars) if cars else None,
                    "precision": right / (right + wrong) if right + wrong else None}
    return {"cars": cars, "all": summary}


def assign_own(poses: Sequence[ObjectPose], objects: Sequence[KittiObject]) -> tuple[list[ObjectPose | None], int]:
    """Which pose belongs to which easy car, and how many poses belong to nothing.

    As in KITTI's protocol, a detection of another car, of a van, or in a DontCare region, and one less than 40 pixels
    high, counts neither for nor against.

    Returns:
        One pose or None per easy car in the order of ``objects``, and the number of false positives.
    """
    easy = [o for o in objects if o.is_easy_car]
    found = np.array([pose.roi for pose in poses], dtype=float).reshape(-1, 4)
    matches = match_greedily(np.array([o.roi for o in easy]).reshape(-1, 4), found, [p.score for p in poses],
                             IOU_THRESHOLD)
    rest = [i for i in range(len(poses)) if i not in matches.values()
            and found[i, 3] - found[i, 1] >= _MIN_HEIGHT_PX]
    similar = np.array([o.roi for o in objects if o.kind in ("Car", "Van") and not o.is_easy_car]).reshape(-1, 4)
    regions = np.array([o.roi for o in objects if o.kind == "DontCare"]).reshape(-1, 4)
    false_positives = 0
    for box in found[rest]:
        ignored = (iou(box, similar) >= IOU_THRESHOLD).any() or \
            (intersection(box, regions) >= IOU_THRESHOLD * area(box)).any()
        false_positives += not ignored
    return [poses[matches[i]] if i in matches else None for i in range(len(easy))], false_positives


def pose_errors(pose: Hypothesis, truth: Hypothesis) -> dict[str, float]:
    """Azimuth and full rotation in degrees, distance from the camera in percent, translation in metres."""
    t, t_true = pose.T_cam_obj[:3, 3], truth.T_cam_obj[:3, 3]
    distance, distance_true = np.linalg.norm(t), np.linalg.norm(t_true)
    return {
        "azimuth_error_deg": azimuth_error_deg(math.degrees(pose.viewpoint()[0]), math.degrees(truth.viewpoint()[0])),
        "rotation_error_deg": math.degrees(rotation_angle(pose.T_cam_obj[:3, :3], truth.T_cam_obj[:3, :3])),
        "distance_error_pct": float(100.0 * abs(distance - distance_true) / distance_true),
        "translation_error_m": float(np.linalg.norm(t - t_true)),
    }


def summarise_cars(cars: Sequence[dict]) -> dict:
    """The ``all`` entry of :func:`evaluate_kitti` from its ``cars``."""
    def median(key: str, worst: float) -> float | None:
        values = [car[key] if car["found"] else worst for car in cars]
        middle = float(np.median(values)) if values else math.inf
        return middle if math.isfinite(middle) else None

    return {
        "n": len(cars),
        "azimuth_acc30": float(np.mean([car["found"] and car["azimuth_error_deg"] < 30.0 for car in cars]))
        if cars else None,
        "rotation_median_deg": median("rotation_error_deg", 180.0),
        "distance_median_pct": median("distance_error_pct", math.inf),
        "translation_median_m": median("translation_error_m", math.inf),
        "missing": sum(not car["found"] for car in cars),
    }


def _best(poses: Sequence[ObjectPose]) -> ObjectPose | None:
    return max(poses, key=lambda pose: pose.score, default=None)


def _entry(file: str, car: KittiObject, pose: ObjectPose | None) -> dict:
    truth = Hypothesis(car.T_cam_obj, 1.0, car.size)
    entry = {
        "file": file,
        "roi_true": car.roi.tolist(),
        "azimuth_true": math.degrees(truth.viewpoint()[0]),
        "distance_true_m": float(np.linalg.norm(car.T_cam_obj[:3, 3])),
        "found": pose is not None,
    }
    if pose is None:
        return entry
    return entry | {"azimuth": math.degrees(pose.viewpoint()[0]), "score": float(pose.score),
                    "distance_m": float(np.linalg.norm(pose.T_cam_obj[:3, 3])), "roi": list(map(float, pose.roi)),
                    } | pose_errors(pose, truth)
