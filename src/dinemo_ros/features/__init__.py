# SPDX-License-Identifier: Apache-2.0
"""Backbones that turn pixels into unit-norm features, one file per inference backend behind one protocol."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..bundle import Bundle


class FeatureExtractor(Protocol):
    """What every backend offers."""

    name: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, 3] RGB, H and W multiples of 32 -> float32 [N, D, H/8, W/8] of unit norm over D."""
        ...


def create_extractor(bundle: Bundle, backend: str = "auto", threads: int = 2) -> FeatureExtractor:
    """Backend by name; ``auto`` takes the fastest one that is installed."""
    from .onnxruntime_backend import OnnxRuntimeExtractor  # imported here so that another backend need not install it

    if backend not in ("auto", "onnxruntime"):
        raise ValueError(f"backend is {backend!r}; allowed: auto, onnxruntime")
    return OnnxRuntimeExtractor(bundle, threads)
