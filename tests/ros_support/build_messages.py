# SPDX-License-Identifier: Apache-2.0
"""Generate and install ``tf2_msgs`` and ``vision_msgs`` into the venv that runs this script.

No wheel carries these two packages. A machine with a ROS distribution has them and never comes here.
Usage: ``.venv/bin/python tests/ros_support/build_messages.py BUILD_FOLDER`` (about half a minute).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np

PACKAGES = ("tf2_msgs", "vision_msgs")
HERE = Path(__file__).resolve().parent


def repair_include_paths(prefix: Path) -> None:
    """Point the generator at this interpreter's headers.

    The wheels were built in /opt/python/cp3xx and their CMake export files still say so.
    """
    python_include, numpy_include = sysconfig.get_config_var("INCLUDEPY"), np.get_include()
    if not (Path(python_include) / "Python.h").is_file():
        sys.exit(f"Python.h is not in {python_include}: install the development headers of Python "
                 f"{sys.version_info.major}.{sys.version_info.minor} (apt: python3-dev)")
    for file in prefix.glob("share/*/cmake/*rosidl_generator_pyExport.cmake"):
        text = file.read_text()
        fixed = re.sub(r"/opt/[^;\"]*?/numpy/(?:_core|core)/include", numpy_include, text)
        fixed = re.sub(r"/opt/python/cp3[^;\"]*?/include/python3\.\d+", python_include, fixed)
        if fixed != text:
            file.write_text(fixed)


def build(package: str, prefix: Path, build_folder: Path) -> None:
    """Configure, compile and install one message package with CMake and Ninja from the venv."""
    folder = build_folder / package
    env = {**os.environ, "AMENT_PREFIX_PATH": str(prefix), "PATH": f"{prefix / 'bin'}:{os.environ['PATH']}"}
    configure = ["cmake", "-G", "Ninja", "-S", HERE / package, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}",
                 f"-DCMAKE_INSTALL_PREFIX={prefix}", f"-DPython3_EXECUTABLE={sys.executable}",
                 "-DBUILD_TESTING=OFF", "-DCMAKE_BUILD_TYPE=Release"]
    for command in (configure, ["cmake", "--build", folder, "--target", "install"]):
        done = subprocess.run([str(word) for word in command], env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode:
            sys.exit(f"{done.stdout}\nbuilding {package} failed (output above)")


def main() -> None:
    prefix, build_folder = Path(sys.prefix), Path(sys.argv[1]).resolve()
    repair_include_paths(prefix)
    for package in PACKAGES:
        print(f"  generating {package}", flush=True)
        build(package, prefix, build_folder)


if __name__ == "__main__":
    main()
