# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Teachers: unit-norm feature maps of any picture size, from weights that fit exactly."""

import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
timm = pytest.importorskip("timm", reason="training extra is not installed")

from posed_car import draw, look_at
from teacher_models import require_imagenet

from dinemo_training.models.teachers import CnnTeacher, TimmTeacher

TINY = "test_vit"  # timm's own test model: six blocks of 64 channels, patches of 16 pixels


def car(side=160):
    return torch.from_numpy(draw(look_at(60), side)[0]).permute(2, 0, 1)[None].float()


def test_cnn_teacher_gives_unit_features_at_stride_16():
    require_imagenet()
    teacher = CnnTeacher()
    maps = teacher(torch.cat([car(), car().flip(3)]))
    assert maps.shape[2:] == (10, 10)
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(2, 10, 10))
    assert teacher(torch.zeros(1, 3, 96, 160)).shape[2:] == (6, 10)
    assert not maps.requires_grad
    torch.testing.assert_close(teacher(car()), maps[:1], atol=1e-4, rtol=0)  # a batch is its pictures one by one


def test_cnn_teacher_tells_parts_apart():
    """The same part in a shifted picture is more alike than another part: weights are loaded, not random."""
    require_imagenet()
    teacher = CnnTeacher()
    maps, moved = teacher(car()), teacher(car().roll(32, dims=3))  # two cells to the right
    same = (maps[0, :, 3:7, 3:6] * moved[0, :, 3:7, 5:8]).sum(0).mean()
    other = (maps[0, :, 3:7, 3:6] * moved[0, :, 3:7, 3:6]).sum(0).mean()
    assert same > other + 0.1


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    return timm.create_model(TINY)


@pytest.fixture(params=["pth", "safetensors"])
def weights(vit, tmp_path, request):
    path = tmp_path / f"vit.{request.param}"
    if request.param == "pth":
        torch.save(vit.state_dict(), path)
    else:
        safetensors = pytest.importorskip("safetensors.torch", reason="training extra is not installed")
        safetensors.save_file(vit.state_dict(), path)
    return path


def test_local_weights_are_the_ones_that_are_used(vit, weights):
    teacher = TimmTeacher(TINY, weights)
    loaded = teacher.model.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in vit.state_dict().items() if key in loaded)
    # A patch grid of the training size needs no resampling, so the tokens are those of the plain model.
    side = vit.patch_embed.img_size[0]
    image = car(side)
    mean, std = (torch.tensor(vit.pretrained_cfg[k]).view(1, 3, 1, 1) * 255 for k in ("mean", "std"))
    with torch.inference_mode():
        tokens = vit.eval().forward_features((image - mean) / std)[:, vit.num_prefix_tokens:]
    expected = torch.nn.functional.normalize(tokens, dim=2)
    np.testing.assert_allclose(teacher(image).flatten(2).transpose(1, 2).numpy(), expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("size", [(160, 160), (100, 150), (31, 333)])
def test_any_picture_size(weights, size):
    maps = TimmTeacher(TINY, weights)(torch.rand(2, 3, *size) * 255)
    assert maps.shape == (2, 64, max(1, round(size[0] / 16)), round(size[1] / 16))
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(maps.shape[0], *maps.shape[2:]))


def test_blocks_can_be_chosen(weights):
    first, last = TimmTeacher(TINY, weights, block=0)(car()), TimmTeacher(TINY, weights)(car())
    torch.testing.assert_close(TimmTeacher(TINY, weights, block=5)(car()), last)
    assert (first - last).abs().max() > 0.05
    with pytest.raises(IndexError):
        TimmTeacher(TINY, weights, block=6)


def test_weights_that_do_not_fit_are_refused(vit, tmp_path):
    """timm alone would load them as far as they go and leave the rest random."""
    state = vit.state_dict()
    del state["blocks.2.norm1.weight"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(RuntimeError, match="blocks.2.norm1.weight"):
        TimmTeacher(TINY, tmp_path / "short.pth")
    torch.save(vit.state_dict() | {"neck.weight": torch.zeros(2)}, tmp_path / "long.pth")
    with pytest.raises(RuntimeError, match="neck.weight"):
        TimmTeacher(TINY, tmp_path / "long.pth")


def test_pickled_code_is_refused(tmp_path):
    torch.save({"model": np.random.default_rng}, tmp_path / "code.pth")
    with pytest.raises(Exception, match="weights_only|Weights only"):
        TimmTeacher(TINY, tmp_path / "code.pth")


def test_the_default_is_dinov2_from_the_hub():
    defaults = {name: p.default for name, p in inspect.signature(TimmTeacher).parameters.items()}
    del defaults["device"]
    assert defaults == {"name": "vit_small_patch14_dinov2.lvd142m", "checkpoint": None, "block": -1}
    config = timm.models.get_pretrained_cfg(defaults["name"])
    assert config.hf_hub_id and config.num_classes == 0
