# SPDX-License-Identifier: Apache-2.0
r"""Measure on posed pictures what a bundle gets systematically wrong, and write it into its card.

    python -m dinemo_training.export.calibrate --bundle engines/car --renders runs/car/held_out --negatives \
        runs/car/negatives

* ``calibration.depth_scale``: median of true over estimated distance, the estimated size taken out. Needs exact poses;
  with posed sequences instead of renders it stays 1.
* ``score.covariance_scale``: what the covariance has to be multiplied by for half of the poses of right orientation to
  lie inside its 50 % ellipsoid. Needs exact poses too.
* ``score.tta_threshold``: what four of five objects reach in their own boxes without flip test-time augmentation, where
  the bundle has it (``features.flip_tta``).
* ``score.accept``: what the model's own proposals must score. It is what 97 of 100 objects reach in boxes as rough as
  proposals are, if the model was trained on photographs. A model that has seen renders alone scores lower on
  photographs: then it is the middle between that score and the one that 19 of 20 pictures without the object stay
  below, if these are the right way round.

Take pictures that the model was not trained on.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import so3_log
from dinemo_ros.io.files import write_arrays
from dinemo_ros.model.bundle import Bundle, CalibrationSpec, ScoreSpec, load_bundle, rewrite_card
from dinemo_ros.process.console import command_main
from dinemo_ros.verification.spec import PresenceSpec

from ..data.batches import project
from ..data.evenly import some_of
from ..data.foreground import mask_box
from ..data.posed_crops import PosedCrop, load_posed_crops

_RIGHT_DEG = 20.0    # distances are compared where the rotation is off by less than this
_FEWEST = 5          # least poses of right orientation that a median is taken of
_ACCEPTED = 0.03     # quantile of the scores of pictures with the object
_ROUGH_BOXES = 4     # of every picture: the lowest three of a hundred are few, and hang on how the boxes fell
_ROUGH = 0.1         # standard deviation of a proposal's sides, as a share of the object's box
_TTA_QUANTILE = 0.2  # the same in the object's own box, of the crop alone
_REFUSED = 0.95      # quantile of the scores of pictures without it
_MEDIAN_CHI2 = {6: 5.348, 5: 4.351}  # by degrees of freedom; a bottle has no turn about its axis


@dataclass(frozen=True)
class Calibration:
    """What was measured.

    Attributes:
        scores: [4 N] of pictures with the object in rough boxes, 0 without a pose. negatives: [4 M] of pictures without
            it. pictures: N.
        ratios: [R] true over estimated distance of the poses of right orientation.
        accept, tta_threshold, depth_scale, covariance_scale: as written into the card.
    """

    scores: np.ndarray
    negatives: np.ndarray
    ratios: np.ndarray
    pictures: int
    accept: float
    tta_threshold: float
    depth_scale: float
    covariance_scale: float

    def summary(self) -> dict:
        """Figures for a log."""
        passed = float((self.negatives >= self.accept).mean()) if len(self.negatives) else None
        return {"accept": self.accept, "tta_threshold": self.tta_threshold, "depth_scale": self.depth_scale,
                "covariance_scale": self.covariance_scale, "pictures": self.pictures,
                "rightly_turned": len(self.ratios), "accepted": float((self.scores >= self.accept).mean()),
                "negatives_accepted": passed}

    def save(self, path: Path) -> None:
        """Write npz."""
        write_arrays(path, scores=self.scores, negatives=self.negatives, ratios=self.ratios, accept=self.accept,
                     tta_threshold=self.tta_threshold, depth_scale=self.depth_scale,
                     covariance_scale=self.covariance_scale)


def object_box(crop: PosedCrop, unit: np.ndarray, image: np.ndarray) -> tuple[float, float, float, float]:
    """Box of the object as pixel edges: of its mask, or without one of the posed mesh; the whole picture of
    one that shows no object.

    Args:
        unit: [V, 3] vertices of the category's mesh over its extent.
    """
    height, width = image.shape[:2]
    mask = crop.foreground()
    if mask is not None:
        return mask_box(mask) or (0.0, 0.0, float(width), float(height))
    edges = project(unit * crop.size, crop.K, crop.T_cam_obj) + 0.5  # pixel centres to pixel edges
    low = np.clip(edges.min(0), 0, [width - 1, height - 1])
    high = np.clip(edges.max(0), low + 1, [width, height])
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def rough_box(rng: np.random.Generator, box: tuple[float, float, float, float], camera: Camera) -> np.ndarray:
    """[4] ``box`` in pixels with sides as inexact as those of a proposal, inside the image."""
    low, high = np.array(box[:2]), np.array(box[2:])
    low, high = (side + _ROUGH * (high - low) * rng.normal(size=2) for side in (low, high))
    low = np.clip(low, 0.0, np.array([camera.width, camera.height]) - 2.0)
    return np.r_[low, np.clip(high, low + 2.0, [camera.width, camera.height])]


@dataclass(frozen=True)
class Measured:
    """scores [4 N] and in_box [N] of all pictures in rough boxes and in the object's own (0 without a pose); of those
    right orientation in the latter the true over the estimated distance ratios [R] and the squared errors in units of
    the covariance squares [R]."""

    scores: np.ndarray
    in_box: np.ndarray
    ratios: np.ndarray
    squares: np.ndarray


def measure(estimator: PoseEstimator, crops: list[PosedCrop]) -> Measured:
    """Run the estimator in the object's box of every picture, and in some as rough as its own proposals."""
    mesh, symmetry, rng = estimator.bundle.mesh, estimator.bundle.card.symmetry, np.random.default_rng(0)
    scores, in_box, ratios, squares = np.zeros((len(crops), _ROUGH_BOXES)), np.zeros(len(crops)), [], []
    for i, crop in enumerate(tqdm(crops, desc="calibrate", mininterval=5)):
        image = np.ascontiguousarray(crop.image())
        box = object_box(crop, mesh.vertices / mesh.extent, image)
        camera = Camera(image.shape[1], image.shape[0], crop.K)
        for k in range(_ROUGH_BOXES):  # one by one: two proposals that lead to one object are not both followed up
            (proposed,) = estimator.locate(image, camera, [rough_box(rng, box, camera)], proposed=True)
            scores[i, k] = 0.0 if proposed is None else proposed.score
        poses = estimator.estimate(image, camera, [box])
        if not poses:
            continue
        in_box[i] = poses[0].score
        found, truth = poses[0].T_cam_obj, crop.T_cam_obj
        if np.rad2deg(symmetry.distance(found[:3, :3], truth[:3, :3])) < _RIGHT_DEG:
            relative_size = np.cbrt(np.prod(poses[0].size) / np.prod(crop.size))
            ratios.append(np.linalg.norm(truth[:3, 3]) / np.linalg.norm(found[:3, 3]) * relative_size)
            turned = so3_log(symmetry.nearest(truth[:3, :3], found[:3, :3]) @ found[:3, :3].T)
            error = np.r_[truth[:3, 3] - found[:3, 3], turned]
            squares.append(error @ np.linalg.solve(poses[0].covariance, error))
    return Measured(scores.ravel(), in_box, np.array(ratios), np.array(squares))


