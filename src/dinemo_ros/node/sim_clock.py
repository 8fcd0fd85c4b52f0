# SPDX-License-Identifier: Apache-2.0
"""Simulated time that nobody gives is told: with ``use_sim_time`` and no /clock every stamp is zero, and whoever waits
for ROS time waits for ever, without a word."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_PERIOD_S = 0.5
_PATIENCE_S = 1.5  # for the first message of /clock
#: Between two times that it stands in the log.
AGAIN_S = 30.0


class SimClock:
    """Looks at the clock of ``node`` twice a second, on the steady clock, and tells what is wrong every time."""

    def __init__(self, node: Node, tell: Callable[[str], None]) -> None:
        self._node, self._tell, self._since = node, tell, time.monotonic()
        node.create_timer(_PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _look(self) -> None:
        now = time.monotonic()
        if not self._node.get_parameter("use_sim_time").value or self._node.get_clock().now().nanoseconds:
            self._since = now
        elif now - self._since > _PATIENCE_S:
            publishers = self._node.count_publishers("/clock")
            who = f"of {publishers} publishers none has sent a time" if publishers else "nobody publishes it"
            self._tell(f"use_sim_time is set and no time comes on /clock, {who}: start the simulation, play the bag "
                       "with --clock, or unset use_sim_time")
