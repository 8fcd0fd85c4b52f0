# SPDX-License-Identifier: Apache-2.0
"""Where the installed executables begin: loading rclpy and the solver takes a second, and Ctrl-C in it is no error."""

from __future__ import annotations

from importlib import import_module
from typing import NoReturn

from ..process.launcher import end_with_launcher
from .ending import heed_signals, leave


def pose_node() -> NoReturn:
    """The console script of this name: runs the node, then leaves the process."""
    leave(_main_of("pose_node"))


def image_source_node() -> NoReturn:
    """The console script of this name: runs the node, then leaves the process."""
    leave(_main_of("image_source_node"))


def scene_node() -> NoReturn:
    """The console script of this name: runs the node, then leaves the process."""
    leave(_main_of("scene_node"))


def yolo_boxes() -> NoReturn:
    """The console script of this name: runs the node, then leaves the process."""
    leave(_main_of("yolo_boxes"))


def rviz_view() -> NoReturn:
    """The console script of this name: becomes RViz, once it is known in which frame."""
    leave(_main_of("rviz_view"))


def _main_of(module: str) -> int:
    heed_signals()
    end_with_launcher()
    return import_module(f".{module}", __package__).main()
