# SPDX-License-Identifier: Apache-2.0
"""Where this package keeps what it can make again, and what the user has fetched.

Whether that can be believed is looked at in ``own_folder.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import BackendError
from ..io.quoting import shown_path


def default_folder() -> Path:
    """``dinemo_ros`` in the user's cache folder (XDG base directory specification); always absolute."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "dinemo_ros"
    home = _home()
    return home / ".cache" / "dinemo_ros" if home else _temporary() / f"dinemo_ros-{os.geteuid()}"


def data_folder() -> Path | None:
    """``dinemo_ros`` in the user's data folder (XDG base directory specification); None where there is no home."""
    base = os.environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "dinemo_ros"
    home = _home()
    return home / ".local" / "share" / "dinemo_ros" if home else None


def given_folder(text: str | Path) -> Path:
    """A folder as somebody names it; ``~`` stands for the home folder, as in a shell; always absolute.

    Raises:
        BackendError: there is no such home folder.
    """
    first, _, rest = str(text).partition("/")
    if not first.startswith("~"):
        return Path(text).absolute()
    home = _home() if first == "~" else _absolute(os.path.expanduser(first))
    if home is None:
        raise BackendError(f"{shown_path(text)}: there is no home folder {shown_path(first)} here; give an absolute "
                           "path")
    return home / rest.lstrip("/")


def _home() -> Path | None:
    home = os.environ.get("HOME", "")
    if not home:  # a service without its variables: the account may still have a home
        home = os.path.expanduser(f"~{_account()}")
    return _absolute(home)


def _absolute(path: str) -> Path | None:
    return Path(path) if os.path.isabs(path) else None


def _temporary() -> Path:
    """The machine's folder for temporary files, and never the current one, which tempfile would take at last."""
    given = os.environ.get("TMPDIR", "")
    return Path(given) if os.path.isabs(given) and os.path.isdir(given) else Path("/tmp")


def _account() -> str:
    """Name of the user that this process runs as; empty if the system knows none, as in many containers."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""
