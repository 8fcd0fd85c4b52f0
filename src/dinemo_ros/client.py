# SPDX-License-Identifier: Apache-2.0
"""Poses from a running pose node, in three lines:

    from dinemo_ros.client import PoseClient
    client = PoseClient("/pose_node")
    answer = client.estimate()

``answer.T`` is the pose of the best object and ``answer.reason`` says why there is none; see :class:`PoseAnswer`. ROS 2
is loaded when :class:`PoseClient` is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .node.pose_client import Done, FoundObject, PoseAnswer, PoseClient

__all__ = ["Done", "FoundObject", "PoseAnswer", "PoseClient"]

_HOMES = {"Done": "pose_client", "PoseClient": "pose_client", "FoundObject": "answer", "PoseAnswer": "answer"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".node.{_HOMES[name]}", __package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
