# SPDX-License-Identifier: Apache-2.0
"""Image in, object poses out."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .camera.crop import BORDER_GREY, CropCamera, check_roi, check_seen, crop_camera, lens_shows
from .camera.pinhole import Camera
from .cuda.selection import create_pipeline
from .detection.detector import Detector
from .detection.duplicates import without_duplicates
from .detection.finder import DetectorFinder, Finder, Found, ProposalFinder, given, knows
from .detection.proposals import Proposer
from .detection.regions import overlap, projected_box
from .features import create_extractor
from .geometry import se3
from .io.rgb_image import check_image
from .model.bundle import Bundle, ImageSpec
from .model.symmetry import NO_SYMMETRY, Symmetry
from .pose import Hypothesis, ObjectPose, Roi
from .scene.depth_image import DepthImage
from .scene.observed import NOTHING, Observed
from .scene.support_plane import SupportPlane
from .solver import SolvedPose, Start
from .solver.coarse import Target
from .solver.jit import compilation_told
from .uncertainty import as_experienced
from .verification.verifier import refusal, with_presence

_log = logging.getLogger(__name__)

_RECROP = 0.5  # overlap of ROI and found object below which a re-crop is worth its time
_RECROP_PROPOSED = 0.75  # the same for own proposals, whose boxes are rough ...
_RECROP_MIN_SCORE = 0.8  # ... unless the score is below this share of the accepted one
_SAME_BOX = 0.6  # overlap above which two proposals have led to one object
# Below this share of it a proposal gets no flip test-time augmentation. Of 1,600 training renders and 1,200 held-out
# ones, hidden or not, two such scores reached the accepted one with it, and both poses were wrong.
_TTA_MIN_SCORE = 0.65
PROPOSALS = "proposals"  # what the mesh proposes itself, in the place of a detector's name
SMALLEST_BOX = 8.0  # pixels; nothing is to be seen of a smaller object
SAME_POSE = math.radians(30)  # rotations closer than this are of one reading of the object


class PoseEstimator:
    """Poses of the objects of one category.

    Args:
        bundle: from :func:`dinemo_ros.model.bundle.load_bundle`.
        threads: CPU threads for the backbone and for the solver.
        backend, precision, engine_cache: what runs the network, see :func:`dinemo_ros.features.create_extractor`.
        device: what the solver runs on, see :func:`dinemo_ros.cuda.selection.create_pipeline`.
        progress: told when the kernels have to be compiled, and then how far that is; the log otherwise.
        evidence: "clutter" or "posterior", see :mod:`dinemo_ros.solver.similarity`.
        detector: finds objects in pictures that come without ROIs, where it knows the category (``card.detector``).
            Otherwise, and without one, the neural mesh proposes ROIs itself: slower, and it misses more.

    Attributes:
        proposes: the model's own proposals are used although there is a detector that knows the category.
        finds_with: the detector's name, or :data:`PROPOSALS`.

    Building one loads the model, compiles the kernels (half a minute once, see ``solver/kernel_cache.py``) and runs
    once on an empty crop, so that the first image costs what every image costs. Not for two callers at a time: buffers
    are reused.
    """

    def __init__(self, bundle: Bundle, threads: int = 2, backend: str = "auto", evidence: str = "clutter",
                 precision: str = "auto", engine_cache: str = "", progress: Callable[[str], None] | None = None,
                 device: str = "auto", detector: Detector | None = None) -> None:
        self.bundle, self.proposes = bundle, False
        self.extractor = create_extractor(bundle, backend, threads, precision, engine_cache)
        with compilation_told(progress or _log.info):
            self._prepare(device, threads, evidence, detector)

    def _prepare(self, device: str, threads: int, evidence: str, detector: Detector | None) -> None:
        bundle = self.bundle
        self.pipeline = create_pipeline(bundle, self.extractor, device, threads, evidence)
        self._propose: Finder = ProposalFinder(Proposer(bundle, self.extractor, threads))
        hint = bundle.card.detector
        self._detect = DetectorFinder(detector, hint) if detector and knows(detector, hint) else None
        self._unit = bundle.mesh.vertices / bundle.mesh.extent
        self.timings: dict[str, float] = {}
        self.looked: list[tuple[Roi, str]] = []  # boxes of the last image, and why one led to no pose
        self._warm_up()

    def estimate(self, image: np.ndarray, camera: Camera, rois: Sequence[Roi] | None = None, *,
                 support: SupportPlane | None = None, depth: DepthImage | None = None,
                 detector_scores: Sequence[float | None] | None = None) -> list[ObjectPose]:
        """Poses of the objects in ``image``, best score first; proposals below the card's accepted score are dropped.

        Args:
            image: uint8 [H, W, 3] RGB.
            camera: intrinsics of this image.
            rois: (x_min, y_min, x_max, y_max) in pixels, one object each; None looks for objects, see :meth:`find`.
            support: the plane that the objects stand on, in the camera's frame, where it is known.
            depth: of the same moment, where there is one.
            detector_scores: one for each ROI, 0 to 1, of the detector that found it, None where it does not tell: how
                likely there is an object, before one has looked. Poses of given ROIs
                that are not likely to be of an object are dropped.

        Raises:
            ImageError, CameraError, RoiError: the input cannot be used; the message says why.
        """
        begin = time.perf_counter()
        boxes = checked_boxes(image, camera, rois)
        self.timings = dict.fromkeys(self.pipeline.timings, 0.0)
        if boxes is None:
            found = self.find(image)
            self.timings[found.stage] = 1e3 * (time.perf_counter() - begin)
        else:
            found = given(boxes, detector_scores)
        poses = self._told(image, camera, found, Observed(support, depth))
        if boxes is None:
            poses = self.distinct(poses, camera)
        self.timings["total"] = 1e3 * (time.perf_counter() - begin)
        return poses

    def estimate_found(self, image: np.ndarray, camera: Camera, found: Found, *, support: SupportPlane | None = None,
                       depth: DepthImage | None = None) -> list[ObjectPose]:
        """As :meth:`estimate`, in what :meth:`find` has found in a checked image, or in a part of that."""
        begin = time.perf_counter()
        self.timings = dict.fromkeys(self.pipeline.timings, 0.0)
        poses = self._told(image, camera, found, Observed(support, depth))
        self.timings["total"] = 1e3 * (time.perf_counter() - begin)
        return poses

    def _told(self, image: np.ndarray, camera: Camera, found: Found, observed: Observed) -> list[ObjectPose]:
        """The poses in boxes that are of objects, best score first."""
        solved = self._locate(image, camera, found.boxes, found.proposed, observed)
        reasons = [self.refused(pose, found, score) for pose, score in zip(solved, found.scores, strict=True)]
        self.looked = [(tuple(box.tolist()), reason) for box, reason in zip(found.boxes, reasons, strict=True)]
        poses = [pose for pose, reason in zip(solved, reasons, strict=True) if pose is not None and not reason]
        return sorted(poses, key=lambda pose: -pose.score)

    @property
    def finds_with(self) -> str:
        return PROPOSALS if self._detect is None or self.proposes else self._detect.name

    def find(self, image: np.ndarray) -> Found:
        """Where in a checked image uint8 [H, W, 3] objects may be: what the detector says, or the model's proposals."""
        return (self._propose if self._detect is None or self.proposes else self._detect)(image)

    def distinct(self, poses: Sequence[ObjectPose], camera: Camera) -> list[ObjectPose]:
        """Of ``poses``, best first, one for each object, see :mod:`~dinemo_ros.detection.duplicates`."""
        return without_duplicates(poses, camera, self._unit)

    def refused(self, pose: ObjectPose | None, found: Found, score: float | None) -> str:
        """Why the pose in one of the boxes of ``found``, with its score, is none of an object; empty where it is one.

        Who gives a box says that there is an object, and ``presence`` has to agree; of the model's own proposals most
        are of nothing, and the pose's score has to be that of an object.
        """
        card = self.bundle.card
        if found.proposed:
            return refusal(pose, card.score.accept)
        return refusal(pose, 0.0, card.presence, score, found.floor)

    def follow(self, image: np.ndarray, camera: Camera, poses: Sequence[ObjectPose], *,
               support: SupportPlane | None = None, depth: DepthImage | None = None) -> list[ObjectPose | None]:
        """Each of ``poses``, known from an image shortly before, found again near by; nothing is searched.

        Args:
            image, camera, support, depth: as for :meth:`estimate`.
            poses: in the camera's frame of now, that is, with the motion since then predicted.

        Returns:
            One pose each in the same order, whatever its score, with its flip as runner-up; None where it is not in the
            image.

        Raises:
            ImageError, CameraError: the input cannot be used; the message says why.
        """
        begin = time.perf_counter()
        checked_boxes(image, camera, None)
        self.timings = dict.fromkeys(self.pipeline.timings, 0.0)
        found: list[ObjectPose | None] = [None] * len(poses)
        boxes = [self.covered(pose, camera) for pose in poses]
        shown = lens_shows(camera, boxes)
        inside = [k for k, box in enumerate(boxes) if shown[k] and np.min(box[2:] - box[:2]) >= SMALLEST_BOX]
        if inside:
            crops, targets = crops_and_targets(self.bundle.card.image, camera, [boxes[k] for k in inside],
                                               False, Observed(support, depth))
            starts = [Start(se3(crop.R_cam_crop.T, np.zeros(3)) @ poses[k].T_cam_obj, poses[k].size)
                      for crop, k in zip(crops, inside, strict=True)]
            solved = self.pipeline.follow(image, camera, crops, targets, starts)
            self._add_timings()
            for k, crop, hypotheses, presence in zip(inside, crops, solved, self.pipeline.presences, strict=True):
                pose = with_presence(self._pose(crop, hypotheses, boxes[k]), presence)
                found[k] = pose and self._experienced(pose, camera)
        self.timings["total"] = 1e3 * (time.perf_counter() - begin)
        return found

    def locate(self, image: np.ndarray, camera: Camera, boxes: Sequence[np.ndarray],
               proposed: bool = False, *, support: SupportPlane | None = None,
               depth: DepthImage | None = None) -> list[ObjectPose | None]:
        """One pose per checked box [4] in the same order, whatever its score; None where nothing fits.

        Args:
            image, camera, support, depth: as for :meth:`estimate`.
            boxes: x_min, y_min, x_max, y_max in pixels, from :meth:`check`.
            proposed: the boxes are the model's own, rough ones.
        """
        self.timings = dict.fromkeys(self.pipeline.timings, 0.0)
        return self._locate(image, camera, boxes, proposed, Observed(support, depth))

    def covered(self, pose: Hypothesis, camera: Camera) -> np.ndarray:
        """[4] pixels: the box that an object at ``pose`` covers in the image, clipped to it."""
        return projected_box(pose, camera, self._unit)

    def _locate(self, image: np.ndarray, camera: Camera, boxes: Sequence[np.ndarray],
                proposed: bool = False, observed: Observed = NOTHING) -> list[ObjectPose | None]:
        """The pose in each ROI, with a re-crop where the object turned out to fill another box.

        Features are sharpest when the object fills the crop as it did in training; a ROI may be the whole picture.
        """
        with self.pipeline.same_image():
            poses = self._cropped_twice(image, camera, boxes, proposed, observed)
        return [pose and self._experienced(pose, camera) for pose in poses]

    def _cropped_twice(self, image: np.ndarray, camera: Camera, boxes: Sequence[np.ndarray],
                       proposed: bool, observed: Observed) -> list[ObjectPose | None]:
        """See :meth:`_locate`."""
        min_score = _TTA_MIN_SCORE * self.bundle.card.score.accept if proposed else 0.0
        poses = self._solved(image, camera, boxes, not proposed, min_score, observed)
        again = self._to_recrop(poses, camera, boxes, proposed)
        seconds = self._solved(image, camera, list(again.values()), False, min_score, observed)
        for k, second in zip(again, seconds, strict=True):
            if second is None:
                continue
            # A tighter crop is the more exact one; only where the two disagree must the score decide, and not even then
            # if the first crop was our own window: half an object may score more than all of it.
            first = poses[k]
            apart = self.bundle.card.symmetry.distance(second.T_cam_obj[:3, :3], first.T_cam_obj[:3, :3])
            if proposed or apart < SAME_POSE or second.score > first.score:
                poses[k] = replace(second, roi=first.roi)
        return poses

    def _to_recrop(self, poses: list[ObjectPose | None], camera: Camera, boxes: Sequence[np.ndarray],
                          proposed: bool) -> dict[int, np.ndarray]:
        """The boxes that objects turned out to fill where these are not those given, by index.

        A proposal may show a part of an object that another one has led to already: its pose is taken out of ``poses``.
        """
        accept = self.bundle.card.score.accept
        enough, least = (_RECROP_PROPOSED, _RECROP_MIN_SCORE * accept) if proposed else (_RECROP, 0.0)
        found = {k: self.covered(pose, camera) for k, pose in enumerate(poses) if pose and pose.score >= least}
        again = {k: box for k, box in found.items()
                 if overlap(box, boxes[k]) <= enough and np.min(box[2:] - box[:2]) >= SMALLEST_BOX}
        if not proposed:
            return again
        known = [box for k, box in found.items() if k not in again and poses[k].score >= accept]
        for k in sorted(again, key=lambda k: -poses[k].score):
            if any(overlap(again[k], other) > _SAME_BOX for other in known):
                del again[k]
                poses[k] = None
            else:
                known.append(again[k])
        return again

    def _solved(self, image: np.ndarray, camera: Camera, boxes: Sequence[np.ndarray], box_is_observed: bool,
                min_score: float, observed: Observed) -> list[ObjectPose | None]:
        """The pose of the object in each box [4] of image pixels.

        box_is_observed: see :class:`Target`. min_score: see :meth:`dinemo_ros.inference.Pipeline.solve`.
        """
        found: list[ObjectPose | None] = [None] * len(boxes)
        shown = np.flatnonzero(lens_shows(camera, boxes))  # the model's own proposals know nothing of the lens
        if not len(shown):
            return found
        crops, targets = crops_and_targets(self.bundle.card.image, camera, [boxes[k] for k in shown], box_is_observed,
                                           observed)
        solved = self.pipeline.solve(image, camera, crops, targets, min_score)
        self._add_timings()
        for k, crop, hypotheses, presence in zip(shown, crops, solved, self.pipeline.presences, strict=True):
            found[k] = with_presence(self._pose(crop, hypotheses, boxes[k]), presence)
        return found

    def _add_timings(self) -> None:
        """A frame may need several crops; their times are added up."""
        for stage, milliseconds in self.pipeline.timings.items():
            self.timings[stage] = self.timings.get(stage, 0.0) + milliseconds

    def _pose(self, crop: CropCamera, hypotheses: Sequence[SolvedPose], box: np.ndarray) -> ObjectPose | None:
        """The first hypothesis in the real camera's frame, the others as its runners-up."""
        if not hypotheses:
            return None
        symmetry = self.bundle.card.symmetry
        best, *others = [in_camera(crop.R_cam_crop, hypothesis, symmetry) for hypothesis in hypotheses]
        rotate = np.zeros((6, 6))
        rotate[:3, :3] = rotate[3:, 3:] = crop.R_cam_crop  # positions and rotation vectors both turn with the axes
        covariance = symmetry.covariance(rotate @ hypotheses[0].covariance @ rotate.T, best.T_cam_obj[:3, :3])
        first, size_covariance = hypotheses[0], symmetry.size_covariance(hypotheses[0].size_covariance,
                                                                         hypotheses[0].size)
        return ObjectPose(best.T_cam_obj, best.score, best.size, category=self.bundle.card.category,
                          covariance=covariance, roi=tuple(box.tolist()), runners_up=tuple(others),
                          visible=first.visible, size_covariance=size_covariance, source=first.source,
                          observations=first.observations, shape=first.shape,
                          turns=first.turns if self.bundle.card.azimuth else ())

    def _experienced(self, pose: ObjectPose, camera: Camera) -> ObjectPose:
        """What is reported of a pose: probability and covariances as the bundle's ``uncertainty`` knows them."""
        known, symmetry = self.bundle.card.uncertainty_of(pose.source), self.bundle.card.symmetry
        if not known:
            return pose
        pose = as_experienced(pose, known, symmetry, self.covered(pose, camera), bool(pose.turns))
        return replace(pose, covariance=symmetry.covariance(pose.covariance, pose.T_cam_obj[:3, :3]),
                       size_covariance=symmetry.size_covariance(pose.size_covariance, pose.size))

    def _warm_up(self) -> None:
        spec, mesh = self.bundle.card.image, self.bundle.mesh
        camera, roi = Camera.from_hfov(spec.size, spec.size, 60.0), (0.0, 0.0, float(spec.size), float(spec.size))
        image = np.full((spec.size, spec.size, 3), BORDER_GREY, np.uint8)
        self.estimate(image, camera, [roi])
        self._propose(image)
        # An empty picture leaves nothing to refine: the object's own features compile the rest of the kernels.
        cells = spec.size // spec.stride
        features = mesh.features[np.arange(cells * cells) % len(mesh.features)].T.reshape(-1, cells, cells)
        target = target_of(crop_camera(camera, np.array(roi), spec.size, spec.margin), spec.stride)
        self.pipeline.solve_features(np.stack([features] * 2), [target] * 2)


