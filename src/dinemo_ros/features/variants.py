# SPDX-License-Identifier: Apache-2.0
"""A bundle's network in the precision that is asked for: the bundle's own file, or one made from it and cached."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import metadata

import numpy as np
import onnxruntime as ort

from ..bundle import BACKBONE_FILE, Bundle, write_bundle
from ..errors import BackendError, NotInstalledError
from .engine_cache import EngineCache, EngineKey

_log = logging.getLogger(__name__)
_RECIPE = 1  # counts changes in features/precision.py that make another network


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
        found = cache.load(variant_key(bundle, "int8", device))  # from one's own pictures, if somebody gave some
        if found is None and device == "cpu":
            found = bundle.int8()
        if found is None:
            raise BackendError(f"there is no int8 network of {bundle.card.category} {bundle.card.version} in "
                               f"{cache.folder}; make one from some 50 pictures with: dinemo build-engine "
                               f"{bundle.path} --precision int8 --calibration PICTURES")
        return found
    return cache.load_or_build(variant_key(bundle, precision), lambda: _half(network(bundle, "fp32", cache), precision))


def quantized(bundle: Bundle, pictures: Sequence[np.ndarray], cache: EngineCache) -> None:
    """Make the int8 networks of a bundle and cache them.

    Args:
        pictures: uint8 [N, H, W, 3] each, of what the network will see.

    Raises:
        BackendError: the onnx package is missing.
    """
    require_onnx("int8 networks")
    from .precision import quantize

    for device in ("cpu", "gpu"):
        _log.info("%s %s: measuring ranges on %d pictures for int8 on a %s", bundle.card.category,
                  bundle.card.version, len(pictures), device.upper())
        content = quantize(network(bundle, "fp32", cache), pictures, symmetric=device == "gpu")
        cache.store(variant_key(bundle, "int8", device), content)


def ship_int8(bundle: Bundle, pictures: Sequence[np.ndarray]) -> Bundle:
    """Write the int8 network for CPUs into the bundle's folder, where every start finds it; the bundle read again.

    Raises:
        BackendError: the onnx package is missing.
    """
    require_onnx("int8 networks")
    from .precision import quantize

    backbone = bundle.backbone()
    return write_bundle(bundle.path, bundle.card, backbone, bundle.mesh, quantize(backbone, pictures))


def variant_key(bundle: Bundle, precision: str, device: str = "any") -> EngineKey:
    """Under which a network in another precision is cached."""
    return EngineKey(bundle.card.category, bundle.card.files[BACKBONE_FILE], f"network {_RECIPE}", device, precision,
                     "any")


def _half(model: bytes, precision: str) -> bytes:
    require_onnx(f"networks in {precision}")
    from .precision import half_precision

    return half_precision(model, precision)


def require_onnx(purpose: str) -> None:
    """NotInstalledError unless the onnx package is there."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise NotInstalledError(f"{purpose} need the onnx package ({error}): pip install onnx") from error


def runtime_version() -> str:
    """What ONNX Runtime this is, of the several packages that carry it."""
    for package in ("onnxruntime-gpu", "onnxruntime"):
        try:
            return f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    return f"onnxruntime {ort.__version__}"
