# SPDX-License-Identifier: Apache-2.0
"""Cameras: projection, lens distortion, calibrations as files and messages, crops as virtual cameras."""

import warnings
from importlib import import_module


def __getattr__(name: str) -> object:
    """What stood in the module ``camera`` of version 0.1 stands in ``camera.pinhole``; for one release also here."""
    if not name.startswith("_"):
        pinhole = import_module(f"{__name__}.pinhole")
        if hasattr(pinhole, name):
            warnings.warn(f"{__name__}.{name} is now {pinhole.__name__}.{name}; the old name goes with version 0.3",
                          DeprecationWarning, stacklevel=2)
            return getattr(pinhole, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
