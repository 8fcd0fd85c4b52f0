# SPDX-License-Identifier: Apache-2.0
"""Which backend runs a bundle here, and why.

Whatever is not ONNX Runtime in fp32 has to agree with it on sample pictures at every start, so that a wrong engine
costs time and never a pose. What cannot run as asked is replaced by what can, and a warning says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..bundle import Bundle
from ..errors import BackendError, NotInstalledError
from .cuda_driver import CudaError, CudaStream, find_gpu
from .engine_cache import EngineCache
from .onnxruntime_backend import OnnxRuntimeExtractor, has_vnni
from .parity import THRESHOLD, sample_pictures, smallest_cosine
from .protocol import FeatureExtractor
from .variants import network, runtime_version

_log = logging.getLogger(__name__)


class Selection:
    """Tries backends for one bundle, in order of speed or as asked.

    reference: ONNX Runtime in fp32 on the CPU, which always works.
    """

    def __init__(self, bundle: Bundle, threads: int, cache: EngineCache) -> None:
        self._bundle, self._threads, self._cache = bundle, threads, cache
        self.reference = OnnxRuntimeExtractor(bundle, threads)  # a bundle that fails here fails everywhere
        self._makers: dict[str, Callable[[str], FeatureExtractor]] = {
            "onnxruntime": self._onnxruntime, "tensorrt": self._tensorrt, "openvino": self._openvino,
            "torch": self._torch}

    def choose(self, backend: str, precision: str) -> FeatureExtractor:
        """A checked extractor; see :func:`dinemo_ros.features.create_extractor`."""
        if backend == "auto":
            extractor = self._fastest(precision)
        else:
            wanted = [(backend, self._resolved(backend, precision)), (backend, "fp32")]
            extractor = self._first(wanted, f"backend {backend} was asked for")
        _log.info("features: %s in %s on %s, because %s", extractor.name, extractor.precision, extractor.device,
                  extractor.reason)
        return extractor

    def _resolved(self, backend: str, precision: str) -> str:
        """What "auto" means: int8 halves the time of a CPU with VNNI; elsewhere it is slower, or was not measured."""
        if precision != "auto":
            return precision
        on_cpu = backend == "openvino" or (backend == "onnxruntime" and "gpu" not in runtime_version())
        return "int8" if on_cpu and self._bundle.int8_path and has_vnni() else "fp32"

    def _fastest(self, precision: str) -> FeatureExtractor:
        on_cpu, on_gpu = self._resolved("onnxruntime", precision), "fp32" if precision == "auto" else precision
        try:
            gpu = find_gpu()
        except CudaError as error:
            return self._first([("onnxruntime", on_cpu)], f"there is no GPU to use: {error}")
        problems = []
        for backend in ("tensorrt", "onnxruntime", "torch"):
            try:
                extractor = self._made(backend, on_gpu, "; ".join([f"it is the fastest that works on {gpu.name}",
                                                                   *problems]))
                if extractor.device != "CPU":
                    return extractor
                problems.append(f"{backend} has no CUDA here")
            except BackendError as error:
                problems.append(f"{backend}: {error}")
                # What is merely not installed is no news to somebody who asked for nothing in particular.
                level = logging.INFO if isinstance(error, NotInstalledError) else logging.WARNING
                _log.log(level, "%s in %s cannot be used: %s", backend, on_gpu, error)
        return self._first([("onnxruntime", on_cpu)], f"nothing works on {gpu.name}: {'; '.join(problems)}")

    def _first(self, wanted: list[tuple[str, str]], reason: str) -> FeatureExtractor:
        """The first (backend, precision) that works; ONNX Runtime in fp32 on the CPU always does."""
        for backend, precision in dict.fromkeys(wanted):
            try:
                return self._made(backend, precision, reason)
            except BackendError as error:
                problem = f"{backend} in {precision} cannot be used: {error}"
                if str(error) not in reason:  # what is not installed is missing in every precision
                    _log.warning("%s", problem)
                    reason = problem
        self.reference.reason = reason
        return self.reference

    def _made(self, backend: str, precision: str, reason: str) -> FeatureExtractor:
        try:
            extractor = self._makers[backend](precision)
            if extractor is not self.reference:
                check(self.reference, extractor, self._bundle)
        except BackendError:
            raise
        except Exception as error:  # libraries for GPUs raise what they like, and a robot has to start all the same
            _log.debug("%s in %s", backend, precision, exc_info=True)
            raise BackendError(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no text'}"
                               ) from error
        extractor.reason = reason
        return extractor

    def _onnxruntime(self, precision: str) -> FeatureExtractor:
        if "gpu" in runtime_version() and precision in ("fp32", "fp16"):
            model = network(self._bundle, precision, self._cache)
            return OnnxRuntimeExtractor(self._bundle, self._threads, model, precision, cuda=True)
        if precision == "fp32":
            return self.reference
        if precision != "int8":
            raise BackendError(f"ONNX Runtime has no fast {precision} on a CPU, only fp32 and int8")
        model = network(self._bundle, precision, self._cache)
        return OnnxRuntimeExtractor(self._bundle, self._threads, model, precision)

    def _openvino(self, precision: str) -> FeatureExtractor:
        from .openvino_backend import OpenVinoExtractor

        model = network(self._bundle, precision, self._cache) if precision == "int8" else None
        return OpenVinoExtractor(self._bundle, self._threads, model, precision)

    def _tensorrt(self, precision: str) -> FeatureExtractor:
        from .engines import cached_plan, shapes_of
        from .tensorrt_api import load_tensorrt
        from .tensorrt_backend import TensorRtExtractor

        trt, gpu = load_tensorrt(), find_gpu()
        plan = cached_plan(self._bundle, trt, gpu.arch, precision, self._cache)
        return TensorRtExtractor(self._bundle, plan, shapes_of(self._bundle), trt, CudaStream(), precision, gpu.name)

    def _torch(self, precision: str) -> FeatureExtractor:
        from .torch_backend import TorchExtractor

        return TorchExtractor(self._bundle, self._threads, precision)


def check(reference: FeatureExtractor, extractor: FeatureExtractor, bundle: Bundle) -> float:
    """The smallest cosine between the features of both; BackendError if it is too small or not a number."""
    cosine = smallest_cosine(reference, extractor, sample_pictures(bundle.card.image.size))
    needed = THRESHOLD[extractor.precision]
    if not cosine >= needed:
        raise BackendError(f"its features of {bundle.card.category} {bundle.card.version} are wrong (cosine with ONNX "
                           f"Runtime {cosine:.4f}, needed is {needed})")
    _log.info("features of %s in %s agree with ONNX Runtime (smallest cosine %.5f)", extractor.name,
              extractor.precision, cosine)
    return cosine
