# SPDX-License-Identifier: Apache-2.0
"""``dinemo doctor``: what is installed, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..defaults import available_cpus
from ..errors import BundleError
from ..io.quoting import one_line
from ..process.fastdds_profile import PROFILE_VARIABLES
from . import options
from .bench import cpu_name
from .doctor_backends import backends, engine_cache
from .doctor_kernels import kernel_cache
from .finding import Finding, installed, version
from .output import check_outputs, prose_beside, result_file, to_json

if TYPE_CHECKING:
    from .options import Commands

_DESCRIPTION = """\
Check the installation. Marks: "ok", "--" (optional, absent; the text says what is lost), "!!" (will not work, with
what to do). Exit code 1 if there is any "!!".
"""


def add_parser(subparsers: Commands) -> None:
    """Declare ``dinemo doctor``."""
    parser = subparsers.add_parser("doctor", help="what is installed and what is missing", description=_DESCRIPTION,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", metavar="DIR", default="car", help="bundle to check: a folder, or the name of a "
                        "shipped category (default: %(default)s)")
    options.add_cache_option(parser)
    parser.add_argument("--json", metavar="FILE", help="write the findings here as well; -: to standard output, "
                        "and those for people to standard error")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print all findings; returns 1 if one of them says that something will not work."""
    profiles = [os.environ.get(name) for name in PROFILE_VARIABLES]
    check_outputs({"--json": arguments.json}, [_folder_of(arguments.bundle), *profiles])
    findings = list(examine(arguments.bundle, arguments.cache))
    with prose_beside(arguments.json):
        for finding in findings:
            print(f"{finding.level} {finding.subject:14} {one_line(finding.text, 6000)}")
    if arguments.json:
        with result_file(arguments.json) as file:
            file.write(to_json([vars(finding) for finding in findings], indent=1) + "\n")
    return int(any(finding.level == "!!" for finding in findings))


def _folder_of(bundle: str) -> Path | None:
    """The bundle's folder; what is wrong with it is told as a finding."""
    try:
        return options.bundle_folder(bundle)
    except BundleError:
        return None


def examine(bundle: str, cache: str = "") -> Iterator[Finding]:
    """All findings, in the order a reader wants them."""
    yield Finding("ok", "machine", f"{cpu_name()}, {available_cpus()} CPUs, {platform.system()} "
                  f"{platform.machine()}, Python {platform.python_version()}")
    yield from backends()
    yield engine_cache(cache)
    yield kernel_cache()
    yield _bundle(bundle)
    yield _detector()
    yield from _ros()
    yield _fast_dds()
    yield _optional("rosbags", "reading bags", "pip install rosbags")


def _bundle(name: str) -> Finding:
    try:
        from ..model.bundle import load_bundle

        path = options.bundle_folder(name)
        loaded = load_bundle(path)
    except (BundleError, ImportError) as error:
        return Finding("!!", "bundle", str(error))
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file()) / 1e6
    networks = "fp32 and int8" if loaded.int8_path else "fp32"
    return Finding("ok", "bundle", f"{loaded.card.category} {loaded.card.version}, {size:.1f} MB, network in "
                   f"{networks}, hashes right, in {path}; weights: {loaded.card.weights_license.told()}")


def _detector() -> Finding:
    try:
        from ..detection.detector_search import find_detector
        from ..detection.onnx_detector import OnnxDetector

        folder = find_detector()
        detector = OnnxDetector(folder)
    except (BundleError, ImportError) as error:
        return Finding("--", "box detector", f"{error}; pictures without boxes are searched with the mesh alone, which "
                       "finds less")
    return Finding("ok", "box detector", f"{detector.name}, {len(detector.labels)} classes, {detector.card.license}, "
                   f"in {folder}")


def _ros() -> Iterator[Finding]:
    if not installed("rclpy"):
        yield Finding("--", "ROS 2", "no rclpy: only the dinemo command works, not the node; source a distribution "
                      "(source /opt/ros/DISTRO/setup.bash) or run scripts/setup.sh")
        return
    distribution = os.environ.get("ROS_DISTRO")
    yield Finding("ok", "ROS 2", f"distribution {distribution}" if distribution
                  else f"rclpy {version('ros-rclpy')} from wheels")
    for module in ("vision_msgs", "tf2_msgs"):
        if installed(module):
            yield Finding("ok", module, "found")
        else:
            package = f"ros-{distribution}-{module.replace('_', '-')}" if distribution else None
            yield Finding("!!", module, "missing, the node needs it: "
                          + (f"apt install {package}" if package else "run scripts/setup.sh, which generates it"))
    if not installed("tf2_ros"):
        yield Finding("--", "tf2_ros", "not installed; the node publishes on /tf and looks up in it by itself")


def _fast_dds() -> Finding:
    middleware = os.environ.get("RMW_IMPLEMENTATION", "")
    if middleware and "fastrtps" not in middleware:
        return Finding("--", "Fast DDS", f"not in use (RMW_IMPLEMENTATION={middleware})")
    wanted = {name: Path(os.environ[name]) for name in PROFILE_VARIABLES if os.environ.get(name)}
    missing = [f"{name}={path}" for name, path in wanted.items() if not path.is_file()]
    if missing:
        return Finding("!!", "Fast DDS", f"{missing[0]}: no such file, Fast DDS falls back to its small segment")
    if not wanted:
        return Finding("--", "Fast DDS", "no profile set: with its small shared-memory segment large images get lost; "
                       f"export {PROFILE_VARIABLES[0]} and {PROFILE_VARIABLES[1]} with the path of config/fastdds.xml "
                       "before camera driver and node (pose.launch.py does so for its own nodes)")
    return Finding("ok", "Fast DDS", ", ".join(f"{name}={path}" for name, path in wanted.items()))


def _optional(module: str, purpose: str, remedy: str) -> Finding:
    if installed(module):
        return Finding("ok", module, f"{version(module)}, for {purpose}")
    return Finding("--", module, f"not installed, needed for {purpose}: {remedy}")
