# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Multiview-equivariance fine-tuning: exact pairs, a loss that knows the rank, metrics that know the pixel, LoRA."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "safetensors", "trimesh", "numba"):
    pytest.importorskip(_module, reason="training extra is not installed")

import timm
from shared_data import shared_data
from torch.nn import functional as F

from dinemo_training.data.posed_crops import CROP_SIDE
from dinemo_training.equivariance import finetune
from dinemo_training.equivariance.lora import QueryValueLora
from dinemo_training.equivariance.merge import merged_weights
from dinemo_training.equivariance.metrics import nearest_pixels, summarise
from dinemo_training.equivariance.model import EquivariantTeacher, EquivariantTransformer
from dinemo_training.equivariance.pairs import PairSynthesizer, load_pairs, write_pairs
from dinemo_training.equivariance.smooth_ap import smooth_ap_loss
from dinemo_training.models.student import VIT
from dinemo_training.models.teachers import create_teacher
from dinemo_training.synthetic.assets.car_catalogue import load_fleet
from dinemo_training.synthetic.render.background import Photos


def small_transformer(seed: int = 0) -> EquivariantTransformer:
    """The class of DINOv2 ViT-S, random and small."""
    torch.manual_seed(seed)
    return EquivariantTransformer(pretrained=False, blocks=2, embed_dim=48, depth=3, num_heads=3, img_size=84)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    assets, weights = load_fleet({"gazebo": shared_data("meshes/gazebo_cars")}, ["prius"])
    write_pairs(folder, PairSynthesizer(assets, weights, 3, Photos([], [])), 3)
    return folder


def test_links_show_the_same_surface(pairs):
    """The cars are textured: linked pixels of one paint are more alike than shuffled ones, light or not."""
    for pair in load_pairs(pairs):
        assert pair.points.shape == (300, 3) and np.abs(pair.points).max() < 0.75
        assert (pair.pixels_a >= 0).all() and (pair.pixels_b <= CROP_SIDE - 1).all()
        assert 0.5 * CROP_SIDE < pair.extent_b < CROP_SIDE
        a, b = (image[tuple(at.round().astype(int).T[::-1])].mean(1) for image, at in
                ((pair.first, pair.pixels_a), (pair.second, pair.pixels_b)))
        assert np.corrcoef(a, b)[0, 1] > 0.2 + abs(np.corrcoef(a, np.roll(b, 151))[0, 1])


def test_pairs_depend_on_seed_and_number_alone(pairs):
    assets, weights = load_fleet({"gazebo": shared_data("meshes/gazebo_cars")}, ["prius"])
    again = PairSynthesizer(assets, weights, 3, Photos([], [])).pair(2)
    stored = load_pairs(pairs)[2]
    np.testing.assert_allclose(again.pixels_b, stored.pixels_b)
    assert np.abs(again.first.astype(int) - stored.first).mean() < 3  # JPEG


def test_an_unfinished_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no links.npz; make the pairs with"):
        load_pairs(tmp_path)


def grid_points() -> torch.Tensor:
    """Twenty points, each farther than a tenth from the others."""
    return torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(4.0), torch.arange(1.0), indexing="ij"),
                       -1).reshape(-1, 3)


def test_loss_falls_with_the_rank_of_the_right_answer():
    torch.manual_seed(0)
    base = F.normalize(torch.randn(20, 64), dim=1)
    noise = F.normalize(torch.randn(20, 64), dim=1)
    losses = [float(smooth_ap_loss(base, F.normalize(base + share * noise, dim=1), grid_points()))
              for share in (0.0, 0.3, 3.0)]
    assert losses[0] < 0.01 and losses[0] <= losses[1] < losses[2]
    assert float(smooth_ap_loss(base, base.roll(1, 0), grid_points())) > 0.4


def test_near_points_are_no_wrong_answers():
    """Features that cannot tell neighbours apart cost nothing if the neighbours are near."""
    torch.manual_seed(0)
    features = F.normalize(torch.randn(10, 64), dim=1).repeat_interleave(2, 0)
    apart = grid_points()
    near = apart.clone()
    near[1::2] = near[::2] + 0.01
    assert float(smooth_ap_loss(features, features, near)) < 0.01
    assert float(smooth_ap_loss(features, features, apart)) > 0.2


def test_nearest_pixels_find_a_shifted_picture():
    """A map whose features are functions of position, moved by two cells of sixteen pixels."""
    torch.manual_seed(1)
    wide = F.normalize(F.interpolate(torch.randn(1, 32, 5, 5), size=(22, 22), mode="bicubic"), dim=1)[0]
    first, second = wide[:, 2:20, 2:20], wide[:, 2:20, :18]
    side = 18 * 16
    pixels = np.random.default_rng(0).uniform(40, side - 80, (50, 2))
    found = nearest_pixels(first, second, pixels, side)
    assert np.abs(found - pixels - [32, 0]).max() < 6  # a quarter of a cell, and interpolation


