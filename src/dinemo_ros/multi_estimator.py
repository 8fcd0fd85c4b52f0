# SPDX-License-Identifier: Apache-2.0
"""Image in, poses of objects of several categories out: one estimator each, and one object claimed once.

    estimators = [PoseEstimator(load_bundle(find_bundle(name))) for name in ("cup", "bottle")]
    poses = MultiPoseEstimator(estimators).estimate(image, camera, [LabelledBox(roi, "cup"), LabelledBox(other)])

Each bundle has a network of its own, so the crops of a frame are batched per category.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .camera.pinhole import Camera
from .detection.claims import certainty_of, choose, one_per_object, worth
from .detection.finder import Found
from .detection.labelled_box import LabelledBox
from .detection.proposals import MOST as PROPOSED
from .errors import RoiError
from .estimator import PoseEstimator, checked_boxes
from .io.quoting import quoted
from .pose import ObjectPose
from .scene.depth_image import DepthImage
from .scene.support_plane import SupportPlane


class MultiPoseEstimator:
    """Poses of the objects of several categories.

    Args:
        estimators: one per category.

    Attributes:
        estimators: by category.
        looked: the boxes of the last image, with what became of them.
        left_out: boxes of the last image that the estimators found and that were more than ``most``.
        timings: milliseconds per stage of the last image, summed up over the categories.
    """

    def __init__(self, estimators: Sequence[PoseEstimator]) -> None:
        self.estimators = by_category(estimators)
        self.looked: list[LabelledBox] = []
        self.left_out: list[LabelledBox] = []
        self.timings: dict[str, float] = {}

    def estimate(self, image: np.ndarray, camera: Camera, boxes: Sequence[LabelledBox] | None = None, *,
                 most: int | None = None, support: SupportPlane | None = None,
                 depth: DepthImage | None = None) -> list[ObjectPose]:
        """Poses of the objects in ``image``, best score first, one per object.

        Where two categories, or several boxes, claim one object, the likelier claim is told (:mod:`detection.claims`).

        Args:
            image: uint8 [H, W, 3] RGB. camera, support, depth: as for :meth:`PoseEstimator.estimate`.
            boxes: where to look; None has every estimator look for itself.
                Of boxes of one category that are nearly the same, the most certain one is looked at.
            most: boxes that are looked at, the most certain ones, each once per category that it may be of; None: all.

        Raises:
            ImageError, CameraError, RoiError: the input cannot be used; the message says why.
        """
        begin = time.perf_counter()
        checked_boxes(image, camera, None)
        self.looked, self.left_out, self.timings = [], [], {}
        if boxes is None:
            poses = self._in_found(image, camera, most, support, depth)
        else:
            poses = self._in_given(image, camera, worth_a_look(boxes, list(self.estimators), most), support, depth)
        poses = self._told(poses, camera)
        self.timings["total"] = 1e3 * (time.perf_counter() - begin)
        return poses

    def _in_given(self, image: np.ndarray, camera: Camera, given: Sequence[LabelledBox],
                  support: SupportPlane | None, depth: DepthImage | None) -> list[ObjectPose]:
        """Poses in boxes of one category each."""
        poses: list[ObjectPose] = []
        for category, estimator in self.estimators.items():
            own = [box for box in given if box.category == category]
            if own:
                poses += estimator.estimate(image, camera, [box.roi for box in own], support=support, depth=depth,
                                            detector_scores=[box.score for box in own])
                self._note(category, own)
        return poses

    def _in_found(self, image: np.ndarray, camera: Camera, most: int | None, support: SupportPlane | None,
                  depth: DepthImage | None) -> list[ObjectPose]:
        """Poses in the boxes that the estimators find themselves; of all of these the ``most`` certain ones."""
        begin = time.perf_counter()
        found = {category: estimator.find(image) for category, estimator in self.estimators.items()}
        self.timings[next(iter(found.values())).stage] = 1e3 * (time.perf_counter() - begin)
        boxes = [LabelledBox(tuple(box.tolist()), category, score, category) for category, one in found.items()
                 for box, score in zip(one.boxes, one.scores, strict=True)]
        if most is not None and all(one.proposed for one in found.values()):
            most = max(most, PROPOSED)  # most of them are of nothing: the object may be in the last one
        chosen = choose(boxes, most, [certain for one in found.values() for certain in _certainty(one)])
        self.left_out = [replace(boxes[k], refused="too many boxes") for k in chosen.beyond]
        kept = [boxes[k] for k in sorted(chosen.kept)]
        poses: list[ObjectPose] = []
        for category, estimator in self.estimators.items():
            own = [box for box in kept if box.category == category]
            if own:
                part = replace(found[category], boxes=[np.array(box.roi) for box in own],
                               scores=[box.score for box in own])
                of_category = estimator.estimate_found(image, camera, part, support=support, depth=depth)
                poses += estimator.distinct(of_category, camera) if part.proposed else of_category
                self._note(category, own)
        return poses

    def _note(self, category: str, given: Sequence[LabelledBox]) -> None:
        """What became of the boxes of a category, and what that cost."""
        estimator = self.estimators[category]
        self.looked += [replace(box, roi=roi, refused=reason)
                        for box, (roi, reason) in zip(given, estimator.looked, strict=True)]
        for stage, milliseconds in estimator.timings.items():
            self.timings[stage] = self.timings.get(stage, 0.0) + milliseconds

    def _told(self, poses: list[ObjectPose], camera: Camera) -> list[ObjectPose]:
        """Without the poses of objects that another one is of; best score first."""
        if len(poses) > 1:
            score_of = {(box.category, box.roi): box.score for box in self.looked}
            calibrated = all(pose.presence is not None for pose in poses)
            worths = [worth(pose, self.estimators[pose.category].bundle.card.score.accept,
                            score_of.get((pose.category, pose.roi)), calibrated) for pose in poses]
            places = [self.estimators[pose.category].covered(pose, camera) for pose in poses]
            kept, claimed = one_per_object(poses, places, worths)
            lost = {(poses[k].category, poses[k].roi): poses[better].category for k, better in claimed.items()}
            self.looked = [replace(box, refused=f"is the {lost[box.category, box.roi]} of another box")
                           if (box.category, box.roi) in lost else box for box in self.looked]
            poses = [poses[k] for k in kept]
        return sorted(poses, key=lambda pose: -pose.score)


def _certainty(found: Found) -> list[float]:
    """Of each of its boxes. A proposal is no claim yet: it comes after whatever a detector says, and those of two
    categories take turns."""
    return [-1.0 - k if found.proposed else certainty_of(score) for k, score in enumerate(found.scores)]


def by_category(estimators: Sequence[PoseEstimator]) -> dict[str, PoseEstimator]:
    """The estimators by the name of their category; ValueError where two are of one, or there is none."""
    found = {estimator.bundle.card.category: estimator for estimator in estimators}
    if len(found) != len(estimators) or not found:
        names = [estimator.bundle.card.category for estimator in estimators]
        raise ValueError(f"estimators of {names}; allowed: at least one, each of another category")
    return found


def worth_a_look(boxes: Sequence[LabelledBox], categories: Sequence[str], most: int | None) -> list[LabelledBox]:
    """The ``most`` certain of ``boxes``, one per object and with one category each, in their order.

    A box of any category is one of each.

    Raises:
        RoiError: a box is of a category that is none of ``categories``.
    """
    for box in boxes:
        if box.category and box.category not in categories:
            raise RoiError(f"a box is of category {quoted(box.category, 40)}; allowed: {', '.join(categories)}, or an "
                           "empty one for any")
    single = [replace(box, category=category) for box in boxes
              for category in ([box.category] if box.category else categories)]
    return [single[k] for k in sorted(choose(single, most).kept)]
