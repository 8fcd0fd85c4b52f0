# SPDX-License-Identifier: Apache-2.0
"""Settings that libraries read from the current folder unasked, which may be a folder of data that somebody sent.

numba obeys ``.numba_config.yaml`` there (with ``disable_jit`` a picture takes minutes), matplotlib ``matplotlibrc``,
and Fast DDS ``DEFAULT_FASTDDS_PROFILES.xml``, which may name files to write and machines to talk to.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """Stand in the root folder, to import what looks around where it is imported; afterwards in the same folder again.

    Of the whole process: for imports in its beginning, before there are threads that name files.
    """
    try:
        here = os.open(".", os.O_PATH | os.O_DIRECTORY)
    except OSError:  # nothing can be read there either
        yield
        return
    try:
        os.chdir("/")
        try:
            yield
        finally:
            os.fchdir(here)
    finally:
        os.close(here)


def skip_dds_profile() -> None:
    """Before a participant is made: the profile that an environment variable names is read, and no other.

    SKIP_DEFAULT_XML_FILE keeps the value that the user has given it.
    """
    os.environ.setdefault("SKIP_DEFAULT_XML_FILE", "1")
