# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The template bank holds, for each visible vertex, what the teacher sees there: in views and their mirror images."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "numba"):
    pytest.importorskip(_module, reason="training extra is not installed")

from painted_car import paint
from posed_car import car_shape, look_at, mirror_partner, posed_crop

from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import CorrespondenceSampler
from dinemo_training.pseudo_labels.template_bank import build_bank, instance_name, spread_vertices

SHAPE = car_shape()
AZIMUTHS = (10.0, 50.0, 130.0, 250.0)


def colour_teacher(images):
    """A teacher that sees colours only, at stride 2; the painted car's colours are its coordinates."""
    return torch.nn.functional.normalize(torch.nn.functional.avg_pool2d(images, 2) - 127.5, dim=1)


@pytest.fixture(scope="module")
def sampler():
    return CorrespondenceSampler(SHAPE, AugmentConfig())


@pytest.fixture(scope="module")
def crops():
    return [posed_crop(look_at(a, 12, centre=(0.2, -0.1, 12.0)), name=f"car{int(a > 100)}_{a:.0f}", side=288)
            for a in AZIMUTHS]


@pytest.fixture(scope="module")
def bank(crops, sampler):
    return build_bank(crops, sampler, colour_teacher, vertices=len(SHAPE.vertices))


def test_every_view_is_followed_by_its_mirror_image(bank):
    assert bank.features.shape[:2] == bank.visible.shape == bank.layout.shape[:2] == (8, len(SHAPE.vertices))
    expected = np.deg2rad([sign * a for a in AZIMUTHS for sign in (1, -1)])
    np.testing.assert_allclose(np.exp(1j * bank.azimuths), np.exp(1j * expected), atol=1e-9)
    np.testing.assert_allclose(bank.elevations, np.deg2rad(12), atol=1e-9)
    assert bank.mirrored.tolist() == [False, True] * 4
    assert bank.instance.tolist() == [0] * 4 + [1] * 4
    for R, mirrored in zip(bank.rotations[::2], bank.rotations[1::2], strict=True):
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(mirrored, np.diag([-1, 1, 1]) @ R @ np.diag([1, -1, 1]), atol=1e-9)


@pytest.mark.parametrize("mirrored", [False, True])
def test_features_are_those_of_the_vertex_or_of_its_mirror_image(bank, mirrored):
    """In the mirrored picture a left door is where the right one was, so its vertex wears the other side's paint."""
    partner = mirror_partner(SHAPE.vertices)
    for view in range(int(mirrored), 8, 2):
        ids = bank.vertices[bank.visible[view]]
        assert len(ids) > 25
        colour = torch.from_numpy(paint(SHAPE.vertices[partner[ids] if mirrored else ids]) - 127.5).float()
        cosine = (torch.nn.functional.normalize(colour, dim=1) * bank.features[view][bank.visible[view]]).sum(1)
        assert cosine.median() > 0.999
        assert (cosine > 0.98).float().mean() > 0.6  # on the edges of this box a cell mixes two sides


def test_every_vertex_that_a_view_sees_is_there(bank, crops, sampler):
    for view, crop in enumerate(crops):
        np.testing.assert_array_equal(bank.visible[2 * view], sampler.visible(crop.T_cam_obj, crop.size))
    assert (bank.features[~bank.visible] == 0).all()
    torch.testing.assert_close(bank.features[bank.visible].norm(dim=1), torch.ones(int(bank.visible.sum())))


def test_layout_is_the_place_in_the_objects_box(bank):
    partner = mirror_partner(SHAPE.vertices)
    extent = (bank.layout.amax(1) - bank.layout.amin(1)).amax(1)
    torch.testing.assert_close(extent, torch.ones(8))
    torch.testing.assert_close(bank.layout.amax(1), -bank.layout.amin(1), atol=1e-5, rtol=0)
    flipped = bank.layout[::2][:, partner] * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(bank.layout[1::2], flipped, atol=1e-3, rtol=0)


def test_occluded_vertices_are_left_out(crops, sampler):
    """Masks of renders mark what another object covers with 64."""
    mask = crops[1].foreground()
    half = np.where(np.arange(288) < 144, mask, np.minimum(mask, 64)).astype(np.uint8)
    covered = replace(crops[1], mask=cv2.imencode(".png", half)[1].tobytes())
    plain, rest = (build_bank([crop], sampler, colour_teacher, vertices=len(SHAPE.vertices))
                   for crop in (crops[1], covered))
    left = plain.layout[0, :, 0] < -0.1
    right = plain.layout[0, :, 0] > 0.1
    assert torch.equal(rest.visible[0][left], plain.visible[0][left]) and plain.visible[0][left].sum() > 10
    assert not rest.visible[0][right].any() and plain.visible[0][right].sum() > 10


def test_all_views_share_an_even_selection_of_vertices(crops, sampler):
    small = build_bank(crops, sampler, colour_teacher, vertices=60)
    assert len(small.vertices) == len(set(small.vertices.tolist())) == 60
    np.testing.assert_array_equal(small.points, SHAPE.vertices[small.vertices])
    gap = np.linalg.norm(SHAPE.vertices[:, None] - small.points, axis=2).min(1)
    between = np.linalg.norm(small.points[:, None] - small.points, axis=2)[np.triu_indices(60, 1)]
    assert gap.max() <= between.min() + 1e-9  # no hole is wider than two chosen vertices are apart
    assert spread_vertices(SHAPE.vertices, 10**6).tolist() == list(range(len(SHAPE.vertices)))


def test_a_bank_of_some_views(bank):
    some = bank.views(bank.instance == 1)
    assert some.features.shape[0] == len(some.azimuths) == 4
    torch.testing.assert_close(some.features, bank.features[4:])


def test_no_views_is_an_error(sampler):
    with pytest.raises(ValueError, match="no template views"):
        build_bank([], sampler, colour_teacher)


def test_instances_are_named_by_what_stands_before_the_frame():
    assert [instance_name(n) for n in ("kadjar_003", "omoda_white_01", "000017")] == ["kadjar", "omoda_white", "000017"]
