# SPDX-License-Identifier: Apache-2.0
"""On what a measurement was made."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

# They decide about speed; torch and pytorch3d about that of the reference solver.
_PACKAGES = ("dinemo_ros", "numpy", "numba", "onnxruntime", "opencv-python-headless")
REFERENCE_PACKAGES = ("torch", "pytorch3d")
_DISTRIBUTIONS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu"), "pytorch3d": ("pytorch3d", "easypytorch3d"),
                  "tensorrt": ("tensorrt", "tensorrt-rtx", "tensorrt-cu12", "tensorrt-cu13")}


def cpu_name() -> str:
    """Marketing name of the CPU, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(more: tuple[str, ...] = ()) -> dict[str, str]:
    """Python and the packages that decide about speed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in (*_PACKAGES, *more)}}


def load_average() -> float | None:
    """Runnable processes, mean of 60 seconds: above the number of CPUs the machine was busy with other work."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    # getrusage would answer for the parent's peak, too, in a process that was forked from a large one.
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _version(name: str) -> str:
    for distribution in _DISTRIBUTIONS.get(name, (name,)):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "not from a package"
