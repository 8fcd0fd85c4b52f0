# SPDX-License-Identifier: Apache-2.0
"""Networks that tests rewrite, convert and build engines from: every shipped bundle, and one transformer."""

from functools import cache

import onnxruntime
import pytest
from shared_data import ROOT

SHIPPED = sorted(card.parent.name for card in (ROOT / "engines").glob("*/model.yaml"))
NETWORKS = pytest.mark.parametrize("network", [*SHIPPED, "transformer"])
KINDS = pytest.mark.parametrize("network", ["car", "transformer"])  # one of each architecture


@cache
def network_bytes(name: str) -> bytes:
    """ONNX bytes of a shipped bundle's backbone, or of a small transformer with random weights."""
    if name != "transformer":
        return (ROOT / "engines" / name / "backbone.onnx").read_bytes()
    torch = pytest.importorskip("torch", reason="training extra is not installed")
    pytest.importorskip("timm", reason="training extra is not installed")
    from dinemo_training.export.bundle_export import export_onnx
    from dinemo_training.models.student import ViTStudent

    torch.manual_seed(0)
    return export_onnx(ViTStudent(16, trained_blocks=1, embed_dim=32, depth=2, num_heads=2, img_size=70))


def runner(model: bytes):
    """The network as a function of images, in ONNX Runtime."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["features"], {"image": images})[0]
