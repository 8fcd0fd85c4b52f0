# SPDX-License-Identifier: Apache-2.0
"""Objects followed from image to image: stable ids, no search where the last pose is a good start.

Every image, each track is moved on with its velocity and found again near by (:meth:`PoseEstimator.follow`: a crop, the
network, a few steps of refinement). The whole search runs only where it is needed: in boxes of a detector or proposals
that no track explains, for a track whose score has dropped, and for every track once in ``Tracking.search_every``
images, so that no wrong view is kept for long.

A track that is hidden behind another one, or whose score stays low, goes on with its velocity and is not reported
until it is found again or has aged out; that is what keeps ids apart where objects cross.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .camera.pinhole import Camera
from .detection.finder import Found, given
from .detection.regions import covered_share, distinct_boxes, overlap
from .estimator import SAME_POSE, SMALLEST_BOX, PoseEstimator, checked_boxes
from .geometry import se3, so3_exp, so3_log
from .pose import Hypothesis, ObjectPose, Roi
from .scene.depth_image import DepthImage
from .scene.support_plane import SupportPlane
from .turn_belief import TurnBelief, believed

_VELOCITY_GAIN = 0.7  # weight of the newest difference of two poses in the velocity
_FLIP_MEMORY = 0.8  # per image; evidence for the flip is summed up over about five of them
_FLIP_EVIDENCE = 0.05  # score, summed, by which the flip must win before the track turns round
_BETTER = 0.02  # score by which the whole search must beat the followed pose
_DROPPED = 0.85  # share of a track's usual score below which it is searched for as a whole
_SAME_PLACE = 0.3  # overlap of boxes above which a new box belongs to a track
_TWINS = 0.6  # overlap of boxes above which two tracks at the same distance have run into one object
_SAME_DISTANCE = 0.15  # share of the distance
_HIDDEN = 0.8  # share of a track's box that a nearer track covers above which it is not looked for
_LEAP = 0.1  # share of the distance between predicted and found pose above which an object did not simply move
_LEVEL_MEMORY = 0.9  # per image, of a track's usual score


@dataclass(frozen=True)
class Tracking:
    """How tracks are kept.

    Attributes:
        search_every: images between two whole searches for a track, and between two looks for new objects where no
            detector gives boxes.
        keep_score: score below which a followed pose is not believed, as a share of the bundle's accepted score.
        max_age_s: a track that was not seen for this long is dropped; so are all when the images pause for longer.
        smoothing: 0 reports what was measured, towards 1 more and more what was predicted.
    """

    search_every: int = 10
    keep_score: float = 0.8
    max_age_s: float = 1.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.search_every < 1 or not 0 <= self.keep_score <= 1 or self.max_age_s <= 0 or not 0 <= self.smoothing < 1:
            raise ValueError(f"{self}; allowed: search_every from 1, keep_score 0 to 1, max_age_s above 0, smoothing "
                             "from 0 to below 1")


@dataclass
class Track:
    """One object: its last pose, its motion in the camera's frame, and how it has been doing.

    Attributes:
        pose: in the frame of the camera of the last image, found there or predicted for it.
        seen_s, wanted_s: stamps of the last image in which it was found, and in which a detector still had a box.
        velocity: [3] m/s; spin: [3] rad/s, rotation vector in camera axes.
        level: its usual score; flip: summed evidence that it is the other way round.
        hidden: behind another track, or taken for it: it goes on with its velocity only.
        residual: how far it was found from where it was predicted, as a share of its distance.
        turns: what its pictures up to now say of its turn about its axis, of a category whose azimuth may be hidden.
    """

    identity: int
    pose: ObjectPose
    seen_s: float
    wanted_s: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(3))
    spin: np.ndarray = field(default_factory=lambda: np.zeros(3))
    level: float = 0.0
    flip: float = 0.0
    images: int = 0
    hidden: bool = False
    residual: float = 0.0
    turns: TurnBelief | None = None
    _before: tuple = ()

    def move_on(self, dt: float) -> None:
        """The pose ``dt`` seconds later at constant velocity."""
        T = self.pose.T_cam_obj
        self.pose = replace(self.pose, T_cam_obj=se3(so3_exp(self.spin * dt) @ T[:3, :3],
                                                     T[:3, 3] + self.velocity * dt))
        self.images += 1

    def correct(self, found: ObjectPose, dt: float, stamp_s: float, smoothing: float = 0.0) -> None:
        """Take a found pose; ``pose`` is where it was predicted to be.

        dt: seconds since the last image. stamp_s: of this one. smoothing: share of the prediction that is kept.
        """
        self._before = self.pose, self.velocity, self.spin, self.seen_s, self.level, self.turns
        self.turns, found = believed(self.turns, self.pose, found, stamp_s - self.seen_s)
        moved = found.T_cam_obj[:3, 3] - self.pose.T_cam_obj[:3, 3]
        turned = so3_log(found.T_cam_obj[:3, :3] @ self.pose.T_cam_obj[:3, :3].T)
        self.residual = float(np.linalg.norm(moved) / np.linalg.norm(found.T_cam_obj[:3, 3]))
        if np.linalg.norm(turned) < SAME_POSE and self.residual < 2.0 * _LEAP:
            self.velocity = self.velocity + _VELOCITY_GAIN * moved / dt
            self.spin = self.spin + _VELOCITY_GAIN * turned / dt
            T = se3(so3_exp(-smoothing * turned) @ found.T_cam_obj[:3, :3], found.T_cam_obj[:3, 3] - smoothing * moved)
            found = replace(found, T_cam_obj=T)
        else:  # another view of it: what was believed of its motion was wrong
            self.velocity, self.spin, self.flip = np.zeros(3), np.zeros(3), 0.0
        self.pose, self.seen_s, self.hidden = found, stamp_s, False
        self.level = _LEVEL_MEMORY * self.level + (1.0 - _LEVEL_MEMORY) * found.score

    def take_back(self) -> None:
        """Undo the last :meth:`correct`: what was found was something else."""
        self.pose, self.velocity, self.spin, self.seen_s, self.level, self.turns = self._before
        self.hidden = True

    def weigh_flip(self, found: ObjectPose) -> ObjectPose:
        """``found``, or its flip once that has explained the last images better."""
        if not found.runners_up:
            return found
        other = found.runners_up[0]
        self.flip = _FLIP_MEMORY * self.flip + other.score - found.score
        if self.flip < _FLIP_EVIDENCE:
            return found
        self.flip = 0.0
        return replace(found, T_cam_obj=other.T_cam_obj, score=other.score, size=other.size, probability=None,
                       turns=(), runners_up=(Hypothesis(found.T_cam_obj, found.score, found.size),))


class PoseTracker:
    """Poses of the objects in a sequence of images, each with its ``track_id``.

    Args:
        estimator: shared with nobody else while an image is worked on.
        settings: see :class:`Tracking`.
    """

    def __init__(self, estimator: PoseEstimator, settings: Tracking = Tracking()) -> None:
        self._estimator, self.settings = estimator, settings
        self._tracks: list[Track] = []
        self._next, self._stamp, self._until_search = 0, -math.inf, 0
        self._known: dict = {}  # beside the picture of now
        self._detected: list[np.ndarray] | None = None
        self.timings: dict[str, float] = {}
        self.looked: list[tuple[Roi, str]] = []  # boxes of the last image that no track explained, and why none began
        self.others: list[tuple[np.ndarray, float]] = []  # boxes and distances of what is tracked by somebody else
        self.room = math.inf  # tracks that may begin in the next image where no boxes are given
        self.left_out: list[Roi] = []  # boxes of the last image that there was no room for

    def reset(self) -> int:
        """Forget all tracks, and say how many there were; ids go on."""
        tracks = len(self._tracks)
        self._tracks, self._stamp, self._until_search = [], -math.inf, 0
        return tracks

    def update(self, image: np.ndarray, camera: Camera, stamp_s: float, rois: Sequence[Roi] | None = None, *,
               support: SupportPlane | None = None, depth: DepthImage | None = None,
               detector_scores: Sequence[float | None] | None = None) -> list[ObjectPose]:
        """Poses of the tracked objects that are seen in ``image``, best score first.

        Args:
            image: uint8 [H, W, 3] RGB.
            camera, rois, support, depth, detector_scores: as for :meth:`PoseEstimator.estimate`; ``rois`` start tracks
                and keep them wanted, but a track is followed where a detector misses it for a moment.
            stamp_s: of the image. Older than the last one, or newer by more than ``max_age_s``: all tracks end.

        Raises:
            ImageError, CameraError, RoiError: the input cannot be used; the message says why. Tracks stay.
        """
        begin = time.perf_counter()
        boxes = checked_boxes(image, camera, rois)
        self._known = {"support": support, "depth": depth}
        dt = stamp_s - self._stamp
        if not 0.0 < dt <= self.settings.max_age_s:
            self.reset()
        self._stamp, self.timings, self.looked, self.left_out, self._detected = stamp_s, {}, [], [], boxes
        for track in self._tracks:
            track.move_on(dt)
        self._hide(camera)
        self._follow(image, camera, dt)
        self._search(image, camera, dt, boxes or [])
        self._find_new(image, camera, None if boxes is None else given(boxes, detector_scores))
        self._separate(camera)
        oldest = stamp_s - self.settings.max_age_s
        self._tracks = [t for t in self._tracks if t.seen_s > oldest and (boxes is None or t.wanted_s > oldest)]
        self.timings["total"] = 1e3 * (time.perf_counter() - begin)
        return self.seen()

    @property
    def tracks(self) -> tuple[Track, ...]:
        """All of them, found in the last image or not."""
        return tuple(self._tracks)

    def seen(self) -> list[ObjectPose]:
        """Poses of the tracks that were found in the last image, best score first."""
        seen = [t for t in self._tracks if t.seen_s == self._stamp]
        return sorted((replace(t.pose, track_id=t.identity) for t in seen), key=lambda pose: -pose.score)

    def end(self, track: Track) -> None:
        """Forget one of the tracks."""
        self._tracks.remove(track)

    def _hide(self, camera: Camera) -> None:
        """Do not look for what stands behind something nearer: what would be found is the nearer one."""
        boxes = [self._estimator.covered(t.pose, camera) for t in self._tracks]
        depths = [t.pose.T_cam_obj[2, 3] for t in self._tracks]
        for track, box, depth in zip(self._tracks, boxes, depths, strict=True):
            track.hidden = any(covered_share(box, other) > _HIDDEN for other, nearer in zip(boxes, depths, strict=True)
                               if nearer < depth) or any(
                covered_share(box, other) > _HIDDEN for other, nearer in self.others
                if nearer < (1.0 - _SAME_DISTANCE) * depth)  # of another category, whose distance is less comparable

    def _follow(self, image: np.ndarray, camera: Camera, dt: float) -> None:
        tracks = [t for t in self._tracks if not t.hidden]
        if not tracks:
            return
        found = self._estimator.follow(image, camera, [t.pose for t in tracks], **self._known)
        self._add_timings()
        for track, pose in zip(tracks, found, strict=True):
            if pose is not None and pose.score >= self._floor(track) and self._believable(track, pose, camera):
                track.correct(track.weigh_flip(pose), dt, self._stamp, self.settings.smoothing)

    def _floor(self, track: Track) -> float:
        """Score below which a track's pose is not believed; what a detector insists on may always have scored low."""
        return self.settings.keep_score * min(self._estimator.bundle.card.score.accept, track.level)

    def _search(self, image: np.ndarray, camera: Camera, dt: float, detected: list[np.ndarray]) -> None:
        """The whole search for tracks that were not found or look worse than usual, for others once in a while.

        Where a detector has a box for a track that stands alone, it is searched there: a pose that went wrong has a
        wrong box. Where tracks meet, a low score is no wonder, and the best pose in the box may be the other's.
        """
        every = self.settings.search_every
        tracks = [t for t in self._tracks if not t.hidden
                  and (t.seen_s < self._stamp or t.images % every == t.identity % every
                       or (t.pose.score < _DROPPED * t.level and self._alone(t, camera)))]
        given, own = [], []
        for track in tracks:
            box = self._estimator.covered(track.pose, camera)
            best = max(detected, key=lambda other: overlap(box, other), default=None)
            if best is not None and overlap(box, best) >= _SAME_PLACE and self._alone(track, camera):
                given.append((track, best))
            elif np.min(box[2:] - box[:2]) >= SMALLEST_BOX:
                own.append((track, box))
        found = (self._locate(image, camera, [box for _, box in given])
                 + self._locate(image, camera, [box for _, box in own], proposed=True))
        for (track, _), pose in zip([*given, *own], found, strict=True):
            if pose is None or not self._believable(track, pose, camera):
                continue
            if track.seen_s < self._stamp:
                if pose.score >= self._floor(track):
                    track.correct(pose, dt, self._stamp)
            elif pose.score > track.pose.score + _BETTER:
                track.correct(pose, dt, self._stamp)

    def _believable(self, track: Track, found: ObjectPose, camera: Camera) -> bool:
        """Whether ``found`` may be the object of ``track``. Far from where it was predicted to be it needs a box of the
        detector, if there is one, that no other track explains: a hidden object's place is taken by its neighbour."""
        moved = np.linalg.norm(found.T_cam_obj[:3, 3] - track.pose.T_cam_obj[:3, 3])
        if self._detected is None or moved < _LEAP * np.linalg.norm(found.T_cam_obj[:3, 3]):
            return True
        place = self._estimator.covered(found, camera)
        box = max(self._detected, key=lambda box: overlap(place, box), default=None)
        return box is not None and overlap(place, box) >= _SAME_PLACE and not any(
            overlap(self._estimator.covered(other.pose, camera), box) >= _SAME_PLACE
            for other in self._tracks if other is not track)

    def _alone(self, track: Track, camera: Camera) -> bool:
        """Whether no other track's box touches this one's."""
        box = self._estimator.covered(track.pose, camera)
        return all(overlap(box, self._estimator.covered(other.pose, camera)) == 0.0
                   for other in self._tracks if other is not track)

    def _find_new(self, image: np.ndarray, camera: Camera, seen: Found | None) -> None:
        """Tracks for what a detector, or now and then the model itself, sees where no track is."""
        room = math.inf
        if seen is None:
            room = self.room
            self._until_search -= 1
            if self._until_search > 0 and any(t.seen_s == self._stamp for t in self._tracks):
                return
            self._until_search = self.settings.search_every
            begin = time.perf_counter()
            seen = self._estimator.find(image)
            self.timings[seen.stage] = 1e3 * (time.perf_counter() - begin)
        new = [k for k, box in enumerate(seen.boxes) if not self._claim(box, camera)]
        if not seen.proposed or room <= 0:  # of proposals, most of them of nothing, the object may be in the last one
            most = int(min(max(room, 0), len(new)))
            new, beyond = new[:most], new[most:]
            self.left_out = [tuple(seen.boxes[k].tolist()) for k in beyond]
        located = self._locate(image, camera, [seen.boxes[k] for k in new], seen.proposed)
        reasons = [self._estimator.refused(pose, seen, seen.scores[k]) for k, pose in zip(new, located, strict=True)]
        self.looked = [(tuple(seen.boxes[k].tolist()), reason) for k, reason in zip(new, reasons, strict=True)]
        found = [pose for pose, reason in zip(located, reasons, strict=True) if pose is not None and not reason]
        found.sort(key=lambda pose: -pose.score)
        places = np.array([self._estimator.covered(pose, camera) for pose in found]).reshape(-1, 4)
        for k in distinct_boxes(places, -np.arange(len(found), dtype=float)):
            # What it turned out to be may be where a track already is, though its box was not.
            if not self._claim(places[k], camera) and room > 0:
                room -= 1
                self._tracks.append(Track(self._next, found[k], self._stamp, self._stamp, level=found[k].score))
                self._next += 1

    def _claim(self, box: np.ndarray, camera: Camera) -> bool:
        """Whether a track explains a box; the one that does best is wanted."""
        shares = [overlap(self._estimator.covered(t.pose, camera), box) for t in self._tracks]
        if not shares or max(shares) < _SAME_PLACE:
            return False
        self._tracks[int(np.argmax(shares))].wanted_s = self._stamp
        return True

    def _separate(self, camera: Camera) -> None:
        """Two tracks at one place are one object: the one that had to leave its path for it was somewhere else."""
        for a, b in itertools.combinations([t for t in self._tracks if t.seen_s == self._stamp], 2):
            if a.hidden or b.hidden:
                continue
            near, far = sorted((a.pose.T_cam_obj[2, 3], b.pose.T_cam_obj[2, 3]))
            same = overlap(self._estimator.covered(a.pose, camera), self._estimator.covered(b.pose, camera)) > _TWINS
            if same and far < (1.0 + _SAME_DISTANCE) * near:
                loser = max((a, b), key=lambda t: (t.residual, t.identity))
                if loser.images:
                    loser.take_back()
                else:
                    self._tracks.remove(loser)
                    break

    def _locate(self, image: np.ndarray, camera: Camera, boxes: Sequence[np.ndarray],
                proposed: bool = False) -> list[ObjectPose | None]:
        if not boxes:
            return []
        found = self._estimator.locate(image, camera, boxes, proposed, **self._known)
        self._add_timings()
        return found

    def _add_timings(self) -> None:
        for stage, milliseconds in self._estimator.timings.items():
            self.timings[stage] = self.timings.get(stage, 0.0) + milliseconds
