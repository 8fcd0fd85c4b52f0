# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on the CPU: runs everywhere, and is what the other backends are checked against."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from ..bundle import Bundle
from ..errors import BundleError


class OnnxRuntimeExtractor:
    """The bundle's ``backbone.onnx`` as a callable; see :class:`dinemo_ros.features.FeatureExtractor`."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, threads: int = 2) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # Idle workers leave the cores to the solver: on two cores this halves the time of a whole frame.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # warnings about graph optimisation say nothing to a robot's operator
        try:
            self._session = ort.InferenceSession(str(bundle.backbone_path), options,
                                                 providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen unrelated types for one cause: not a usable model
            raise BundleError(f"{bundle.backbone_path}: ONNX Runtime {ort.__version__} cannot load it "
                              f"({str(error).splitlines()[0]})") from error
        self._check_signature(bundle)
        size = bundle.card.image.size
        self(np.zeros((1, size, size, 3), np.uint8))  # first call allocates arenas; do it before the first image

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self._session.run(["features"], {"image": images})[0]

    def _check_signature(self, bundle: Bundle) -> None:
        inputs = {i.name: (i.type, len(i.shape)) for i in self._session.get_inputs()}
        outputs = {o.name: (o.type, o.shape) for o in self._session.get_outputs()}
        if inputs != {"image": ("tensor(uint8)", 4)} or "features" not in outputs:
            raise BundleError(f"{bundle.backbone_path}: expected input image uint8 [N, H, W, 3] and output features, "
                              f"found inputs {inputs} and outputs {sorted(outputs)}")
        kind, shape = outputs["features"]
        dim = bundle.card.features.dim
        if kind != "tensor(float)" or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != dim):
            raise BundleError(f"{bundle.backbone_path}: features must be float32 [N, {dim}, H/8, W/8], found {kind} "
                              f"{shape}")
