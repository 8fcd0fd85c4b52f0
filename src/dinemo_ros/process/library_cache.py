# SPDX-License-Identifier: Apache-2.0
"""Where other libraries keep what they make again and load, told to them by the variable that each has for that.

Left to themselves some take a folder of the home folder, whoever may write there, and where HOME is no absolute path
one below the current folder.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

from ..io.quoting import shown_path
from .cache_home import default_folder
from .own_folder import UntrustedError, open_folder

_log = logging.getLogger(__name__)


def set_cache(variable: str, name: str, what: str) -> Path:
    """Have a library keep its files where nobody else writes; before it is imported.

    That is what ``variable`` names, else the folder ``name`` in this package's cache folder. Where somebody else may
    have written there, a folder that lasts as long as this process, and a warning that says so.

    Args:
        what: is kept there, for the warning.
    """
    given = os.environ.get(variable, "")
    folder = Path(given) if given else default_folder() / name
    try:
        os.close(open_folder(folder, make=True))
    except (UntrustedError, OSError) as error:
        reason = f"cannot be had ({error.strerror})" if isinstance(error, OSError) else error
        _log.warning("%s: this folder of %s %s, so it is not used and every start makes them again; make it this "
                     "user's own and of nobody else to write (chown, chmod go-w), or name another with %s",
                     shown_path(folder), what, reason, variable)
        folder = Path(tempfile.mkdtemp(prefix=f"dinemo_{name}_"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[variable] = str(folder)
    return folder
