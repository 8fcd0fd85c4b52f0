# SPDX-License-Identifier: Apache-2.0
"""TensorRT engines of bundles: found in the cache, or built into it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import TypeVar

from ..errors import BackendError, RefusedEngineError, WrongFeaturesError
from ..gpu.cuda_driver import Gpu
from ..model.bundle import Bundle
from .engine_build import Profile, build_plan, check_arch, profiles
from .engine_cache import EngineCache, EngineKey
from .tensorrt_api import TensorRt
from .timing_cache import TimingCache
from .variants import network, require_onnx

_log = logging.getLogger(__name__)
_RECIPE = 1  # counts changes in features/onnx_graph.py and features/engine_build.py that make another engine
_WRONG = b"the engine that was built gave wrong features"  # a note in its place: it would be as wrong the next time

T = TypeVar("T")


def shapes_of(bundle: Bundle) -> tuple[Profile, ...]:
    """The shapes that engines of this bundle take."""
    return profiles(bundle)


class CachedEngine:
    """The engine of a bundle in one precision, for one GPU architecture.

    Args:
        arch: GPU architecture to build for, like "sm89".
        present: this machine's GPU; None: there is none, or it does not matter.

    Attributes:
        key: under which it is cached; whatever changes the engine is part of it. That includes the very network it is
            built from: backbone.onnx stays the same when int8 is calibrated on other pictures. And the very GPU, where
            TensorRT tunes for it: the Orins are all sm87, with 4 to 16 multiprocessors.

    Raises:
        BackendError: no such engine can be built here.
    """

    def __init__(self, bundle: Bundle, trt: TensorRt, arch: str, precision: str, cache: EngineCache,
                 present: Gpu | None = None) -> None:
        check_arch(trt, arch, present.arch if present else arch)
        self._bundle, self._trt, self._arch, self._precision, self._cache = bundle, trt, arch, precision, cache
        self._model = network(bundle, precision, cache, "gpu")
        shapes = " ".join(f"{part.least}-{part.best}-{part.most}" for part in shapes_of(bundle))
        self.key = EngineKey(bundle.card.category, hashlib.sha256(self._model).hexdigest(),
                             f"{trt.flavour} {trt.version} recipe {_RECIPE}", arch, precision, shapes,
                             present.model if present and not trt.archs else "")
        self._timings = TimingCache(cache, self.key) if self.key.gpu else None

    def plan(self) -> bytes:
        """The serialised engine, built if need be.

        Raises:
            BackendError: it cannot be built, or was built and is wrong.
        """
        return self._believed(self._cache.load_or_build(self.key, self._build))

    def used(self, use: Callable[[bytes], T]) -> T:
        """``use`` of the plan. One of an earlier start that is of no use any more is built again, once.

        Args:
            use: loads and checks a plan; raises RefusedEngineError or WrongFeaturesError if it is of no use.
        """
        path = self._cache.path(self.key)
        kept = self._cache.load(self.key)
        if kept is not None:
            try:
                return use(self._believed(kept))
            except (RefusedEngineError, WrongFeaturesError) as error:
                _log.warning("%s: %s; it is built again", path, str(error))  # the error itself would hold GPU memory
                self._cache.remove(self.key)
                self._forget_times()
        try:
            return use(self._believed(self._cache.built(self.key, self._build)))
        except WrongFeaturesError as error:
            self._cache.store(self.key, _WRONG)
            self._forget_times()
            raise BackendError(f"{error}; {path} notes that, remove it to have the engine built again") from error

    def _believed(self, plan: bytes) -> bytes:
        if plan == _WRONG:
            raise BackendError(f"{self._cache.path(self.key)}: {_WRONG.decode()}; remove the file to have it built "
                               "again")
        return plan

    def _forget_times(self) -> None:
        """Measured again, TensorRT may choose other kernels than those that were wrong."""
        if self._timings:
            self._timings.forget()

    def _build(self) -> bytes:
        if self.key.gpu:
            self._sweep()
        name = f"{self._bundle.card.category} {self._bundle.card.version} {self._precision}"
        # In other precisions the network was rewritten before it was converted, and could not be compared any more:
        # ONNX Runtime has no bf16 convolutions on a CPU.
        model = _readable(self._model) if self._precision == "fp32" else self._model
        return build_plan(self._trt, model, shapes_of(self._bundle), self._arch, name, self._timings)

    def _sweep(self) -> None:
        """Drop engines of this architecture from before their keys named the GPU: nothing asks for them any more."""
        old = self._cache.sweep_keys(lambda key: key["builder"].startswith(f"{self._trt.flavour} ") and
                                     key["arch"] == self._arch and "gpu" not in key)
        if old:
            _log.info("%s: removed %d engines that do not say which GPU they are for", self._cache.folder, len(old))


def _readable(model: bytes) -> bytes:
    """The bundle's own network as TensorRT can read it, where onnx works; bundles are shipped rewritten."""
    try:
        require_onnx("networks of older bundles")
    except BackendError as error:
        _log.debug("%s", error)
        return model
    from .onnx_graph import engine_ready

    return engine_ready(model)
