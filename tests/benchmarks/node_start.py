# SPDX-License-Identifier: Apache-2.0
"""Seconds from starting the node to its being active, its CPU time, its memory over many configurations, and what
switching it off and on (``~/enable``) gives back and costs.

    source scripts/env.sh && PYTHONPATH=tests python tests/benchmarks/node_start.py [--starts 10] [--cycles 100]
                                                                                    [--rests 10]

A start counts from the process's first instruction to the line "active: images from". Run it on an idle machine; the
load it saw stands beside the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

# Before rclpy is loaded: only this machine, and a domain of its own.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)

import numpy as np
import rclpy
from ament_index_python.packages import get_package_share_path
from lifecycle_msgs.msg import Transition
from ros_support.probe import Probe
from ros_support.processes import NodeProcess, executable, start_node

from dinemo_ros.client import PoseClient
from dinemo_ros.io.sources import open_source

CYCLE = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE,
         Transition.TRANSITION_CLEANUP)


def measure_starts(count: int, folder: Path, category: str) -> dict:
    """Wall and CPU seconds of count starts, one after the other."""
    wall, cpu = [], []
    for k in range(count):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        node = NodeProcess([executable("pose_node"), "--ros-args", "-p", f"category:={category}"], folder / f"start{k}")
        node.wait_for_output("active: images from", timeout_s=120.0)
        wall.append(time.monotonic() - started)
        node.interrupt()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"n": count, "category": category, "first_s": round(wall[0], 2),
            "median_s": round(float(np.median(wall)), 2),
            "largest_s": round(max(wall), 2), "cpu_median_s": round(float(np.median(cpu)), 2)}


def resident_mb(node: NodeProcess) -> float:
    """Memory of the node's process that is in use, megabytes."""
    return int(Path(f"/proc/{node.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6


def measure_rests(count: int, folder: Path) -> dict:
    """Resident megabytes after an image was worked on, and at rest; seconds until the model is back."""
    frame = next(iter(open_source(get_package_share_path("dinemo_ros") / "config" / "demo_sequence")))
    node = start_node("pose_node", folder / "rests", "/node_rest")
    probe = Probe("/node_rest", outputs=("detections",))
    awake, resting, seconds = [], [], []
    with PoseClient("/node_rest/pose_node") as client:
        for _ in range(count):
            probe.wait_for_node()
            probe.answer("detections", probe.send(frame.image_rgb, frame.camera))
            awake.append(resident_mb(node))
            done = client.enable(False)
            assert done.success, done.reason
            resting.append(resident_mb(node))
            asked = time.monotonic()
            done = client.enable()
            assert done.success, done.reason
            seconds.append(time.monotonic() - asked)
    node.interrupt()
    probe.destroy_node()
    return {"n": count, "mb_awake_median": round(float(np.median(awake)), 1),
            "mb_rest_median": round(float(np.median(resting)), 1),
            "mb_given_back_median": round(float(np.median(np.subtract(awake, resting))), 1),
            "mb_rest_last": round(resting[-1], 1), "wake_median_s": round(float(np.median(seconds)), 2),
            "wake_largest_s": round(max(seconds), 2)}


def measure_cycles(count: int, folder: Path) -> dict:
    """Resident megabytes of one node after each of count cycles of its life, and the slowest answer of get_state."""
    node = start_node("pose_node", folder / "cycles", "/node_start", autostart=False)
    probe = Probe("/node_start", outputs=())
    resident, answers = [], []
    for _ in range(count):
        for transition in CYCLE:
            assert probe.change_state(transition), node.output
            asked = time.monotonic()
            probe.state()
            answers.append(time.monotonic() - asked)
        resident.append(resident_mb(node))
    node.interrupt()
    probe.destroy_node()
    settled = resident[2:]
    slope = np.polyfit(range(len(settled)), settled, 1)[0] if len(settled) > 1 else float("nan")
    return {"cycles": count, "mb_first": round(resident[0], 1), "mb_last": round(resident[-1], 1),
            "mb_largest": round(max(resident), 1), "mb_per_cycle": round(float(slope), 3),
            "slowest_get_state_s": round(max(answers), 3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--rests", type=int, default=10)
    parser.add_argument("--category", default="car")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        result = {"load_before": load, "starts": measure_starts(arguments.starts, Path(folder), arguments.category)}
        rclpy.init()
        if arguments.cycles:
            result["memory"] = measure_cycles(arguments.cycles, Path(folder))
        if arguments.rests:
            result["rest"] = measure_rests(arguments.rests, Path(folder))
        rclpy.try_shutdown()
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
