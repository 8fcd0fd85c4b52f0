# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Stable Diffusion features on a small, randomly initialised pipeline of the very classes that users load."""

import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "diffusers", "transformers"):
    pytest.importorskip(_module, reason="the optional packages diffusers and transformers are not installed")

from posed_car import draw, look_at

from dinemo_training.data.posed_crops import save_picture
from dinemo_training.models.teachers import create_teacher
from dinemo_training.models.teachers import diffusion as module
from dinemo_training.models.teachers.diffusion import DiffusionFeatures, DiffusionTeacher, fit_projections

SIDE = 128
LAYERS = {"s5": (64, SIDE // 32), "s4": (64, SIDE // 16), "s3": (64, SIDE // 8)}  # channels, cells


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pipeline of 8 latent pixels per cell and four up-blocks, as Stable Diffusion's, in the layout of diffusers."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("pipeline")
    (path / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}))
    (path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(path / "vocab.json"), str(path / "merges.txt"), model_max_length=8)
    text = CLIPTextModel(CLIPTextConfig(vocab_size=3, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                        num_attention_heads=2, max_position_embeddings=8, bos_token_id=0,
                                        eos_token_id=1))
    vae = AutoencoderKL(block_out_channels=(8, 8, 16, 16), norm_num_groups=4, latent_channels=4,
                        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4)
    unet = UNet2DConditionModel(sample_size=SIDE // 8, block_out_channels=(32, 64, 64, 64), layers_per_block=1,
                                norm_num_groups=8, cross_attention_dim=16, attention_head_dim=8)
    scheduler = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                              steps_offset=1)
    StableDiffusionPipeline(vae, text, tokenizer, unet, scheduler, None, None,
                            requires_safety_checker=False).save_pretrained(path / "sd", safe_serialization=True)
    return path / "sd"


@pytest.fixture(scope="module")
def features(folder):
    return DiffusionFeatures.from_pretrained(str(folder), side=SIDE)


def car(azimuth=60):
    return torch.from_numpy(draw(look_at(azimuth), 160)[0]).permute(2, 0, 1)[None].float()


def test_decoder_layers_come_at_three_scales(features):
    found = features(torch.cat([car(), car(200)]))
    assert {layer: (m.shape[1], m.shape[2]) for layer, m in found.items()} == LAYERS
    assert all(m.shape[0] == 2 and m.shape[2] == m.shape[3] for m in found.values())
    assert not features.unet.up_blocks[0]._forward_hooks  # hooks are taken off again


def test_noise_is_the_same_for_every_picture_and_call(features):
    both, alone = features(torch.cat([car(200), car()])), features(car())
    for layer in LAYERS:
        torch.testing.assert_close(both[layer][1:], alone[layer], atol=1e-4, rtol=1e-4)


def test_the_noise_is_one_step_of_the_scheduler(folder):
    """At t = 0 nearly the clean latents go in, later another amount of noise: the features differ more and more."""
    clean, near, far = (DiffusionFeatures.from_pretrained(str(folder), side=SIDE, timestep=t)(car())["s4"]
                        for t in (0, 20, 900))
    assert (clean - near).norm() < (clean - far).norm()


def test_a_fit_is_frozen_and_names_its_settings(folder, tmp_path, monkeypatch):
    """The command line, then the teacher from its text."""
    for name, azimuth in (("one_0", 20), ("one_1", 110), ("one_2", 250)):
        save_picture(tmp_path / "templates", name, draw(look_at(azimuth), 160)[0])
    fitted = tmp_path / "pca.npz"
    monkeypatch.setattr(sys, "argv", ["diffusion", "--pictures", str(tmp_path / "templates/images"), "--model",
                                      str(folder), "--side", str(SIDE), "--timestep", "50", "--dim", "12", "--device",
                                      "cpu", "--out", str(fitted)])
    module.main()
    teacher = create_teacher(f"sd:{folder}@{fitted}")
    assert teacher.features.timestep == 50 and teacher.features.side == SIDE
    maps = teacher(car())
    assert maps.shape == (1, 3 * 12, SIDE // 16, SIDE // 16)
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(1, *maps.shape[2:]))
    torch.testing.assert_close(teacher(torch.cat([car(), car(10)]))[:1], maps, atol=1e-4, rtol=0)
    again = create_teacher(f"sd:{folder}@{fitted}")(car())
    torch.testing.assert_close(again, maps)


def test_projections_are_principal_components(features):
    fitted = fit_projections(features, [car(a) for a in (0, 90, 180)], dim=8, per_picture=64)
    cells = torch.cat([features(car(a))["s4"][0].flatten(1).T for a in (0, 90, 180)])
    centred = cells - fitted["s4"].mean
    _, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    kept = (centred @ fitted["s4"].components).square().sum() / centred.square().sum()
    assert kept == pytest.approx(float((singular[:8] ** 2).sum() / (singular**2).sum()), rel=0.02)
    basis = fitted["s4"].components
    torch.testing.assert_close(basis.T @ basis, torch.eye(8), atol=1e-4, rtol=0)
    again = fit_projections(features, [car(a) for a in (0, 90, 180)], dim=8, per_picture=64)
    torch.testing.assert_close(again["s5"].components, fitted["s5"].components)


def test_projections_of_other_layers_are_refused(features):
    with pytest.raises(ValueError, match="needed are"):
        DiffusionTeacher(features, {})


def test_fused_with_a_transformer(folder, features, tmp_path):
    """SD and ViT side by side, as in the paper, on the finer of their grids."""
    import timm

    from dinemo_training.models.teachers.projection import save_projections

    fitted = fit_projections(features, [car(a) for a in (0, 90, 180)], dim=8, per_picture=64)
    save_projections(tmp_path / "pca.npz", fitted, {"side": SIDE})
    torch.manual_seed(0)
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "vit.pth")
    fused = create_teacher(f"fused:0.5(sd:{folder}@{tmp_path}/pca.npz|vit:test_vit@{tmp_path}/vit.pth)")(car())
    assert fused.shape == (1, 24 + 64, 10, 10)
    torch.testing.assert_close(fused.norm(dim=1), torch.ones(1, 10, 10))
    assert np.allclose(fused[:, :24].norm(dim=1), 0.5**0.5, atol=1e-4)
