# SPDX-License-Identifier: Apache-2.0
"""The probability that there is an object where a pose was found, and which poses are dropped for want of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..pose import ObjectPose
from ..solver.coarse import Target
from ..solver.crop_solver import SolvedPose
from .evidence import EvidenceReader
from .spec import PresenceSpec, with_detector

if TYPE_CHECKING:
    from ..model.bundle import Bundle

# From a crop's features [D, h, h] float32, its target and its poses, at least one, to the presence of the first.
Verifier = Callable[[np.ndarray, Target, list[SolvedPose]], float]


def verifier_of(bundle: Bundle) -> Verifier | None:
    """What tells presences as the bundle's card says; None where that says nothing."""
    spec = bundle.card.presence
    if not spec:
        return None
    reader = EvidenceReader(bundle)
    return lambda features, target, poses: spec.presence(*reader(features, target, poses))


def verified(verifier: Verifier | None, features: np.ndarray, targets: Sequence[Target],
             solved: Sequence[list[SolvedPose]]) -> list[float | None]:
    """Presence of the first pose of each crop, None where there is none or no ``verifier``.

    features: [B, D, h, h] float32, of an array or of a tensor wherever that is.
    """
    if verifier is None or not any(solved):
        return [None] * len(solved)
    maps = features if isinstance(features, np.ndarray) else features.cpu().numpy()
    return [verifier(maps[k], target, poses) if poses else None
            for k, (target, poses) in enumerate(zip(targets, solved, strict=True))]


def with_presence(pose: ObjectPose | None, presence: float | None) -> ObjectPose | None:
    """``pose`` with its ``presence``, a probability from 0 to 1."""
    return pose and replace(pose, presence=presence)


def is_present(pose: ObjectPose, spec: PresenceSpec, detector_score: float | None = None, floor: float = 0.0) -> bool:
    """Whether the pose in a given box is one of an object, by the floor of ``spec``; true where nothing is known.

    detector_score: of what found the box, see :func:`~dinemo_ros.verification.spec.with_detector`.
    floor: a higher one than that of ``spec``.
    """
    return (not spec or pose.presence is None
            or with_detector(pose.presence, detector_score) >= max(spec.floor, floor))


def refusal(pose: ObjectPose | None, accept: float, spec: PresenceSpec | None = None,
            detector_score: float | None = None, floor: float = 0.0) -> str:
    """Why what was found in a box is not told, in a few words; empty where it is.

    accept: score that is asked for. spec, detector_score, floor: see :func:`is_present`; without a ``spec`` no presence
    is asked for.
    """
    if pose is None:
        return "nothing found"
    if pose.score < accept:
        return f"score {pose.score:.2f} < {accept:.2f}"
    if spec is not None and pose.presence is not None and not is_present(pose, spec, detector_score, floor):
        return f"presence {with_detector(pose.presence, detector_score):.2f} < {max(spec.floor, floor):.2f}"
    return ""
