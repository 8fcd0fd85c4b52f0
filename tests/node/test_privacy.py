# SPDX-License-Identifier: Apache-2.0
"""What a start of the node leaves in the home of the user that it runs as."""

import os

from ros_support.processes import NodeProcess, executable

from dinemo_ros.process import privacy

CACHES = (".cache/dinemo_ros/", ".cache/numba/")


def test_a_start_leaves_nothing_at_home(tmp_path):
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    env = {name: value for name, value in os.environ.items()
           if name not in privacy._OPT_OUT and not name.startswith("XDG_")}
    env |= {"HOME": str(home), "TMPDIR": str(home / "tmp"), "ROS_LOG_DIR": str(tmp_path / "ros_log")}
    node = NodeProcess([executable("pose_node"), "--ros-args", "-r", "__ns:=/privacy_test"], tmp_path / "log", env)
    node.wait_for_output("active: images from", 120.0)
    assert node.interrupt() == 0
    names = (path.relative_to(home).as_posix() for path in home.rglob("*") if not path.is_dir())
    assert [name for name in names if not name.startswith(CACHES)] == []
