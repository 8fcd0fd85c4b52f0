# SPDX-License-Identifier: Apache-2.0
"""Is the announced uncertainty the true one? The definition of coverage, used by evaluation and calibration alike.

For each quantity of a pose, e is the error (truth minus estimate), C its announced covariance and k its degrees of
freedom:

    rotation      3   rotation vector w with R_true = exp(w) R, camera axes; of equivalent poses the nearest. Of a
                      category that every turn about z leaves as it is only the two directions across the axis count
    translation   3   position of the object's origin in the camera frame
    distance      1   length of that vector; its variance is the one along the estimated ray
    size          3   length, width, height; two where length and width are one number
    azimuth       1   turn about object z alone, where nothing else is known (turntables); of a category whose handle
                      may be hidden also apart for pictures that show it ("azimuth, seen") and others
    elevation     1   angle of the ray to the object above its horizontal plane (turntables whose elevation is known)

The *content* of an error is F_k(e^T C^-1 e), F_k the distribution function of chi-square: the share of a Gaussian with
covariance C that lies nearer than the error. **Coverage at p is the share of errors with a content of at most p.** An
honest covariance covers p at every p; one that covers more is too wide, and wrong as well. Poses that are grossly wrong
count like all others. Frames without a pose have no covariance and are left out, which ``n`` shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..geometry import so3_log
from ..model.symmetry import Symmetry, axis_variance
from ..pose import ObjectPose
from .metrics import wilson_interval

LEVELS = (0.683, 0.954)  # one and two standard deviations of a single number
BOUNDS = {0.683: (0.60, 0.76), 0.954: (0.92, 0.98)}  # what a row of at least ENOUGH frames must cover
ENOUGH = 400
QUANTITIES = ("rotation", "translation", "distance", "size", "azimuth", "azimuth, seen", "azimuth, hidden", "elevation")


def chi_square_content(square: float, freedom: int) -> float:
    """Distribution function of chi-square with 1, 2 or 3 degrees of freedom at ``square``, 0 to 1.

    Raises:
        ValueError: another number of degrees.
    """
    x = min(max(float(square), 0.0), 1e3)  # beyond it nothing is left, and infinity times nothing is no number
    if freedom == 1:
        return math.erf(math.sqrt(x / 2))
    if freedom == 2:
        return 1.0 - math.exp(-x / 2)
    if freedom == 3:
        return math.erf(math.sqrt(x / 2)) - math.sqrt(2 * x / math.pi) * math.exp(-x / 2)
    raise ValueError(f"{freedom} degrees of freedom; allowed: 1, 2, 3")


def contents(pose: ObjectPose, T_true: np.ndarray, size_true: np.ndarray, symmetry: Symmetry) -> dict[str, float]:
    """Content of each quantity's error, by the name of the quantity.

    Args:
        T_true: [4, 4] metres. size_true: [3] metres. symmetry: of the category.
    """
    blocks = errors(pose, T_true, size_true, symmetry)
    return {name: chi_square_content(_square(error, covariance), len(error))
            for name, (error, covariance) in blocks.items()}


def errors(pose: ObjectPose, T_true: np.ndarray, size_true: np.ndarray,
           symmetry: Symmetry) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Error [k] and announced covariance [k, k] of each quantity but the azimuth alone; arguments as above."""
    R, t = pose.T_cam_obj[:3, :3], pose.T_cam_obj[:3, 3]
    turned = so3_log(symmetry.nearest(T_true[:3, :3], R) @ R.T)
    across = _across(R[:, 2]) if symmetry.continuous else np.eye(3)
    sides = size_axes(symmetry)
    distance = np.linalg.norm(t)
    ray = t / distance
    return {
        "rotation": (across @ turned, across @ pose.covariance[3:, 3:] @ across.T),
        "translation": (T_true[:3, 3] - t, pose.covariance[:3, :3]),
        "distance": (np.array([np.linalg.norm(T_true[:3, 3]) - distance]),
                     np.array([[ray @ pose.covariance[:3, :3] @ ray]])),
        "size": (sides @ (np.asarray(size_true) - pose.size), sides @ pose.size_covariance @ sides.T),
    }


def azimuth_content(pose: ObjectPose, error: float) -> float:
    """Content of an ``error`` in radians of the turn about object z, where nothing else of the pose is known."""
    return chi_square_content(error**2 / axis_variance(pose.covariance, pose.T_cam_obj[:3, :3]), 1)


def coverage_rows(records: Sequence[dict]) -> list[dict]:
    """A row per model, level of occlusion and quantity from records of :mod:`dinemo_ros.evaluation.runner`.

    ``n``: frames with a pose. ``coverage``: per level of ``LEVELS`` the share covered and its Wilson interval of 95 %.
    ``holds``: whether both shares lie within ``BOUNDS``; None of fewer than ``ENOUGH`` frames, which decide nothing.
    """
    rows = []
    for model, occlusion in dict.fromkeys((r["model"], r["occlusion"]) for r in records):
        members = [r for r in records if (r["model"], r["occlusion"]) == (model, occlusion)]
        for quantity in QUANTITIES:
            known = np.array([r["contents"][quantity] for r in members if quantity in r.get("contents", {})])
            if len(known):
                rows.append({"model": model, "occlusion": occlusion, "quantity": quantity, **summary(known)})
    return rows


def summary(known: np.ndarray) -> dict:
    """Figures of a row, see :func:`coverage_rows`, from the contents [n] of its errors, each 0 to 1."""
    inside = {level: int((known <= level).sum()) for level in LEVELS}
    shares = {level: count / len(known) for level, count in inside.items()}
    within = all(BOUNDS[level][0] <= share <= BOUNDS[level][1] for level, share in shares.items())
    return {"n": len(known), "coverage": {f"{100 * level:.1f}": shares[level] for level in LEVELS},
            "interval": {f"{100 * level:.1f}": wilson_interval(inside[level], len(known)) for level in LEVELS},
            "holds": within if len(known) >= ENOUGH else None}


def size_axes(symmetry: Symmetry) -> np.ndarray:
    """[k, 3] from length, width, height to the sides that are numbers of their own."""
    one = symmetry.continuous or symmetry.order > 2
    return np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]) if one else np.eye(3)


def _square(error: np.ndarray, covariance: np.ndarray) -> float:
    """Squared length of ``error`` [k] in units of ``covariance`` [k, k]; infinite where that is no covariance."""
    try:
        whitened = np.linalg.solve(np.linalg.cholesky(covariance), error)
    except np.linalg.LinAlgError:
        return math.inf
    return float(whitened @ whitened)


def _across(axis: np.ndarray) -> np.ndarray:
    """[2, 3] two unit vectors orthogonal to ``axis`` [3] and to each other."""
    return np.linalg.svd(axis[None])[2][1:]
