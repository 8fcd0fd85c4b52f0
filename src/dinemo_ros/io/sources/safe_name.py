# SPDX-License-Identifier: Apache-2.0
"""A name that every library opens, for files whose own is in any bytes.

OpenCV crashes on a name that is no UTF-8, takes ``%d`` and digits for a series of pictures, and FFmpeg takes
``http:`` and ``concat:`` for protocols; SQLite takes ``?``, ``%`` and ``#`` for parts of an address.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...errors import DatasetError
from ..quoting import shown_path

_PLAIN = re.compile(r"/[A-Za-z0-9_./+, ()=@-]*")
_HEAD = re.compile(r"\.[A-Za-z0-9]{1,8}")


@contextlib.contextmanager
def open_name(path: Path) -> Iterator[str]:
    """A name for the file's content, good while the context lasts.

    Raises:
        DatasetError: the file cannot be read.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
        except OSError as error:
            raise DatasetError(f"{shown_path(path)}: cannot be read ({error.strerror})") from error
        name = f"/proc/self/fd/{file.fileno()}"
        yield name if os.path.exists(name) else str(stack.enter_context(plain_path(path, always=True)))


@contextlib.contextmanager
def plain_path(path: Path, suffix: str | None = None, always: bool = False) -> Iterator[Path]:
    """``path``, or a link to it for as long as the context lasts where its name is not plain or has not ``suffix``."""
    absolute = Path(os.path.abspath(path))
    suffix = path.suffix if suffix is None else suffix
    if _PLAIN.fullmatch(str(absolute)) and path.suffix == suffix and not always:
        yield absolute
        return
    with tempfile.TemporaryDirectory(prefix="dinemo_") as folder:
        link = Path(folder) / f"link{suffix if _HEAD.fullmatch(suffix) else ''}"
        link.symlink_to(absolute)
        yield link
