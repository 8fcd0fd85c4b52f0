# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The template bank holds, for each visible vertex, what the teacher sees there: in views and their mirror images."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "numba"):
    pytest.importorskip(_module, reason="training extra is not installed")

from painted_car import paint
from posed_car import car_shape, look_at, mirror_partner, posed_crop

from training.augment import AugmentConfig
from training.batches import CorrespondenceSampler
from training.templates import build_bank

SHAPE = car_shape()
AZIMUTHS = (10.0, 50.0, 130.0, 250.0)


def colour_teacher(images):
    """A teacher that sees colours only, at stride 2; the painted car's colours are its coordinates."""
    return torch.nn.functional.normalize(torch.nn.functional.avg_pool2d(images, 2) - 127.5, dim=1)


@pytest.fixture(scope="module")
def bank():
    crops = [posed_crop(look_at(a, 12, centre=(0.2, -0.1, 12.0)), side=288) for a in AZIMUTHS]
    return build_bank(crops, CorrespondenceSampler(SHAPE, AugmentConfig()), colour_teacher, per_view=420)


def test_every_view_is_followed_by_its_mirror_image(bank):
    assert bank.features.shape[:2] == bank.vertices.shape == bank.valid.shape == (8, 420)
    expected = np.deg2rad([sign * a for a in AZIMUTHS for sign in (1, -1)])
    np.testing.assert_allclose(np.exp(1j * bank.azimuths), np.exp(1j * expected), atol=1e-9)
    for R, mirrored in zip(bank.rotations[::2], bank.rotations[1::2], strict=True):
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(mirrored, np.diag([-1, 1, 1]) @ R @ np.diag([1, -1, 1]), atol=1e-9)


@pytest.mark.parametrize("mirrored", [False, True])
def test_features_are_those_of_the_vertex_or_of_its_mirror_image(bank, mirrored):
    """In the mirrored picture a left door is where the right one was, so its vertex wears the other side's paint."""
    partner = mirror_partner(SHAPE.vertices)
    for view in range(int(mirrored), 8, 2):
        ids = bank.vertices[view][bank.valid[view]].numpy()
        assert len(ids) > 25 and len(ids) == len(set(ids.tolist()))
        colour = torch.from_numpy(paint(SHAPE.vertices[partner[ids] if mirrored else ids]) - 127.5).float()
        cosine = (torch.nn.functional.normalize(colour, dim=1) * bank.features[view][bank.valid[view]]).sum(1)
        assert cosine.median() > 0.999
        assert (cosine > 0.98).float().mean() > 0.6  # on the edges of this box a cell mixes two sides


def test_padding_is_marked(bank):
    assert not bank.valid.all()
    assert (bank.features[~bank.valid] == 0).all()
    torch.testing.assert_close(bank.features[bank.valid].norm(dim=1), torch.ones(int(bank.valid.sum())))
