# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""What keeps a broken bundle from being written: counts of the mesh, size, a shape of another run, the temperature."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "onnx"):
    pytest.importorskip(_module, reason="training extra is not installed")

from painted_car import write_painted_bundle
from posed_car import car_shape
from unit.planted import SIZE, car_card

from dinemo_ros.model.bundle import Card, SizePrior, load_bundle, write_bundle
from dinemo_training.export import bundle_export as export
from dinemo_training.models.category_shape import CategoryShape
from dinemo_training.models.checkpoint import save_checkpoint
from dinemo_training.models.neural_mesh import NeuralMeshFeatures
from dinemo_training.models.student import StudentBackbone

CARD = Card(category="car", version="0", size_prior=SizePrior(SIZE, (0.08, 0.05, 0.08)))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained student of the planted car, and what its run was told."""
    path = tmp_path_factory.mktemp("run") / "student.pt"
    torch.manual_seed(0)
    save_checkpoint(path, StudentBackbone(), NeuralMeshFeatures(len(car_shape().vertices)))
    path.with_name("train.json").write_text(json.dumps({"temperature": 0.05}))
    return path


def test_a_shape_of_another_run_is_refused(checkpoint, tmp_path):
    shape = car_shape()
    fewer = CategoryShape(shape.vertices[:-1], shape.faces[:4], shape.normals[:-1])
    with pytest.raises(ValueError, match=f"features of {len(shape.vertices)} vertices, the shape has"):
        export.export_bundle(checkpoint, fewer, CARD, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def rewritten(folder, **changes):
    """The painted car's bundle with another mesh."""
    bundle = load_bundle(write_painted_bundle(folder))
    write_bundle(folder, car_card(), bundle.backbone_path.read_bytes(), replace(bundle.mesh, **changes))
    return folder


def test_vertices_without_a_face_are_refused(tmp_path):
    faces = load_bundle(write_painted_bundle(tmp_path)).mesh.faces
    used_once = np.bincount(faces.ravel()).argmin()
    without = faces[(faces != used_once).all(axis=1)]
    with pytest.raises(ValueError, match="vertices of the mesh belong to no face"):
        export.check_bundle(rewritten(tmp_path, faces=without))


def test_a_mesh_that_is_no_surface_is_refused(tmp_path):
    count = len(load_bundle(write_painted_bundle(tmp_path)).mesh.vertices)
    few = np.resize(np.arange(count), (-(-count // 3), 3)).astype(np.int32)
    with pytest.raises(ValueError, match="faces for .* vertices, that is no surface"):
        export.check_bundle(rewritten(tmp_path, faces=few))


def test_a_bundle_that_is_too_large_is_refused(tmp_path):
    bundle = write_painted_bundle(tmp_path)
    assert export.check_bundle(bundle) < 1e6
    (bundle / "notes.bin").write_bytes(bytes(20_000_001))
    with pytest.raises(ValueError, match="MB; a bundle may have 20"):
        export.check_bundle(bundle)
    assert export.check_bundle(bundle, "vit_small_patch14_dinov2.lvd142m") > 20_000_000  # for GPUs, which have room


def test_a_rejected_bundle_leaves_the_old_one(checkpoint, tmp_path, monkeypatch):
    bundle = write_painted_bundle(tmp_path / "bundle")
    before = {file.name: file.read_bytes() for file in bundle.iterdir()}
    monkeypatch.setattr(export, "_MAX_BYTES", 1000)
    monkeypatch.setattr(export, "parity", lambda *_: export.Parity(1.0, 0.0))
    with pytest.raises(ValueError, match="MB; a bundle may have"):
        export.export_bundle(checkpoint, car_shape(), CARD, bundle)
    assert {file.name: file.read_bytes() for file in bundle.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_temperature_is_that_of_the_run(checkpoint, tmp_path):
    assert export.trained_temperature(checkpoint) == 0.05
    with pytest.raises(ValueError, match="tells no temperature .* give --temperature"):
        export.trained_temperature(tmp_path / "student.pt")
