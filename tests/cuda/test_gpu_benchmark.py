# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The benchmark of a GPU on a GPU if there is one, else on torch's CPU, where there are no kernels to be timed."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="triton is not installed")

from unit.planted import car_card, car_mesh
from unit.scenes import planted_scene

from dinemo_ros.benchmark import gpu
from dinemo_ros.benchmark.gpu import Recorder, compared, measure_gpu
from dinemo_ros.camera.crop import crop_camera
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cli.bench import _show_gpu
from dinemo_ros.cli.output import to_json
from dinemo_ros.cuda import kernels, twins
from dinemo_ros.cuda.inference import TorchPipeline
from dinemo_ros.cuda.solver import best_loops

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LOOPS = {"sample_crops", "gather_scores", "rasterise", "window_terms", "normal_equations", "box_sides", "compare_cells",
         "stepped"}


class Network:
    """Gives the features of a planted scene for whatever it sees, as tensors."""

    tensor_device = DEVICE.type

    def __init__(self, features):
        self._features = torch.from_numpy(features).to(DEVICE)

    def on_device(self, images):
        assert images.dtype == torch.uint8 and images.device.type == DEVICE.type
        return self._features.expand(len(images), -1, -1, -1)


def test_measures_and_prints(tmp_path, capsys):
    torch.set_num_threads(1)
    scene, camera = planted_scene(20.0, 14.0), Camera.from_hfov(320, 240, 50.0)
    category = SimpleNamespace(mesh=car_mesh(), card=car_card())  # of a bundle nothing else is asked
    pipeline = TorchPipeline(category, Network(scene.features), DEVICE.type)
    crop = crop_camera(camera, np.array([60.0, 60, 260, 180]), 256, 1.15)
    image = np.full((240, 320, 3), 90, np.uint8)
    measured = measure_gpu(pipeline, image, camera, crop, scene.target, batch=2, repeats=1)
    assert json.loads(to_json(measured))["features_stay_on_device"] is True
    rows = measured["kernels"]
    assert {row["name"] for row in rows} == LOOPS and all(row["twin_ms"] > 0 for row in rows)
    assert all((row["kernel_ms"] is None) == (DEVICE.type == "cpu") for row in rows)
    hypotheses = measured["hypotheses"]
    card = car_card().search
    views = card.azimuth * len(card.elevation_deg) * len(card.theta_deg)
    assert hypotheses["scored"] == 2 * views * len(card.scale) * 49
    assert hypotheses["per_s"] == pytest.approx(1e3 * hypotheses["scored"] / hypotheses["median_ms"])
    assert 0 < measured["follow"]["median_ms"] and 0 < measured["solver"]["median_ms"]
    took = {"median_ms": 4.0}
    _show_gpu({"gpu": measured, "total": took, "followed": {"total": took}})
    text = capsys.readouterr().out
    assert "image in to pose out, one object       4.00 ms   (bar 5 ms)" in text and "gather_scores" in text


def test_kernels_are_held_against_their_twins():
    """In Triton's interpreter where there is no GPU: the times mean nothing there, the differences do."""
    recorder, scale = Recorder(), torch.tensor([1.0, 2.0, 4.0], device=DEVICE)
    A = torch.eye(9, device=DEVICE) * scale[:, None, None]
    R, zero = A[:, :3, :3] / scale[:, None, None], torch.zeros(3, 3, device=DEVICE)
    recorder.stepped(A, 0.01 * A[:, 0], scale, scale, scale, R, zero + 2.0, zero)
    assert set(recorder.calls) == {"stepped"}
    row = compared("stepped", recorder.calls["stepped"], kernels, DEVICE, 1)
    assert row["kernel_ms"] > 0 and row["twin_ms"] > 0 and row["largest_difference"] < 1e-6
    assert row["differing_share"] is None  # of whole numbers
    assert best_loops(torch.device("cpu")) is twins


def test_scores_that_differ_are_counted():
    """One of four, by one: the largest difference would not tell how many."""
    right = torch.tensor([[1, 2], [3, 4]], device=DEVICE), torch.zeros(2, device=DEVICE)
    wrong = right[0] + torch.tensor([[0, 0], [1, 0]], device=DEVICE), right[1] + 0.5
    assert gpu._differing_share([(right[0], wrong[0]), (right[1], wrong[1])]) == 0.25


def test_kernels_are_timed_by_the_devices_own_clock(monkeypatch):
    """What the host does between two events does not count."""
    class Event:
        now = 0.0

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = Event.now

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return end.at - self.at

    def call():
        Event.now += 0.25

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert gpu._timed(call, torch.device("cuda"), 3, by_device=True)["median_ms"] == 0.25
    assert gpu._timed(call, torch.device("cuda"), 3)["median_ms"] != 0.25
