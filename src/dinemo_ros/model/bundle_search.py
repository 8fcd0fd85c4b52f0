# SPDX-License-Identifier: Apache-2.0
"""Where bundles are: those that came with the package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import BundleError
from ..io.quoting import quoted
from .card_document import CARD_FILE


def find_bundle(category: str) -> Path:
    """Folder of the bundle shipped for ``category``: sourced ROS workspaces, this Python's share, the source tree.

    Raises:
        BundleError: no bundle of that name is installed; the message lists those that are.
    """
    found = shipped_categories()
    for root in _roots() if category in found else ():  # a name, never a way to another folder
        if (root / "engines" / category / CARD_FILE).is_file():
            return root / "engines" / category
    known = ", ".join(found) or "none"
    raise BundleError(f"no bundle for category {quoted(category)} is installed (found: {known}); name one of these, "
                      "or give the folder of a bundle")


def bundle_folder(name: str) -> Path:
    """A shipped category's folder if ``name`` is a bare name, else the folder itself."""
    is_bare = os.sep not in name and not Path(name).is_dir()
    return find_bundle(name) if is_bare else Path(name)


def shipped_categories() -> list[str]:
    """Every name that :func:`find_bundle` finds."""
    return sorted({card.parent.name for root in _roots() for card in root.glob(f"engines/*/{CARD_FILE}")})


def is_installed(path: Path) -> bool:
    """Whether the bundle at ``path`` lies where :func:`find_bundle` looks: it came with what else is run here."""
    return path.resolve().parent in [(root / "engines").resolve() for root in _roots()]


def _roots() -> list[Path]:
    """Folders in which engines/CATEGORY may be.

    pip puts data beside the libraries, which is not always below ``sys.prefix``: with ``--user`` both go to
    ``~/.local``, as root on Debian and Ubuntu to ``/usr/local``. PREFIX/lib/pythonX.Y/site-packages/dinemo_ros tells.
    """
    prefixes = [Path(prefix) for prefix in (*os.environ.get("AMENT_PREFIX_PATH", "").split(":"), sys.prefix) if prefix]
    package = Path(__file__).resolve().parents[1]
    if package.parent.name in ("site-packages", "dist-packages"):
        prefixes += package.parents[3:4]
    return [*(prefix / "share" / "dinemo_ros" for prefix in prefixes), package.parents[1]]
