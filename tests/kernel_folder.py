# SPDX-License-Identifier: Apache-2.0
"""The kernels that all tests share, and copies of them to damage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def dinemo(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """Run ``dinemo`` in a process of its own."""
    return subprocess.run([sys.executable, "-m", "dinemo_ros.cli.main", *map(str, arguments)], text=True, timeout=300,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src"), **environment})


def compiled_kernels() -> Path:
    """The folder of this machine's kernels, all of them ready: compiled now, unless set-up or another test has."""
    done = dinemo("compile")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.rpartition(" in ")[2].strip())


def copied_kernels(base: Path) -> Path:
    """The same below ``base``, for NUMBA_CACHE_DIR."""
    folder = compiled_kernels()
    return Path(shutil.copytree(folder, base / "dinemo_ros" / "kernels" / folder.name))


def damage(folder: Path) -> None:
    """One entry's index emptied and another's data cut, as a power cut leaves them."""
    index, *_, data = sorted(folder.glob("*.nbi"))
    index.write_bytes(b"")
    data = data.with_suffix(".nbc")
    data.write_bytes(data.read_bytes()[:1000])
