# SPDX-License-Identifier: Apache-2.0
"""Where the CPU time of one object goes, step by step, on one thread.

    python tests/benchmarks/profile_steps.py [--out FILE.csv]

Every step of estimator and solver is wrapped with the clock of its thread, so other programs do not count; the time of
a step holds that of the steps inside it (indented). The network runs on ONNX Runtime's threads: there the process's
clock is used.
"""

from __future__ import annotations

import argparse
import csv
import functools
import time
from pathlib import Path

import numpy as np
from run_sweeps import demo_jobs

import dinemo_ros.estimator as estimator_module
import dinemo_ros.inference as pipeline_module
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.model.bundle import find_bundle, load_bundle
from dinemo_ros.solver import crop_solver, similarity

# (title, where it is looked up, name)
STEPS = (
    ("crop: camera", estimator_module, "crop_camera"),
    ("crop: warp", pipeline_module, "warp_crop"),
    ("similarity", similarity.Similarity, "__call__"),
    ("  products", similarity, "products"),
    ("  evidence and odds", similarity, "evidence_and_odds"),
    ("coarse", crop_solver.CropSolver, "_coarse"),
    ("  gather", crop_solver, "coarse_search"),
    ("  select distinct", crop_solver, "select_distinct"),
    ("starts by template matching", crop_solver.CropSolver, "_nearest"),
    ("refine", crop_solver.CropSolver, "_refine"),
    ("  inside maps", crop_solver, "inside_maps"),
    ("  coarse_refinement", crop_solver, "coarse_refinement"),
    ("  gauss_newton_refinement", crop_solver, "gauss_newton_refinement"),
    ("  distinct", crop_solver, "_distinct"),
    ("covariance and result", crop_solver.CropSolver, "_with_observations"),
)


def wrapped(spent: dict[str, float], title: str, function, clock):
    @functools.wraps(function)
    def timed(*arguments):
        begin = clock()
        try:
            return function(*arguments)
        finally:
            spent[title] = spent.get(title, 0.0) + 1e3 * (clock() - begin)

    return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the table here as well")
    parser.add_argument("--rounds", type=int, default=5, help="times every frame is estimated (default: %(default)s)")
    args = parser.parse_args()
    estimator, jobs = PoseEstimator(load_bundle(find_bundle("car")), threads=1, device="cpu"), demo_jobs()
    spent: dict[str, float] = {}
    # A thread pool of one, or none: the wrapped functions run on the thread whose clock is read.
    for title, owner, name in STEPS:
        setattr(owner, name, wrapped(spent, title, getattr(owner, name), time.thread_time))
    pipeline = estimator.pipeline
    pipeline.extractor = wrapped(spent, "features", pipeline.extractor.__call__, time.process_time)
    frames = []
    for job in jobs * args.rounds:
        spent.clear()
        begin = time.process_time()
        estimator.estimate(job.image, job.camera, job.rois)
        frames.append({"whole estimate": 1e3 * (time.process_time() - begin), **spent})
    titles = ["whole estimate", "features", *(title for title, _, _ in STEPS)]
    rows = [(title, float(np.median([frame.get(title, 0.0) for frame in frames]))) for title in titles]
    for title, value in rows:
        print(f"{title:28} {value:7.2f} ms  {value / rows[0][1]:6.1%}")
    if args.out:
        with args.out.open("w", newline="") as file:
            csv.writer(file).writerows([("step", "cpu_ms"), *((title, f"{value:.3f}") for title, value in rows)])


if __name__ == "__main__":
    main()
