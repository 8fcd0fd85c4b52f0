# SPDX-License-Identifier: Apache-2.0
"""One pose out of the poses that several images gave of one object.

Three questions, in this order:

1. **Which poses are of one object?** Frame by frame, one to one, by the distance of the origins: within what the
   covariances allow, or nearer than half of the object's smallest side, where no second object has room.
2. **Which of them agree?** The largest set round one of them, within a gate by the covariances and never farther turned
   than :data:`SAME_READING`, so that a flip is left out however uncertain it says it is. It has to be a majority.
3. **What is their mean, and how well is it known?** The mean is that of Karcher on positions and rotations, weighted by
   information (inverse covariances): iterated until the weighted sum of the deviations is zero. Of equivalent poses the
   one is told that is nearest to a pose that came in: it was chosen for the camera, and poses may be in another frame.

The covariance of that mean. Frames of a camera that stands see the same pixels again: most of their error is one and
the same (size prior, network, calibration) and does not average out. With weights of information the weighted mean is
the covariance intersection of Julier and Uhlmann (American Control Conference 1997) with equal shares; its covariance,
the inverse of the mean information, holds whatever the correlation is. Nothing is gained by it, and no more may be
taken than the data show: where the errors of N poses have the correlation r, N poses are worth N / (1 + (N - 1) r)
independent ones (the design effect of Kish, Survey Sampling, 1965). The part 1 - r that is independent is what is seen
as scatter round the mean, in units of the covariances (the squared ratio of Birge, Physical Review 40, 1932). So

    covariance = intersection / N_eff + scatter / N,    1 - r = min(1, chi^2 / degrees of freedom)

Poses without scatter are worth one; poses that scatter as their covariances say are worth N, and the second term keeps
the result from being too small by the chance of few frames; poses that scatter more are covered by it.

Of a category whose azimuth a single part tells, poses may come with probabilities of all turns (``ObjectPose.turns``).
Then the mean has their product to the power N_eff / N, and the variance about the axis is what that says.

Only numpy, no state, no randomness: the same poses give the same answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .association import nearest_pairs
from .detection.claims import SAME_OBJECT
from .detection.regions import overlap
from .geometry import rotation_angle, se3, so3_exp, so3_log
from .model.symmetry import UNIFORM_VARIANCE, Symmetry, knows_azimuth, with_axis_variance
from .pose import ObjectPose
from .turns import counted_from, deviation, product, turn_between

#: Rotations farther apart than this, radians, are of two readings of an object (front for rear).
SAME_READING = math.radians(30)

_GATE_POSITION = 14.2  # chi-square with 3 degrees of freedom, 99.7 %
_GATE_POSE = 16.8  # with 6, 99 %
_SAME_PLACE = 0.1  # share of the object's size that is always within the gate: covariances may be too small
_SAME_ANGLE = math.radians(5)
_ITERATIONS = 30
_STILL = 1e-12  # metres and radians
_LEAST_VARIANCE = 1e-12  # so that a covariance that says "exactly" can be inverted
_ALL_TURNS = Symmetry("z", 0)


@dataclass(frozen=True)
class Fused:
    """One object.

    Attributes:
        pose: the mean, with covariance; without runners-up.
        used: frames that it is the mean of. dropped: poses that were left out, flips and far ones.
        spread_m, spread_rad: largest distance and angle of a used pose from the mean.
    """

    pose: ObjectPose
    used: int
    dropped: int
    spread_m: float
    spread_rad: float


@dataclass(frozen=True)
class Unclear:
    """Poses that are near each other and of which no majority agrees.

    Attributes:
        seen: how many. agree: the largest set of them that does.
        spread_m, spread_rad: largest distance and angle between two of them.
    """

    seen: int
    agree: int
    spread_m: float
    spread_rad: float


@dataclass(frozen=True)
class Fusion:
    """What several frames come to: ``objects`` best score first; ``unclear`` ones; ``rare``: (poses of an object that
    was seen in too few frames), most first."""

    objects: tuple[Fused, ...]
    unclear: tuple[Unclear, ...]
    rare: tuple[int, ...]


def fuse_frames(frames: Sequence[Sequence[ObjectPose]], symmetry: Symmetry, least: int = 1) -> Fusion:
    """The objects of ``frames``, one sequence of poses per image, all in one frame of axes.

    Args:
        symmetry: of the category of all poses.
        least: an object counts when at least so many frames agree on it.
    """
    groups = _objects(frames, symmetry)
    enough = [group for group in groups if len(group) >= least]
    strays = [group for group in groups if len(group) < least]
    fused, unclear = [], []
    for group in enough:
        poses = list(group.values())
        kept = _consensus(poses, symmetry)
        if len(kept) < least or 2 * len(kept) <= len(poses):
            unclear.append(Unclear(len(poses), len(kept), *_spread(poses, symmetry)))
        else:
            far = sum(1 for stray in strays for frame in stray if frame not in group)
            alone = len(enough) == 1  # otherwise it is not known whose far pose it is
            fused.append(fuse([poses[k] for k in kept], symmetry, len(poses) - len(kept) + alone * far))
    return Fusion(tuple(sorted(fused, key=lambda one: -one.pose.score)), tuple(unclear),
                  tuple(sorted((len(stray) for stray in strays), reverse=True)))


def fuse_categories(frames: Sequence[Sequence[ObjectPose]], symmetries: Mapping[str, Symmetry],
                    least: int = 1) -> Fusion:
    """The same for poses of several categories; ``symmetries`` by category.

    Where two categories took one object in turns, it is of the one that more frames saw.
    """
    fusions = [fuse_frames([[pose for pose in poses if pose.category == name] for poses in frames], symmetry, least)
               for name, symmetry in symmetries.items()]
    kept: list[Fused] = []
    for one in sorted((one for fusion in fusions for one in fusion.objects), key=lambda one: -one.used):
        if not any(other.pose.category != one.pose.category and _same_box(one.pose, other.pose) for other in kept):
            kept.append(one)
    return Fusion(tuple(sorted(kept, key=lambda one: -one.pose.score)),
                  tuple(one for fusion in fusions for one in fusion.unclear),
                  tuple(sorted((count for fusion in fusions for count in fusion.rare), reverse=True)))


def _same_box(a: ObjectPose, b: ObjectPose) -> bool:
    """Whether two poses were found in one place of the image."""
    return overlap(np.array(a.roi), np.array(b.roi)) > SAME_OBJECT


def fuse(poses: Sequence[ObjectPose], symmetry: Symmetry, dropped: int = 0) -> Fused:
    """The mean of ``poses``, which are of one object and agree; at least one. ``dropped`` is passed on."""
    reference = poses[_middle(poses, symmetry)]
    information = np.array([_information(pose) for pose in poses])
    T = np.array(reference.T_cam_obj, dtype=np.float64)
    for _ in range(_ITERATIONS):
        deviations = _deviations(poses, T, symmetry)
        step = np.linalg.solve(information.sum(0), np.einsum("nij,nj->i", information, deviations))
        T = se3(so3_exp(step[3:]) @ T[:3, :3], T[:3, 3] + step[:3])
        if np.abs(step).max() < _STILL:
            break
    deviations = _deviations(poses, T, symmetry)
    covariance = _covariance(information, deviations)
    if not any(_azimuth_known(pose, symmetry) for pose in poses):
        covariance = with_axis_variance(covariance, T[:3, :3], UNIFORM_VARIANCE)
    sizes = np.array([pose.size for pose in poses])
    size = symmetry.size(sizes.mean(0))
    mean = replace(
        reference, T_cam_obj=T, covariance=covariance, size=size, runners_up=(),
        size_covariance=symmetry.size_covariance(_size_covariance(poses, sizes), size),
        score=float(np.mean([pose.score for pose in poses])), visible=float(np.mean([pose.visible for pose in poses])),
        source=Counter(pose.source for pose in poses).most_common(1)[0][0],
        track_id=reference.track_id if len({pose.track_id for pose in poses}) == 1 else None,
        probability=_mean_known([pose.probability for pose in poses]),
        presence=_mean_known([pose.presence for pose in poses]))
    mean = _with_turns(mean, poses, effective_count(information, deviations))
    return Fused(mean, len(poses), dropped, float(np.linalg.norm(deviations[:, :3], axis=1).max()),
                 float(np.linalg.norm(deviations[:, 3:], axis=1).max()))


def _with_turns(mean: ObjectPose, poses: Sequence[ObjectPose], worth: float) -> ObjectPose:
    """``mean`` with what all ``poses`` say of its turn about object z, together ``worth`` so many independent ones."""
    if not all(pose.turns for pose in poses):
        return replace(mean, turns=())
    R = mean.T_cam_obj[:3, :3]
    each = [counted_from(pose.turns, turn_between(pose.T_cam_obj[:3, :3], R)) for pose in poses]
    turns = product(each, [worth / len(poses)] * len(poses))
    return replace(mean, turns=tuple(turns.tolist()),
                   covariance=with_axis_variance(mean.covariance, R, deviation(turns) ** 2))


def effective_count(information: np.ndarray, deviations: np.ndarray) -> float:
    """How many independent poses N poses are worth, 1 to N, by their scatter; see the module.

    Args:
        information: [N, 6, 6] inverse covariances. deviations: [N, 6] from their mean, metres and radians.
    """
    count, size = deviations.shape
    if count < 2:
        return 1.0
    chi2 = float(np.einsum("ni,nij,nj->", deviations, information, deviations))
    common = 1.0 - min(1.0, chi2 / (size * (count - 1)))
    return count / (1.0 + (count - 1) * common)


def _covariance(information: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """[6, 6] of the weighted mean; see the module."""
    count = len(deviations)
    intersection = np.linalg.inv(information.mean(0))
    scatter = deviations.T @ deviations / max(1, count - 1)
    covariance = intersection / effective_count(information, deviations) + scatter / count
    return 0.5 * (covariance + covariance.T)


def _size_covariance(poses: Sequence[ObjectPose], sizes: np.ndarray) -> np.ndarray:
    """[3, 3] of the mean of ``sizes`` [N, 3]: their prior is one and the same, so nothing averages out."""
    deviations = sizes - sizes.mean(0)
    scatter = deviations.T @ deviations / max(1, len(sizes) - 1)
    return np.mean([pose.size_covariance for pose in poses], axis=0) + scatter / len(sizes)


def _information(pose: ObjectPose) -> np.ndarray:
    covariance = 0.5 * (np.asarray(pose.covariance) + np.asarray(pose.covariance).T)
    return np.linalg.inv(covariance + _LEAST_VARIANCE * np.eye(6))


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


# What two poses have to do with each other


def _azimuth_known(pose: ObjectPose, symmetry: Symmetry) -> bool:
    """Whether the turn about object z means something: not of a bottle, not of a cup with its handle hidden."""
    if symmetry.continuous:
        return False
    return not symmetry.uncertain_azimuth or knows_azimuth(pose.covariance, pose.T_cam_obj[:3, :3])


def _turned(pose: ObjectPose, R: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    """Of the rotations [3, 3] that ``pose`` may as well have, the one nearest to ``R``."""
    own = symmetry if _azimuth_known(pose, symmetry) else _ALL_TURNS
    return own.nearest(pose.T_cam_obj[:3, :3], R)


def _angle(a: ObjectPose, b: ObjectPose, symmetry: Symmetry) -> float:
    """Radians between the rotations of two poses, as far as both are known."""
    if not _azimuth_known(b, symmetry):
        a, b = b, a
    return rotation_angle(_turned(a, b.T_cam_obj[:3, :3], symmetry), b.T_cam_obj[:3, :3])


def _deviations(poses: Sequence[ObjectPose], T: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    """[N, 6] of ``poses`` from ``T`` [4, 4]: metres, and rotation vectors from the left, as covariances are."""
    return np.array([np.hstack([pose.T_cam_obj[:3, 3] - T[:3, 3],
                                so3_log(_turned(pose, T[:3, :3], symmetry) @ T[:3, :3].T)]) for pose in poses])


def _distance(a: ObjectPose, b: ObjectPose) -> float:
    return float(np.linalg.norm(a.T_cam_obj[:3, 3] - b.T_cam_obj[:3, 3]))


def _may_be_one(a: ObjectPose, b: ObjectPose) -> bool:
    """Whether the origins are near enough for one object."""
    if _distance(a, b) < 0.5 * min(float(a.size.min()), float(b.size.min())):
        return True
    apart = a.T_cam_obj[:3, 3] - b.T_cam_obj[:3, 3]
    both = np.asarray(a.covariance)[:3, :3] + np.asarray(b.covariance)[:3, :3] + _LEAST_VARIANCE * np.eye(3)
    return float(apart @ np.linalg.solve(both, apart)) < _GATE_POSITION


def _objects(frames: Sequence[Sequence[ObjectPose]], symmetry: Symmetry) -> list[dict[int, ObjectPose]]:
    """Per object its pose by the number of the frame."""
    groups: list[dict[int, ObjectPose]] = []
    for number, poses in enumerate(frames):
        cost = np.full((len(groups), len(poses)), np.inf)
        for row, group in enumerate(groups):
            for column, pose in enumerate(poses):
                near = [_cost(pose, other, symmetry) for other in group.values() if _may_be_one(pose, other)]
                cost[row, column] = min(near, default=np.inf)
        pairs = nearest_pairs(cost)
        for row, column in pairs:
            groups[row][number] = poses[column]
        paired = {column for _, column in pairs}
        groups += [{number: pose} for column, pose in enumerate(poses) if column not in paired]
    return groups


def _cost(a: ObjectPose, b: ObjectPose, symmetry: Symmetry) -> float:
    """Metres; the rotation counts where two are equally far."""
    return _distance(a, b) + 0.1 * float(np.mean(a.size)) * _angle(a, b, symmetry) / math.pi


def _agree(a: ObjectPose, b: ObjectPose, symmetry: Symmetry) -> bool:
    angle = _angle(a, b, symmetry)
    if angle > SAME_READING:
        return False
    if angle < _SAME_ANGLE and _distance(a, b) < _SAME_PLACE * float(np.mean(a.size)):
        return True
    if not _azimuth_known(b, symmetry):
        a, b = b, a
    apart = _deviations([a], b.T_cam_obj, symmetry)[0]
    both = np.asarray(a.covariance) + np.asarray(b.covariance) + _LEAST_VARIANCE * np.eye(6)
    return float(apart @ np.linalg.solve(both, apart)) < _GATE_POSE


def _consensus(poses: Sequence[ObjectPose], symmetry: Symmetry) -> list[int]:
    """Indices of the largest set that agrees with one of them; of equal ones that with the higher scores."""
    sets = [[k for k, other in enumerate(poses) if k == i or _agree(other, poses[i], symmetry)]
            for i in _centres(poses, symmetry)]
    return max(sets, key=lambda kept: (len(kept), sum(poses[k].score for k in kept)))


def _middle(poses: Sequence[ObjectPose], symmetry: Symmetry) -> int:
    """Index of the one that is nearest to all others."""
    scale = float(np.mean(poses[0].size))
    return min(_centres(poses, symmetry), key=lambda i: sum(
        _distance(poses[i], pose) / scale + _angle(poses[i], pose, symmetry) for pose in poses))


def _centres(poses: Sequence[ObjectPose], symmetry: Symmetry) -> Sequence[int]:
    """Indices of those that others may be compared with: with a pose of unknown azimuth every azimuth agrees."""
    knowing = [k for k, pose in enumerate(poses) if _azimuth_known(pose, symmetry)]
    return knowing or range(len(poses))


def _spread(poses: Sequence[ObjectPose], symmetry: Symmetry) -> tuple[float, float]:
    """Largest distance in metres and angle in radians between two of ``poses``."""
    return (max(_distance(a, b) for a in poses for b in poses),
            max(_angle(a, b, symmetry) for a in poses for b in poses))
