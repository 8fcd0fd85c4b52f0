# SPDX-License-Identifier: Apache-2.0
"""TensorRT and TensorRT-RTX: running an engine."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BackendError, PictureSizeError, RefusedEngineError
from ..gpu.cuda_driver import CudaStream
from ..model.bundle import Bundle
from .engine_build import Profile
from .tensorrt_api import TensorRt, TrtObject, make_logger
from .torch_order import in_torch_order

if TYPE_CHECKING:
    import torch


class TensorRtExtractor:
    """An engine as a callable; see :class:`dinemo_ros.features.FeatureExtractor`.

    Buffers for the largest shapes are allocated once; a call moves pictures in, features out, and waits. Batches larger
    than the engine's are split.

    Args:
        bundle: whose backbone this is.
        plan: the serialised engine.
        shapes: its profiles, in their order.
        stream: of the GPU that the engine was built for; kept until the engine is gone.

    Raises:
        RefusedEngineError: the plan is not for this GPU and this TensorRT. BackendError: the GPU has no room for it.
    """

    name = "tensorrt"
    reason = ""
    tensor_device = "cuda"  # where on_device takes and gives tensors

    def __init__(self, bundle: Bundle, plan: bytes, shapes: tuple[Profile, ...], trt: TensorRt, stream: CudaStream,
                 precision: str = "fp32", device: str = "GPU") -> None:
        self.precision, self.device = precision, device
        self._shapes = shapes
        self._dim, self._stride = bundle.card.features.dim, bundle.card.image.stride
        self._contexts: list = []
        self._engine = self._runtime = None
        self._stream: CudaStream | None = stream
        try:
            self._load(plan, trt)
            self._allocate()
            size = bundle.card.image.size
            self(np.zeros((1, size, size, 3), np.uint8))  # kernels are loaded, and with RTX compiled, at first use
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # they hold contexts, which would outlive their engine
            self.close()
            raise

    def _load(self, plan: bytes, trt: TensorRt) -> None:
        self._stream.enter()
        logger = make_logger(trt)
        self._runtime = trt.api.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise RefusedEngineError(f"{trt.flavour} {trt.version} cannot load the engine "
                                     f"({logger.last_error or 'it gave no reason'})")
        for index in range(len(self._shapes)):
            self._contexts.append(_context(self._engine, trt))
            if self._contexts[-1] is None:
                raise BackendError(f"{trt.flavour} {trt.version}: no room for the engine on the GPU "
                                   f"({logger.last_error or 'it gave no reason'})")
            self._contexts[-1].set_optimization_profile_async(index, self._stream.handle)

    def close(self) -> None:
        """Give back what runs on the GPU: contexts, their engine, its runtime, and last the stream that they work on.

        The destructor does it, too. Afterwards the engine cannot be run any more.
        """
        if self._stream is None:
            return
        with contextlib.suppress(BackendError):  # a GPU that failed has nothing left to wait for
            self._stream.enter()
            self._stream.synchronize()  # on_device waits for nothing, so there may be work left
        self._contexts.clear()
        self._engine = None
        self._runtime = None
        self._stream = None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the end of the process TensorRT may be gone already
            self.close()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        n, height, width = images.shape[:3]
        index = self._profile((1, height, width))
        batch = self._shapes[index].most[0]
        self._stream.enter()
        parts = [self._run(index, images[k:k + batch]) for k in range(0, n, batch)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def on_device(self, images: torch.Tensor) -> torch.Tensor:
        """Features float32 [N, D, H/8, W/8] of pictures uint8 [N, H, W, 3], both torch tensors on the GPU.

        The engine runs on its own stream, and the host waits for nothing.
        """
        import torch

        n, height, width = images.shape[:3]
        index = self._profile((1, height, width))
        batch = self._shapes[index].most[0]
        images = images.contiguous()
        features = torch.empty(self._features_shape(images.shape), dtype=torch.float32, device=images.device)
        with in_torch_order(self._stream, images, features) as handle:
            for k in range(0, n, batch):
                part = images[k:k + batch]
                self._enqueue(index, tuple(part.shape), part.data_ptr(), features[k:k + batch].data_ptr(), handle)
        return features

    def _run(self, index: int, images: np.ndarray) -> np.ndarray:
        shape, host_image = self._features_shape(images.shape), self._host_image[:images.size]
        host_features = self._host_features[:int(np.prod(shape))].reshape(shape)
        host_image.reshape(images.shape)[...] = images
        self._stream.upload(self._image, host_image)
        self._enqueue(index, images.shape, self._image, self._features, self._stream.handle)
        self._stream.download(host_features, self._features)
        self._stream.synchronize()
        return host_features.copy()

    def _enqueue(self, index: int, shape: tuple[int, ...], image: int, features: int, stream: int) -> None:
        """Start the engine on addresses of the GPU; ``stream`` as a CUDA handle."""
        context = self._contexts[index]
        context.set_tensor_address("image", image)
        context.set_tensor_address("features", features)
        if not context.set_input_shape("image", shape):
            raise BackendError(f"TensorRT refuses pictures of shape {list(shape)}")
        if not context.execute_async_v3(stream):
            raise BackendError("TensorRT could not run the engine; the log has its reason")

    def _features_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        n, height, width = shape[:3]
        return n, self._dim, height // self._stride, width // self._stride

    def _profile(self, shape: tuple[int, int, int]) -> int:
        for index, profile in enumerate(self._shapes):
            if profile.covers(shape):
                return index
        most = self._shapes[-1].most
        raise PictureSizeError(f"the engine takes pictures of up to {most[2]}x{most[1]} pixels, got {shape[2]}x"
                               f"{shape[1]}")

    def _allocate(self) -> None:
        pixels = max(int(np.prod(profile.most)) for profile in self._shapes)
        features = self._dim * pixels // self._stride ** 2
        self._image, self._features = self._stream.allocate(3 * pixels), self._stream.allocate(4 * features)
        self._host_image = self._stream.host_array(3 * pixels)
        self._host_features = self._stream.host_array(4 * features).view(np.float32)


def _context(engine: TrtObject, trt: TensorRt) -> TrtObject | None:
    """Something to run an engine with; None where there is no room.

    TensorRT-RTX compiles kernels for every new number of pictures. As it is, it does so behind one's back while slower
    ones run; here at once, so that it happens while the node starts.
    """
    strategies = getattr(trt.api, "DynamicShapesKernelSpecializationStrategy", None)
    if strategies is None:  # ordinary TensorRT: its kernels are in the engine
        return engine.create_execution_context()
    config = engine.create_runtime_config()
    config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
    return engine.create_execution_context(config)
