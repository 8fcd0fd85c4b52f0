# SPDX-License-Identifier: Apache-2.0
"""Pose errors on the cars of KITTI's easy set, with given or own regions of interest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import numpy as np

from ..errors import FRAME_ERRORS
from ..io.sources.folder import read_image
from ..pose import Roi
from .boxes import area, intersection, iou, match_greedily
from .kitti_labels import KittiFrame, KittiObject
from .metrics import summarise, wilson_interval
from .runner import Setting, evaluate, pose_errors, skipped
from .sample import CLEAN, LabelledSample, Sample
from .truth import PoseTruth

IOU_THRESHOLD = 0.5
_GROUP = "easy cars"
_MIN_HEIGHT_PX = 40.0  # of the easy set; smaller detections are neither right nor wrong, as in KITTI's own protocol


class Placed(Protocol):
    """What has been found somewhere: a pose, or only a box."""

    @property
    def roi(self) -> Roi: ...

    @property
    def score(self) -> float: ...


Region = TypeVar("Region", bound=Placed)


def kitti_entries(frames: Iterable[KittiFrame]) -> list[LabelledSample]:
    """The easy cars with the boxes of their labels, for :func:`~dinemo_ros.evaluation.runner.evaluate`."""
    def load(frame: KittiFrame, car: KittiObject) -> Sample:
        image = read_image(frame.image)
        camera = frame.camera(image.shape[1], image.shape[0])
        roi = tuple(car.roi)
        return Sample(image, camera, roi, None, PoseTruth(car.T_cam_obj, car.size, camera), roi)

    return [LabelledSample(_GROUP, f"{frame.image.name}#{number}", partial(load, frame, car)) for frame in frames
            for number, car in _easy(frame)]


def evaluate_kitti(setting: Setting, frames: Iterable[KittiFrame], rois: str = "labels") -> tuple[list[dict],
                                                                                                  list[dict]]:
    """Records of all easy cars, and a row per competitor.

    Args:
        frames: as from :func:`~dinemo_ros.evaluation.kitti_labels.read_kitti`; wrap it to show progress.
        rois: ``"labels"`` gives the 2-D boxes of the labels, ``"auto"`` leaves finding the cars to the estimator; the
            rows then have ``recall`` (of ``recall_n`` cars) and ``precision`` (of ``precision_n`` regions, None when
            nothing was found), each with its interval.
    """
    if rois == "labels":
        records, found = [r for frame in frames for r in evaluate(setting, kitti_entries([frame]))], {}
    else:
        records, found = _evaluate_own(setting, frames)
    rows = []
    for name in dict.fromkeys(record["model"] for record in records):
        for level in dict.fromkeys(record["occlusion"] for record in records):
            members = [r for r in records if (r["model"], r["occlusion"]) == (name, level)]
            rows.append({"model": name, "occlusion": level, "group": _GROUP, **summarise(members),
                         **found.get(name, {})})
    return records, rows


def _evaluate_own(setting: Setting, frames: Iterable[KittiFrame]) -> tuple[list[dict], dict[str, dict]]:
    """Records with the estimators' own regions, and recall and precision of these by competitor."""
    records: list[dict] = []
    wrong = dict.fromkeys((c.name for c in setting.competitors), 0)
    for frame in frames:
        for competitor in setting.competitors:
            poses, image, camera, reason = [], None, None, {}
            try:
                image = read_image(frame.image)
                camera = frame.camera(image.shape[1], image.shape[0])
                poses = competitor.estimator.estimate(image, camera)
            except FRAME_ERRORS as error:  # its cars count as missed
                reason = skipped(frame.image.name, error)
            held, false_positives = assign_own(poses, frame.objects)
            wrong[competitor.name] += false_positives
            for (number, car), pose in zip(_easy(frame), held, strict=True):
                record = {"model": competitor.name, "occlusion": CLEAN, "group": _GROUP,
                          "file": f"{frame.image.name}#{number}", "score": None, "error_deg": None, **reason}
                if pose is not None:
                    truth = PoseTruth(car.T_cam_obj, car.size, camera)
                    record |= pose_errors(pose, truth, setting.reference)
                records.append(record)
                if setting.worst is not None and not reason:
                    setting.worst.offer(record, image, camera, pose)
    found = {}
    for name, false_positives in wrong.items():
        held = [r["error_deg"] is not None for r in records if r["model"] == name]
        found[name] = {**_share("recall", sum(held), len(held)),
                       **_share("precision", sum(held), sum(held) + false_positives)}
    return records, found


def _share(name: str, count: int, n: int) -> dict:
    """``count`` of ``n`` under this name, with n and the Wilson interval of 95 %; None of nothing."""
    return {name: count / n if n else None, f"{name}_n": n,
            f"{name}_interval": wilson_interval(count, n) if n else None}


def _easy(frame: KittiFrame) -> list[tuple[int, KittiObject]]:
    """The easy cars of a frame with their line in the label file, from 0."""
    return [(number, o) for number, o in enumerate(frame.objects) if o.is_easy_car]


def assign_own(poses: Sequence[Region], objects: Sequence[KittiObject]) -> tuple[list[Region | None], int]:
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
