# SPDX-License-Identifier: Apache-2.0
"""A node whose compiled kernels are damaged gives poses all the same and says so once."""

import os

from kernel_folder import copied_kernels, damage
from ros_support.processes import NodeProcess, executable

NAMESPACE = "/kernels_test"


def test_damaged_kernels(tmp_path, make_probe, demo_frames):
    folder = copied_kernels(tmp_path / "cache")
    damage(folder)
    node = NodeProcess([executable("pose_node"), "--ros-args", "-r", f"__ns:={NAMESPACE}"], tmp_path / "log",
                       os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")})
    probe = make_probe(NAMESPACE)
    node.wait_for_output("active: images from", timeout_s=120.0)
    probe.wait_for_node()
    assert probe.answer("detections", probe.send(demo_frames[0].image, demo_frames[0].camera)).detections
    assert node.interrupt() == 0
    (sentence,) = [line for line in node.output.splitlines() if "compiled again" in line]
    assert "WARN" in sentence and str(folder) in sentence
    assert "compiling the solver" in node.output and "Traceback" not in node.output
    assert not [path for path in folder.iterdir() if path.stat().st_size == 0 and path.name != ".lock"]
