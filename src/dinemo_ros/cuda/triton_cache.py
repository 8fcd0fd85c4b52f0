# SPDX-License-Identifier: Apache-2.0
"""Where Triton keeps what it compiles: libraries that are loaded into this process, so in a folder of our own.

Left to itself it takes ``.triton`` in the home folder, whoever may write there, and where HOME is no absolute path a
folder below the current one.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

from ..cache_home import default_folder
from ..own_folder import UntrustedError, open_folder
from ..quoting import shown_path

_log = logging.getLogger(__name__)
_VARIABLE = "TRITON_CACHE_DIR"


def set_triton_cache() -> Path:
    """Have Triton keep its kernels where nobody else writes; before it compiles the first.

    What TRITON_CACHE_DIR names, else ``triton`` in the user's cache folder. Where somebody else may have written there,
    a folder that lasts as long as this process, and a warning that says so.
    """
    given = os.environ.get(_VARIABLE, "")
    folder = Path(given) if given else default_folder() / "triton"
    try:
        os.close(open_folder(folder, make=True))
    except (UntrustedError, OSError) as error:
        reason = f"cannot be had ({error.strerror})" if isinstance(error, OSError) else error
        _log.warning("%s: this folder of Triton's kernels %s, so it is not used and every start compiles them again; "
                     "make it this user's own and of nobody else to write (chown, chmod go-w), or name another with %s",
                     shown_path(folder), reason, _VARIABLE)
        folder = Path(tempfile.mkdtemp(prefix="dinemo_triton_"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_VARIABLE] = str(folder)
    return folder
