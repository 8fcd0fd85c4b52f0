# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""From pictures to a bundle: training learns, survives a kill, and export refuses a graph that is not the network."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "onnx", "numba", "tqdm"):
    pytest.importorskip(_module, reason="training extra is not installed")

from posed_car import car_shape, draw, intrinsics, look_at
from teacher_models import require_imagenet
from unit.planted import SIZE

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import so3_exp
from dinemo_ros.model.bundle import Card, FeatureSpec, ImageSpec, SizePrior, load_bundle
from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import BatchConfig, CorrespondenceSampler
from dinemo_training.data.example_stream import ExampleStream, parse_pool
from dinemo_training.data.posed_crops import load_posed_crops, save_labels, save_picture
from dinemo_training.export import bundle_export as export
from dinemo_training.models.category_shape import CategoryShape
from dinemo_training.models.checkpoint import average_checkpoints, load_checkpoint, load_student, save_checkpoint
from dinemo_training.models.contrastive import TrainConfig, learning_rate, train
from dinemo_training.models.neural_mesh import NeuralMeshFeatures, contrastive_loss, neighbour_targets
from dinemo_training.models.student import (
    StudentBackbone,
    create_student,
    find_imagenet_checkpoint,
    load_imagenet_trunk,
)

ROOT = Path(__file__).resolve().parents[2]
AUGMENT = AugmentConfig(size=64)
STEPS = 40
CARD = Card(category="car", version="0", size_prior=SizePrior(SIZE, (0.08, 0.05, 0.08)),
            image=ImageSpec(size=224, margin=1.15, stride=8), features=FeatureSpec())


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A folder of twelve painted cars."""
    folder = tmp_path_factory.mktemp("crops")
    poses = [look_at(30 * i, 5 + i) for i in range(12)]
    for i, T in enumerate(poses):
        save_picture(folder, f"{i:02d}", *draw(T, side=128))
    save_labels(folder, [f"{i:02d}" for i in range(12)], np.tile(intrinsics(128), (12, 1, 1)), np.stack(poses),
                np.tile(SIZE, (12, 1)))
    return folder


@pytest.fixture(scope="module")
def shape_file(tmp_path_factory):
    path, shape = tmp_path_factory.mktemp("shape") / "car.npz", car_shape()
    np.savez(path, vertices=shape.vertices, faces=shape.faces, normals=shape.normals)
    return path


def short_run(crops, out, steps, **changes):
    torch.set_num_threads(1)
    how = {key: changes.pop(key) for key in ("init", "checkpoint_every") if key in changes}
    config = TrainConfig(**({"steps": steps, "batch": 2, "augmentation": AUGMENT} | changes))
    return train([parse_pool(str(crops))], car_shape(), out, config, workers=0, **how)


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(crops, tmp_path_factory):
    """Folder of a run of forty steps."""
    require_imagenet()
    out = tmp_path_factory.mktemp("run")
    short_run(crops, out, STEPS)
    return out


def test_shape_survives_its_file(shape_file):
    shape, expected = CategoryShape.load(shape_file), car_shape()
    np.testing.assert_allclose(shape.vertices, expected.vertices)
    np.testing.assert_allclose(shape.size, SIZE, atol=1e-6)
    np.testing.assert_allclose(np.ptp(shape.at_size([5.0, 2.0, 1.0]), axis=0), [5, 2, 1])


def test_a_resized_shape_keeps_its_normals_upright():
    """Against the faces: their cross products, which know nothing of the stored normals."""
    shape = CategoryShape(**vars(car_shape()))
    slanted = CategoryShape(shape.vertices @ so3_exp([0.3, 0.5, 0.2]).T, shape.faces,
                            shape.normals @ so3_exp([0.3, 0.5, 0.2]).T)
    size = slanted.size * [2.0, 0.5, 1.0]
    resized = slanted.resized(size)
    np.testing.assert_allclose(resized.size, size)
    a, b, c = (resized.vertices[resized.faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    cross /= np.linalg.norm(cross, axis=1, keepdims=True)
    for corner in resized.faces.T:  # the planted car has flat sides with vertices of their own
        np.testing.assert_allclose(resized.normals[corner], cross, atol=1e-5)


def test_averaged_checkpoints_hold_the_mean_weights(tmp_path):
    paths, backbone, features = [], StudentBackbone(), NeuralMeshFeatures(4)
    counted = [k for k, v in backbone.state_dict().items() if not v.is_floating_point()]
    for i, value in enumerate((1.0, 4.0)):
        with torch.no_grad():
            features.raw_vertices.fill_(value)
            backbone.project[1].bias.fill_(-value)
        paths.append(tmp_path / f"{i}.pt")
        save_checkpoint(paths[-1], backbone, features, step=i)
    mean = load_checkpoint(average_checkpoints(paths, tmp_path / "mean.pt"), backbone, features)
    assert (features.raw_vertices == 2.5).all() and (backbone.project[1].bias == -2.5).all()
    assert counted and all(mean["backbone"][k].dtype == torch.int64 for k in counted)


def test_forty_steps_teach_something(trained, crops):
    """The rate is still warming up; clutter is learnt at once, vertices only begin to part."""
    start = fresh_loss(crops, None)
    after = fresh_loss(crops, trained / "student.pt")
    assert after["clutter"] < 0.5 * start["clutter"]
    assert after["vertex"] < 0.95 * start["vertex"]
    assert metrics(trained)[-1]["step"] == STEPS


def fresh_loss(crops, checkpoint):
    """Losses on a batch that no training step has seen."""
    torch.manual_seed(0)
    shape, backbone = car_shape(), StudentBackbone().eval()
    features = NeuralMeshFeatures(len(shape.vertices))
    load_imagenet_trunk(backbone, find_imagenet_checkpoint())
    if checkpoint is not None:
        load_checkpoint(checkpoint, backbone, features)
    sampler, rng = CorrespondenceSampler(shape, AUGMENT), np.random.default_rng(77)
    pool = load_posed_crops(crops)
    other = [crop.image()[:64, :64] for crop in pool]
    batch = [sampler.sample(rng, pool[i], other[i - 1], other[i - 2]) for i in range(8)]
    b = {key: torch.from_numpy(np.stack([e[key] for e in batch])) for key in batch[0]}
    with torch.inference_mode():
        losses = contrastive_loss(backbone(b["image"].permute(0, 3, 1, 2).float()), features, b["pixels"],
                                  b["vertex_ids"], b["weights"],
                                  neighbour_targets(torch.from_numpy(shape.vertices).float(), 0.15),
                                  b["background"], b["background_weight"])
    return {key: float(value) for key, value in losses.items()}


def test_a_killed_run_goes_on_from_its_checkpoint(crops, shape_file, tmp_path):
    require_imagenet()
    # Not every 200 steps: the test is short.
    often = ("import functools; from dinemo_training.models import contrastive as t; "
             "t.train = functools.partial(t.train, checkpoint_every=4); t.main()")
    command = [sys.executable, "-c", often, "--shape", str(shape_file), "--data", str(crops), "--out", str(tmp_path),
               "--size", "32", "--batch", "1", "--workers", "0", "--steps", "100000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / "last.pt").is_file() and time.monotonic() < deadline:
            assert killed.poll() is None, "training ended by itself"
            time.sleep(0.05)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    saved = torch.load(tmp_path / "last.pt", weights_only=True)["step"]
    assert saved % 4 == 0 and saved > 0
    assert not (tmp_path / "student.pt").exists()
    short_run(crops, tmp_path, saved + 3)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == saved + 3
    assert metrics(tmp_path)[-1]["step"] == saved + 3
    assert (tmp_path / "student.pt").is_file()


def test_a_run_in_two_pieces_ends_with_the_same_weights(crops, tmp_path, monkeypatch):
    """Interrupted after six of ten steps, with the last checkpoint two steps old."""
    require_imagenet()
    whole = torch.load(short_run(crops, tmp_path / "whole", 10), weights_only=True)
    saved = []

    def dies(path, *arguments, **state):
        save_checkpoint(path, *arguments, **state)
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("dinemo_training.models.contrastive.save_checkpoint", dies)
    with pytest.raises(KeyboardInterrupt):
        short_run(crops, tmp_path / "pieces", 10, checkpoint_every=3)
    monkeypatch.undo()
    assert torch.load(tmp_path / "pieces" / "last.pt", weights_only=True)["step"] == 6
    pieces = torch.load(short_run(crops, tmp_path / "pieces", 10), weights_only=True)
    for part in ("backbone", "features"):
        assert all(torch.equal(whole[part][k], pieces[part][k]) for k in whole[part])
    other = torch.load(short_run(crops, tmp_path / "other", 10, seed=1), weights_only=True)
    assert not torch.equal(whole["features"]["raw_vertices"], other["features"]["raw_vertices"])


def test_resuming_a_finished_run_changes_nothing(trained, crops, tmp_path):
    for name in ("last.pt", "metrics.jsonl"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    again, before = (torch.load(p, weights_only=True) for p in (short_run(crops, tmp_path, STEPS),
                                                                 trained / "student.pt"))
    assert all(torch.equal(again["backbone"][k], before["backbone"][k]) for k in before["backbone"])


def test_init_starts_from_given_weights(trained, crops, tmp_path):
    final = short_run(crops, tmp_path, 0, init=trained / "student.pt")  # no step: what goes in comes out
    a, b = (torch.load(p, weights_only=True) for p in (final, trained / "student.pt"))
    assert all(torch.equal(a["backbone"][k], b["backbone"][k]) for k in b["backbone"])


def test_frozen_stages_and_batch_norm_keep_their_imagenet_values(trained):
    fresh = StudentBackbone()
    load_imagenet_trunk(fresh, find_imagenet_checkpoint())
    before, after = fresh.state_dict(), torch.load(trained / "student.pt", weights_only=True)["backbone"]
    frozen = [k for k in before if k.startswith(("trunk.conv_stem", "trunk.bn1"))]
    statistics = [k for k in before if k.startswith("trunk") and "running" in k]
    assert frozen and statistics
    assert all(torch.equal(before[k], after[k]) for k in frozen + statistics)
    learnt = [k for k in before if k.startswith("trunk") and k.endswith("conv_pw.weight") and k not in frozen]
    assert any(not torch.equal(before[k], after[k]) for k in learnt)


def test_a_checkpoint_of_a_foreign_network_is_refused(tmp_path):
    from dinemo_training.models.student import load_imagenet_trunk

    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="1 tensors, EfficientNet-lite0 has"):
        load_imagenet_trunk(StudentBackbone(), tmp_path / "other.pt")


def test_examples_depend_on_seed_and_number_alone(crops):
    sampler = CorrespondenceSampler(car_shape(), AUGMENT, BatchConfig(8, 8))
    pools = [parse_pool(f"{crops}:2"), parse_pool(str(crops))]
    assert [share for _, share in pools] == [2.0, 12.0]
    whole, later, other = (ExampleStream(pools, sampler, *args) for args in ((1, 0, 6), (1, 4, 2), (2, 0, 6)))
    assert len(whole) == 6 and len(later) == 2
    for key in ("image", "vertex_ids", "background"):
        np.testing.assert_array_equal(whole[5][key], later[1][key])
    assert (whole[0]["image"] != other[0]["image"]).any() and (whole[0]["image"] != whole[1]["image"]).any()


def test_learning_rate_warms_up_and_falls_to_zero():
    rates = np.array([learning_rate(s, 1000, 2.0) for s in range(1000)])
    assert rates[0] == pytest.approx(0.02) and rates.max() == rates[99] == pytest.approx(2.0)
    assert (np.diff(rates[:100]) > 0).all() and (np.diff(rates[100:]) < 0).all()
    assert rates[-1] < 1e-4


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle")
    assert export.export_bundle(trained / "student.pt", car_shape(), CARD, out)["cosine"] > 0.9999
    return out


def test_the_bundle_runs_in_the_estimator(bundle, trained):
    loaded = load_bundle(bundle)
    features = torch.load(trained / "student.pt", weights_only=True)["features"]["raw_vertices"]
    np.testing.assert_allclose(loaded.mesh.features, torch.nn.functional.normalize(features, dim=1), atol=1e-6)
    accept_all = replace(loaded, card=replace(loaded.card, score=replace(loaded.card.score, accept=0.0)))
    image, mask = draw(look_at(40), side=256)
    rows, columns = np.nonzero(mask)
    roi = (columns.min(), rows.min(), columns.max() + 1.0, rows.max() + 1.0)
    poses = PoseEstimator(accept_all, threads=1).estimate(image, Camera(256, 256, intrinsics(256)), [roi])
    assert len(poses) == 1  # forty steps teach no pose; that one comes out at all is what is tested
    assert np.isfinite(poses[0].T_cam_obj).all() and poses[0].T_cam_obj[2, 3] > 0


@pytest.fixture
def student(trained):
    backbone = StudentBackbone().eval()
    load_checkpoint(trained / "student.pt", backbone, NeuralMeshFeatures(len(car_shape().vertices)))
    return backbone


def tampered(backbone, change):
    """The network with its last convolution changed."""
    with torch.no_grad():
        change(backbone.project[1].weight)
    return backbone


def test_parity_sees_tampered_weights_and_nan(student, bundle):
    onnx = (bundle / "backbone.onnx").read_bytes()
    small = ((64, 96),)
    assert export.parity(onnx, student, small).good
    off = export.parity(onnx, tampered(student, lambda w: w.mul_(1 + 0.2 * torch.randn_like(w))), small)
    assert off.cosine < 0.9999 and off.difference > 0.01 and not off.good
    broken = export.parity(onnx, tampered(student, lambda w: w.fill_(torch.nan)), small)
    assert np.isnan(broken.cosine) and np.isnan(broken.difference) and not broken.good


def test_the_bundle_has_the_modes_of_its_shape(trained, tmp_path):
    """By which a plane or depth tells how this object differs from the mean one."""
    shape = car_shape()
    modes = np.random.default_rng(0).normal(0, 0.01, (2, *shape.vertices.shape))
    export.export_bundle(trained / "student.pt", replace(shape, modes=modes), CARD, tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").mesh.modes == pytest.approx(modes, abs=1e-6)


def test_a_graph_that_is_not_the_network_writes_nothing(trained, tmp_path, monkeypatch):
    """The exporter is made to damage the weights on their way into ONNX, in the way that is hardest to see."""
    def damaged(backbone):
        copy = StudentBackbone()
        copy.load_state_dict(backbone.state_dict())
        return honest(tampered(copy, lambda w: w.fill_(torch.nan)))

    honest = export.export_onnx
    monkeypatch.setattr(export, "export_onnx", damaged)
    with pytest.raises(ValueError, match="disagree .* the bundle was not written"):
        export.export_bundle(trained / "student.pt", car_shape(), CARD, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_kill_during_saving_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    backbone, features, path = StudentBackbone(), NeuralMeshFeatures(4), tmp_path / "last.pt"
    save_checkpoint(path, backbone, features, step=3)
    whole = path.read_bytes()

    def dies_half_way(state, file):
        Path(file).write_bytes(whole[: len(whole) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", dies_half_way)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, backbone, features, step=4)
    assert load_checkpoint(path, backbone, features)["step"] == 3


def test_a_smooth_start_makes_neighbours_alike():
    torch.manual_seed(0)
    shape = car_shape()
    vertices, features = torch.from_numpy(shape.vertices).float(), NeuralMeshFeatures(len(shape.vertices))
    features.start_smooth(vertices, length=0.5)
    distance, cosine = torch.cdist(vertices, vertices), features.vertices @ features.vertices.T
    assert cosine[(distance > 0) & (distance < 0.15)].mean() > 0.9
    assert cosine[distance > 1.5].abs().mean() < 0.2


def test_a_checkpoint_says_what_it_holds(trained, tmp_path):
    backbone, features = load_student(trained / "student.pt")
    assert isinstance(backbone, StudentBackbone) and len(features.raw_vertices) == len(car_shape().vertices)
    foreign = create_student()
    foreign.architecture = "vit_small_patch14_dinov2.lvd142m"
    save_checkpoint(tmp_path / "vit.pt", foreign, features)
    with pytest.raises(ValueError, match="holds a vit_small.*a tf_efficientnet_lite0 was to be loaded"):
        load_checkpoint(tmp_path / "vit.pt", backbone, features)
