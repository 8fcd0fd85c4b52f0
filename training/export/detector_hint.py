# SPDX-License-Identifier: Apache-2.0
"""What the shipped box detector's score is worth for a category: key ``detector`` of a bundle's card.

    python -m dinemo_training.export.detector_hint engines/cup --label cup --label Mug --with PHOTOS --without PHOTOS

``--with``: photographs of one object each, without boxes; ``--without``: others that show none. In each of the first
the most certain box counts as one of the object, in each of the others every box as one of nothing. A logistic curve
over the logarithm of the score's odds (Platt, 1999) makes a probability of the score. The floor is where at most the
given share of the photographs without an object leads to a pose.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.detection.detector_search import find_detector
from dinemo_ros.detection.onnx_detector import OnnxDetector
from dinemo_ros.errors import FRAME_ERRORS
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.io.sources.folder import images_by_stem
from dinemo_ros.io.sources.picture import read_image
from dinemo_ros.model.bundle import load_bundle, rewrite_card
from dinemo_ros.model.card import DetectorHint
from dinemo_ros.verification.spec import with_detector

_SEED = 7
_HFOV_DEG = 40.0  # of photographs of which nothing is known
_LOOKED_AT = 3  # boxes of a photograph at most
_MIN_SCORE = 0.25  # lower ones are not worth their time: most are of nothing


@dataclass(frozen=True)
class Box:
    """What detector and verification said of one: ``score`` and ``presence``, both 0 to 1."""

    score: float
    presence: float


def boxes_of(estimator: PoseEstimator, detector: OnnxDetector, labels: Sequence[str], pictures: Sequence[Path]
             ) -> Iterator[list[Box]]:
    """For every picture that can be read its boxes, the most certain first."""
    for path in tqdm(pictures, unit="picture", disable=None):
        try:
            image = read_image(path)
            camera = Camera.from_hfov(image.shape[1], image.shape[0], _HFOV_DEG)
            seen = [found for found in detector(image) if found.label in labels and found.score >= _MIN_SCORE]
            poses = estimator.locate(image, camera, [np.array(found.box) for found in seen[:_LOOKED_AT]])
        except FRAME_ERRORS:
            continue
        yield [Box(found.score, pose.presence) for found, pose in zip(seen, poses, strict=False)
               if pose is not None and pose.presence is not None]


def fitted(holding: Sequence[Box], empty: Sequence[Box]) -> tuple[float, float]:
    """``even`` and ``slope``, neither with a unit, of :class:`~dinemo_ros.model.card.DetectorHint`; both kinds of boxes
    weigh the same."""
    x = np.array([_log_odds(box.score) for box in (*holding, *empty)])
    y = np.arange(len(x)) < len(holding)
    weight = np.where(y, 0.5 / len(holding), 0.5 / len(empty)) * len(x)
    A, beta = np.stack([np.ones_like(x), x], axis=1), np.zeros(2)
    for _ in range(50):  # Newton's method; the second term keeps what separates cleanly from running away
        p = 1.0 / (1.0 + np.exp(-A @ beta))
        gradient = A.T @ (weight * (p - y)) + 1e-2 * beta
        beta -= np.linalg.solve((A * (weight * p * (1.0 - p))[:, None]).T @ A + 1e-2 * np.eye(2), gradient)
    slope = max(float(beta[1]), 0.0)
    return (1.0 / (1.0 + math.exp(beta[0] / slope)) if slope else 0.5), slope


def floor_for(hint: DetectorHint, empty: Sequence[list[Box]], share: float) -> float:
    """The lowest floor at which at most ``share`` of the pictures without an object has a box above it."""
    best = sorted((max((_posterior(hint, box) for box in boxes), default=0.0) for boxes in empty), reverse=True)
    return best[int(share * len(best))]


def hint_from(labels: Sequence[str], holding: Sequence[list[Box]], empty: Sequence[list[Box]], share: float
              ) -> DetectorHint:
    """The card's section from the boxes of pictures with and without an object.

    share: of the pictures without one that may lead to a pose, 0 to 1.
    """
    even, slope = fitted([boxes[0] for boxes in holding if boxes], [box for boxes in empty for box in boxes])
    hint = DetectorHint(tuple(labels), _MIN_SCORE, round(even, 4), round(slope, 3))
    return replace(hint, floor=math.ceil(1e4 * floor_for(hint, empty, share)) / 1e4)


def _posterior(hint: DetectorHint, box: Box) -> float:
    return with_detector(box.presence, hint.probability(box.score))


def _log_odds(p: float) -> float:
    p = min(max(p, 1e-3), 1.0 - 1e-3)
    return math.log(p / (1.0 - p))


def main() -> None:
    """Fit, print what it gives, and write the card."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--label", action="append", required=True, help="what detectors call the category")
    parser.add_argument("--with", dest="holding", type=Path, action="append", required=True, metavar="FOLDER")
    parser.add_argument("--without", dest="empty", type=Path, action="append", required=True, metavar="FOLDER")
    parser.add_argument("--leave-out", type=Path, metavar="FILE", help="names of pictures that are kept for evaluation")
    parser.add_argument("--pictures", type=int, default=500, metavar="N", help="of a folder at most")
    parser.add_argument("--share", type=float, default=0.01, help="of pictures without an object that may lead to a "
                        "pose (default: %(default)s)")
    arguments = parser.parse_args()
    kept = set(arguments.leave_out.read_text().split()) if arguments.leave_out else set()
    bundle = load_bundle(arguments.bundle)
    estimator, detector = PoseEstimator(bundle), OnnxDetector(find_detector())
    holding, empty = ([boxes for folder in folders for boxes in boxes_of(
        estimator, detector, arguments.label, _chosen(folder, kept, arguments.pictures))]
        for folders in (arguments.holding, arguments.empty))
    hint = hint_from(arguments.label, holding, empty, arguments.share)
    rewrite_card(bundle, replace(bundle.card, detector=hint))
    for name, pictures in (("with", holding), ("without", empty)):
        found = sum(any(_posterior(hint, box) >= hint.floor for box in boxes) for boxes in pictures)
        print(f"photographs {name} an object: {found} of {len(pictures)} lead to a pose")
    print(hint)


def _chosen(folder: Path, kept: set[str], count: int) -> list[Path]:
    paths = [path for path in images_by_stem(folder).values() if path.name not in kept]
    return random.Random(_SEED).sample(sorted(paths), min(count, len(paths)))


if __name__ == "__main__":
    main()
