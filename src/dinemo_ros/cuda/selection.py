# SPDX-License-Identifier: Apache-2.0
"""Whether the solver runs on a GPU or on the CPU, and why; imports torch only where there is a GPU.

The CPU's solver is always built: it checks the GPU's at the start, and takes over where the GPU fails later on, with
the very frame it failed on. So a GPU saves or costs time and never changes a pose. A frame for which a support plane or
a depth image is known is solved on the CPU, as long as the GPU's solver has no term for them.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from subprocess import CalledProcessError

import numpy as np

from ..camera.crop import CropCamera
from ..camera.pinhole import Camera
from ..errors import BackendError, NotInstalledError, told
from ..features import FeatureExtractor
from ..gpu.cuda_driver import CudaError, find_gpu
from ..inference import CpuPipeline, Pipeline, Solved
from ..model.bundle import Bundle
from ..process.cache_home import default_folder
from ..process.library_cache import set_cache
from ..solver import Start
from ..solver.coarse import Target
from .devices import DEVICES, TWINS
from .parity import check, check_features

_log = logging.getLogger(__name__)


def create_pipeline(bundle: Bundle, extractor: FeatureExtractor, device: str = "auto", threads: int = 2,
                    evidence: str = "clutter") -> Pipeline:
    """From images to hypotheses, on a GPU or on the CPU; the log tells which and why.

    Args:
        extractor: the network.
        device: one of DEVICES, or TWINS. What cannot run here is replaced by the CPU, with a warning where it was asked
            for by name.
        threads: see :class:`dinemo_ros.solver.PoseSolver`. evidence: see :func:`dinemo_ros.solver.prepare_category`.

    Raises:
        ValueError: unknown device.
    """
    if device not in (*DEVICES, TWINS):
        raise ValueError(f"device is {device!r}; allowed: {', '.join(DEVICES)}")
    cpu = CpuPipeline(bundle, extractor, threads, evidence)
    if device == "cpu":
        _log.info("solver: on the CPU, because device cpu was asked for")
        return cpu
    try:
        gpu = "the CPU, by the GPU's twins" if device == TWINS else usable_gpu()
        pipeline = _on_gpu(bundle, extractor, cpu, "cpu" if device == TWINS else "cuda", evidence)
    except BackendError as error:
        _log.log(logging.INFO if device == "auto" else logging.WARNING, "solver: on the CPU, because %s", error)
        return cpu
    reason = "it works" if device == "auto" else f"device {device} was asked for"
    _log.info("solver: on %s, because %s and finds the CPU's poses", gpu, reason)
    return pipeline


def usable_gpu() -> str:
    """Name of the GPU that the solver would use.

    Raises:
        BackendError: there is none, or torch or Triton cannot use it; the message says what to do.
    """
    try:
        gpu = find_gpu()
    except CudaError as error:
        raise BackendError(f"there is no GPU to use: {error}") from error
    for module, remedy in (("torch", "pip install torch"), ("triton", "pip install triton, which comes with torch on "
                                                                      "Linux")):
        if importlib.util.find_spec(module) is None:
            raise NotInstalledError(f"{gpu.name} is there, but {module} is not installed, which the solver needs on a "
                                    f"GPU: {remedy}")
    set_cache("TRITON_CACHE_DIR", "triton", "Triton's kernels")  # libraries, which are loaded into this process
    try:
        import torch
        import triton

        if not torch.cuda.is_available():
            raise BackendError(f"torch {torch.__version__} cannot use {gpu.name}: it was built without CUDA, or for a "
                               "newer driver; install a build of torch for this machine")
        from .probe import doubled

        answer = doubled()
    except BackendError:
        raise
    except Exception as error:  # a broken installation raises what it likes, and a robot has to start all the same
        raise BackendError(f"torch and Triton cannot use {gpu.name}: {told(error)}{remedy_for(error)}") from error
    if answer != [0.0, 2.0, 4.0, 6.0]:
        raise BackendError(f"{gpu.name} computes 2 x (0, 1, 2, 3) = {answer}")
    _log.debug("torch %s, Triton %s", torch.__version__, triton.__version__)
    return gpu.name


def remedy_for(error: Exception) -> str:
    """What to do about what Triton misses: it builds a launcher in C against Python's headers, into a cache.

    And it brings assemblers of its own, which may be older than the GPU.
    """
    unknown = re.search(r"Value '(sm_(\d+)\w*)' is not defined", str(error))
    if unknown:
        variable = "TRITON_PTXAS_BLACKWELL_PATH" if int(unknown[2]) >= 100 else "TRITON_PTXAS_PATH"
        return (f". Triton's assembler is older than this GPU ({unknown[1]}): take Triton 3.7 or later, and where that "
                f"does not know it either, let {variable} name the ptxas of a newer CUDA toolkit, e.g. "
                "/usr/local/cuda/bin/ptxas")
    if isinstance(error, CalledProcessError):
        return (". Triton's C compiler failed, its own output tells why; most often Python's headers are missing: apt "
                "install python3-dev")
    if isinstance(error, FileNotFoundError) or "C compiler" in str(error):
        return ". Triton needs a C compiler: apt install gcc"
    if isinstance(error, OSError):
        folder = os.environ.get("TRITON_CACHE_DIR", default_folder() / "triton")
        return f". Triton needs to write to {folder}: TRITON_CACHE_DIR names another one"
    return ""


def out_of_memory(error: Exception) -> bool:
    """Whether a GPU's memory was full: torch's own error, or what CUDA says through Triton, cuBLAS or a graph."""
    text = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in text or "alloc_failed" in text


def free_memory() -> None:
    """Give back what torch keeps of the GPU's memory for later."""
    import torch

    from ..gpu.capture import empty_cache

    if torch.cuda.is_available():
        empty_cache()