def calibrate(bundle: Path, posed: Path, negatives: Path | None, count: int, exact: bool = True,
              photographs: bool = True) -> Calibration:
    """Rewrite the card of ``bundle`` with the measured values; hashes and files stay as they are.

    Args:
        posed, negatives: folders of posed crops with and without the object. count: pictures of each, evenly chosen.
        exact: the poses are exact, so that distance can be evaluated.
        photographs: the model was trained on photographs.

    Raises:
        ValueError: hardly any picture got its pose, so nothing can be measured.
    """
    loaded = load_bundle(bundle)
    symmetry = loaded.card.symmetry
    # Of a handle dinemo_training.export.azimuth_uncertainty fits the scale of the covariance.
    evaluated = exact and not symmetry.uncertain_azimuth
    scale = ScoreSpec().covariance_scale if evaluated else loaded.card.score.covariance_scale
    plain = PresenceSpec()  # a floor would take the lowest scores out
    card = replace(loaded.card, calibration=CalibrationSpec(), presence=plain,
                   score=replace(loaded.card.score, accept=0.0, tta_threshold=1.0, covariance_scale=scale))
    crops = _chosen(posed, count)
    if card.features.flip_tta:
        threshold = tta_threshold(replace(loaded, card=card), crops)
        card = replace(card, score=replace(card.score, tta_threshold=threshold))
    estimator = PoseEstimator(replace(loaded, card=card))
    measured = measure(estimator, crops)
    scores, ratios = measured.scores, measured.ratios
    if len(ratios) < min(_FEWEST, len(crops)):
        raise ValueError(f"{bundle}: of {len(crops)} pictures in {posed} {len(ratios) or 'none'} got a pose within "
                         f"{_RIGHT_DEG:g} degrees of the truth; the bundle is not trained, or the pictures are of "
                         "another category")
    without = measure(estimator, _chosen(negatives, count)).scores if negatives is not None else np.zeros(0)
    result = Calibration(scores, without, ratios, len(crops), accepted_score(scores, without, photographs),
                         card.score.tta_threshold,
                         round(float(np.clip(np.median(ratios), 0.5, 2.0)), 4) if exact else 1.0,
                         _widened(scale, measured.squares, 5 if symmetry.continuous else 6) if evaluated else scale)
    card = replace(card, calibration=CalibrationSpec(result.depth_scale), presence=loaded.card.presence,
                   score=replace(card.score, accept=result.accept, covariance_scale=result.covariance_scale))
    rewrite_card(loaded, card)
    print(f"{bundle}: depth_scale {result.depth_scale} over {len(ratios)} of {len(crops)} pictures, accept "
          f"{result.accept}, tta_threshold {result.tta_threshold}, covariance_scale {result.covariance_scale:g}")
    if len(without):
        print(f"pictures without the object that reach this score: {(without >= result.accept).mean():.1%}")
    return result


