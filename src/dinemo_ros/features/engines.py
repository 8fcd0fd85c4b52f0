# SPDX-License-Identifier: Apache-2.0
"""TensorRT engines of bundles: found in the cache, or built into it."""

from __future__ import annotations

import hashlib

from ..bundle import Bundle
from .engine_build import Profile, build_plan, check_arch, profiles
from .engine_cache import EngineCache, EngineKey
from .tensorrt_api import TensorRt
from .variants import network

_RECIPE = 1  # counts changes in features/onnx_graph.py and features/engine_build.py that make another engine


def shapes_of(bundle: Bundle) -> tuple[Profile, ...]:
    """The shapes that engines of this bundle take."""
    return profiles(bundle)


def engine_key(bundle: Bundle, trt: TensorRt, arch: str, precision: str, model: bytes) -> EngineKey:
    """Under which an engine is cached: whatever changes it is part of the key.

    Args:
        model: the network in ``precision``. Its bytes and not backbone.onnx's count, which stay the same when int8 is
            calibrated on other pictures.
    """
    shapes = " ".join(f"{part.least}-{part.best}-{part.most}" for part in shapes_of(bundle))
    return EngineKey(bundle.card.category, hashlib.sha256(model).hexdigest(),
                     f"{trt.flavour} {trt.version} recipe {_RECIPE}", arch, precision, shapes)


def cached_plan(bundle: Bundle, trt: TensorRt, arch: str, precision: str, cache: EngineCache,
                present: str | None = None) -> bytes:
    """The serialised engine of a bundle, built if need be.

    Args:
        arch: GPU architecture to build for, like "sm89".
        present: that of this machine's GPU, if another.

    Raises:
        BackendError: it cannot be built.
    """
    check_arch(trt, arch, present or arch)
    model = network(bundle, precision, cache, "gpu")
    name = f"{bundle.card.category} {bundle.card.version} {precision}"
    return cache.load_or_build(engine_key(bundle, trt, arch, precision, model), lambda: build_plan(
        trt, _readable(model) if precision == "fp32" else model, shapes_of(bundle), arch, name))


def _readable(model: bytes) -> bytes:
    """The bundle's own network as TensorRT can read it, where onnx is installed; bundles are shipped rewritten.

    In other precisions it is rewritten before it is converted, and could not be compared afterwards: ONNX Runtime has
    no bf16 convolutions on a CPU.
    """
    try:
        from .onnx_graph import engine_ready
    except ImportError:
        return model
    return engine_ready(model)
