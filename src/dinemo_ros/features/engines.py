# SPDX-License-Identifier: Apache-2.0
"""TensorRT engines of bundles: found in the cache, or built into it."""

from __future__ import annotations

from ..bundle import BACKBONE_FILE, Bundle
from .engine_build import Profile, build_plan, check_arch, profiles
from .engine_cache import EngineCache, EngineKey
from .tensorrt_api import TensorRt
from .variants import network


def shapes_of(bundle: Bundle) -> tuple[Profile, ...]:
    """The shapes that engines of this bundle take."""
    return profiles(bundle)


def engine_key(bundle: Bundle, trt: TensorRt, arch: str, precision: str) -> EngineKey:
    """Under which an engine is cached: whatever changes it is part of the key."""
    shapes = " ".join(f"{part.least}-{part.best}-{part.most}" for part in shapes_of(bundle))
    return EngineKey(bundle.card.category, bundle.card.files[BACKBONE_FILE], f"{trt.flavour} {trt.version}", arch,
                     precision, shapes)


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
    name = f"{bundle.card.category} {bundle.card.version} {precision}"
    return cache.load_or_build(engine_key(bundle, trt, arch, precision), lambda: build_plan(
        trt, _readable(network(bundle, precision, cache, "gpu")), shapes_of(bundle), arch, name))


def _readable(model: bytes) -> bytes:
    """The network rewritten as TensorRT can read it, where onnx is installed; bundles are shipped rewritten."""
    try:
        from .onnx_graph import engine_ready
    except ImportError:
        return model
    return engine_ready(model)
