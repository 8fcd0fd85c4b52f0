# SPDX-License-Identifier: Apache-2.0
"""What TensorRT measured when it built engines here before: a second precision, or a retrained bundle, is built in a
fraction of the time, and with the kernels that were the fastest the last time."""

from __future__ import annotations

import logging
from dataclasses import replace

from .engine_cache import EngineCache, EngineKey
from .tensorrt_api import TrtObject

_log = logging.getLogger(__name__)


class TimingCache:
    """One entry of the engine cache, for one TensorRT on one GPU.

    Args:
        engine: key of an engine that is to be built. It names a GPU: times are measured on one.
    """

    def __init__(self, cache: EngineCache, engine: EngineKey) -> None:
        self._cache, self._given = cache, None
        self.key = replace(engine, name="timings", onnx="any", precision="any", shapes="any")

    def give(self, config: TrtObject) -> None:
        """To a builder's configuration, what is known; TensorRT refuses times of another GPU, driver or version."""
        known = self._cache.load(self.key, "times are measured again")
        if known and self._set(config, known):
            return
        if known:
            _log.info("%s: TensorRT has no use for these times any more, it measures again", self._cache.path(self.key))
        self._set(config, b"")

    def keep(self, config: TrtObject) -> None:
        """What the configuration knows after a build; a disk that will not have it is no reason to complain."""
        timings, self._given = config.get_timing_cache(), None
        if timings is not None:
            self._cache.store(self.key, bytes(timings.serialize()), warn=False)

    def forget(self) -> None:
        """Before a build that shall not choose what the last one chose."""
        self._cache.remove(self.key)

    def _set(self, config: TrtObject, content: bytes) -> bool:
        self._given = config.create_timing_cache(content)  # the configuration does not keep it alive
        return self._given is not None and bool(config.set_timing_cache(self._given, False))
