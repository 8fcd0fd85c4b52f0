# SPDX-License-Identifier: Apache-2.0
"""``~/enable`` and ``~/reset``: work or rest, and begin anew, without a transition of the lifecycle."""

from __future__ import annotations

import time

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from .hooks import Hooks

#: What diagnostics say meanwhile.
RESTING = ("disabled: no images are taken and memory is free; service estimate wakes the node for one answer, service "
           "enable for good")


class Switch:
    """The services of a pose ``node``.

    Attributes:
        enabled: images are to be worked on while the node is active. Outlives transitions.
    """

    def __init__(self, node: Node, hooks: Hooks, enabled: bool) -> None:
        self._hooks, self.enabled = hooks, enabled
        group = MutuallyExclusiveCallbackGroup()  # however many ask, one thread waits
        node.create_service(SetBool, "~/enable", self._on_enable, callback_group=group)
        node.create_service(Trigger, "~/reset", self._on_reset, callback_group=group)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        with self._hooks.work:
            before, begin, self.enabled = self.enabled, time.monotonic(), request.data
            try:
                self._hooks.adapt()
            except Exception as error:  # a model that does not load again
                self.enabled = False
                self._hooks.adapt()
                response.success = False
                response.message = f"cannot be enabled: {self._hooks.sentence(error)}"
                return response
            state = self._hooks.state()
        changed = "is" if before != request.data else "was already"
        if request.data:
            rest = (f"images are taken, ready after {time.monotonic() - begin:.1f} s" if state == "active" else
                    f"images will be taken once the node is active, it is {state}")
        else:
            rest = "no images are taken and memory is free; ~/estimate still answers" if state == "active" else (
                f"no images will be taken, the node is {state}")
        response.success = True
        response.message = f"pose estimation {changed} {'enabled' if request.data else 'disabled'}: {rest}"
        return response

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._hooks.work:
            tracks = self._hooks.forget()
        response.success = True
        response.message = f"{tracks} track{'s' * (tracks != 1)} forgotten, with gates and the last stamp"
        return response
