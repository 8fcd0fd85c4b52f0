# SPDX-License-Identifier: Apache-2.0
"""What a frame without boxes costs: with the detector that ships, beside own proposals and beside a given box.

    PYTHONPATH=src:tests python tests/benchmarks/finding.py [--rounds 30] [--threads 2] [--json FILE]

One car of the demo sequence in frames of two sizes, the three ways in turn in one run, so that ratios hold on whatever
machine; then the same frames tracked; then cup and bottle with four given boxes in one frame of 720p. Milliseconds are
medians, and of this machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from dinemo_ros import Camera, MultiPoseEstimator, PoseEstimator, find_bundle, load_bundle, load_detector
from dinemo_ros.detection.labelled_box import LabelledBox
from dinemo_ros.io.sources import open_source
from dinemo_ros.tracker import PoseTracker

ROOT = Path(__file__).resolve().parents[2]
SIZES = ((1242, 375), (1280, 720))
CUP = ROOT / "tests" / "unit" / "real_photographs" / "espresso.jpg"
CUP_BOX = (172.0, 18.0, 410.0, 308.0)


def framed(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """``image`` uint8 [H, W, 3] in the middle of a grey picture of this size, as large as fits."""
    scale = min(width / image.shape[1], height / image.shape[0])
    part = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = np.full((height, width, 3), 114, np.uint8)
    top, left = (height - part.shape[0]) // 2, (width - part.shape[1]) // 2
    picture[top:top + part.shape[0], left:left + part.shape[1]] = part
    return picture


def in_turn(ways: dict[str, Callable[[int], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each way, which take turns; the first three rounds do not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for k in range(rounds + 3):
        for name, work in ways.items():
            begin = time.perf_counter()
            work(k)
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: round(median(values[3:]), 1) for name, values in times.items()}


def single_frames(threads: int, rounds: int) -> list[dict]:
    """A row per size of frame."""
    pictures = [frame.image_rgb for frame in open_source(ROOT / "config" / "demo_sequence")]
    finds = PoseEstimator(load_bundle(find_bundle("car")), threads=threads, detector=load_detector(threads=threads))
    proposes = PoseEstimator(load_bundle(find_bundle("car")), threads=threads)
    rows = []
    for width, height in SIZES:
        frames = [framed(picture, width, height) for picture in pictures]
        camera = Camera.from_hfov(width, height, 60.0)
        boxes = [next(iter(finds.find(frame).boxes), np.array((0.0, 0.0, width, height))) for frame in frames]
        trackers = {name: PoseTracker(one) for name, one in (("detector", finds), ("proposals", proposes))}

        def tracked(name: str, k: int, frames=frames, camera=camera, trackers=trackers) -> object:
            return trackers[name].update(frames[k % len(frames)], camera, k / 30.0)

        times = in_turn({
            "given_box": lambda k, f=frames, c=camera, b=boxes: finds.estimate(f[k % len(f)], c,
                                                                               [tuple(b[k % len(f)])]),
            "detector": lambda k, f=frames, c=camera: finds.estimate(f[k % len(f)], c),
            "proposals": lambda k, f=frames, c=camera: proposes.estimate(f[k % len(f)], c),
            "tracked_detector": lambda k, t=tracked: t("detector", k),
            "tracked_proposals": lambda k, t=tracked: t("proposals", k)}, rounds)
        found = sum(bool(finds.estimate(frame, camera)) for frame in frames)
        rows.append({"size": [width, height], **times, "found": found, "frames": len(frames)})
    return rows


def several_categories(threads: int, rounds: int) -> dict:
    """Cup and bottle, two boxes each, in one frame of 720p."""
    image = framed(cv2.imread(str(CUP))[..., ::-1].copy(), 1280, 720)
    scale = min(1280 / 600, 720 / 400)
    left = (1280 - 600 * scale) / 2
    cup = tuple(float(v) for v in (np.array(CUP_BOX) * scale + (left, 0, left, 0)))
    both = MultiPoseEstimator([PoseEstimator(load_bundle(find_bundle(name)), threads=threads)
                               for name in ("cup", "bottle")])
    boxes = [LabelledBox(tuple(np.array(cup) + 40.0 * k), name) for k in range(2) for name in ("cup", "bottle")]
    camera = Camera.from_hfov(1280, 720, 60.0)
    return in_turn({"cup_and_bottle_four_boxes": lambda k: both.estimate(image, camera, boxes)}, rounds)


def main() -> None:
    """Print the rows, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = {"threads": arguments.threads, "frames": single_frames(arguments.threads, arguments.rounds),
              **several_categories(arguments.threads, arguments.rounds)}
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
