# SPDX-License-Identifier: Apache-2.0
"""Whether an ONNX file is a backbone of ours."""

from __future__ import annotations

import onnxruntime as ort

from ..bundle import Bundle
from ..errors import BundleError


def check_signature(session: ort.InferenceSession, bundle: Bundle) -> None:
    """BundleError unless the network maps ``image`` to ``features`` as the bundle's card says."""
    inputs = {i.name: (i.type, len(i.shape)) for i in session.get_inputs()}
    outputs = {o.name: (o.type, o.shape) for o in session.get_outputs()}
    if inputs != {"image": ("tensor(uint8)", 4)} or "features" not in outputs:
        raise BundleError(f"{bundle.backbone_path}: expected input image uint8 [N, H, W, 3] and output features, "
                          f"found inputs {inputs} and outputs {sorted(outputs)}")
    kind, shape = outputs["features"]
    dim = bundle.card.features.dim
    if kind != "tensor(float)" or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != dim):
        raise BundleError(f"{bundle.backbone_path}: features must be float32 [N, {dim}, H/8, W/8], found {kind} "
                          f"{shape}")
