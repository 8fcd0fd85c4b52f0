# SPDX-License-Identifier: Apache-2.0
"""A recording for Rerun, read back with Rerun's own reader: picture, camera, mesh at its pose, box, axes, colours."""

from __future__ import annotations

import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cli.main import main
from dinemo_ros.drawing.palette import AXES, pose_colour
from dinemo_ros.drawing.rerun_file import require_rerun, rerun_file
from dinemo_ros.errors import NotInstalledError, OutputError
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.neural_mesh import NeuralMesh
from dinemo_ros.pose import ObjectPose

CAMERA = Camera.from_hfov(64, 48, 60.0)
IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
VERTICES = np.array([[-1, -1, -1], [1, -1, -1], [0, 1, -1], [0, 0, 1]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
NORMALS = VERTICES / np.linalg.norm(VERTICES, axis=1, keepdims=True)
MESH = NeuralMesh(VERTICES, FACES, NORMALS, np.ones((4, 1), np.float32), np.ones((1, 1), np.float32))
POSE = ObjectPose(se3(rotation_from_viewpoint(1.0, 0.4, 0.1), [0.1, 0.2, 5.0]), 0.7, np.array([4.0, 1.8, 1.5]),
                  category="car", covariance=np.eye(6), roi=(10.0, 12.0, 40.0, 30.0))


def rows(path) -> dict[str, dict[int, dict]]:
    """Values by entity and number of the image (-1: of all), components by their short names."""
    reader = pytest.importorskip("rerun.chunk", reason="this Rerun has no reader for recordings (0.41 has)")
    found: dict = {}
    for chunk in reader.RrdReader(str(path)).stream():
        batch = chunk.to_record_batch()
        for row in range(batch.num_rows):
            image = batch.column("image")[row].as_py() if "image" in batch.schema.names else -1
            values = found.setdefault(str(chunk.entity_path), {}).setdefault(image, {})
            for name in batch.schema.names:
                if ":" in name and batch.column(name)[row].is_valid:
                    values[name.split(":")[1]] = batch.column(name)[row].as_py()
                if name == "stamp":
                    values["stamp_ns"] = batch.column(name)[row].value
    return found


def rgb(packed: int) -> tuple[int, ...]:
    return tuple(packed.to_bytes(4, "big")[:3])


@pytest.fixture
def recorded(tmp_path):
    """Two cars, then one of them elsewhere, then nothing."""
    pytest.importorskip("rerun", reason="rerun-sdk is not installed (pip install rerun-sdk)")
    other = replace(POSE, T_cam_obj=se3(np.eye(3), np.array([1.0, 0.0, 7.0])))
    with rerun_file("--rerun", tmp_path / "out.rrd", {"car": MESH}) as file:
        for k, poses in enumerate(([POSE, other], [other], [])):
            file.write(0.1 * k, IMAGE, CAMERA, poses)
    assert [path.name for path in tmp_path.iterdir()] == ["out.rrd"]
    return rows(tmp_path / "out.rrd")


def test_the_mesh_is_at_its_pose_in_its_size(recorded):
    at = recorded["/world/objects/car_0"][0]
    R = np.reshape(at["mat3x3"], (3, 3), order="F")  # by columns
    assert np.allclose(R, POSE.T_cam_obj[:3, :3], atol=1e-6)
    assert np.allclose(at["translation"], POSE.T_cam_obj[:3, 3], atol=1e-6)
    mesh = recorded["/world/objects/car_0/mesh"][0]
    corners = np.array(mesh["vertex_positions"]) * mesh["scale"][0]
    assert np.ptp(corners, axis=0) == pytest.approx(POSE.size, rel=1e-5)
    assert np.array_equal(mesh["triangle_indices"], FACES)
    assert np.allclose(mesh["vertex_normals"], NORMALS)
    assert np.allclose(np.array(recorded["/world/objects/car_0/box"][0]["half_sizes"]) * 2, POSE.size)
    arrows = recorded["/world/objects/car_0/axes"][0]
    assert np.allclose(arrows["vectors"], np.diag(0.625 * POSE.size), rtol=1e-5)
    assert [rgb(colour) for colour in arrows["colors"]] == list(AXES)
    assert rgb(mesh["albedo_factor"][0]) == pose_colour(POSE, 0) != pose_colour(POSE, 1)


def test_picture_camera_boxes_and_time(recorded):
    camera = recorded["/world/camera"][0]
    assert np.allclose(np.reshape(camera["image_from_camera"], (3, 3), order="F"), CAMERA.K)
    assert camera["resolution"] == [[64.0, 48.0]]
    assert bytes(recorded["/world/camera/image"][0]["blob"][0])[:2] == b"\xff\xd8", "a JPEG"
    boxes = recorded["/world/camera/boxes"][0]
    assert np.allclose(boxes["centers"], [[25.0, 21.0]] * 2) and np.allclose(boxes["half_sizes"], [[15.0, 9.0]] * 2)
    assert boxes["labels"][0].startswith("car 0.70 5.0 m")
    assert [recorded["/world/camera"][k]["stamp_ns"] for k in range(3)] == [0, 100_000_000, 200_000_000]


def test_what_is_gone_is_cleared_and_what_comes_back_has_a_mesh_again(recorded, tmp_path):
    assert recorded["/world/objects/car_1"][1]["is_recursive"] == [True]
    assert recorded["/world/objects/car_0"][2]["is_recursive"] == [True]
    assert "vertex_positions" not in recorded["/world/objects/car_0/mesh"][1], "it stays until it is cleared"
    with rerun_file("--rerun", tmp_path / "again.rrd", {"car": MESH}) as file:
        for poses in ([POSE], [], [POSE]):
            file.write(1.7e9, IMAGE, CAMERA, poses)
    assert "vertex_positions" in rows(tmp_path / "again.rrd")["/world/objects/car_0/mesh"][2]


def test_nothing_is_left_of_a_recording_that_failed(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed (pip install rerun-sdk)")
    with pytest.raises(RuntimeError, match="midway"), rerun_file("--rerun", tmp_path / "out.rrd", {}) as file:
        file.write(0.0, IMAGE, CAMERA, [POSE])
        raise RuntimeError("midway")
    assert not list(tmp_path.iterdir())


def test_without_the_extra_one_sentence_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(NotInstalledError, match="--rerun needs the Rerun library.*pip install rerun-sdk"):
        require_rerun("--rerun", "out.rrd")
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE)
    assert main(["estimate", str(tmp_path), "--rerun", str(tmp_path / "out.rrd")]) == 1
    errors = capsys.readouterr().err
    assert "pip install rerun-sdk" in errors and "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["out.mcap", "-", ""])
def test_another_name_is_refused(name):
    with pytest.raises(OutputError, match=r"--rerun.*\.rrd"):
        require_rerun("--rerun", name)
