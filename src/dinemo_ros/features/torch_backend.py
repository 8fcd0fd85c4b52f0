# SPDX-License-Identifier: Apache-2.0
"""PyTorch, where it is installed: the bundle's ONNX graph on a GPU, or on the CPU where somebody asks for it.

``TorchExtractor.on_device`` takes and gives tensors that stay where they are, for the solver on the GPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BackendError
from ..model.bundle import Bundle
from .optional import imported
from .variants import require_onnx

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


class TorchExtractor:
    """A backbone as a callable; see :class:`dinemo_ros.features.FeatureExtractor`.

    fp16 and bf16 are PyTorch's automatic mixed precision, which keeps norms and reductions in fp32; weights are
    converted once. What is left in fp32 is never in TF32.

    Attributes:
        tensor_device: "cuda" or "cpu", where :meth:`on_device` takes and gives tensors.

    Raises:
        BackendError: torch or onnx is missing, or the network or the precision is not for torch.
    """

    name = "torch"
    reason = ""

    def __init__(self, bundle: Bundle, threads: int = 2, precision: str = "fp32") -> None:
        torch = imported("torch", "networks on PyTorch", "pip install torch")
        require_onnx("networks on PyTorch")
        from ..gpu.full_float32 import full_float32
        from ..gpu.graph import GraphCache
        from .torch_graph import OnnxModule

        if precision == "int8":
            raise BackendError("PyTorch has no int8 here; take fp32, fp16 or bf16")
        self._torch, self.precision = torch, precision
        torch.set_num_threads(threads)
        self._where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tensor_device = self._where.type
        self.device = torch.cuda.get_device_name() if self._where.type == "cuda" else "CPU"
        dtype = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
        self._autocast = torch.autocast(self._where.type, dtype, enabled=dtype is not None)
        self._exact = full_float32
        module = OnnxModule(bundle.backbone())
        self._module = (module if dtype is None else module.weights_in(dtype)).to(self._where).eval()
        # Crops are of one size and come in each frame; whole frames (``__call__``) would need a graph for every camera.
        self._captured: Callable[[torch.Tensor], torch.Tensor] = (
            GraphCache(self._run) if self._where.type == "cuda" else self._run)
        size = bundle.card.image.size
        self(np.zeros((1, size, size, 3), np.uint8))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        pictures = self._torch.from_numpy(np.ascontiguousarray(images)).to(self._where)
        return self._with_room(self._run, pictures).cpu().numpy()

    def on_device(self, images: torch.Tensor) -> torch.Tensor:
        """Features float32 [N, D, H/8, W/8] of pictures uint8 [N, H, W, 3], both on ``tensor_device``.

        On a GPU one CUDA graph per N and size, and the next call may overwrite the features.
        """
        try:
            return self._with_room(self._captured, images)
        except RuntimeError as error:
            if self._captured == self._run:
                raise
            _log.warning("the network is run layer by layer: it cannot be a CUDA graph here (%s)",
                         str(error).partition("\n")[0])
            self._captured = self._run
        return self._with_room(self._run, images)

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        with self._torch.inference_mode(), self._autocast, self._exact():
            return self._module(images).float()

    def _with_room(self, run: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        """``run``, with a full memory as an error that says what to do."""
        try:
            return run(images)
        except self._torch.cuda.OutOfMemoryError as error:
            raise BackendError(f"the GPU is out of memory for {len(images)} pictures of {images.shape[2]}x"
                               f"{images.shape[1]}: stop what else runs on it, or take backend onnxruntime") from error
