# SPDX-License-Identifier: Apache-2.0
"""Measure a bundle on renders with exact poses and write what it needs to know of itself into its card.

    python -m training.calibrate --bundle engines/car --renders runs/car/synthetic --negatives runs/car/negatives

* ``calibration.depth_scale``: median of true over estimated distance, the estimated size taken out.
* ``score.accept``: what the model's own proposals must score: the score that nine of ten renders reach. The share of
  pictures without the object that reach it too is printed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dinemo_ros.bundle import CalibrationSpec, load_bundle, write_bundle
from dinemo_ros.camera import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import rotation_angle

from .foreground import mask_box
from .posed_crops import PosedCrop, load_posed_crops

_RIGHT_DEG = 20.0  # only distances of rightly turned poses say something about distance


def measure(estimator: PoseEstimator, crops: list[PosedCrop]) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N] of all crops (0 without a pose), and true over estimated distance [M] of the rightly turned ones."""
    scores, ratios = np.zeros(len(crops)), []
    for i, crop in enumerate(tqdm(crops, desc="calibrate", mininterval=5)):
        image = np.ascontiguousarray(crop.image())
        box = mask_box(crop.foreground()) or (0, 0, image.shape[1], image.shape[0])
        poses = estimator.estimate(image, Camera(image.shape[1], image.shape[0], crop.K), [box])
        if not poses:
            continue
        scores[i], found, truth = poses[0].score, poses[0].T_cam_obj, crop.T_cam_obj
        if np.rad2deg(rotation_angle(found[:3, :3], truth[:3, :3])) < _RIGHT_DEG:
            relative_size = np.cbrt(np.prod(poses[0].size) / np.prod(crop.size))
            ratios.append(np.linalg.norm(truth[:3, 3]) / np.linalg.norm(found[:3, 3]) * relative_size)
    return scores, np.array(ratios)


def calibrate(bundle: Path, renders: Path, negatives: Path | None, count: int) -> None:
    """Rewrite the card of ``bundle`` with the measured values; hashes and files stay as they are."""
    loaded = load_bundle(bundle)
    card = replace(loaded.card, calibration=CalibrationSpec(), score=replace(loaded.card.score, accept=0.0))
    estimator = PoseEstimator(replace(loaded, card=card))
    scores, ratios = measure(estimator, load_posed_crops(renders)[-count:])
    if not len(ratios):
        raise ValueError(f"{bundle}: of {len(scores)} renders in {renders} none got a pose within {_RIGHT_DEG:g} "
                         "degrees of the truth; the bundle is not trained, or the renders are of another category")
    accept = float(np.quantile(scores, 0.10))
    card = replace(card, calibration=CalibrationSpec(round(float(np.median(ratios)), 4)),
                   score=replace(card.score, accept=round(accept, 3)))
    write_bundle(bundle, card, loaded.backbone_path.read_bytes(), loaded.mesh)
    print(f"{bundle}: depth_scale {card.calibration.depth_scale} over {len(ratios)} renders, "
          f"accept {card.score.accept}")
    if negatives is not None:
        passed = (measure(estimator, load_posed_crops(negatives)[-count:])[0] >= card.score.accept).mean()
        print(f"pictures without the object that reach this score: {passed:.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--renders", type=Path, required=True, help="posed crops with masks, rendered with exact poses")
    parser.add_argument("--negatives", type=Path, help="posed crops without the object")
    parser.add_argument("--count", type=int, default=300, help="pictures of each, from the end of the set")
    args = parser.parse_args()
    calibrate(args.bundle, args.renders, args.negatives, args.count)


if __name__ == "__main__":
    main()
