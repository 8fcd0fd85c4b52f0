# SPDX-License-Identifier: Apache-2.0
"""Which backend runs a bundle here, and why.

Whatever is not ONNX Runtime in fp32 has to agree with it on sample pictures at every start, so that a wrong engine
costs time and never a pose. What cannot run as asked is replaced by what can, and a warning says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import onnxruntime

from ..errors import BackendError, NotInstalledError, WrongFeaturesError, told
from ..gpu.cuda_driver import CudaError, CudaStream, find_gpu
from ..model.bundle import Bundle
from .engine_cache import EngineCache
from .onnxruntime_backend import OnnxRuntimeExtractor, has_vnni
from .optional import imported
from .parity import THRESHOLD, sample_pictures, smallest_cosine
from .protocol import FeatureExtractor
from .variants import network

_log = logging.getLogger(__name__)


_CUDA = "onnxruntime with CUDA"
_CUDA_PRECISIONS = ("fp32", "fp16")
_HALF = ("fp16", "bf16")
_BF16_SINCE = 80  # compute capability, times ten


class Selection:
    """Tries backends for one bundle, in order of speed or as asked.

    reference: ONNX Runtime in fp32 on the CPU, which always works.
    """

    def __init__(self, bundle: Bundle, threads: int, cache: EngineCache) -> None:
        self._bundle, self._threads, self._cache = bundle, threads, cache
        self.reference = OnnxRuntimeExtractor(bundle, threads)  # a bundle that fails here fails everywhere
        self._makers: dict[str, Callable[[str], FeatureExtractor]] = {
            "onnxruntime": self._onnxruntime, _CUDA: self._onnxruntime_on_cuda, "tensorrt": self._tensorrt,
            "openvino": self._openvino, "torch": self._torch}

    def choose(self, backend: str, precision: str) -> FeatureExtractor:
        """A checked extractor; see :func:`dinemo_ros.features.create_extractor`."""
        if backend == "auto":
            extractor = self._fastest(precision)
        else:
            extractor = self._first(self._wanted(backend, precision), f"backend {backend} was asked for")
        _log.info("features: %s in %s on %s, because %s", extractor.name, extractor.precision, extractor.device,
                  extractor.reason)
        return extractor

    def _on_cpu(self, precision: str) -> str:
        """What "auto" means: int8 halves the time of a CPU with VNNI; elsewhere it is slower, or was not measured."""
        if precision != "auto":
            return precision
        return "int8" if self._bundle.int8_path and has_vnni() else "fp32"

    def _on_gpu(self, precision: str) -> tuple[str, ...]:
        """The precisions to try, best first.

        "auto": 16 bits are what tensor cores are made for, and the check at the start is what allows them. bf16 has the
        range of fp32 where fp16 overflows, and is nothing but slow on GPUs before Ampere. TF32 is never one of them.
        """
        if precision == "auto":
            return tuple(name for name in _HALF if name != "bf16" or _has_bf16()) + ("fp32",)
        return ("fp32",) if precision == "fp32" else (precision, "fp32")

    def _wanted(self, backend: str, precision: str) -> list[tuple[str, str]]:
        """What to try where a backend was asked for by name, in this order."""
        if backend in ("tensorrt", "torch"):
            on_gpu = _gpu_is_there() and not (backend == "torch" and _torch_without_cuda())
            return [(backend, name) for name in self._on_gpu(precision if on_gpu or precision != "auto" else "fp32")]
        cpu = [(backend, self._on_cpu(precision)), (backend, "fp32")]
        if backend == "openvino" or not _cuda_provider() or not _gpu_is_there():
            return cpu
        cuda = [(_CUDA, name) for name in self._on_gpu(precision) if name in _CUDA_PRECISIONS]
        return cuda + cpu if precision in ("auto", *_CUDA_PRECISIONS) else cpu[:1] + cuda + cpu[1:]

    def _fastest(self, precision: str) -> FeatureExtractor:
        on_cpu = ("onnxruntime", self._on_cpu(precision))
        try:
            gpu = find_gpu()
        except CudaError as error:
            return self._first([on_cpu], f"there is no GPU to use: {error}")
        problems: dict[str, str] = {}  # in order, by text: what is not installed is missing in every precision
        for backend, name in self._gpu_candidates(precision):
            if backend == "torch" and _torch_without_cuda():  # checked in fp16 on a CPU it would take half a minute
                problems[backend] = f"{backend} has no CUDA here"
                continue
            try:
                return self._made(backend, name, "; ".join([f"it is the fastest that works on {gpu.name}",
                                                            *problems.values()]))
            except BackendError as error:
                # What is merely not installed is no news to somebody who asked for nothing in particular.
                missing = isinstance(error, NotInstalledError)
                known = f"{name}: {error}" if isinstance(error, WrongFeaturesError) else str(error)
                if known not in problems:
                    _log.log(logging.INFO if missing else logging.WARNING, "%s in %s cannot be used: %s", backend, name,
                             str(error))
                    problems[known] = f"{backend}: {error}" if missing else f"{backend} in {name}: {error}"
        return self._first([on_cpu], f"nothing works on {gpu.name}: {'; '.join(problems.values())}")

    def _gpu_candidates(self, precision: str) -> list[tuple[str, str]]:
        """Backends and precisions for ``backend: auto``, best first."""
        return [(backend, name) for name in self._on_gpu(precision) for backend in ("tensorrt", _CUDA, "torch")
                if precision != "auto" or backend != _CUDA or name in _CUDA_PRECISIONS]

    def _first(self, wanted: list[tuple[str, str]], reason: str) -> FeatureExtractor:
        """The first (backend, precision) that works; ONNX Runtime in fp32 on the CPU always does."""
        for backend, precision in dict.fromkeys(wanted):
            try:
                return self._made(backend, precision, reason)
            except BackendError as error:
                problem = f"{backend} in {precision} cannot be used: {error}"
                if problem not in reason and (isinstance(error, WrongFeaturesError) or str(error) not in reason):
                    _log.warning("%s", problem)  # once for all precisions where it is merely not installed
                    reason = problem
        self.reference.reason = reason
        return self.reference

    def _made(self, backend: str, precision: str, reason: str) -> FeatureExtractor:
        try:
            extractor = self._makers[backend](precision)
        except BackendError:
            raise
        except Exception as error:  # libraries for GPUs raise what they like, and a robot has to start all the same
            _log.debug("%s in %s", backend, precision, exc_info=True)
            raise BackendError(told(error)) from error
        extractor.reason = reason
        return extractor

    def _checked(self, extractor: FeatureExtractor) -> FeatureExtractor:
        check(self.reference, extractor, self._bundle)
        return extractor

    def _onnxruntime(self, precision: str) -> FeatureExtractor:
        if precision == "fp32":
            return self.reference
        if precision != "int8":
            raise BackendError(f"ONNX Runtime has no fast {precision} on a CPU, only fp32 and int8")
        model = network(self._bundle, precision, self._cache)
        return self._checked(OnnxRuntimeExtractor(self._bundle, self._threads, model, precision))

    def _onnxruntime_on_cuda(self, precision: str) -> FeatureExtractor:
        if not _cuda_provider():
            raise NotInstalledError("ONNX Runtime has no CUDA here: pip install onnxruntime-gpu in the place of "
                                    "onnxruntime")
        if precision not in _CUDA_PRECISIONS:
            raise BackendError(f"ONNX Runtime on a GPU has {' and '.join(_CUDA_PRECISIONS)} here, not {precision}")
        model = network(self._bundle, precision, self._cache)
        return self._checked(OnnxRuntimeExtractor(self._bundle, self._threads, model, precision, cuda=True))

    def _openvino(self, precision: str) -> FeatureExtractor:
        from .openvino_backend import OpenVinoExtractor

        model = network(self._bundle, precision, self._cache) if precision == "int8" else None
        return self._checked(OpenVinoExtractor(self._bundle, self._threads, model, precision))

    def _tensorrt(self, precision: str) -> FeatureExtractor:
        from .engines import CachedEngine, shapes_of
        from .tensorrt_api import load_tensorrt
        from .tensorrt_backend import TensorRtExtractor

        trt, gpu = load_tensorrt(), find_gpu()
        shapes = shapes_of(self._bundle)
        return CachedEngine(self._bundle, trt, gpu.arch, precision, self._cache, gpu).used(lambda plan: self._checked(
            TensorRtExtractor(self._bundle, plan, shapes, trt, CudaStream(), precision, gpu.name)))

    def _torch(self, precision: str) -> FeatureExtractor:
        from .torch_backend import TorchExtractor

        return self._checked(TorchExtractor(self._bundle, self._threads, precision))


def _cuda_provider() -> bool:
    """Whether this ONNX Runtime was built with CUDA; whether CUDA works it tells when it starts."""
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _gpu_is_there() -> bool:
    try:
        find_gpu()
    except CudaError:
        return False
    return True


def _torch_without_cuda() -> bool:
    """Whether torch is installed, works, and cannot use a GPU."""
    try:
        torch = imported("torch", "networks on PyTorch", "pip install torch")
    except BackendError:
        return False  # whoever needs it says so
    return not torch.cuda.is_available()


def _has_bf16() -> bool:
    """Whether the GPU multiplies bf16 itself (compute capability 8.0 and later)."""
    try:
        return int(find_gpu().arch.removeprefix("sm")) >= _BF16_SINCE
    except CudaError:
        return False


def check(reference: FeatureExtractor, extractor: FeatureExtractor, bundle: Bundle) -> float:
    """The smallest cosine between the features of both; WrongFeaturesError if it is too small or not a number."""
    cosine = smallest_cosine(reference, extractor, sample_pictures(bundle.card.image.size))
    needed = THRESHOLD[extractor.precision]
    if not cosine >= needed:
        raise WrongFeaturesError(f"its features of {bundle.card.category} {bundle.card.version} are wrong (cosine with "
                                 f"ONNX Runtime {cosine:.4f}, needed is {needed})")
    _log.info("features of %s in %s agree with ONNX Runtime (smallest cosine %.5f)", extractor.name,
              extractor.precision, cosine)
    return cosine
