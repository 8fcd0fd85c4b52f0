# SPDX-License-Identifier: Apache-2.0
"""``numba`` without the settings of a ``.numba_config.yaml`` in the current folder; variables NUMBA_... hold."""

import os
import sys

from ..process.current_folder import elsewhere

if "numba" not in sys.modules:
    with elsewhere():
        import numba
else:
    import numba

numba.core.config._config_fname = os.devnull  # it looks again whenever it compiles

__all__ = ["numba"]
