# SPDX-License-Identifier: Apache-2.0
"""Stage times of the estimator, one object against four, and pose hypotheses per second."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ..camera.crop import BORDER_GREY
from ..camera.pinhole import Camera
from ..estimator import PoseEstimator
from ..geometry import pinhole_matrix
from ..model.bundle import SearchSpec
from ..pose import Roi
from ..solver.coarse import SHIFT

SOLVER_STAGES = ("similarity", "coarse", "refine", "solve")  # what comes after the network; "solve": all, on a GPU


@dataclass(frozen=True)
class Job:
    """One call of the estimator: image uint8 [H, W, 3], its camera, and regions (None: it looks for itself)."""

    image: np.ndarray
    camera: Camera
    rois: list[Roi] | None


def measure(estimator: PoseEstimator, jobs: Sequence[Job], count: int, what: str) -> tuple[dict, dict]:
    """Summaries of ``count`` estimates, see :func:`spread`: per stage and of the total, that one with its CPU time."""
    return _measure(estimator, [lambda job=job: _run(estimator, job) for job in jobs], count, what)


def measure_followed(estimator: PoseEstimator, jobs: Sequence[Job], count: int) -> tuple[dict, dict]:
    """The same for following the jobs' objects from where they are: tracking a thing that hardly moves."""
    known = [(job, estimator.estimate(job.image, job.camera, job.rois)) for job in jobs]
    calls = [lambda job=job, poses=poses: estimator.follow(job.image, job.camera, poses) for job, poses in known]
    return _measure(estimator, calls, count, "followed")


def _measure(estimator: PoseEstimator, calls: Sequence[Callable[[], object]], count: int,
             what: str) -> tuple[dict, dict]:
    calls[0]()  # warm caches and buffers of this size
    stage_ms: dict[str, list[float]] = {}
    total_ms, cpu_ms = [], []
    for call in tqdm(itertools.islice(itertools.cycle(calls), count), total=count, desc=what, unit="frame",
                     file=sys.stderr, disable=None):
        wall, cpu = milliseconds(call)
        total_ms.append(wall)
        cpu_ms.append(cpu)
        for name, value in estimator.timings.items():
            stage_ms.setdefault(name, []).append(value)
    stage_ms.pop("total", None)  # of the same span, but without the call itself
    total = spread(total_ms) | {"cpu_median_ms": float(np.median(cpu_ms))}
    return {name: spread(values) for name, values in stage_ms.items()}, total


def solver_alone(stages: dict[str, dict[str, float]]) -> float:
    """Median milliseconds from features to pose: the sum of the medians of the solver's stages."""
    return sum(stages[name]["median_ms"] for name in SOLVER_STAGES if name in stages)


def objects_against_one(estimator: PoseEstimator, jobs: Sequence[Job], count: int, repeats: int) -> dict:
    """Time of a frame with ``count`` objects over that of the same frame with one of them, side by side.

    ``ratio`` is the median over the repeats of that of the wall-clock times, ``cpu_ratio`` of that of the CPU times:
    several objects keep all threads busy where one cannot, so the former is below the latter on a machine left alone.
    ``smallest_ratio`` is that of the smallest times of all repeats, two lucky frames of different moments: on a shared
    machine it scatters twice as much.
    ``stages_ms`` and ``one_stages_ms`` are medians per stage, of the frame and of one object.

    The frame is a mosaic of the jobs' pictures, each with its own object; every job needs exactly one region.
    """
    job = mosaic([jobs[k % len(jobs)] for k in range(count)])
    _run(estimator, job)
    names = [name for name in estimator.timings if name != "total"]

    def measured(part: Job) -> list[float]:
        return [*milliseconds(lambda: _run(estimator, part)), *(estimator.timings[name] for name in names)]

    together, alone = [], []  # rows of wall-clock and CPU milliseconds, then those of the stages
    for _ in range(repeats):
        together.append(measured(job))
        # Objects differ in cost; the mean over all is the fair "one".
        alone.append(np.mean([measured(Job(job.image, job.camera, [roi])) for roi in job.rois], axis=0))
    (wall, cpu, *stages), (one_wall, one_cpu, *one_stages) = np.transpose(together), np.transpose(alone)
    return {"objects": count, "median_ms": float(np.median(wall)), "one_median_ms": float(np.median(one_wall)),
            "ratio": float(np.median(wall / one_wall)), "smallest_ratio": float(wall.min() / one_wall.min()),
            "cpu_ratio": float(np.median(cpu / one_cpu)),
            "stages_ms": dict(zip(names, np.median(stages, axis=1).tolist(), strict=True)),
            "one_stages_ms": dict(zip(names, np.median(one_stages, axis=1).tolist(), strict=True))}


def mosaic(jobs: Sequence[Job]) -> Job:
    """The jobs' pictures side by side as one frame of a camera with the first one's focal length."""
    columns = int(np.ceil(np.sqrt(len(jobs))))
    rows = -(-len(jobs) // columns)
    height = max(job.image.shape[0] for job in jobs)
    width = max(job.image.shape[1] for job in jobs)
    image = np.full((rows * height, columns * width, 3), BORDER_GREY, np.uint8)
    rois = []
    for k, job in enumerate(jobs):
        y, x = (k // columns) * height, (k % columns) * width
        image[y:y + job.image.shape[0], x:x + job.image.shape[1]] = job.image
        (x0, y0, x1, y1), = job.rois
        rois.append((x0 + x, y0 + y, x1 + x, y1 + y))
    focal = jobs[0].camera.K[0, 0]
    K = pinhole_matrix(focal, 0.5 * (columns * width - 1), 0.5 * (rows * height - 1))
    return Job(image, Camera(columns * width, rows * height, K), rois)


def hypotheses(search: SearchSpec) -> int:
    """Poses that the first pass of the coarse search scores: viewpoints x distances x image shifts."""
    views = search.azimuth * len(search.elevation_deg) * len(search.theta_deg)
    return views * len(search.scale) * (2 * SHIFT + 1) ** 2


def milliseconds(call: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock time of one call in ms, and the CPU time of all threads of this process meanwhile in ms."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


def spread(values: Sequence[float]) -> dict[str, float]:
    """{"median_ms", "p95_ms", "min_ms"} of milliseconds; the smallest is what a machine does that is left alone."""
    return {"median_ms": float(np.median(values)), "p95_ms": float(np.percentile(values, 95)),
            "min_ms": float(np.min(values))}


def _run(estimator: PoseEstimator, job: Job) -> None:
    estimator.estimate(job.image, job.camera, rois=job.rois)
