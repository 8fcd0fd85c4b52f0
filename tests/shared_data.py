# SPDX-License-Identifier: Apache-2.0
"""Where the data beside the project lies, and a skip with its reason where it does not."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared_data(name: str) -> Path:
    """Folder ``name`` of the shared data; skips the test or module where it is absent."""
    base = Path(os.environ.get("DINEMO_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (base / name).is_dir():
        pytest.skip(f"{base / name} is absent (set DINEMO_SHARED_DATA)", allow_module_level=True)
    return base / name