def checked_boxes(image: np.ndarray, camera: Camera, rois: Sequence[Roi] | None) -> list[np.ndarray] | None:
    """ROIs as boxes [4] inside the image, None as None; raises as :meth:`PoseEstimator.estimate` does."""
    check_image(image)
    camera.require_size(image.shape[1], image.shape[0])
    if rois is None:
        return None
    boxes = [check_roi(roi, camera.width, camera.height) for roi in rois]
    check_seen(camera, boxes)
    return boxes


def crops_and_targets(spec: ImageSpec, camera: Camera, boxes: Sequence[np.ndarray],
                      box_is_observed: bool, observed: Observed = NOTHING) -> tuple[list[CropCamera], list[Target]]:
    """The crop camera and the solver's target of each checked box [4]; box_is_observed: see :class:`Target`."""
    crops = [crop_camera(camera, box, spec.size, spec.margin) for box in boxes]
    return crops, [target_of(crop, spec.stride, box_is_observed, observed) for crop in crops]


def target_of(crop: CropCamera, stride: int, box_is_observed: bool = True, observed: Observed = NOTHING) -> Target:
    """The crop camera in feature cells: cell j of the map is centred on crop pixel stride * j + (stride - 1) / 2."""
    half = 0.5 * (stride - 1)
    return Target((crop.box - half) / stride, np.array(crop.open_sides, np.uint8), crop.focal / stride,
                  (crop.centre - half) / stride, box_is_observed,
                  observed.support and observed.support.turned(crop.R_cam_crop.T),
                  observed.depth and observed.depth.in_crop(crop, stride))


def in_camera(R_cam_crop: np.ndarray, solved: SolvedPose, symmetry: Symmetry = NO_SYMMETRY) -> Hypothesis:
    """A solved pose in the real camera's optical frame; of equivalent poses the canonical one.

    Args:
        R_cam_crop: [3, 3] rotation from the crop camera's frame into the real camera's; both share their centre.
        solved: in the crop camera's frame, metres.
        symmetry: of the category.
    """
    T_cam_obj = symmetry.canonical(se3(R_cam_crop, np.zeros(3)) @ solved.T_crop_obj)
    return Hypothesis(T_cam_obj, solved.score, symmetry.size(solved.size))
