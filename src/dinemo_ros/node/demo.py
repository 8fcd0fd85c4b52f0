# SPDX-License-Identifier: Apache-2.0
"""The demo: starts the real nodes, listens to them as any other program would, and compares with the truth if known.

``python -m dinemo_ros.node.demo [PATH]`` after ``scripts/setup.sh`` and ``source scripts/env.sh``, or simply
``scripts/demo.sh [PATH]``. ``--scene NAME`` plays a scene with depth and a table instead.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import rclpy
from ament_index_python.packages import get_package_prefix, get_package_share_directory
from rclpy.executors import ExternalShutdownException
from rclpy.parameter import Parameter

from ..defaults import DEFAULT_HFOV_DEG
from ..errors import DinemoError
from ..evaluation.demo_scene import scene_folder
from ..model.bundle import bundle_folder
from ..process.current_folder import skip_dds_profile
from .demo_listener import DemoListener
from .scene_node import SceneNode

_READY_S = 120.0  # the first start compiles the solver
_STOP_S = 10.0


def start(executable: str, **settings: str | bool | float) -> subprocess.Popen:
    """Start a node of this package as a process of its own, with parameters."""
    path = Path(get_package_prefix("dinemo_ros")) / "lib" / "dinemo_ros" / executable
    words = [str(path), "--ros-args"]
    for name, value in settings.items():
        text = str(value).lower() if isinstance(value, bool) else f"'{value}'" if isinstance(value, str) else value
        words += ["-p", f"{name}:={text}"]
    # A session of its own: Ctrl-C here is handled here and passed on once. SIGINT restored: a process started in the
    # background of a shell inherits it ignored.
    return subprocess.Popen(words, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


def stop(process: subprocess.Popen) -> int:
    """End a node as Ctrl-C does; its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def parse(words: list[str] | None) -> argparse.Namespace:
    """The demo's command line; ends in an exit of argparse where it is wrong."""
    parser = argparse.ArgumentParser(prog="demo.sh", description="6D poses from a real ROS 2 node.")
    parser.add_argument("path", nargs="?", type=Path, help="folder of images, video, or rosbag2 (default: the rendered "
                        "sequence with ground truth that ships with the package)")
    parser.add_argument("--scene", metavar="NAME", help="instead of PATH a shipped scene with depth and the plane of a "
                        "table (cups): prints the errors of RGB alone, with the plane, with depth, with both")
    parser.add_argument("--out", type=Path, help="folder for overlay pictures (default: demo_out)")
    parser.add_argument("--hfov", type=float, default=0.0, metavar="DEG", help="horizontal field of view in the "
                        "place of PATH's camera (default: that, else the pictures' EXIF data, else "
                        f"{DEFAULT_HFOV_DEG:g})")
    parser.add_argument("--bundle", default="", metavar="DIR", help="model bundle: a folder, or the name of a shipped "
                        "category (default: car, with --scene the scene's)")
    options = parser.parse_args(words)
    if options.scene is not None and (options.path or options.out or options.hfov):
        parser.error("--scene goes without PATH, --out and --hfov: a scene has pictures and a camera of its own, and "
                     "no overlays are drawn")
    options.out = options.out or Path("demo_out")
    return options


def run(options: argparse.Namespace) -> int:
    """Start both nodes, listen until the source has ended, stop them; the exit code.

    Raises:
        DinemoError: the pose node did not start, or the source holds nothing usable.
    """
    share = Path(get_package_share_directory("dinemo_ros"))
    path = (options.path or share / "config" / "demo_sequence").resolve()
    listener = DemoListener(path, options.out)
    bundle = str(bundle_folder(options.bundle).resolve()) if options.bundle else ""
    processes = [start("pose_node", bundle=bundle)]
    pose_node = processes[0]
    try:
        listener.wait_until_ready(pose_node, _READY_S)
        processes.append(start("image_source_node", path=str(path), hfov_deg=options.hfov, stamps="source",
                               lockstep=True))
        listener.listen(pose_node, processes[1])
    finally:
        codes = [stop(process) for process in reversed(processes)]
    if any(codes):
        print(f"a node ended with an error (exit codes {codes}), see above", file=sys.stderr)
    return 1 if any(codes) or not listener.summary() else 0


def run_scene(options: argparse.Namespace) -> int:
    """Start the pose node and play a scene to it, which prints its errors; the exit code.

    Raises:
        DinemoError: there is no such scene, or the pose node did not start.
    """
    scene_folder(options.scene)  # of a scene that is none, before anything starts
    player = SceneNode(parameter_overrides=[Parameter("scene", value=options.scene)])
    bundle = str(bundle_folder(options.bundle).resolve()) if options.bundle else ""
    pose_node = start("pose_node", bundle=bundle, category=player.scene.category)
    started = time.monotonic()

    def watch() -> None:
        late = not player.table.started and time.monotonic() - started > _READY_S
        if pose_node.poll() is not None or late or "cannot configure" in player.diagnosis:
            raise DinemoError(f"the pose node did not start: {player.diagnosis or 'see its output above'}")

    try:
        player.play(watch)
    finally:
        code = stop(pose_node)
    if code:
        print(f"the pose node ended with an error (exit code {code}), see above", file=sys.stderr)
    return 1 if code or not player.table.poses else 0


def main(words: list[str] | None = None) -> int:
    """The demo as a program: 0, or 1 after an error that is told in a sentence."""
    options = parse(words)
    # Nobody else's robot listens in; told so that RViz can.
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    print(f"ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}; topics: /image /detections /pose /markers /overlay /tf"
          f"{' /depth/image' * (options.scene is not None)}", flush=True)
    skip_dds_profile()
    started = time.monotonic()
    try:
        rclpy.init(args=[])
        return run(options) if options.scene is None else run_scene(options)
    except DinemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    finally:
        rclpy.try_shutdown()
        print(f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    sys.exit(main())
