# SPDX-License-Identifier: Apache-2.0
"""Where the box detector is that came with the package."""

from __future__ import annotations

from pathlib import Path

from ..errors import BundleError
from ..model.bundle_search import package_roots
from .detector_card import CARD_FILE


def find_detector() -> Path:
    """Its folder; BundleError where none came."""
    for root in package_roots():
        if (root / "engines" / "detector" / CARD_FILE).is_file():
            return root / "engines" / "detector"
    raise BundleError("no detector is installed (share/dinemo_ros/engines/detector); install the package again, or "
                      "give the folder of a detector of your own")


def is_installed(folder: Path) -> bool:
    """Whether ``folder`` is one where :func:`find_detector` looks: it came with what else is run here."""
    return folder.resolve() in [(root / "engines" / "detector").resolve() for root in package_roots()]
