# SPDX-License-Identifier: Apache-2.0
"""What is measured is what is said to be measured. No test here depends on how fast the machine is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from painted_car import photograph, write_painted_bundle

from dinemo_ros.benchmark import solver_comparison
from dinemo_ros.benchmark.demo import demo_entries, demo_sequence
from dinemo_ros.benchmark.device import peak_memory_mb
from dinemo_ros.benchmark.stages import (
    Job,
    hypotheses,
    measure,
    measure_followed,
    mosaic,
    objects_against_one,
    solver_alone,
)
from dinemo_ros.benchmark.startup import start
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cli.main import main
from dinemo_ros.errors import DatasetError, DinemoError
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.sample import LabelledSample, Sample
from dinemo_ros.evaluation.truth import PoseTruth, ReferenceObject
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import SearchSpec, load_bundle

CAMERA = Camera.from_hfov(320, 240, 40)
SIZE = np.array([4.4, 1.8, 1.5])


def look(azimuth_deg: float) -> np.ndarray:
    return se3(rotation_from_viewpoint(*np.radians([azimuth_deg, 12.0, 0.0])), np.array([0.0, 0.0, 9.0]))


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    return PoseEstimator(load_bundle(write_painted_bundle(tmp_path_factory.mktemp("painted") / "bundle")), threads=1)


@pytest.fixture(scope="module")
def jobs():
    return [Job(photograph(look(a), CAMERA), CAMERA, [(80.0, 70.0, 240.0, 170.0)]) for a in (30, 100, 200)]


@pytest.fixture(scope="module")
def crops(estimator, jobs):
    return solver_comparison.crops(estimator, [LabelledSample("car", str(a), lambda job=job, a=a: Sample(
        job.image, CAMERA, job.rois[0], None, PoseTruth(look(a), SIZE, CAMERA)))
        for job, a in zip(jobs, (30, 100, 200), strict=True)])


def test_stage_times_add_up(estimator, jobs):
    stages, total = measure(estimator, jobs, 6, "test")
    assert 0 < solver_alone(stages) < sum(s["median_ms"] for s in stages.values()) < 1.5 * total["p95_ms"]


def test_following_searches_nothing(estimator, jobs):
    stages, total = measure_followed(estimator, jobs, 3)
    assert stages["coarse"]["median_ms"] == 0 < stages["refine"]["median_ms"] < total["median_ms"]


def test_mosaic_keeps_every_object_findable(estimator, jobs):
    job = mosaic([*jobs, jobs[0]])
    assert job.image.shape == (480, 640, 3) and (job.camera.width, job.camera.height) == (640, 480)
    poses = estimator.estimate(job.image, job.camera, job.rois)
    assert len(poses) == 4 and min(pose.score for pose in poses) > 0.5
    azimuths = {pose.roi: np.degrees(pose.viewpoint()[0]) for pose in poses}
    assert [azimuths[roi] for roi in job.rois] == pytest.approx([30, 100, 200, 30], abs=8)  # beside the axis now


def test_objects_against_one(estimator, jobs):
    found = objects_against_one(estimator, jobs, 4, 3)
    assert found["objects"] == 4 and found["median_ms"] > 0 and found["one_median_ms"] > 0
    assert set(found["stages_ms"]) == {"crop", "features", "similarity", "coarse", "refine"}
    assert 0 < sum(found["one_stages_ms"].values()) <= 1.5 * found["one_median_ms"]
    assert found["ratio"] > 0 and found["smallest_ratio"] > 0
    assert found["cpu_ratio"] > 1.5  # CPU time, which other programs do not lengthen


def test_hypotheses_are_viewpoints_times_distances_times_shifts():
    search = SearchSpec(azimuth=12, elevation_deg=(0.0, 10.0), theta_deg=(0.0,), scale=(0.9, 1.0, 1.1))
    assert hypotheses(search) == 12 * 2 * 1 * 3 * 49


def test_solvers_get_the_same_and_are_held_against_the_truth(estimator, crops):
    seen = {"a": [], "b": []}

    def spy(name):
        solve = solver_comparison.our_solver(estimator)

        def called(features, target):
            seen[name].append((features.copy(), target))
            return solve(features, target)

        return called

    rows = solver_comparison.compare({"a": spy("a"), "b": spy("b"), "none": lambda features, target: None}, crops,
                                     ReferenceObject.of(estimator.bundle), "test")
    assert [row["solver"] for row in rows] == ["a", "b", "none"]
    for (F, target), (G, other) in zip(seen["a"], seen["b"], strict=True):
        np.testing.assert_array_equal(F, G)
        assert target is other
    assert [(row["n"], row["acc10"], row["same_pose"]) for row in rows] == [(3, 1.0, 1.0)] * 2 + [(3, 0.0, 0.0)]
    assert rows[0]["times_slower"] == rows[0]["times_slower_cpu"] == 1.0 and rows[2]["missing"] == 1.0
    assert rows[0]["distance_median_pct"] < 5


def test_pnp_finds_painted_cars(estimator, crops):
    row, = solver_comparison.compare({"pnp": solver_comparison.pnp_solver(estimator)}, crops,
                                     ReferenceObject.of(estimator.bundle), "test")
    assert row["acc30"] == 1.0


def test_reference_finds_painted_cars(estimator, crops):
    pytest.importorskip("torch", reason="the reference solver needs torch")
    solve = solver_comparison.reference_solver(estimator, rasterizer="torch", steps=100)
    rows = solver_comparison.compare({"ours": solver_comparison.our_solver(estimator), "reference": solve}, crops,
                                     ReferenceObject.of(estimator.bundle), "test")
    assert rows[1]["acc10"] == 1.0 and rows[1]["same_pose"] == 1.0


def test_solvers_need_a_region(estimator, jobs):
    entry = LabelledSample("car", "x.png", lambda: Sample(jobs[0].image, CAMERA, None, None, None))
    with pytest.raises(DinemoError, match="x.png: solvers can only be compared in a given region"):
        solver_comparison.crops(estimator, [entry])


def test_start_of_a_process(estimator):
    seconds = start(estimator.bundle.path, 1, {})
    assert 0 < seconds["first_frame_s"] and 0 < seconds["build_s"]
    assert seconds["import_s"] + seconds["build_s"] + seconds["first_frame_s"] < seconds["to_first_pose_s"]
    assert 50 < seconds["peak_memory_mb"] < 2000


def test_start_that_fails_says_why(tmp_path):
    with pytest.raises(DinemoError, match="start-up of the estimator failed: .*no such folder"):
        start(tmp_path / "missing", 1, {})


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory_mb()
    held = np.ones(64 << 20, np.uint8)
    assert peak_memory_mb() >= before and peak_memory_mb() > 64 and held.all()


def test_demo_sequence_comes_with_regions_and_poses():
    entries = demo_entries(demo_sequence())
    sample = entries[3].load()
    assert len(entries) == 28 and entries[3].name == "003.jpg"
    pixel = sample.camera.project(sample.truth.T_cam_obj[None, :3, 3])[0]
    x0, y0, x1, y1 = sample.roi
    assert x0 < pixel[0] < x1 and y0 < pixel[1] < y1


def test_a_folder_without_truth_has_no_entries(tmp_path):
    assert demo_entries(tmp_path) == []


def test_a_truth_that_is_none_is_named(tmp_path):
    (tmp_path / "camera_info.yaml").write_text((demo_sequence() / "camera_info.yaml").read_text())
    (tmp_path / "ground_truth.json").write_text('{"frames": {"0.png": {"pose": 1}}}')
    with pytest.raises(DatasetError, match="ground_truth.json: not a ground truth file"):
        demo_entries(tmp_path)


def test_command_reports_solvers_and_startup(estimator, tmp_path, capsys, jobs):
    pytest.importorskip("torch", reason="the reference solver needs torch")
    import cv2

    for k, job in enumerate(jobs):
        cv2.imwrite(str(tmp_path / f"{k}.png"), job.image[..., ::-1])
    report = tmp_path / "out" / "bench.json"
    assert main(["bench", str(tmp_path), "--bundle", str(estimator.bundle.path), "--frames", "3", "--threads", "1",
                 "--reference", "torch", "--json", str(report)]) == 0
    document = json.loads(Path(report).read_text())
    assert [row["solver"] for row in document["solvers"]] == ["dinemo_ros", "NOVUM, 30 steps", "PnP, RANSAC"]
    assert "acc10" not in document["solvers"][0]  # this folder has no truth
    assert {"torch", "pytorch3d"} <= set(document["versions"])
    assert document["objects"]["objects"] == 4 and document["hypotheses_per_s"] > 0
    assert "same pose as ours" in capsys.readouterr().out
