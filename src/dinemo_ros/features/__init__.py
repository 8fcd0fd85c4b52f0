# SPDX-License-Identifier: Apache-2.0
"""Backbones that turn pixels into unit-norm features, one file per inference backend behind one protocol.

``onnxruntime_backend`` runs everywhere and checks the others; ``tensorrt_backend``, ``openvino_backend`` and
``torch_backend`` are imported only where asked for. ``selection`` chooses, ``engine_cache`` keeps what was built.
"""

from __future__ import annotations

from pathlib import Path

from ..model.bundle import Bundle
from .protocol import BACKENDS, PRECISION_CHOICES, PRECISIONS, FeatureExtractor

__all__ = ["BACKENDS", "PRECISIONS", "PRECISION_CHOICES", "FeatureExtractor", "create_extractor"]


def create_extractor(bundle: Bundle, backend: str = "auto", threads: int = 2, precision: str = "auto",
                     cache: str | Path = "") -> FeatureExtractor:
    """The network of ``bundle``, ready to run; its attributes tell what was chosen and why, and so does the log.

    Args:
        backend: one of BACKENDS. What cannot run here, or fails on a GPU later on, is replaced by ONNX Runtime on the
            CPU, with a warning.
        threads: CPU threads.
        precision: one of PRECISION_CHOICES. What cannot be had here is replaced by fp32, with a warning.
        cache: folder for engines; empty takes ``dinemo_ros`` in the user's cache folder.

    Raises:
        BundleError: the bundle's network is not ours, no backend could run it.
        ValueError: unknown backend or precision.
    """
    for name, value, allowed in (("backend", backend, BACKENDS), ("precision", precision, PRECISION_CHOICES)):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
    # Imported late: this loads ONNX Runtime, which those who want only the names need not wait for.
    from .engine_cache import EngineCache
    from .fallback import FallbackExtractor
    from .selection import Selection

    selection = Selection(bundle, threads, EngineCache(cache))
    extractor = selection.choose(backend, precision)
    return extractor if extractor.device == "CPU" else FallbackExtractor(extractor, selection.reference)
