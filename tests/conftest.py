# SPDX-License-Identifier: Apache-2.0
"""Settings that must stand before any test module is imported."""

import os
import shutil

# Triton chooses between compiler and interpreter when it is imported, and other packages may import it first.
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")
