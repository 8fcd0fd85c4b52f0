# SPDX-License-Identifier: Apache-2.0
"""Asks a pose node for poses from a script or from inside another node. Import it as :mod:`dinemo_ros.client`."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import SetBool, Trigger

from ..io.quoting import one_line, quoted
from .answer import AnswerError, FoundObject, PoseAnswer

__all__ = ["Done", "FoundObject", "PoseAnswer", "PoseClient"]

_SLICE_S = 0.1  # between two looks whether Ctrl-C was pressed
_numbers = count()


@dataclass(frozen=True)
class Done:
    """Whether a request was granted, and in one sentence what came of it."""

    success: bool
    reason: str


class PoseClient:
    """``PoseClient("/pose_node").estimate()`` is all there is to it; nothing has to be initialised or spun.

    Its node and its executor are its own, so it may be used where nothing spins, while something else spins, and inside
    a callback (which waits meanwhile). Requests that fail do not raise: the answer says why. For several threads, one
    request at a time. ``close()``, or ``with``, ends it.

    Args:
        pose_node: full name of the node, or a name relative to the namespace of ``node``.
        node: whose context, namespace and remappings are used; without one, a context of its own.
        find_s: seconds to wait for the service to be found.
    """

    def __init__(self, pose_node: str = "/pose_node", node: Node | None = None, find_s: float = 5.0) -> None:
        self._find_s, self._lock = find_s, threading.Lock()
        self._own_context: Context | None = None
        if node is None:
            context = self._own_context = Context()
            rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
            namespace, arguments = "", False
        else:
            context, namespace, arguments = node.context, node.get_namespace(), True
        self._node = Node(f"pose_client_{os.getpid()}_{next(_numbers)}", context=context, namespace=namespace or None,
                          use_global_arguments=arguments, enable_rosout=False, start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._pose_node = pose_node
        self._clients: dict[str, Any] = {}

    def estimate(self, timeout_s: float = 30.0) -> PoseAnswer:
        """The poses of now. ``timeout_s``: longer than ``estimate_timeout_s`` of the node, which answers by then."""
        response, problem = self._call(Trigger, "estimate", Trigger.Request(), timeout_s)
        if response is None:
            return PoseAnswer(False, problem)
        try:
            return PoseAnswer.read(response.message)
        except AnswerError as error:
            return PoseAnswer(False, str(error))

    def enable(self, on: bool = True, timeout_s: float = 60.0) -> Done:
        """Have the node work on images, or rest and give its memory back."""
        return self._done(*self._call(SetBool, "enable", SetBool.Request(data=on), timeout_s))

    def reset(self, timeout_s: float = 10.0) -> Done:
        """Have the node forget its tracks."""
        return self._done(*self._call(Trigger, "reset", Trigger.Request(), timeout_s))

    def close(self) -> None:
        """Take the client off the graph. It cannot be used any more."""
        with self._lock:
            self._executor.shutdown(timeout_sec=0.0)
            self._node.destroy_node()
            if self._own_context is not None and self._own_context.ok():
                self._own_context.shutdown()

    def __enter__(self) -> PoseClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @staticmethod
    def _done(response: Any, problem: str) -> Done:
        return Done(False, problem) if response is None else Done(response.success, one_line(response.message))

    def _call(self, kind: type, service: str, request: Any, timeout_s: float) -> tuple[Any, str]:
        """The response, or None and a sentence."""
        with self._lock:
            name = f"{self._pose_node.rstrip('/')}/{service}"
            client = self._clients.get(service)
            if client is None:
                client = self._clients[service] = self._node.create_client(kind, name)
            if not self._until(client.service_is_ready, self._find_s):
                return None, (f"no service {quoted(client.srv_name)} was found in {self._find_s:g} s: is the pose node "
                              "running, under that name and in this ROS_DOMAIN_ID?")
            future = client.call_async(request)
            if not self._until(future.done, timeout_s):
                client.remove_pending_request(future)
                return None, (f"{quoted(client.srv_name)} did not answer in {timeout_s:g} s: wait longer (timeout_s), "
                              "or look at /diagnostics for what the node is at")
            return future.result(), ""

    def _until(self, condition: Any, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or not self._node.context.ok():
                return False
            self._executor.spin_once(timeout_sec=min(left, _SLICE_S))
        return True