def test_shares_and_mean_of_known_errors():
    result = summarise(np.array([0.0, 0.06, 0.15, 0.99]))
    assert result.ape == pytest.approx(30.0) and result.pcdp == pytest.approx((25.0, 50.0, 75.0))


def test_adaptation_starts_as_nothing_and_changes_only_query_and_value():
    torch.manual_seed(0)
    qkv, x = torch.nn.Linear(8, 24), torch.randn(2, 5, 8)
    adapted = QueryValueLora(qkv, rank=2)
    torch.testing.assert_close(adapted(x), qkv(x))
    torch.nn.init.normal_(adapted.up)
    changed = (adapted(x) - qkv(x)).abs().amax((0, 1)).reshape(3, 8)
    assert (changed[[0, 2]] > 1e-3).all() and (changed[1] < 1e-6).all()
    model = small_transformer()
    learns = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learns == {"conv.weight", "conv.bias", *(f"trunk.blocks.{b}.attn.qkv.{p}" for b in (1, 2)
                                                    for p in ("down", "up"))}


def test_fine_tuning_lowers_the_loss_and_goes_on_after_a_stop(pairs, tmp_path):
    torch.set_num_threads(1)
    stored = load_pairs(pairs)[:1]
    whole, halves = small_transformer(), small_transformer()
    for run in "ab":
        (tmp_path / run).mkdir()
    losses = finetune.finetune(whole, stored, tmp_path / "a", steps=60, lr=3e-3, side=84)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05
    finetune.finetune(halves, stored, tmp_path / "b", steps=13, lr=3e-3, side=84)
    finetune.finetune(small_transformer(), stored, tmp_path / "b", steps=60, lr=3e-3, side=84)
    resumed, expected = (torch.load(tmp_path / run / "last.pt", weights_only=True) for run in "ba")
    assert resumed["step"] == expected["step"] == 60
    for name, value in expected["adaptation"].items():
        torch.testing.assert_close(resumed["adaptation"][name], value)


def test_adaptation_survives_its_file_and_fits_no_other_network(tmp_path):
    model = small_transformer()
    torch.nn.init.normal_(model.trunk.blocks[1].attn.qkv.up)
    model.save(tmp_path / "a.safetensors")
    other = small_transformer()
    other.load(tmp_path / "a.safetensors")
    images = torch.rand(1, 3, 84, 84) * 255
    with torch.inference_mode():
        torch.testing.assert_close(other.eval()(images), model.eval()(images))
    foreign = EquivariantTransformer(pretrained=False, blocks=1, embed_dim=48, depth=3, num_heads=3, img_size=84)
    with pytest.raises(ValueError, match="not an adaptation of this transformer"):
        foreign.load(tmp_path / "a.safetensors")


def test_training_and_held_out_objects_must_differ(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["finetune", "--pairs", str(pairs), "--held-out", str(pairs), "--out",
                                      str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="prius: in the training pairs and in the held-out ones"):
        finetune.main()


def test_a_teacher_is_named_by_its_adaptation(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        create_teacher(f"equivariant:{tmp_path / 'none.safetensors'}@{tmp_path / 'vit.pth'}")
    model = small_transformer()
    maps = EquivariantTeacher(model)(torch.rand(2, 3, 84, 56) * 255)
    assert maps.shape == (2, 48, 6, 4) and not maps.requires_grad
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(2, 6, 4))


def test_merged_weights_compute_the_same_without_low_rank_layers():
    model, pictures = small_transformer().eval(), torch.rand(1, 3, 56, 56) * 255
    for block in model.trunk.blocks:
        torch.nn.init.ones_(block.ls1.gamma)  # without training a block hardly counts
    with torch.inference_mode():
        plain = model(pictures)
    for block in model.trunk.blocks[-2:]:
        torch.nn.init.normal_(block.attn.qkv.up, std=1.0)
    with torch.inference_mode():
        adapted = model(pictures)
        merged = merged_weights(model)
        other = small_transformer(seed=1).eval()
        other.trunk = timm.create_model(VIT, num_classes=0, dynamic_img_size=True, embed_dim=48, depth=3, num_heads=3,
                                        img_size=84)
        other.trunk.load_state_dict(merged)
        found = other(pictures)
    assert (adapted - plain).abs().max() > 0.01
    torch.testing.assert_close(found, adapted, atol=1e-5, rtol=0)
