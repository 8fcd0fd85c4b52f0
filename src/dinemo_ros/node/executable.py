# SPDX-License-Identifier: Apache-2.0
"""How an executable begins and ends."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from ..errors import DinemoError
from ..io.quoting import one_line
from ..process.current_folder import skip_dds_profile
from . import ending

Made = TypeVar("Made", bound=Node)
_SETTLE_S = 0.2  # of the moment that ending.py gives


def run(name: str, make: Callable[[], Made], work: Callable[[Made], None], args: list[str] | None = None) -> int:
    """Between rclpy's start and end ``make`` a node and have it ``work``; the exit code. In the main thread.

    0 also after SIGINT or SIGTERM, see ``ending.py``; 1 with one line on stderr after a :class:`DinemoError` or where
    rclpy cannot read its arguments or create a node. Ctrl-C under ``ros2 launch`` arrives twice, from the terminal and
    from the launcher: the second does not break the ending.
    """
    ending.heed_signals()
    try:
        return _run(name, make, work, args)
    finally:
        _say_goodbye()


def _run(name: str, make: Callable[[], Made], work: Callable[[Made], None], args: list[str] | None) -> int:
    skip_dds_profile()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)  # they are heeded here
    except Exception as error:  # of rcl, for a file or a word after --ros-args; nothing has begun yet
        print(f"{name}: cannot start with these ROS arguments: {_reason(error)}", file=sys.stderr)
        return 1
    made = None
    try:
        try:
            made = make()
        except _rclpy.RCLError as error:  # of rcl and the middleware: keys that cannot be used, no memory for it
            if rclpy.ok():
                print(f"{name}: {_reason(error)}", file=sys.stderr)
                return 1
            return 0
        ending.begin(partial(_stop, made))
        work(made)
    except DinemoError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():
            raise  # otherwise a signal took the context away in the middle of something
    finally:
        if made is not None:  # the others hear of it now and not after seconds of silence
            getattr(made, "end", made.destroy_node)()
    return 0


def _stop(made: Node) -> None:
    """What a signal does: a transition that is nearly done is let end, for without a context rclpy calls it failed."""
    settle = getattr(made, "settle", None)
    if settle is not None:
        settle(_SETTLE_S)
    rclpy.try_shutdown()


def _say_goodbye() -> None:
    """End the context, as far as nothing of it is in use any more."""
    rclpy.try_shutdown()
    rclpy.get_default_context().destroy()


def _reason(error: Exception) -> str:
    """What rcl says, in one line and without the places in its own source."""
    text = re.sub(r",? at /\S+:\d+", "", " ".join(str(error).split()))
    text = f"{type(error).__name__} {text}" if text.startswith("[") else text.removeprefix("failed to initialize rcl: ")
    return one_line(text)
