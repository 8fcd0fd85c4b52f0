# SPDX-License-Identifier: Apache-2.0
"""Modes of shape of cups and bottles: a label tells them, and the mean mesh becomes the vessel of the picture."""

from dataclasses import replace

import numpy as np
import pytest

from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import CorrespondenceSampler, project
from dinemo_training.data.posed_crops import load_posed_crops
from dinemo_training.models.category_shape import CategoryShape
from dinemo_training.synthetic.assets.vessel import random_mug
from dinemo_training.synthetic.assets.vessel_catalogue import VesselCatalogue
from dinemo_training.synthetic.assets.vessel_kind import vessel_kind
from dinemo_training.synthetic.render.background import Photos
from dinemo_training.synthetic.render.dataset import write_dataset
from dinemo_training.synthetic.render.tabletop import TabletopSynthesizer
from dinemo_training.synthetic.shape import vessel_modes as module
from dinemo_training.synthetic.shape.vessel_modes import ear_vertices, vessel_modes
from dinemo_training.synthetic.shape.vessel_shape import save_vessel_shape

SIZE = np.array([0.113, 0.082, 0.095])


@pytest.fixture(scope="module")
def modes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_DRAWN", 40)
        yield vessel_modes(VesselCatalogue("cup", None))


@pytest.fixture(scope="module")
def shape(tmp_path_factory):
    out = tmp_path_factory.mktemp("shape") / "cup.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_DRAWN", 40)
        assert save_vessel_shape(out, VesselCatalogue("cup", None), SIZE, 400)[1] == 6
    return CategoryShape.load(out)


def own_vertices(shape, modes, vessel):
    length = vessel_kind("cup").length * vessel.width
    return shape.at_size([length, vessel.width, vessel.height], modes.coefficients(vessel))


def test_mean_mesh_has_no_shape_of_its_own(shape, modes):
    """Of the vessel that looks like the mesh every coefficient is zero."""
    assert shape.size == pytest.approx(SIZE, rel=0.02) and shape.modes.shape == (6, len(shape.vertices), 3)
    ear = ear_vertices(shape.faces, shape.vertices)
    assert 50 < ear.sum() < 100 and shape.vertices[ear, 0].min() > 0.03
    middle, half = 0.5 * np.array([[1, 1], [-1, 1]]) @ [shape.vertices[ear, 2].min(), shape.vertices[ear, 2].max()]
    assert modes.handle[1:, 0] == pytest.approx(np.array([middle, half]) / SIZE[2], abs=0.02)


@pytest.mark.parametrize("seed", range(6))
def test_coefficients_make_the_mean_mesh_the_vessel(shape, modes, seed):
    vessel = random_mug(np.random.default_rng(seed))
    own = own_vertices(shape, modes, vessel)
    ear = ear_vertices(shape.faces, shape.vertices)
    outside = np.hypot(shape.vertices[:, 0], shape.vertices[:, 1]) > 0.0345
    wall = ~ear & outside & (np.abs(shape.vertices[:, 2]) < 0.04)
    radius = np.hypot(own[wall, 0], own[wall, 1])
    mean = shape.at_size([1.38 * vessel.width, vessel.width, vessel.height])[wall]
    off, before = (np.median(np.abs(r / vessel.radius(p[:, 2]) - 1)) for r, p in (
        (radius, own[wall]), (np.hypot(mean[:, 0], mean[:, 1]), mean)))
    assert off < 0.05 and off < before + 0.01  # 0.044 at most by the three modes, of six mugs
    handle = vessel.vertices[np.unique(vessel.faces[vessel.handle])]
    assert own[ear, 0].max() == pytest.approx(handle[:, 0].max(), rel=0.12)
    assert own[ear, 2].max() == pytest.approx(handle[:, 2].max(), abs=0.05 * vessel.height)
    assert own[ear, 2].min() == pytest.approx(handle[:, 2].min(), abs=0.05 * vessel.height)


def test_a_mode_moves_what_it_is_of(shape):
    """The profile's: the same for all points of a height, nothing upwards; the handle's leave the body alone."""
    ear = ear_vertices(shape.faces, shape.vertices)
    radius = np.hypot(shape.vertices[:, 0], shape.vertices[:, 1])
    assert not shape.modes[:3, :, 2].any() and np.abs(shape.modes[:3, radius < 1e-5]).max() < 1e-6
    assert not shape.modes[3:, ~ear].any()
    top = ~ear & (shape.vertices[:, 2] > 0.45 * SIZE[2]) & (radius > 0.035)
    outward = np.sum(shape.modes[0, top, :2] * shape.vertices[top, :2], axis=1) / radius[top] ** 2
    assert np.ptp(outward) < 0.02 and np.abs(shape.modes[0]).max() > 0.002
    assert shape.modes[3, ear, 0].max() > 0.003 and shape.modes[4, ear, 2].min() > 0.001
    assert shape.modes[5, ear, 2].min() < -0.001 and shape.modes[5, ear, 2].max() > 0.001
    assert np.allclose(shape.resized(2 * SIZE).modes, 2 * shape.modes)


def test_labels_tell_the_shape_and_training_puts_the_places_there(shape, modes, tmp_path):
    write_dataset(tmp_path, TabletopSynthesizer(VesselCatalogue("cup", None), 3, Photos([], []), modes=modes), 2)
    sampler = CorrespondenceSampler(shape, replace(AugmentConfig(size=128), mirror=0.0))
    for crop in load_posed_crops(tmp_path):
        assert crop.shape.shape == (6,) and np.abs(crop.shape).max() > 0.3
        mask = crop.foreground() > 0
        inside = {}
        for name, points in {"own": shape.at_size(crop.size, crop.shape), "mean": shape.at_size(crop.size)}.items():
            u, v = project(points, crop.K, crop.T_cam_obj).round().astype(int).clip(0, 287).T
            inside[name] = mask[v, u].mean()
        assert inside["own"] >= inside["mean"] - 0.02 and inside["own"] > 0.85
        blank = np.zeros((128, 128, 3), np.uint8)
        own = sampler.sample(np.random.default_rng(0), crop, blank, blank)
        mean = sampler.sample(np.random.default_rng(0), replace(crop, shape=np.zeros(0)), blank, blank)
        assert not np.allclose(own["pixels"], mean["pixels"], atol=1e-3)