def _on_gpu(bundle: Bundle, extractor: FeatureExtractor, cpu: CpuPipeline, device: str, evidence: str) -> Pipeline:
    """A checked pipeline on torch's ``device``, with ``cpu`` behind it."""
    try:
        from .inference import TorchPipeline
        from .warm_up import warm_up

        pipeline = TorchPipeline(bundle, extractor, device, evidence)
        check_features(bundle, extractor, pipeline)
        for flip_tta in (False, True)[:1 + bundle.card.features.flip_tta]:
            check(bundle, cpu, pipeline, flip_tta)
        if device == "cuda":  # the twins capture nothing
            warm_up(bundle, pipeline)
    except BackendError:
        raise
    except Exception as error:
        _log.debug("the solver on %s", device, exc_info=True)
        raise BackendError(f"the GPU's solver does not work here ({told(error)})") from error
    return SolverWithFallback(pipeline, cpu)


class SolverWithFallback:
    """A pipeline on a GPU, and the CPU's for good once that one failed.

    Args:
        first: the GPU's. fallback: the CPU's.
    """

    def __init__(self, first: Pipeline, fallback: Pipeline) -> None:
        self.first, self.fallback = first, fallback
        self._active: Pipeline = first
        self._lacking: frozenset[str] = frozenset()  # terms of the last call that the GPU's solver does not have

    @property
    def failed(self) -> bool:
        """Whether the fallback is in use."""
        return self._active is self.fallback

    @property
    def device(self) -> str:
        if not self._lacking:
            return self._active.device
        return (f"{self.fallback.device}, because the solver of {self._active.device} cannot use "
                f"{' and '.join(sorted(self._lacking))}")

    @property
    def terms(self) -> frozenset[str]:
        return self.fallback.terms

    @property
    def timings(self) -> dict[str, float]:
        return self._last.timings

    @property
    def presences(self) -> Sequence[float | None]:
        return self._last.presences

    @property
    def _last(self) -> Pipeline:
        """What answered the last call."""
        return self.fallback if self._lacking else self._active

    def solve(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera], targets: Sequence[Target],
              min_score: float = 0.0) -> Solved:
        """Hypotheses of each crop; see :meth:`dinemo_ros.inference.Pipeline.solve`."""
        return self._run(lambda pipeline: pipeline.solve(image, camera, crops, targets, min_score), targets)

    def follow(self, image: np.ndarray, camera: Camera, crops: Sequence[CropCamera], targets: Sequence[Target],
               starts: Sequence[Start]) -> Solved:
        """The pose near each start; see :meth:`dinemo_ros.inference.Pipeline.follow`."""
        return self._run(lambda pipeline: pipeline.follow(image, camera, crops, targets, starts), targets)

    def solve_features(self, features: np.ndarray, targets: Sequence[Target], starts: Sequence[Start] | None = None,
                       flip_tta: bool = False) -> Solved:
        """From ``features`` [B, D, h, h] on; see :meth:`dinemo_ros.inference.Pipeline.solve_features`."""
        return self._run(lambda pipeline: pipeline.solve_features(features, targets, starts, flip_tta), targets)

    def same_image(self) -> AbstractContextManager:
        """See :meth:`dinemo_ros.inference.Pipeline.same_image`."""
        return self._active.same_image()

    def _run(self, call: Callable[[Pipeline], Solved], targets: Sequence[Target]) -> Solved:
        lacking = frozenset[str]().union(*(target.terms for target in targets)) - self._active.terms
        if lacking - self._lacking:
            _log.info("solver: on the CPU while there is %s, for which the GPU's solver has no term",
                      " and ".join(sorted(lacking)))
        self._lacking = lacking
        if self.failed or lacking:
            return call(self.fallback)
        try:
            return self._first(call)
        except Exception as error:  # no memory again, a fault of the GPU, a driver that went away
            _log.debug("the solver on the GPU", exc_info=True)
            why = str(error) if isinstance(error, BackendError) else told(error)
            _log.warning("the solver goes on on the CPU, because the GPU's failed: %s", why)
        self._active = self.first = self.fallback  # nothing else holds the GPU's: its memory is given back
        return call(self.fallback)

    def _first(self, call: Callable[[Pipeline], Solved]) -> Solved:
        """On the GPU, a second time where its memory was full: of others who use it, or of ours that is not needed."""
        try:
            return call(self.first)
        except Exception as error:
            if not out_of_memory(error):
                raise
            _log.info("the GPU is out of memory (%s): what is kept and not used is given back, then once more",
                      told(error))
        free_memory()  # not in the except above: the error holds what the failed call had made
        return call(self.first)
