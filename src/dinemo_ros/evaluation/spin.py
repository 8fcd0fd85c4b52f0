# SPDX-License-Identifier: Apache-2.0
"""Turntable sequences: one object per frame, its azimuth known, nothing else.

Layout: ``DIR/SEQUENCE/*.jpg`` and ``DIR/azimuth.json`` with
``{"SEQUENCE": {"azimuth_deg": {"000.jpg": 88.1, ...}, ...}, ...}``. There is no calibration, so a field of view is
assumed; azimuth hardly depends on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..camera import Camera
from ..errors import DatasetError, ImageError
from ..sources.folder import read_image
from .metrics import azimuth_error_deg, summarise_angles

if TYPE_CHECKING:
    from ..estimator import PoseEstimator

ANNOTATIONS = "azimuth.json"


@dataclass(frozen=True)
class SpinFrame:
    """One annotated picture: its sequence, file and azimuth in degrees."""

    sequence: str
    path: Path
    azimuth_deg: float


def read_spins(directory: Path, only: Iterable[str] | None = None) -> list[SpinFrame]:
    """Annotated frames of every sub-folder of ``directory`` that ``azimuth.json`` knows.

    Args:
        only: names of sequences to keep, None keeps all.

    Raises:
        DatasetError: no such folder, no or broken annotations, an annotated file that is missing, nothing left.
    """
    annotations = _read_annotations(directory / ANNOTATIONS)
    names = [name for name in annotations if (directory / name).is_dir()]
    if not names:
        raise DatasetError(f"{directory}: no sub-folder has an entry in {ANNOTATIONS} (it knows "
                           f"{', '.join(annotations) or 'no sequence'})")
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        raise DatasetError(f"{directory}: no sequence {', '.join(unknown)}; there are {', '.join(names)}")
    names = [name for name in names if only is None or name in set(only)]
    frames = [SpinFrame(name, directory / name / file, float(angle))
              for name in names for file, angle in annotations[name].items()]
    missing = [frame.path for frame in frames if not frame.path.is_file()]
    if missing:
        raise DatasetError(f"{directory}: {len(missing)} frames of {ANNOTATIONS} are missing, the first is "
                           f"{missing[0]}")
    return frames


def _read_annotations(path: Path) -> dict[str, dict[str, float]]:
    """Sequence -> file -> azimuth in degrees."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        angles = {name: dict(entry["azimuth_deg"]) for name, entry in document.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error!r}); expected {{SEQUENCE: {{\"azimuth_deg\": "
                           "{FILE: degrees}}}") from error
    for name, files in angles.items():
        wrong = [file for file, angle in files.items()
                 if isinstance(angle, bool) or not isinstance(angle, (int, float)) or not math.isfinite(angle)]
        if wrong or not files:
            raise DatasetError(f"{path}: sequence {name!r} "
                               + (f"has no finite azimuth for {wrong[0]}" if wrong else "has no frames"))
    return angles


def evaluate_spins(estimator: PoseEstimator, frames: Iterable[SpinFrame], hfov_deg: float, rois: str = "frame") -> dict:
    """Estimate every frame and compare azimuths.

    Args:
        frames: as from :func:`read_spins`; wrap it to show progress.
        hfov_deg: assumed horizontal field of view, degrees.
        rois: ``"frame"`` gives the whole picture as region of interest, ``"auto"`` leaves it to the estimator.

    Returns:
        ``{"sequences": {NAME: summary}, "all": summary, "frames": [one entry each]}``, see
        :class:`~dinemo_ros.evaluation.metrics.AngleSummary`.
    """
    entries = [_evaluate_frame(estimator, frame, hfov_deg, rois) for frame in frames]
    names = dict.fromkeys(entry["sequence"] for entry in entries)
    return {
        "sequences": {name: _summary(e for e in entries if e["sequence"] == name) for name in names},
        "all": _summary(entries),
        "frames": entries,
    }


def _evaluate_frame(estimator: PoseEstimator, frame: SpinFrame, hfov_deg: float, rois: str) -> dict:
    entry = {"sequence": frame.sequence, "file": frame.path.name, "azimuth_true": frame.azimuth_deg,
             "azimuth": None, "error_deg": None, "score": None}
    try:
        image = read_image(frame.path)
    except ImageError as error:  # counted as a frame without a pose
        return entry | {"skipped": str(error)}
    height, width = image.shape[:2]
    camera = Camera.from_hfov(width, height, hfov_deg)
    poses = estimator.estimate(image, camera, rois=[(0, 0, width, height)] if rois == "frame" else None)
    if poses:
        azimuth = math.degrees(poses[0].viewpoint()[0])
        entry |= {"azimuth": azimuth, "error_deg": azimuth_error_deg(azimuth, frame.azimuth_deg),
                  "score": float(poses[0].score)}
    return entry


def _summary(entries: Iterable[dict]) -> dict:
    return asdict(summarise_angles([entry["error_deg"] for entry in entries]))
