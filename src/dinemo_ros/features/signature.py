# SPDX-License-Identifier: Apache-2.0
"""Whether an ONNX file is a backbone of ours: by what it says of itself, and by what it computes."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from ..errors import BundleError
from ..model.bundle import Bundle

_UNIT = 1e-3  # how far from 1 the length of a feature may be


def check_signature(session: ort.InferenceSession, bundle: Bundle) -> None:
    """BundleError unless the network maps ``image`` to ``features`` as the bundle's card says."""
    inputs = {i.name: (i.type, i.shape) for i in session.get_inputs()}
    outputs = {o.name: (o.type, o.shape) for o in session.get_outputs()}
    kind, shape = inputs.get("image", ("", []))
    if set(inputs) != {"image"} or (kind, len(shape)) != ("tensor(uint8)", 4) or "features" not in outputs:
        raise BundleError(f"{bundle.backbone_path}: expected input image uint8 [N, H, W, 3] and output features, "
                          f"found inputs {inputs} and outputs {sorted(outputs)}")
    if any(isinstance(n, int) for n in shape[:3]):
        raise BundleError(f"{bundle.backbone_path}: takes only pictures of shape {shape}, but batches, crops and "
                          "frames have their own: export it with dynamic N, H and W")
    kind, shape = outputs["features"]
    dim = bundle.card.features.dim
    if kind != "tensor(float)" or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != dim):
        raise BundleError(f"{bundle.backbone_path}: features must be float32 [N, {dim}, H/8, W/8], found {kind} "
                          f"{shape}")


def check_features(images: np.ndarray, features: np.ndarray, bundle: Bundle) -> None:
    """BundleError unless ``features`` are what the solver takes for the features of ``images`` uint8 [N, H, W, 3].

    Nothing later on would notice: another stride or length of the vectors gives poses, only wrong ones.
    """
    n, height, width = images.shape[:3]
    stride = bundle.card.image.stride
    expected = (n, bundle.card.features.dim, height // stride, width // stride)
    if features.shape != expected:
        raise BundleError(f"{bundle.backbone_path}: features of pictures {list(images.shape)} must be of shape "
                          f"{list(expected)} (image.stride is {stride}), found {list(features.shape)}")
    if not np.isfinite(features).all():
        raise BundleError(f"{bundle.backbone_path}: its features of a sample picture are not all finite; train or "
                          "export it again")
    lengths = np.linalg.norm(features, axis=1)
    if np.abs(lengths - 1.0).max() > _UNIT:
        raise BundleError(f"{bundle.backbone_path}: features must have unit length, found {lengths.min():.3g} to "
                          f"{lengths.max():.3g}; divide by the norm over the channels before the export")
