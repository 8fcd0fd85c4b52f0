# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all, whatever happens while they are written: full disk, kill, power cut."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

_PART = ".part"  # what a file is called, behind a dot, its name and something random, until it is complete
_ABANDONED_S = 3600.0


def replace_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Give the files of ``folder`` these contents, in this order.

    All are on the disk before the first takes its place, so what remains to go wrong is a kill between two renames.

    Raises:
        OSError: the disk will not have them; every file is what it was.
    """
    parts: list[Path] = []
    try:
        for name, content in contents.items():
            handle, part = tempfile.mkstemp(prefix=f".{name}.", suffix=_PART, dir=folder)
            parts.append(Path(part))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)  # written by root for the user that the robot runs as
                file.flush()
                os.fsync(file.fileno())  # a power cut must not leave the name without the content
        for name, part in zip(contents, parts, strict=True):
            os.replace(part, folder / name)
    except BaseException:
        for part in parts:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove what writers that were killed have left in ``folder``."""
    with contextlib.suppress(OSError):
        for part in folder.glob(f".*{_PART}"):
            if time.time() - part.stat().st_mtime > _ABANDONED_S:
                part.unlink(missing_ok=True)
