# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: on the CPU it runs everywhere and is what the other backends are checked against.

All threads share the work of a single picture, which costs them a meeting after each layer. Of several pictures every
thread computes whole ones, without meetings: on two cores that saves an eighth of the time of four in int8, and taking
them in pairs another twentieth.

On a GPU ``on_device`` takes and gives torch tensors that stay there.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from ..errors import BackendError, BundleError
from ..gpu.cuda_driver import CudaStream
from ..io.quoting import shown
from ..model.bundle import INT8_FILE, Bundle, is_installed
from ..process.network_child import session_options
from ..process.thread_pool import ThreadPool
from .parity import sample_picture
from .signature import check_features, check_signature
from .torch_order import in_torch_order
from .trial import try_network

if TYPE_CHECKING:
    import torch

_OTHER_SHAPE = (64, 96)  # neither square nor a crop's: what a network with a shape built in cannot take
_OWN_SHAPES = "batches, crops and frames have shapes of their own"


class OnnxRuntimeExtractor:
    """A backbone as a callable; see :class:`dinemo_ros.features.FeatureExtractor`.

    Args:
        bundle: whose backbone runs.
        threads: CPU threads.
        model: ONNX bytes of the backbone in another precision; None takes the bundle's file.
        precision: what ``model`` computes in.
        cuda: compute on the GPU, with the CUDA provider of ``onnxruntime-gpu``.

    Attributes:
        tensor_device: "cuda" where :meth:`on_device` takes and gives tensors there, else empty.
        alone: see :class:`dinemo_ros.features.FeatureExtractor`; None on a GPU, and with one thread.

    Raises:
        BundleError: the file is no network of ours. BackendError: CUDA cannot be used.
    """

    name = "onnxruntime"
    reason = ""

    def __init__(self, bundle: Bundle, threads: int = 2, model: bytes | None = None, precision: str = "fp32",
                 cuda: bool = False) -> None:
        self.precision, self.device = precision, "GPU" if cuda else "CPU"
        self._cuda, self.tensor_device = cuda, "cuda" if cuda else ""
        self._dim, self._stride = bundle.card.features.dim, bundle.card.image.stride
        self._pool: ThreadPool | None = None
        self.alone: Callable[[np.ndarray], np.ndarray] | None = None
        stream = CudaStream() if cuda else None  # ONNX Runtime's own could not be ordered with torch's
        size = bundle.card.image.size
        first, other = sample_picture(1, size, size), sample_picture(2, *_OTHER_SHAPE)
        problem = _tried(bundle, model, (first, other))
        self._session = _session(bundle, threads, model, stream)
        check_signature(self._session, bundle)
        if problem:
            raise BundleError(f"{bundle.backbone_path}: {problem}; {_OWN_SHAPES}")
        self._binding = self._session.io_binding()
        self._stream = stream  # attributes go in the order in which they came: the session before its stream
        if model is None:
            self._check(bundle, (first, other))
        else:  # compared with the bundle's own by whoever made it
            self(first)  # the first call allocates arenas; do it before the first image
        if not cuda and threads > 1:
            self._pool = ThreadPool(threads, "dinemo_features")
            self.alone = partial(_run, _session(bundle, 1, model, None))
            self.alone(first)

    def _check(self, bundle: Bundle, pictures: Sequence[np.ndarray]) -> None:
        for images in pictures:
            try:
                features = self(images)
            except BackendError as error:
                raise BundleError(f"{bundle.backbone_path}: {error}; {_OWN_SHAPES}") from error
            check_features(images, features, bundle)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if not self._cuda:
            return self._on_cpu(images)
        self._stream.enter()
        binding = self._binding  # features are written where they are computed and copied once
        binding.bind_cpu_input("image", np.ascontiguousarray(images))
        binding.bind_output("features", "cuda")
        try:
            self._session.run_with_iobinding(binding)
            return binding.copy_outputs_to_cpu()[0]
        except RuntimeError as error:
            raise BackendError(f"ONNX Runtime on the GPU: {shown(str(error), 300)}") from error

    def on_device(self, images: torch.Tensor) -> torch.Tensor:
        """Features float32 [N, D, H/8, W/8] of pictures uint8 [N, H, W, 3], both torch tensors on the GPU.

        The network runs on its own stream, and the host waits for nothing.
        """
        import torch

        images, (n, height, width) = images.contiguous(), images.shape[:3]
        features = torch.empty((n, self._dim, height // self._stride, width // self._stride), dtype=torch.float32,
                               device=images.device)
        unwaited, binding = ort.RunOptions(), self._session.io_binding()
        unwaited.add_run_config_entry("disable_synchronize_execution_providers", "1")
        where = images.device.type, images.device.index or 0
        binding.bind_input("image", *where, np.uint8, tuple(images.shape), images.data_ptr())
        binding.bind_output("features", *where, np.float32, tuple(features.shape), features.data_ptr())
        try:
            with in_torch_order(self._stream, images, features) if self._stream else nullcontext():
                self._session.run_with_iobinding(binding, unwaited)
        except Exception as error:  # onnxruntime's errors have no common type
            raise BackendError(f"ONNX Runtime on the GPU: {shown(str(error), 300)}") from error
        return features

    def _on_cpu(self, images: np.ndarray) -> np.ndarray:
        """Each thread takes pictures of its own, as many as the others; all threads share what is left over."""
        parts = equal_parts(len(images), self._pool.threads) if self._pool else []
        features = self._pool.map(lambda k: self.alone(images[parts[k]]), len(parts)) if parts else []
        done = parts[-1].stop if parts else 0
        if done < len(images):
            features.append(_run(self._session, images[done:]))
        return np.concatenate(features) if len(features) > 1 else features[0]


def equal_parts(count: int, threads: int) -> list[slice]:
    """``count`` pictures as parts of which each thread can take as many; fewer than ``threads`` are left out.

    Pairs where there are enough: the network reads its weights once for both.
    """
    paired = count - count % (2 * threads)
    return [*(slice(k, k + 2) for k in range(0, paired, 2)),
            *(slice(k, k + 1) for k in range(paired, count - count % threads))]


def _run(session: ort.InferenceSession, images: np.ndarray) -> np.ndarray:
    try:
        return session.run(["features"], {"image": images})[0]
    except Exception as error:  # onnxruntime's errors have no common type
        raise BackendError(f"ONNX Runtime cannot run the network on pictures {list(images.shape)} "
                           f"({shown(str(error), 300)})") from error


def _tried(bundle: Bundle, model: bytes | None, pictures: Sequence[np.ndarray]) -> str:
    """See :func:`~dinemo_ros.features.trial.try_network`; nothing to try where the network is of this machine."""
    brought = bundle.backbone() if model is None else model
    ours = model is not None and hashlib.sha256(model).hexdigest() != bundle.card.files.get(INT8_FILE)
    if ours or is_installed(bundle.path):
        return ""
    path = bundle.backbone_path if model is None else bundle.int8_path
    try:
        return try_network(brought, pictures)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _session(bundle: Bundle, threads: int, model: bytes | None, stream: CudaStream | None) -> ort.InferenceSession:
    """On the GPU where there is a ``stream`` of it, else on the CPU."""
    options = session_options(threads)
    # Idle workers leave the cores to the solver: on two cores this halves the time of a whole frame.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if model is not None and _is_x86() and not has_vnni():
        # Sums of products of uint8 and int8 would overflow; the exact kernels take twice the time.
        options.add_session_config_entry("session.x64quantprecision", "1")
    content = bundle.backbone() if model is None else model
    try:
        session = ort.InferenceSession(content, options, providers=_providers(stream))
    except Exception as error:  # onnxruntime raises a dozen unrelated types for one cause: not a usable model
        name = bundle.backbone_path if model is None else f"{bundle.card.category} in another precision"
        raise BundleError(f"{name}: ONNX Runtime {ort.__version__} cannot load it "
                          f"({shown(str(error), 300)})") from error
    if stream and "CUDAExecutionProvider" not in session.get_providers():
        raise BackendError(f"ONNX Runtime {ort.__version__} cannot use CUDA: pip install onnxruntime-gpu in the place "
                           "of onnxruntime, with the CUDA and cuDNN that it names")
    return session


def _providers(stream: CudaStream | None) -> list:
    if stream is None:
        return ["CPUExecutionProvider"]
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds the CUDA and cuDNN that pip installed beside it, which the linker does not
    return [("CUDAExecutionProvider", cuda_options(stream))]


def cuda_options(stream: CudaStream) -> dict[str, str]:
    """Of the CUDA provider. https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html names them."""
    options = {
        "user_compute_stream": str(stream.handle),
        # As it is, every new number of crops tries all algorithms of each convolution, in operation, for seconds.
        "cudnn_conv_algo_search": "HEURISTIC",
        # And memory grows to the next power of two, next to a solver that needs some, too.
        "arena_extend_strategy": "kSameAsRequested",
    }
    version = tuple(int(part) for part in re.findall(r"\d+", ort.__version__)[:2])
    # Sums of ten-bit products are not the fp32 that was asked for. Before 1.18 the option would be refused.
    return {**options, "use_tf32": "0"} if version >= (1, 18) else options


def has_vnni() -> bool:
    """Whether this is an x86 CPU with the instructions that multiply 8-bit numbers fast and without overflow."""
    try:
        return _is_x86() and "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def _is_x86() -> bool:
    return platform.machine() in ("x86_64", "AMD64")
