# SPDX-License-Identifier: Apache-2.0
"""Where this package keeps what it can make again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def default_folder() -> Path:
    """``dinemo_ros`` in the user's cache folder (XDG base directory specification); always absolute."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "dinemo_ros"
    home = os.environ.get("HOME", "")
    if not home:  # a service without its variables: the account may still have a home
        home = os.path.expanduser(f"~{_account()}")
    if os.path.isabs(home):
        return Path(home) / ".cache" / "dinemo_ros"
    return Path(tempfile.gettempdir()).absolute() / f"dinemo_ros-{os.getuid()}"


def _account() -> str:
    """Name of the user that this process runs as; empty if the system knows none, as in many containers."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""
