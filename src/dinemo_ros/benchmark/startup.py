# SPDX-License-Identifier: Apache-2.0
"""From a cold process to the first pose, in a process of its own: imports, model, compiled kernels, memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ..errors import DinemoError
from ..process.child_python import python_command, python_environment
from .device import peak_memory_mb

_TIMEOUT_S = 600.0


def measure_startup(bundle: Path, threads: int) -> dict[str, dict[str, float]]:
    """A fresh process with an empty cache of compiled kernels ("cold") and with a full one ("warm").

    Each holds ``to_first_pose_s``, the steps ``import_s``, ``build_s`` and ``first_frame_s`` in it, ``cpu_s`` of all
    its threads, all in seconds, and ``peak_memory_mb``.

    Raises:
        DinemoError: the process failed; its last words are in the message.
    """
    with tempfile.TemporaryDirectory() as cache:
        return {name: start(bundle, threads, {"NUMBA_CACHE_DIR": cache}) for name in ("cold", "warm")}


def start(bundle: Path, threads: int, environment: dict[str, str]) -> dict[str, float]:
    """One process, with ``environment`` on top of ours: seconds of its steps and its peak memory in MB.

    Raises:
        DinemoError: it failed; its last words are in the message.
    """
    command = python_command(__name__, bundle, threads)
    begin = time.perf_counter()
    done = subprocess.run(command, env={**python_environment(), **environment}, capture_output=True,
                          text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise DinemoError(f"start-up of the estimator failed: {(done.stderr.splitlines() or ['no message'])[-1]}")
    report = json.loads(done.stdout.splitlines()[-1])
    return {"to_first_pose_s": time.perf_counter() - begin, **report}


def main() -> None:
    """In the measured process: print the steps' seconds as JSON."""
    begin = time.perf_counter()
    import numpy as np

    from ..camera.pinhole import Camera
    from ..estimator import PoseEstimator
    from ..model.bundle import load_bundle

    imported = time.perf_counter()
    estimator = PoseEstimator(load_bundle(sys.argv[1]), threads=int(sys.argv[2]))
    ready = time.perf_counter()
    image = np.full((480, 640, 3), 114, np.uint8)
    estimator.estimate(image, Camera.from_hfov(640, 480, 60.0), [(200.0, 150.0, 440.0, 330.0)])
    done = time.perf_counter()
    print(json.dumps({"import_s": imported - begin, "build_s": ready - imported, "first_frame_s": done - ready,
                      "cpu_s": time.process_time(), "peak_memory_mb": peak_memory_mb()}))


if __name__ == "__main__":
    main()
