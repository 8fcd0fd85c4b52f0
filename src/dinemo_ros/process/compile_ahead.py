# SPDX-License-Identifier: Apache-2.0
"""Every kernel compiled and kept before the first start, so that this takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import DinemoError
from ..estimator import PoseEstimator
from ..model.bundle import find_bundle, load_bundle, shipped_categories
from ..solver.jit import kernels, progress
from ..solver.kernel_cache import KERNEL_FOLDER


class Ahead(NamedTuple):
    """What :func:`compile_ahead` has found and made."""

    kernels: int
    compiled: int  # of them just now; the others were there
    folder: Path


def compile_ahead(bundles: Sequence[Path] = (), say: Callable[[str], None] | None = None) -> Ahead:
    """Start an estimator of each bundle, which compiles and keeps what none before it has.

    Args:
        bundles: folders; none stands for those of all shipped categories.
        say: see :class:`PoseEstimator`.

    Raises:
        DinemoError: the kernels work and cannot be kept; BundleError: a bundle is no good.
    """
    for folder in bundles or [find_bundle(category) for category in shipped_categories()]:
        # The solver on the CPU is the one that numba compiles, and every estimator has it; the network does not matter.
        PoseEstimator(load_bundle(folder), threads=2, backend="onnxruntime", precision="fp32", device="cpu",
                      progress=say)
    missing = missing_kernels()
    if missing:
        raise DinemoError(f"{KERNEL_FOLDER.folder}: {len(missing)} of {len(kernels())} kernels are not kept, so every "
                          "start compiles them again; NUMBA_CACHE_DIR names another folder")
    return Ahead(len(kernels()), progress().compiled, KERNEL_FOLDER.folder)


def missing_kernels() -> list[str]:
    """Names of the kernels that are not on disk for these sources and this machine."""
    ready = KERNEL_FOLDER.store.survey().kernels() if KERNEL_FOLDER.store else set()
    return sorted(set(kernels()) - ready)
