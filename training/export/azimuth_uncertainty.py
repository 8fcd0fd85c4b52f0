# SPDX-License-Identifier: Apache-2.0
"""Is the announced uncertainty of the azimuth the true one? For categories whose handle may be hidden.

    python -m dinemo_training.export.azimuth_uncertainty --bundle engines/cup --renders runs/cup/held_out [--json \
        FILE] [--fit]

Renders are sorted by whether their handle is seen (from the mesh and the true pose), and per group the table gives: the
error of the turn about the axis and of the axis itself, the standard deviation announced for the turn, and how often
the error lies within two of them. ``--fit`` writes the ``score.covariance_scale`` into the card under which the errors
of the turn are likeliest, each taken as normal with its announced deviation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import so3_log
from dinemo_ros.io.files import check_output_file, write_file
from dinemo_ros.model.bundle import Bundle, load_bundle, rewrite_card
from dinemo_ros.model.symmetry import Symmetry, axis_variance
from dinemo_ros.process.console import command_main
from dinemo_ros.solver.visibility import direction_index, visibility_table

from ..data.batches import camera_centre
from ..data.foreground import mask_box
from ..data.posed_crops import PosedCrop, load_posed_crops
from ..run.arguments import parsed

SCALES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
_SEEN = 0.15  # share of the handle's vertices from which on it counts as seen
_AXIS = Symmetry("z", 0)  # two poses that differ by a turn are one


@dataclass(frozen=True)
class AzimuthErrors:
    """Arrays [N], one value per render: share of the handle seen, errors and announced deviation in radians."""

    seen: np.ndarray
    turn: np.ndarray
    axis: np.ndarray
    deviation: np.ndarray

    def log_likelihood(self) -> float:
        """Mean of log N(turn error; 0, deviation)."""
        normalised = self.turn / self.deviation
        return float(np.mean(-0.5 * normalised**2 - np.log(self.deviation) - 0.5 * np.log(2 * np.pi)))

    def summary(self) -> dict[str, dict[str, float]]:
        """Figures in degrees and percent of all, of those whose handle is seen, and of those where it is hidden."""
        groups = {"all": self.seen >= 0, "handle seen": self.seen >= _SEEN, "handle hidden": self.seen < _SEEN}
        return {name: self._figures(chosen) for name, chosen in groups.items() if chosen.any()}

    def _figures(self, chosen: np.ndarray) -> dict[str, float]:
        turn, axis, deviation = (np.degrees(x[chosen]) for x in (self.turn, self.axis, self.deviation))
        return {"n": int(chosen.sum()), "turn_median_deg": round(float(np.median(turn)), 1),
                "turn_within_30_pct": round(100 * float(np.mean(turn < 30)), 1),
                "axis_median_deg": round(float(np.median(axis)), 1),
                "axis_within_10_pct": round(100 * float(np.mean(axis < 10)), 1),
                "announced_median_deg": round(float(np.median(deviation)), 1),
                "within_two_deviations_pct": round(100 * float(np.mean(turn < 2 * deviation)), 1)}


def measure(bundle: Bundle, crops: list[PosedCrop]) -> AzimuthErrors:
    """Estimate every render in the box of its mask; renders without a pose are left out."""
    estimator, rows = PoseEstimator(bundle), []
    handle_seen = _handle_visibility(bundle)
    for crop in tqdm(crops, desc="azimuth", mininterval=5):
        image = np.ascontiguousarray(crop.image())
        box = mask_box(crop.foreground()) or (0, 0, image.shape[1], image.shape[0])
        poses = estimator.estimate(image, Camera(image.shape[1], image.shape[0], crop.K), [box])
        if poses:
            R, R_true = poses[0].T_cam_obj[:3, :3], crop.T_cam_obj[:3, :3]
            turn = abs(float(so3_log(_AXIS.nearest(R, R_true).T @ R)[2]))
            rows.append((handle_seen(crop), turn, _AXIS.distance(R, R_true),
                         np.sqrt(axis_variance(poses[0].covariance, R))))
    return AzimuthErrors(*np.array(rows).T)


def _handle_visibility(bundle: Bundle) -> Callable[[PosedCrop], float]:
    """Function of a crop: share of the handle's vertices that its camera sees, the vessel itself considered."""
    mesh = bundle.mesh
    vertices = mesh.vertices.astype(np.float64)
    handle = vertices[:, 0] > 1.1 * 0.5 * mesh.extent[1]
    if not handle.any():
        raise ValueError(f"{bundle.path}: the mesh has nothing beyond its body along x; this category has no handle")
    table = visibility_table(vertices, mesh.faces, mesh.normals.astype(np.float64))

    def share(crop: PosedCrop) -> float:
        centre = camera_centre(crop.T_cam_obj) / (crop.size / mesh.extent)
        row = table.visible[direction_index(centre, table.azimuths, table.elevations)] > 0
        return 2 * float(row[handle].mean())  # half of a tube's vertices look away

    return share


def fitted(bundle: Bundle, crops: list[PosedCrop]) -> tuple[Bundle, AzimuthErrors]:
    """``bundle`` with the likeliest of ``SCALES`` as covariance scale, and what was measured with it."""
    candidates = [_with_scale(bundle, scale) for scale in SCALES]
    measured = [measure(candidate, crops) for candidate in candidates]
    best = int(np.argmax([errors.log_likelihood() for errors in measured]))
    for scale, errors in zip(SCALES, measured, strict=True):
        print(f"covariance_scale {scale:g}: mean log-likelihood {errors.log_likelihood():.2f}")
    return candidates[best], measured[best]


def _with_scale(bundle: Bundle, scale: float) -> Bundle:
    return replace(bundle, card=replace(bundle.card, score=replace(bundle.card.score, covariance_scale=scale)))


def main() -> None:
    """The command ``python -m dinemo_training.export.azimuth_uncertainty``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--renders", type=Path, required=True, help="posed crops with masks, rendered with exact poses")
    parser.add_argument("--count", type=int, help="only the first so many")
    parser.add_argument("--fit", action="store_true", help="choose the covariance scale, write it into the card")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parsed(parser)
    check_output_file(args.json)
    bundle, crops = load_bundle(args.bundle), load_posed_crops(args.renders, args.count)
    bundle, errors = fitted(bundle, crops) if args.fit else (bundle, measure(bundle, crops))
    if args.fit:
        rewrite_card(bundle, bundle.card)
    summary = {"covariance_scale": bundle.card.score.covariance_scale, **errors.summary()}
    print(json.dumps(summary, indent=1))
    if args.json:
        write_file(args.json, json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command_main(main)
