# SPDX-License-Identifier: Apache-2.0
"""Where the installed executables begin: loading rclpy and the solver takes a second, and Ctrl-C in it is no error."""

from __future__ import annotations

from importlib import import_module
from typing import NoReturn

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


def _main_of(module: str) -> int:
    heed_signals()
    return import_module(f".{module}", __package__).main()
