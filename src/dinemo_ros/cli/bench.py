# SPDX-License-Identifier: Apache-2.0
"""``dinemo bench``: how long each stage of an estimate takes on this machine."""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..camera import Camera
from ..errors import DatasetError
from ..sources import Frame, open_source
from . import options
from .output import AtomicFile, to_json

_DISTINCT_FRAMES = 32  # held in memory; more would only measure the disk

_DESCRIPTION = """\
Time the estimator, image in memory to pose, median and 95th percentile over frames.

Measured twice: with one region of interest per frame (a detector or tracker gives it), which fills "stages" and
"total", and with the bundle's own proposals on the whole frame, which fills "auto".
"""


def add_parser(subparsers) -> None:
    parser = subparsers.add_parser("bench", help="stage times on this machine", description=_DESCRIPTION,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", metavar="PATH", nargs="?", help="image, folder, video or bag to measure on (default: "
                        "the shipped demo sequence)")
    parser.add_argument("--json", metavar="FILE", help="write the report here")
    parser.add_argument("--frames", type=options.frame_count, default=100, metavar="N",
                        help="frames to time; short sources are repeated (default: %(default)s)")
    options.add_estimator_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    path = arguments.path or _demo_sequence()
    frames = _load(path)
    estimator = options.make_estimator(arguments)
    with_roi = [(frame, camera, [poses[0].roi]) for frame, camera in frames
                if (poses := estimator.estimate(frame.image_rgb, camera))]
    if not with_roi:
        raise DatasetError(f"{path}: no {estimator.bundle.card.category} was found in {len(frames)} images, so "
                           "there is nothing to time; give a PATH that shows one")
    whole = [(frame, camera, None) for frame, camera in frames]
    stages, total = _measure(estimator, with_roi, arguments.frames, "one region")
    auto_stages, auto_total = _measure(estimator, whole, arguments.frames, "own regions")
    height, width = frames[0][0].image_rgb.shape[:2]
    report = {
        "stages": stages, "total": total, "device": describe_device(arguments.threads, estimator.extractor.name),
        "cpu": cpu_name(), "threads": arguments.threads, "frames": arguments.frames, "image": [width, height],
        "auto": {"stages": auto_stages, "total": auto_total},
        "versions": versions(),
    }
    if arguments.json:
        with AtomicFile(arguments.json) as file:
            file.write(to_json(report, indent=1) + "\n")
    _show(report)
    return 0


def _load(path: str | Path) -> list[tuple[Frame, Camera]]:
    frames = []
    for frame in itertools.islice(open_source(path), _DISTINCT_FRAMES):
        height, width = frame.image_rgb.shape[:2]
        frames.append((frame, frame.camera or Camera.from_hfov(width, height, options.DEFAULT_HFOV_DEG)))
    if not frames:
        raise DatasetError(f"{path}: no image could be read")
    return frames


def _demo_sequence() -> Path:
    from ..bundle import find_bundle

    return find_bundle("car").parents[1] / "config" / "demo_sequence"  # engines/car and config share their parent


def _measure(estimator, jobs: Sequence[tuple], count: int, what: str) -> tuple[dict, dict]:
    """Summaries per stage and of the total wall-clock time, each {"median_ms", "p95_ms"}."""
    estimator.estimate(jobs[0][0].image_rgb, jobs[0][1], rois=jobs[0][2])  # warm caches and buffers of this size
    stage_ms: dict[str, list[float]] = {}
    total_ms = []
    for frame, camera, rois in tqdm(itertools.islice(itertools.cycle(jobs), count), total=count, desc=what,
                                    unit="frame", file=sys.stderr, disable=None):
        begin = time.perf_counter()
        estimator.estimate(frame.image_rgb, camera, rois=rois)
        total_ms.append(1e3 * (time.perf_counter() - begin))
        for name, milliseconds in estimator.timings.items():
            stage_ms.setdefault(name, []).append(milliseconds)
    stage_ms.pop("total", None)  # of the same span, but without the call itself
    return {name: _spread(values) for name, values in stage_ms.items()}, _spread(total_ms)


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median_ms": float(np.median(values)), "p95_ms": float(np.percentile(values, 95))}


def describe_device(threads: int, backend: str) -> str:
    """CPU, threads used of those there are, and what runs the network."""
    return f"{cpu_name()}, {threads} threads on {options.available_cpus()} CPUs, {backend} {versions()[backend]}"


def cpu_name() -> str:
    """Marketing name of the CPU, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Python and the packages that decide about speed."""
    found = {"python": platform.python_version()}
    for name in ("dinemo_ros", "numpy", "numba", "onnxruntime", "opencv-python-headless"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not from a package"
    return found


def _show(report: dict) -> None:
    print(report["device"])
    print(f"image {report['image'][0]}x{report['image'][1]}, {report['frames']} frames      median      p95")
    for title, part in (("one region of interest", report), ("own regions", report["auto"])):
        print(title)
        for name, spread in [*part["stages"].items(), ("total", part["total"])]:
            print(f"  {name:34} {spread['median_ms']:6.1f} ms {spread['p95_ms']:6.1f} ms")
