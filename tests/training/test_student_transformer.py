# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The transformer student: cells lie where the runtime expects them, ONNX computes the same, weights are checked."""

import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "onnx"):
    pytest.importorskip(_module, reason="training extra is not installed")

from dinemo_training.export import bundle_export as export
from dinemo_training.models.student import ViTStudent, load_pretrained


def small_vit():
    """The class of the big transformer, random and small."""
    return ViTStudent(16, trained_blocks=1, embed_dim=32, depth=2, num_heads=2, img_size=70)


def test_a_transformer_gives_unit_features_at_stride_eight():
    model = small_vit().eval()
    with torch.inference_mode():
        maps = model(torch.rand(2, 3, 64, 96) * 255)
    assert maps.shape == (2, 16, 8, 12)
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(2, 8, 12))
    learns = {n for n, p in model.trunk.named_parameters() if p.requires_grad}
    assert learns and not any(n.startswith(("blocks.0", "patch_embed")) for n in learns)


def test_mixed_precision_gives_nearly_the_same_features():
    torch.manual_seed(0)
    model, pictures = small_vit().eval(), torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        exact = model(pictures)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(pictures)
    assert mixed.dtype == torch.float32
    assert (exact * mixed).sum(1).min() > 0.99


def test_a_transformer_keeps_its_tokens_in_place():
    """A patch's own token must end up in its own cells: without attention and head, a bright square stays put."""
    model = small_vit().eval()
    model.trunk.blocks = torch.nn.ModuleList(torch.nn.Identity() for _ in model.trunk.blocks)
    image = torch.zeros(1, 3, 128, 128)
    with torch.inference_mode():
        base = model(image)
        image[..., 32:48, 80:96] = 255  # cell rows 4 and 5, columns 10 and 11
        changed = (model(image) - base).abs().amax(1)[0] > 0.01
    rows, columns = (torch.nonzero(changed.any(axis)).flatten().tolist() for axis in (1, 0))
    # The read-out's 3x3 convolutions add two cells (one token) and one cell on each side.
    assert rows == list(range(1, 9)) and columns == list(range(7, 15))


def test_a_transformer_is_the_same_in_onnx():
    model = small_vit().eval()
    assert export.parity(export.export_onnx(model), model, ((64, 64), (96, 160), (224, 224))).good


def test_weights_of_another_transformer_are_refused(tmp_path):
    model = small_vit()
    state = model.trunk.state_dict()
    torch.save(state, tmp_path / "own.pt")
    load_pretrained(model, tmp_path / "own.pt")
    torch.save({k: v for k, v in state.items() if not k.startswith("norm")}, tmp_path / "cut.pt")
    with pytest.raises(ValueError, match="lacks 2 tensors .* first norm.bias"):
        load_pretrained(model, tmp_path / "cut.pt")
