# SPDX-License-Identifier: Apache-2.0
"""Every model on every frame at every level of occlusion: one record each, the tables are made from these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..camera.pinhole import Camera
from ..errors import FRAME_ERRORS, DinemoError
from ..pose import ObjectPose
from .extent import silhouette
from .floor import below_floor
from .metrics import summarise
from .occlusion import Level, Occluder
from .sample import ALL, LabelledSample, Roi, Sample, mask_box
from .truth import ReferenceObject, Truth
from .worst import WorstFrames


class Estimator(Protocol):
    """What is evaluated: :class:`~dinemo_ros.estimator.PoseEstimator`, or a baseline."""

    def estimate(self, image: np.ndarray, camera: Camera, rois: Sequence[Roi] | None = None) -> list[ObjectPose]:
        """Poses in a picture uint8 [H, W, 3], best score first; rois: pixels, None looks for itself."""


@dataclass(frozen=True)
class Competitor:
    """One row of the table.

    Attributes:
        name: as it is printed.
        estimator: finds the poses.
        tight_box: whether it is told the box of the whole object instead of the sample's ROI: that of the data set, or
            that of the object's extent in the clean picture.
        floor: presence below which its bundle would drop a pose, see :mod:`.floor`.
    """

    name: str
    estimator: Estimator
    tight_box: bool = False
    floor: float = 0.0


@dataclass(frozen=True)
class Occlusion:
    """Which levels are made of a clean picture (None the clean one itself), and what makes them."""

    levels: tuple[Level | None, ...] = (None,)
    occluder: Occluder | None = None


@dataclass
class Setting:
    """What the evaluation of all frames shares.

    Attributes:
        competitors: the first one also says where the object is in pictures that come without a mask.
        reference: the object as the metrics see it.
        occlusion: levels made here.
        worst: collects pictures, or None.
    """

    competitors: Sequence[Competitor]
    reference: ReferenceObject
    occlusion: Occlusion = field(default_factory=Occlusion)
    worst: WorstFrames | None = None


def evaluate(setting: Setting, entries: Iterable[LabelledSample]) -> list[dict]:
    """Records of all frames; wrap ``entries`` to show progress.

    A record holds ``model``, ``occlusion`` (level), ``group``, ``file``, ``score``, what
    :meth:`~dinemo_ros.evaluation.truth.Truth.errors` gives, and, under occlusion, ``coverage`` and ``surroundings``
    reached and ``extent``: what the object's area was taken from (mask, silhouette, roi). ``error_deg`` is None without
    a pose; ``skipped`` says why a frame could not be used, which counts as a frame without a pose.

    Raises:
        DatasetError: annotations that are wrong; that is no answer of a model, and no share should hide it.
    """
    return [record for entry in entries for record in _records(setting, entry)]


def _records(setting: Setting, entry: LabelledSample) -> list[dict]:
    names = [(level.name if level else entry.occlusion) for level in setting.occlusion.levels]
    base = {"group": entry.group, "file": entry.name, "score": None, "error_deg": None}
    try:
        sample = entry.load()
        needs_box = sample.box is None and any(c.tight_box for c in setting.competitors)
        needs_extent = needs_box or any(setting.occlusion.levels)
        extent, source = _extent(setting, sample) if needs_extent else (None, None)
    except FRAME_ERRORS as error:
        return [{"model": competitor.name, "occlusion": name, **base, **skipped(entry.name, error)}
                for name in names for competitor in setting.competitors]
    records = []
    for level, name in zip(setting.occlusion.levels, names, strict=True):
        shown = {"coverage": sample.coverage} if sample.coverage is not None else {}
        image = sample.image
        if level is not None:
            occluded = setting.occlusion.occluder(image, extent, level, f"{entry.group}/{entry.name}")
            image = occluded.image
            shown = {"coverage": occluded.coverage, "surroundings": occluded.surroundings, "extent": source}
        for competitor in setting.competitors:
            roi = sample.box or mask_box(extent) if competitor.tight_box else sample.roi
            record = {"model": competitor.name, "occlusion": name, **base, **shown}
            try:
                poses = competitor.estimator.estimate(image, sample.camera, None if roi is None else [roi])
            except FRAME_ERRORS as error:
                records.append(record | skipped(entry.name, error))
                continue
            if poses:
                record |= pose_errors(poses[0], sample.truth, setting.reference, competitor.floor)
            records.append(record)
            if setting.worst is not None:
                setting.worst.offer(record, image, sample.camera, poses[0] if poses else None)
    return records


def pose_errors(pose: ObjectPose, truth: Truth, reference: ReferenceObject, floor: float = 0.0) -> dict:
    """What a record says about a pose: ``score``, ``probability``, ``presence`` and ``below_floor`` where the bundle
    tells them, and its errors; floor: see :class:`Competitor`."""
    known = {} if pose.probability is None else {"probability": float(pose.probability)}
    known |= below_floor(pose, floor)
    return {"score": float(pose.score), **known, **truth.errors(pose, reference)}


def skipped(file: str, error: DinemoError) -> dict[str, str]:
    """What a record of ``file`` (or ``file#object``) says about the error; its name, which the record has, is left out
    of the sentence."""
    return {"skipped": str(error).removeprefix(f"{file.partition('#')[0]}: ")}


def _extent(setting: Setting, sample: Sample) -> tuple[np.ndarray, str]:
    """Where the object is [H, W], and how that is known: its mask, else the silhouette of the pose that the first
    competitor finds in the clean picture, else the ROI."""
    if sample.mask is not None and sample.mask.any():
        return sample.mask, "mask"
    rois = None if sample.roi is None else [sample.roi]
    poses = setting.competitors[0].estimator.estimate(sample.image, sample.camera, rois)
    if poses:
        outline = silhouette(poses[0], setting.reference, sample.camera)
        if outline.any():
            return outline, "silhouette"
    height, width = sample.image.shape[:2]
    x0, y0, x1, y1 = np.clip(np.round(sample.roi or (0, 0, width, height)), 0, [width, height] * 2).astype(int)
    box = np.zeros((height, width), bool)
    box[y0:y1, x0:x1] = True
    return box, "roi"


def tabulate(records: Sequence[dict]) -> list[dict]:
    """Rows: per level and model one for each group and, with several groups, one for all of them together."""
    rows = []
    for level in dict.fromkeys(record["occlusion"] for record in records):
        for model in dict.fromkeys(record["model"] for record in records):
            chosen = [r for r in records if r["occlusion"] == level and r["model"] == model]
            groups = list(dict.fromkeys(record["group"] for record in chosen))
            for group in [*groups, ALL] if len(groups) > 1 else groups:
                members = [r for r in chosen if group in (r["group"], ALL)]
                rows.append({"model": model, "occlusion": level, "group": group, **summarise(members)})
    return rows


def split(records: Sequence[dict]) -> dict[str, int]:
    """Frames per group."""
    frames = {(record["group"], record["file"]) for record in records}
    return {group: sum(name == group for name, _ in frames)
            for group in dict.fromkeys(record["group"] for record in records)}
