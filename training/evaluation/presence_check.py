# SPDX-License-Identifier: Apache-2.0
r"""Poses of nothing, and objects lost: what ``estimate`` publishes in given boxes with and without an object.

    python -m dinemo_training.evaluation.presence_check --bundle engines/car --renders HELD_OUT --photographs \
        cars_unlabelled --other-renders CUPS --other-photographs cups_unlabelled --backgrounds OTHER_WALLPAPERS \
        [--kitti kitti] [--json FILE]

Take renders of models that the network was not trained on, and backgrounds that ``dinemo_training.export.presence`` was
not given; of photographs only those are used that it leaves out. The boxes follow from the seed. ``--kitti`` adds the
easy cars of KITTI in their label boxes, and boxes at random that touch none of any kind.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.boxes import iou
from dinemo_ros.evaluation.kitti_labels import KittiFrame, read_kitti
from dinemo_ros.io.files import write_file
from dinemo_ros.io.sources.folder import read_image
from dinemo_ros.model.bundle import Bundle, load_bundle
from dinemo_ros.process.console import command_main

from ..data.presence_boxes import BoxSample, anywhere, samples
from ..export.presence import add_sources, sources_of
from .presence_rows import share_markdown, share_rows

_SEED = 2_026
_KITTI_BOXES = 30  # without a car, of each frame
_TRIES = 200


def check(bundle: Bundle, boxes: Iterable[BoxSample]) -> list[dict]:
    """Rows of :func:`share_rows` of what every network of ``bundle`` publishes in ``boxes``."""
    estimators = {network: PoseEstimator(bundle, precision=network, device="cpu")
                  for network in ("fp32", *(["int8"] if bundle.int8_path else []))}
    outcomes = []
    for sample in tqdm(boxes, desc="boxes", mininterval=5):
        for network, estimator in estimators.items():
            poses = estimator.estimate(sample.image, sample.camera, [sample.box])
            outcomes.append((network, sample.kind, sample.present, bool(poses)))
    network, kind, present, published = (np.array(column) for column in zip(*outcomes, strict=True))
    return share_rows(network, kind, present, published, published)


def kitti_boxes(frames: Iterable[KittiFrame], seed: int = _SEED) -> Iterator[BoxSample]:
    """The easy cars in their boxes, and random boxes that touch no label."""
    for number, frame in enumerate(frames):
        image = read_image(frame.image)
        camera = frame.camera(image.shape[1], image.shape[0])
        labels = np.array([o.roi for o in frame.objects], float).reshape(-1, 4)
        for o in frame.objects:
            if o.is_easy_car:
                yield BoxSample("KITTI, easy car", True, image, camera, np.array(o.roi))
        rng, found = np.random.default_rng([seed, number]), 0
        for _ in range(_TRIES):
            _, box = anywhere(rng, image)
            if not iou(box, labels).any() and found < _KITTI_BOXES:
                found += 1
                yield BoxSample("KITTI, no label", False, image, camera, box)


def main() -> None:
    """The command ``python -m dinemo_training.evaluation.presence_check``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    add_sources(parser)
    parser.add_argument("--kitti", type=Path, metavar="DIR")
    parser.add_argument("--with", dest="with_object", type=int, default=400, help="boxes with the object (default: "
                        "%(default)s)")
    parser.add_argument("--without", type=int, default=1000, help="boxes without it (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the rows here")
    args = parser.parse_args()
    bundle = load_bundle(args.bundle)
    boxes = samples(sources_of(args, True), args.with_object, args.without, _SEED)
    if args.kitti:
        boxes = itertools.chain(boxes, kitti_boxes(read_kitti(args.kitti)))
    rows = check(bundle, boxes)
    print(share_markdown(rows))
    if args.json:
        write_file(args.json, json.dumps({"floor": bundle.card.presence.floor, "seed": _SEED, "rows": rows}, indent=1)
                   + "\n")


if __name__ == "__main__":
    command_main(main)
