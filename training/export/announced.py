# SPDX-License-Identifier: Apache-2.0
"""What a bundle announces of its own errors, and what these really are, on renders with exact poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.coverage import errors, size_axes
from dinemo_ros.evaluation.cutouts import DrawnCutOuts
from dinemo_ros.evaluation.metrics import RIGHT_DEG
from dinemo_ros.evaluation.occlusion import LEVELS, Occluder
from dinemo_ros.evaluation.sample import CLEAN
from dinemo_ros.evaluation.synthetic import SyntheticFrame, read_synthetic, synthetic_entries
from dinemo_ros.io.files import write_arrays
from dinemo_ros.model.bundle import Bundle
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.pose import ObjectPose
from dinemo_ros.uncertainty import UncertaintySpec, circumstances, evidence_of
from dinemo_ros.verification.spec import PresenceSpec

from ..data.evenly import some_of


@dataclass(frozen=True)
class Errors:
    """Errors along axes in which factors and floors act one by one.

    Attributes:
        error: [N, k]. covariance: [N, k, k] announced. unit: [N, k] what a floor of one is along each axis.
    """

    error: np.ndarray
    covariance: np.ndarray
    unit: np.ndarray

    @property
    def freedom(self) -> int:
        return self.error.shape[1]

    def squares(self, scale: np.ndarray, floor: np.ndarray, most: float = np.inf) -> np.ndarray:
        """[N] squared errors in units of the covariance under factors and floors of standard deviations.

        Args:
            scale: [N, k]. floor: [k]. most: largest variance of the last axis.
        """
        covariance, axes = self.covariance.copy(), range(self.freedom)
        covariance[:, axes, axes] += (floor * self.unit) ** 2
        scale = scale.copy()
        scale[:, -1] = np.minimum(scale[:, -1], np.sqrt(most / covariance[:, -1, -1]))
        error = self.error / scale
        return np.sum(np.linalg.solve(covariance, error[..., None])[..., 0] * error, axis=1)

    def shrunk(self, by: np.ndarray) -> Errors:
        """Errors divided ``by`` [N, k], which is to their squares what factors multiplied by it are."""
        return replace(self, error=self.error / by)

    def only(self, axes: Sequence[int]) -> Errors:
        """The marginal of some of the axes."""
        return Errors(self.error[:, axes], self.covariance[:, axes][:, :, axes], self.unit[:, axes])


@dataclass(frozen=True)
class Announced:
    """One entry per estimated picture.

    Attributes:
        network, level, asset: [N] text; the level of occlusion, the model that was rendered.
        evidence: [N, 6], see :data:`dinemo_ros.uncertainty.EVIDENCE`. error_deg: [N] of the rotation.
        rotation: along the object's axes, two of a category that is the same from all around.
        position: two axes across the ray, one along it. distance: of the origin.
        size: as :mod:`dinemo_ros.evaluation.coverage` counts it.
    """

    network: np.ndarray
    level: np.ndarray
    asset: np.ndarray
    evidence: np.ndarray
    error_deg: np.ndarray
    rotation: Errors
    position: Errors
    distance: Errors
    size: Errors

    @property
    def right(self) -> np.ndarray:
        """[N] bool, rotation within 30 degrees."""
        return self.error_deg < RIGHT_DEG

    def __len__(self) -> int:
        return len(self.error_deg)

    @property
    def circumstances(self) -> np.ndarray:
        """[N, 8], see :func:`dinemo_ros.uncertainty.circumstances`."""
        side = self.size.unit
        if self.size.freedom == 2:  # length and width as one number, the mean of two independent ones
            side = side[:, [0, 0, 1]] * np.sqrt([2.0, 2.0, 1.0])
        return circumstances(self.evidence, side)

    def sloped(self, known: UncertaintySpec) -> Announced:
        """With the errors of the position divided by what the slopes of ``known`` multiply factors by."""
        across, along = (known.stretch(name, self.circumstances)[:, None] for name in ("across", "along"))
        return replace(self, position=self.position.shrunk(np.hstack([across, across, along])),
                       distance=self.distance.shrunk(along))

    def joined(self, more: Announced) -> Announced:
        """The pictures of both."""
        parts = ([np.concatenate([getattr(getattr(a, name), part) for a in (self, more)]) for part in _PARTS]
                 for name in _ERRORS)
        return Announced(*(np.concatenate([getattr(a, name) for a in (self, more)]) for name in _TEXTS + _NUMBERS),
                         *(Errors(*part) for part in parts))

    def only(self, chosen: np.ndarray) -> Announced:
        """Of some of the pictures, by index or mask."""
        parts = [getattr(self, name) for name in _ERRORS]
        return Announced(*(getattr(self, name)[chosen] for name in _TEXTS + _NUMBERS),
                         *(Errors(e.error[chosen], e.covariance[chosen], e.unit[chosen]) for e in parts))

    def save(self, path: Path) -> None:
        """Write npz, without pickles."""
        plain = {name: getattr(self, name) for name in _TEXTS + _NUMBERS}
        blocks = {f"{name}_{part}": getattr(getattr(self, name), part) for name in _ERRORS
                  for part in _PARTS}
        write_arrays(path, **plain, **blocks)

    @classmethod
    def load(cls, path: Path) -> Announced:
        """What :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as data:
            return cls(*(data[name] for name in _TEXTS + _NUMBERS),
                       *(Errors(*(data[f"{name}_{part}"] for part in _PARTS)) for name in _ERRORS))


