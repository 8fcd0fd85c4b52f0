# SPDX-License-Identifier: Apache-2.0
"""OpenVINO: on x86 CPUs with AMX or AVX-512 BF16 it computes in bfloat16, at little more than half the time of fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import BackendError, BundleError
from ..model.bundle import Bundle
from .optional import imported

if TYPE_CHECKING:
    from openvino import InferRequest

_HINT = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_CAPABILITY = {"bf16": "BF16", "fp16": "FP16", "int8": "INT8"}


class OpenVinoExtractor:
    """A backbone on the CPU; see :class:`dinemo_ros.features.FeatureExtractor`.

    Args:
        model: ONNX bytes of the int8 network for precision "int8", else None: OpenVINO itself rounds to 16 bits.

    Raises:
        BackendError: OpenVINO is not installed, or this CPU does not have the precision.
    """

    name = "openvino"
    device = "CPU"
    reason = ""

    def __init__(self, bundle: Bundle, threads: int = 2, model: bytes | None = None, precision: str = "fp32") -> None:
        openvino = imported("openvino", "networks on OpenVINO", "pip install openvino")
        self.precision = precision
        core = openvino.Core()
        capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if _CAPABILITY.get(precision, "FP32") not in capabilities:
            raise BackendError(f"this CPU has no {precision} instructions that OpenVINO uses (it offers "
                               f"{', '.join(capabilities)})")
        try:
            network = core.read_model(bundle.backbone() if model is None else model)
            settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": _HINT[precision],
                        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
            self._any = core.compile_model(network, "CPU", settings).create_infer_request()
            # A network of fixed shape takes two thirds of the time, also called once per crop of a batch.
            size = bundle.card.image.size
            self._crop = (size, size)
            network.reshape([1, size, size, 3])
            self._one = core.compile_model(network, "CPU", settings).create_infer_request()
            self(np.zeros((1, size, size, 3), np.uint8))
        except RuntimeError as error:
            raise BundleError(f"{bundle.backbone_path}: OpenVINO {openvino.__version__} cannot run it "
                              f"({str(error).splitlines()[-1].strip()})") from error

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if images.shape[1:3] == self._crop:
            return np.concatenate([_infer(self._one, images[k:k + 1]) for k in range(len(images))])
        return _infer(self._any, images)


def _infer(request: InferRequest, images: np.ndarray) -> np.ndarray:
    request.infer({"image": np.ascontiguousarray(images)}, share_inputs=True)
    return request.get_tensor("features").data.copy()
