# SPDX-License-Identifier: Apache-2.0
"""How an executable begins and ends."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException

from ..errors import DinemoError


def run(name: str, body: Callable[[], None], args: list[str] | None = None) -> int:
    """``body`` between rclpy's start and end; the exit code.

    0 also after SIGINT or SIGTERM, 1 with one line on stderr after a :class:`DinemoError` or where rclpy cannot read
    its arguments. Ctrl-C under ``ros2 launch`` arrives twice, from the terminal and from the launcher: the second must
    not break the ending.
    """
    try:
        return _run(name, body, args)
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        rclpy.try_shutdown()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # rclpy has put back what was there before


def _run(name: str, body: Callable[[], None], args: list[str] | None) -> int:
    try:
        rclpy.init(args=args)
    except Exception as error:  # of rcl, for a file or a word after --ros-args; nothing has begun yet
        print(f"{name}: cannot start with these ROS arguments: {_reason(error)}", file=sys.stderr)
        return 1
    try:
        body()
    except DinemoError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():
            raise  # otherwise a signal took the context away in the middle of something
    return 0


def _reason(error: Exception) -> str:
    """What rcl says, in one line and without the places in its own source."""
    text = re.sub(r",? at /\S+:\d+", "", " ".join(str(error).split()))
    return f"{type(error).__name__} {text}" if text.startswith("[") else text.removeprefix("failed to initialize rcl: ")
