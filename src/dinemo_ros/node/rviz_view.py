# SPDX-License-Identifier: Apache-2.0
"""``rviz_view``: becomes RViz, in the frame of what the pose node publishes.

A layout of RViz names one fixed frame, and every camera has another. So this waits for the first answer on
``detections`` and starts RViz in its frame: that of the images, or ``target_frame``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from vision_msgs.msg import Detection3DArray

from ..errors import DinemoError
from ..process.launcher import end_program_with_parent
from .ending import leave
from .executable import run
from .limited import limited
from .node_log import NodeLog
from .validation import HeaderError, check_frame_id

_PATIENCE_S = 3.0  # after which it says what it waits for


class RvizView(Node):
    """See the module.

    Attributes:
        frame: of the first answer; empty before.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__("rviz_view", start_parameter_services=False, **kwargs)
        self.frame, self._log = "", NodeLog(self.get_logger())
        self.program = _program()
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Detection3DArray, "detections",
                                 limited(Detection3DArray, "detections", self._take, self._refuse), newest, raw=True)

    def wait(self) -> None:
        """Until there is a frame."""
        executor, since, said = SingleThreadedExecutor(), time.monotonic(), False
        executor.add_node(self)
        while not self.frame and self.context.ok():
            executor.spin_once(0.2)
            if not said and time.monotonic() - since > _PATIENCE_S:
                said = True
                self._log.info(f"RViz opens with the first answer on {self.resolve_topic_name('detections')}, in its "
                               "frame")

    def _take(self, message: Detection3DArray) -> None:
        try:
            check_frame_id(message.header)
        except HeaderError as error:
            return self._log.warning(str(error))
        self.frame = message.header.frame_id
        return None

    def _refuse(self, topic: str, sentence: str) -> None:
        self._log.warning(f"{topic}: {sentence}")


def _program() -> str:
    try:
        path = Path(get_package_prefix("rviz2")) / "lib" / "rviz2" / "rviz2"
    except PackageNotFoundError as error:
        raise DinemoError("RViz is not installed: install the package rviz2") from error
    return str(path)


def arguments(words: list[str], frame: str) -> list[str]:
    """RViz's command line: ``words`` as this program got them, and the frame before those that are for ROS."""
    end = words.index("--ros-args") if "--ros-args" in words else len(words)
    return [*words[:end], f"--fixed-frame={frame}", *words[end:]]


def main(args: list[str] | None = None) -> int:
    """Wait, then be RViz; 0 after SIGINT or SIGTERM while waiting, 1 where RViz is not installed or cannot start."""
    made: list[RvizView] = []

    def make() -> RvizView:
        made.append(RvizView())
        return made[0]

    code = run("rviz_view", make, RvizView.wait, args)
    if not made or not made[0].frame:
        return code
    end_program_with_parent()
    sys.stdout.flush()
    try:
        os.execv(made[0].program, [made[0].program, *arguments(sys.argv[1:], made[0].frame)])
    except OSError as error:
        print(f"rviz_view: cannot start {made[0].program}: {error.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    leave(main())
