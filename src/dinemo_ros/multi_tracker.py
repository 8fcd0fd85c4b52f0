# SPDX-License-Identifier: Apache-2.0
"""Objects of several categories followed from image to image: one tracker each, nothing claimed twice.

Ids count per category. What keeps the trackers apart:

* A box that a track of another category explains, and none of its own, starts nothing: a label that flickers changes no
  id. It does not keep that track wanted either, so a wrong one ends when the detector insists.
* A new track where one of another category stands has to be clearly the likelier one.
* Of two tracks of different categories at one place one goes on unseen, with its velocity, as where objects of one
  category cross. If that lasts, it ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .camera.pinhole import Camera
from .detection.claims import SAME_OBJECT, worth
from .detection.labelled_box import LabelledBox
from .detection.regions import overlap
from .estimator import PoseEstimator, checked_boxes
from .multi_estimator import by_category, worth_a_look
from .pose import ObjectPose, Roi
from .scene.depth_image import DepthImage
from .scene.support_plane import SupportPlane
from .tracker import PoseTracker, Track, Tracking

_SAME_PLACE = 0.3  # overlap of boxes above which a new box belongs to a track of its own category
_CLEARLY = 1.25  # times as likely a claim has to be to take an object from the track that has it


class MultiPoseTracker:
    """Poses of the objects of several categories in a sequence of images, each with its ``track_id``.

    Args:
        estimators: one per category, shared with nobody else while an image is worked on.
        settings: see :class:`Tracking`; may be changed between two images.

    Attributes:
        trackers: by category.
        looked: the boxes of the last image that no track explained, with what became of them.
        left_out: boxes of the last image that would have been more tracks than allowed.
        timings: milliseconds per stage of the last image, summed up over the categories.
    """

    def __init__(self, estimators: Sequence[PoseEstimator], settings: Tracking | None = None) -> None:
        self.estimators, self.settings = by_category(estimators), settings or Tracking()
        self.trackers = {name: PoseTracker(estimator) for name, estimator in self.estimators.items()}
        self.looked: list[LabelledBox] = []
        self.left_out: list[LabelledBox] = []
        self.timings: dict[str, float] = {}
        self._stamp = -math.inf
        self._lost: list[Track] = []  # that gave way in the last image

    def reset(self) -> int:
        """Forget all tracks, and say how many there were; ids go on."""
        self._stamp, self._lost = -math.inf, []
        return sum(tracker.reset() for tracker in self.trackers.values())

    def update(self, image: np.ndarray, camera: Camera, stamp_s: float, boxes: Sequence[LabelledBox] | None = None, *,
               most: int | None = None, support: SupportPlane | None = None,
               depth: DepthImage | None = None) -> list[ObjectPose]:
        """Poses of the tracked objects that are seen in ``image``, best score first.

        Args:
            image, camera, stamp_s, support, depth: as for :meth:`PoseTracker.update`.
            boxes: where objects are; None has every tracker look for itself.
            most: boxes that are considered, and tracks over all categories that they may bring about; None: any number.

        Raises:
            ImageError, CameraError, RoiError: the input cannot be used; the message says why. Tracks stay.
        """
        begin = time.perf_counter()
        checked = checked_boxes(image, camera, None if boxes is None else [box.roi for box in boxes])
        if boxes and checked:
            boxes = [replace(box, roi=tuple(inside.tolist())) for box, inside in zip(boxes, checked, strict=True)]
        if not 0.0 < stamp_s - self._stamp <= self.settings.max_age_s:
            self.reset()
        self.timings, self.looked, self.left_out = {}, [], []
        places = {name: [(track, self.estimators[name].covered(track.pose, camera)) for track in tracker.tracks]
                  for name, tracker in self.trackers.items()}
        given = None if boxes is None else self._assigned(boxes, places, most)
        for name, tracker in self.trackers.items():
            tracker.settings = self.settings
            tracker.others = [(box, float(track.pose.T_cam_obj[2, 3])) for other, tracks in places.items()
                              if other != name for track, box in tracks if track.seen_s == self._stamp]
        # Where each looks for itself, who has fewest tracks comes first.
        order = self.trackers if given is not None else sorted(places, key=lambda name: len(places[name]))
        for name in order:
            tracker = self.trackers[name]
            tracker.room = math.inf if most is None else most - sum(len(one.tracks) for one in self.trackers.values())
            own = None if given is None else [box for box in given if box.category == name]
            rois = None if own is None else [box.roi for box in own]
            scores = None if own is None else [box.score for box in own]
            tracker.update(image, camera, stamp_s, rois, support=support, depth=depth, detector_scores=scores)
            self.looked += _became(tracker.looked, name, own)
            self.left_out += [LabelledBox(roi, name, label=name, refused="too many tracks") for roi in tracker.left_out]
            for stage, milliseconds in tracker.timings.items():
                self.timings[stage] = self.timings.get(stage, 0.0) + milliseconds
        self._stamp = stamp_s
        if len(self.trackers) > 1:
            self._settle(camera)
        self.timings["total"] = 1e3 * (time.perf_counter() - begin)
        poses = [pose for tracker in self.trackers.values() for pose in tracker.seen()]
        return sorted(poses, key=lambda pose: -pose.score)

    def _assigned(self, boxes: Sequence[LabelledBox], places: dict[str, list[tuple[Track, np.ndarray]]],
                  most: int | None) -> list[LabelledBox]:
        """The boxes that the trackers get, one category each."""
        named: list[LabelledBox] = []
        for box in boxes:
            shares = {name: max((overlap(place, np.array(box.roi)) for _, place in tracks), default=0.0)
                      for name, tracks in places.items()}
            explains = max(shares, key=lambda name: shares[name])
            if not box.category and shares[explains] >= _SAME_PLACE:
                box = replace(box, category=explains)
            elif (box.category and explains != box.category and shares.get(box.category, 0.0) < _SAME_PLACE
                    and shares[explains] > SAME_OBJECT):
                self.looked.append(replace(box, refused=f"is a tracked {explains}"))
                continue
            named.append(box)
        given = worth_a_look(named, list(places), most)
        room = math.inf if most is None else most - sum(map(len, places.values()))
        kept = []
        for box in given:
            if not any(overlap(place, np.array(box.roi)) >= _SAME_PLACE for _, place in places[box.category]):
                room -= 1
                if room < 0:
                    self.left_out.append(replace(box, refused="too many tracks"))
                    continue
            kept.append(box)
        return kept

    def _settle(self, camera: Camera) -> None:
        """Of tracks of different categories at one place one goes on unseen, or was none."""
        seen = [(name, track, self.estimators[name].covered(track.pose, camera))
                for name, tracker in self.trackers.items() for track in tracker.tracks if track.seen_s == self._stamp]
        calibrated = all(track.pose.presence is not None for _, track, _ in seen)
        worths = {id(track): worth(track.pose, self.estimators[name].bundle.card.score.accept, None, calibrated)
                  for name, track, _ in seen}
        before, self._lost = self._lost, []

        def claim(track: Track) -> float:
            """How likely it is the one, with the benefit of the doubt for who had the place before."""
            had = track.images > 0 and not any(track is lost for lost in before)
            return worths[id(track)] * (_CLEARLY if had else 1.0)

        standing: list[tuple[str, Track, np.ndarray]] = []
        for name, track, box in sorted(seen, key=lambda one: -claim(one[1])):
            if not any(other != name and overlap(box, place) > SAME_OBJECT for other, _, place in standing):
                standing.append((name, track, box))
            elif track.images:
                track.take_back()
                self._lost.append(track)
            else:
                self.trackers[name].end(track)


def _became(looked: Sequence[tuple[Roi, str]], category: str,
            given: Sequence[LabelledBox] | None) -> list[LabelledBox]:
    """The boxes of ``category`` with what became of them; those that are not in ``looked`` are explained by a track."""
    if given is None:
        return [LabelledBox(roi, category, label=category, refused=reason) for roi, reason in looked]
    reasons = dict(looked)
    return [replace(box, refused=reasons.get(box.roi, "")) for box in given]
