# SPDX-License-Identifier: Apache-2.0
"""A bundle's network in the precision that is asked for: the bundle's own file, or one made from it and cached."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from ..errors import BackendError
from ..model.bundle import BACKBONE_FILE, Bundle, write_bundle
from .engine_cache import EngineCache, EngineKey
from .optional import imported

_log = logging.getLogger(__name__)
_RECIPE = 2  # counts changes in features/precision.py and features/integer_stem.py that make another network


def network(bundle: Bundle, precision: str, cache: EngineCache, device: str = "cpu") -> bytes:
    """ONNX bytes of the backbone in ``precision``.

    Args:
        device: "cpu" or "gpu": they want int8 networks of different kinds.

    Raises:
        BackendError: it would have to be made first and cannot be made here.
    """
    if precision == "fp32":
        return bundle.backbone()
    if precision == "int8":
        instead = "the bundle's own is used" if device == "cpu" and bundle.int8_path else "there is none to use"
        found = cache.load(variant_key(bundle, "int8", device), instead)  # from one's own pictures
        if found is None and device == "cpu":
            found = bundle.int8()
        if found is None:
            raise BackendError(f"there is no int8 network of {bundle.card.category} {bundle.card.version} in "
                               f"{cache.folder}; make one from some 50 pictures with: dinemo build-engine "
                               f"{bundle.path} --precision int8 --calibration PICTURES")
        return found
    return cache.load_or_build(variant_key(bundle, precision), lambda: _half(network(bundle, "fp32", cache), precision))


def quantized(bundle: Bundle, pictures: Sequence[np.ndarray], device: str) -> bytes:
    """The bundle's network in int8.

    Args:
        pictures: uint8 [N, H, W, 3] each, of what the network will see.
        device: "cpu" or "gpu".

    Raises:
        BackendError: the onnx package is missing.
    """
    require_onnx("int8 networks")
    from .precision import quantize

    _log.info("%s %s: measuring ranges on %d pictures for int8 on a %s", bundle.card.category, bundle.card.version,
              len(pictures), device.upper())
    return quantize(bundle.backbone(), pictures, symmetric=device == "gpu")


def ship_int8(bundle: Bundle, int8: bytes, cache: EngineCache) -> Bundle:
    """Write an int8 network for CPUs into the bundle's folder, where every start finds it; the bundle read again.

    One of the cache would go before it, here and nowhere else: it is dropped.
    """
    shipped = write_bundle(bundle.path, bundle.card, bundle.backbone(), bundle.mesh, int8)
    cache.remove(variant_key(bundle, "int8", "cpu"))
    return shipped


def variant_key(bundle: Bundle, precision: str, device: str = "any") -> EngineKey:
    """Under which a network in another precision is cached."""
    return EngineKey(bundle.card.category, bundle.card.files[BACKBONE_FILE], f"network {_RECIPE}", device, precision,
                     "any")


def _half(model: bytes, precision: str) -> bytes:
    require_onnx("networks in fp16 and bf16")
    from .precision import half_precision

    return half_precision(model, precision)


def require_onnx(purpose: str) -> None:
    """BackendError unless the onnx package is there and works."""
    imported("onnx", purpose, "pip install onnx")
