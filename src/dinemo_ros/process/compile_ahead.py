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
        DinemoError: the kernels cannot be kept, told before they are compiled where it is known then.
        BundleError: a bundle is no good.
    """
    loaded = [load_bundle(folder) for folder in bundles or map(find_bundle, shipped_categories())]  # before the work
    _require_place()
    for bundle in loaded:
        # The solver on the CPU is the one that numba compiles, and every estimator has it; the network does not matter.
        PoseEstimator(bundle, threads=2, backend="onnxruntime", precision="fp32", device="cpu", progress=say)
    if missing_kernels():
        raise DinemoError(_not_kept())
    return Ahead(len(kernels()), progress().compiled, KERNEL_FOLDER.folder)


def _require_place() -> None:
    """DinemoError now and not after half a minute, where kernels are missing and none can be kept."""
    store = KERNEL_FOLDER.store
    if missing_kernels() and (store is None or store.write_obstacle()):
        raise DinemoError(_not_kept(store.write_obstacle() if store else ""))


def _not_kept(reason: str = "") -> str:
    return (f"{KERNEL_FOLDER.folder}: {len(missing_kernels())} of {len(kernels())} kernels are not kept"
            f"{f' ({reason})' if reason else ''}, so every start compiles them again; NUMBA_CACHE_DIR names another "
            "folder")


def missing_kernels() -> list[str]:
    """Names of the kernels that are not on disk for these sources and this machine."""
    ready = KERNEL_FOLDER.store.survey().kernels() if KERNEL_FOLDER.store else set()
    return sorted(set(kernels()) - ready)
