# SPDX-License-Identifier: Apache-2.0
"""What the runtime takes: megabytes of a node at work, by what they are for, and of the installed packages on disk.

    source scripts/env.sh && PYTHONPATH=tests:$PYTHONPATH python tests/benchmarks/footprint.py [--frames 28]
                                                                              [--category car] [--json FILE]

Memory is read once the node is active, and after the frames of the demo sequence were answered, overlay and markers
with them, from ``/proc/PID/smaps``: resident as ``top`` shows it; private is what ends with the process, the rest are
pages of files that the system can drop or share with other processes. Disk counts the packages that ``setup.py`` and
the extra ``bag`` ask for and theirs, those of ROS apart, by the lists of their files; what Python caches is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections import Counter
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

# Before rclpy is loaded: only this machine, and a domain of its own.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)

import rclpy
from ament_index_python.packages import get_package_share_path
from packaging.requirements import Requirement
from ros_support.probe import Probe
from ros_support.processes import start_node

from dinemo_ros.io.sources import open_source

NAMESPACE = "/footprint"
_FIELDS = ("Rss", "Pss", "Private_Clean", "Private_Dirty")


def memory_of(pid: int) -> dict:
    """Megabytes of a process: in all, and resident ones by the file they are of."""
    total: Counter[str] = Counter()
    resident: Counter[str] = Counter()
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)", line):
            name = Path(found[1]).name or "anonymous"
        elif (field := line.partition(":")[0]) in _FIELDS:
            total[field] += int(line.split()[1])
            resident[name] += int(line.split()[1]) * (field == "Rss")
    mb = {field: round(total[field] / 1e3 * 1.024, 1) for field in _FIELDS}
    return {"resident_mb": mb["Rss"], "proportional_mb": mb["Pss"],
            "private_mb": round(mb["Private_Clean"] + mb["Private_Dirty"], 1),
            "largest_mb": {file: round(size / 1e3 * 1.024, 1) for file, size in resident.most_common(12)}}


def measure_memory(frames: int, category: str, folder: Path) -> dict:
    """Of a node: once it is active, and when it has answered ``frames`` images while everything is listened to."""
    pictures = list(open_source(get_package_share_path("dinemo_ros") / "config" / "demo_sequence"))
    node = start_node("pose_node", folder / "log", NAMESPACE, category=category)
    node.wait_for_output("active: images from", timeout_s=300.0)
    probe = Probe(NAMESPACE)
    probe.wait_for_node()
    started = memory_of(node.process.pid)
    for k in range(frames):
        frame = pictures[k % len(pictures)]
        probe.answer("detections", probe.send(frame.image_rgb, frame.camera))
    at_work = memory_of(node.process.pid)
    node.interrupt()
    probe.destroy_node()
    return {"category": category, "frames": frames, "started": started, "at_work": at_work}


def runtime() -> dict[str, Distribution]:
    """By name what is installed for the package itself, whatever else is in the environment."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement("dinemo_ros[bag]")]
    while waiting:
        wanted = waiting.pop()
        name = wanted.name.lower().replace("_", "-")
        extras = wanted.extras or {""}
        try:
            found.setdefault(name, distribution(wanted.name))
        except PackageNotFoundError:  # of another platform
            continue
        for line in found[name].requires or ():
            one = Requirement(line)
            if one.name.lower().replace("_", "-") not in found and (
                    one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras)):
                waiting.append(one)
    return found


def disk_mb(package: Distribution) -> float:
    """Of the files that came with the package; what lies in a folder of a checkout is not installed."""
    sizes = [path.stat().st_size for file in package.files or () if file.suffix != ".pyc"
             and (path := Path(str(package.locate_file(file)))).is_file()]
    return sum(sizes) / 1e6


def measure_disk() -> dict:
    """Megabytes by package, the largest first."""
    sizes = {name: round(disk_mb(package), 1) for name, package in runtime().items()}
    sizes = dict(sorted(sizes.items(), key=lambda item: -item[1]))
    shown = {name: size for name, size in sizes.items() if size}
    return {"sum_mb": round(sum(sizes.values()), 1), "packages_mb": shown}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=28)
    parser.add_argument("--category", default="car")
    parser.add_argument("--json", help="also write the figures here")
    arguments = parser.parse_args()
    result: dict = {"disk": measure_disk()}
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        result["memory"] = measure_memory(arguments.frames, arguments.category, Path(folder))
    rclpy.try_shutdown()
    text = json.dumps(result, indent=1)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
