# SPDX-License-Identifier: Apache-2.0
"""Cost against number of vertices, hypotheses, objects per frame and image size, on the shipped demo sequence.

    python tests/benchmarks/run_sweeps.py --out tests/benchmarks/results/DEVICE

Writes ``sweeps.csv``: sweep, x, wall_ms, cpu_ms (all threads), medians. One x after the other, several rounds, so
that the moods of a shared machine spread over all of them. ``plot_sweeps.py`` draws it. Needs ``fast_simplification``
and ``trimesh`` of the training extra for the meshes of other sizes.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dinemo_ros.benchmark import solver_comparison
from dinemo_ros.benchmark.demo import demo_entries, demo_sequence
from dinemo_ros.benchmark.stages import Job, hypotheses, milliseconds, mosaic
from dinemo_ros.defaults import available_cpus
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.model.bundle import Bundle, find_bundle, load_bundle
from dinemo_ros.model.neural_mesh import NeuralMesh
from dinemo_ros.solver import PoseSolver, prepare_category

VERTICES = (200, 400, 800, 1600, 3000)
AZIMUTHS = (12, 24, 48, 96, 180)
OBJECTS = (1, 2, 3, 4, 6, 8)
WIDTHS = (320, 640, 960, 1280, 1920, 3840)
FRAMES = 6  # different pictures that every value is measured on

Sweep = dict[float, Callable[[], object]]  # x -> one call to be timed


def vertices_sweep(bundle: Bundle, threads: int) -> Sweep:
    """The solver alone with meshes of other sizes."""
    estimator = PoseEstimator(bundle, threads)
    crops = solver_comparison.crops(estimator, demo_entries(demo_sequence())[:FRAMES])
    solvers = {len(mesh.vertices): PoseSolver(prepare_category(mesh, bundle.card), threads) for mesh
               in (resized(solver_comparison.given_mesh(estimator), count) for count in VERTICES)}
    return {x: lambda solver=solver: [solver.solve(c.features, c.target) for c in crops]
            for x, solver in solvers.items()}


def hypotheses_sweep(bundle: Bundle, threads: int) -> Sweep:
    """The solver alone with finer and coarser viewpoints."""
    estimator = PoseEstimator(bundle, threads)
    crops = solver_comparison.crops(estimator, demo_entries(demo_sequence())[:FRAMES])
    sweep: Sweep = {}
    for azimuths in AZIMUTHS:
        search = replace(bundle.card.search, azimuth=azimuths)
        category = prepare_category(solver_comparison.given_mesh(estimator), replace(bundle.card, search=search))
        solver = PoseSolver(category, threads)
        sweep[hypotheses(search)] = lambda solver=solver: [solver.solve(c.features, c.target) for c in crops]
    return sweep


def objects_sweep(bundle: Bundle, threads: int) -> Sweep:
    """Whole estimates of frames with several objects; the time is that of one frame."""
    estimator, jobs = PoseEstimator(bundle, threads), demo_jobs()
    frames = {n: [mosaic([jobs[(first + k) % len(jobs)] for k in range(n)]) for first in range(FRAMES)]
              for n in OBJECTS}
    return {n: lambda frames=frames[n]: run(estimator, frames) for n in OBJECTS}


def image_size_sweep(bundle: Bundle, threads: int) -> Sweep:
    """Whole estimates of one object in the same picture at other resolutions."""
    estimator, jobs = PoseEstimator(bundle, threads), demo_jobs()[:FRAMES]
    frames = {width: [scaled(job, width) for job in jobs] for width in WIDTHS}
    return {w: lambda frames=frames[w]: run(estimator, frames) for w in WIDTHS}


SWEEPS = {"vertices": vertices_sweep, "hypotheses": hypotheses_sweep, "objects": objects_sweep,
          "image width": image_size_sweep}


def run(estimator: PoseEstimator, frames: list[Job]) -> None:
    for job in frames:
        estimator.estimate(job.image, job.camera, job.rois)


def demo_jobs() -> list[Job]:
    samples = [entry.load() for entry in demo_entries(demo_sequence())]
    return [Job(s.image, s.camera, [s.roi]) for s in samples]


def scaled(job: Job, width: int) -> Job:
    """The job's picture resized to ``width`` pixels."""
    factor = width / job.image.shape[1]
    image = cv2.resize(job.image, (width, round(factor * job.image.shape[0])), interpolation=cv2.INTER_AREA)
    return Job(image, job.camera.scaled(width, image.shape[0]), [tuple(factor * np.array(job.rois[0]))])


def resized(mesh: NeuralMesh, count: int) -> NeuralMesh:
    """The neural mesh with about ``count`` vertices; a new vertex takes normal and feature of the nearest old one."""
    import fast_simplification
    import trimesh

    fine = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    while len(fine.vertices) < 1.5 * count:
        fine = fine.subdivide()
    share = 1.0 - min(1.0, 2 * count / len(fine.faces))  # a closed surface has twice as many faces as vertices
    vertices, faces = fast_simplification.simplify(fine.vertices.astype(np.float32), fine.faces, share)
    nearest = np.linalg.norm(vertices[:, None] - mesh.vertices[None], axis=-1).argmin(axis=1)
    return NeuralMesh(vertices, faces.astype(np.int32), mesh.normals[nearest], mesh.features[nearest], mesh.clutter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of this device")
    parser.add_argument("--rounds", type=int, default=15, help="times every value is measured (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--sweeps", nargs="+", choices=sorted(SWEEPS), default=list(SWEEPS))
    args = parser.parse_args()
    bundle = load_bundle(find_bundle("car"))
    rows = []
    for name in args.sweeps:
        calls = SWEEPS[name](bundle, args.threads)
        times: dict[float, list[tuple[float, float]]] = {x: [] for x in calls}
        for call in calls.values():
            call()
        for _ in tqdm(range(args.rounds), desc=name):
            for x, call in calls.items():
                times[x].append(milliseconds(call))
        for x, values in times.items():
            wall, cpu = np.median(values, axis=0) / FRAMES
            rows.append({"sweep": name, "x": x, "wall_ms": round(float(wall), 3), "cpu_ms": round(float(cpu), 3)})
            print(rows[-1], flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "sweeps.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