def tta_threshold(bundle: Bundle, crops: list[PosedCrop]) -> float:
    """The score from which on a crop needs no flip test-time augmentation, see the head of this file."""
    alone = replace(bundle.card, features=replace(bundle.card.features, flip_tta=False))
    scores = measure(PoseEstimator(replace(bundle, card=alone)), crops).in_box
    return round(float(np.quantile(scores, _TTA_QUANTILE)), 3)


def accepted_score(scores: np.ndarray, without: np.ndarray, photographs: bool) -> float:
    """The score to ask of a proposal, see the head of this file.

    Args:
        scores: [N] of pictures with the object. without: [M] of pictures without it. photographs: the model was trained
            on photographs.
    """
    reached = float(np.quantile(scores, _ACCEPTED))
    if not photographs and len(without):
        reached = min(reached, 0.5 * (reached + float(np.quantile(without, _REFUSED))))
    return round(reached, 3)


def _widened(scale: float, squares: np.ndarray, freedom: int) -> float:
    """The scale under which the median error lies on the 50 % ellipsoid; the size prior's part makes it approximate."""
    return float(f"{np.clip(scale * np.median(squares) / _MEDIAN_CHI2[freedom], 0.1, 1000.0):.2g}")


def _chosen(folder: Path, count: int) -> list[PosedCrop]:
    crops = load_posed_crops(folder)
    if not crops:
        raise ValueError(f"{folder}: holds no pictures to calibrate on")
    return some_of(crops, count)


def main() -> None:
    """The command ``python -m dinemo_training.export.calibrate``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--renders", type=Path, required=True, help="posed crops that were not trained on")
    parser.add_argument("--inexact", action="store_true", help="they are no renders, their poses are estimates")
    parser.add_argument("--renders-only", action="store_true", help="the model was trained on renders alone")
    parser.add_argument("--negatives", type=Path, help="posed crops without the object")
    parser.add_argument("--count", type=int, default=300, help="pictures of each (default: %(default)s)")
    args = parser.parse_args()
    calibrate(args.bundle, args.renders, args.negatives, args.count, not args.inexact, not args.renders_only)


if __name__ == "__main__":
    command_main(main)