_TEXTS, _NUMBERS = ("network", "level", "asset"), ("evidence", "error_deg")
_ERRORS, _PARTS = ("rotation", "position", "distance", "size"), ("error", "covariance", "unit")


def gathered(rows: Sequence[dict]) -> Announced:
    """From rows of :func:`announced`, each with ``network``, ``level`` and ``asset``."""
    pairs = [Errors(*(np.array([row[name][part] for row in rows]) for part in range(len(_PARTS)))) for name in _ERRORS]
    return Announced(*(np.array([row[name] for row in rows]) for name in _TEXTS + _NUMBERS), *pairs)


def announced(pose: ObjectPose, T_true: np.ndarray, size_true: np.ndarray, symmetry: Symmetry,
              box: np.ndarray) -> dict:
    """Evidence of a pose and its errors with their covariances in the axes of :class:`Announced`.

    Args:
        pose: with the covariance of the solver, that is, of a bundle without ``uncertainty``.
        T_true: [4, 4] object to camera, metres. size_true: [3] metres.
        box: [4] pixels, see :func:`dinemo_ros.uncertainty.evidence_of`.
    """
    R, ray = pose.T_cam_obj[:3, :3], pose.T_cam_obj[:3, 3] / np.linalg.norm(pose.T_cam_obj[:3, 3])
    found = errors(pose, T_true, size_true, symmetry)
    rotation, position = found["rotation"], found["translation"]
    if not symmetry.continuous:
        rotation = R.T @ rotation[0], R.T @ rotation[1] @ R
    view = np.linalg.svd(ray[None])[2][[1, 2, 0]]
    distance, diagonal = np.linalg.norm(pose.T_cam_obj[:3, 3]), np.linalg.norm(pose.size)
    sides = size_axes(symmetry)
    return {"evidence": evidence_of(pose, symmetry, box),
            "error_deg": float(np.degrees(symmetry.distance(R, T_true[:3, :3]))),
            "rotation": (*rotation, np.ones(len(rotation[0]))),
            "position": (view @ position[0], view @ position[1] @ view.T, np.array([diagonal, diagonal, distance])),
            "distance": (*found["distance"], np.array([distance])),
            "size": (*found["size"], np.sqrt(sides**2 @ pose.size**2))}


def measure(bundle: Bundle, folders: Sequence[Path], count: int, threads: int = 2) -> Announced:
    """Run every network of the bundle on every render, clean and occluded, in the box of its mask.

    Args:
        folders: as ``dinemo_training.synthetic.render`` writes them. count: pictures of each, evenly chosen.
    """
    plain = replace(bundle, card=replace(bundle.card, uncertainty=UncertaintySpec(), presence=PresenceSpec()))
    networks = ["fp32"] + (["int8"] if bundle.int8_path else [])
    estimators = {name: PoseEstimator(plain, threads=threads, precision=name) for name in networks}
    frames = [frame for folder in folders for frame in _chosen(read_synthetic(folder), count)]
    occluder, rows = Occluder(DrawnCutOuts()), []
    for frame, entry in zip(tqdm(frames, desc="uncertainty", mininterval=5), synthetic_entries(frames), strict=True):
        sample = entry.load()
        for level in (None, *LEVELS.values()):
            image = sample.image if level is None else \
                occluder(sample.image, sample.mask, level, f"{entry.group}/{entry.name}").image
            for network, estimator in estimators.items():
                poses = estimator.estimate(image, sample.camera, [sample.roi])
                if poses:
                    covered = estimator.covered(poses[0], sample.camera)
                    rows.append(announced(poses[0], frame.T_cam_obj, frame.size, bundle.card.symmetry, covered)
                                | {"network": network, "level": level.name if level else CLEAN,
                                   "asset": frame.asset})
    return gathered(rows)


def _chosen(frames: list[SyntheticFrame], count: int) -> list[SyntheticFrame]:
    return some_of(frames, count)
