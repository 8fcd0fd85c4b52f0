# SPDX-License-Identifier: Apache-2.0
"""Where bundles are: those that came with the package, then those that this user has fetched.

A fetched one never takes the place of a shipped one: what ``car`` means is not changed by what lies in a home folder.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from ..errors import BundleError
from ..io.quoting import quoted, shown, shown_path
from ..process.cache_home import data_folder
from ..process.own_folder import UntrustedError, open_folder
from .card_document import CARD_FILE

BUNDLE_NAME = r"[a-z0-9][a-z0-9_-]{0,63}"  # of a fetched one; no way to another folder

def find_bundle(category: str) -> Path:
    """Folder of the bundle that is installed for ``category``: sourced ROS workspaces, this Python's share, the source
    tree, and last what this user has fetched under that name (``dinemo bundle fetch``).

    Raises:
        BundleError: no bundle of that name is installed; the message lists those that are. Or it was fetched, and
            somebody else may have written to it since.
    """
    if category in shipped_categories():  # a name, never a way to another folder
        for root in package_roots():
            if (root / "engines" / category / CARD_FILE).is_file():
                return root / "engines" / category
    fetched = fetched_bundles()
    if category in fetched:
        return _own(fetched_folder() / category)
    known = ", ".join([*shipped_categories(), *(shown(name) for name in fetched)]) or "none"
    raise BundleError(f"no bundle for category {quoted(category)} is installed (found: {known}); name one of these, "
                      "or give the folder of a bundle")


def bundle_folder(name: str) -> Path:
    """An installed bundle's folder if ``name`` is a bare name, else the folder itself."""
    is_bare = os.sep not in name and not Path(name).is_dir()
    return find_bundle(name) if is_bare else Path(name)


def shipped_categories() -> list[str]:
    """Every name that :func:`find_bundle` finds and that came with the package."""
    return sorted({card.parent.name for root in package_roots() for card in root.glob(f"engines/*/{CARD_FILE}")})


def fetched_folder() -> Path:
    """Where fetched bundles are, each in a folder of its name.

    Raises:
        BundleError: this user has no home folder, nor is one named by XDG_DATA_HOME.
    """
    folder = data_folder()
    if folder is None:
        raise BundleError("this user has no home folder for bundles; set XDG_DATA_HOME, or give a folder with --out")
    return folder / "bundles"


def fetched_bundles() -> list[str]:
    """Names of the bundles that this user has fetched; none where their folder cannot be read."""
    folder = data_folder()
    if folder is None:
        return []
    try:
        return sorted(entry.name for entry in (folder / "bundles").iterdir()
                      if re.fullmatch(BUNDLE_NAME, entry.name) and (entry / CARD_FILE).is_file())
    except OSError:
        return []


def _own(folder: Path) -> Path:
    try:
        os.close(open_folder(folder))
    except (UntrustedError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"{shown_path(folder)} {reason}; it was fetched for this user alone: remove it and fetch it "
                          "again, or name its folder to take it all the same") from None
    return folder


def is_installed(path: Path) -> bool:
    """Whether the bundle at ``path`` lies where :func:`find_bundle` looks: it came with what else is run here."""
    return path.resolve().parent in [(root / "engines").resolve() for root in package_roots()]


def package_roots() -> list[Path]:
    """Folders in which engines/ may be, those of sourced workspaces first.

    pip puts data beside the libraries, which is not always below ``sys.prefix``: with ``--user`` both go to
    ``~/.local``, as root on Debian and Ubuntu to ``/usr/local``. PREFIX/lib/pythonX.Y/site-packages/dinemo_ros tells.
    """
    prefixes = [Path(prefix) for prefix in (*os.environ.get("AMENT_PREFIX_PATH", "").split(":"), sys.prefix) if prefix]
    package = Path(__file__).resolve().parents[1]
    if package.parent.name in ("site-packages", "dist-packages"):
        prefixes += package.parents[3:4]
    return [*(prefix / "share" / "dinemo_ros" for prefix in prefixes), package.parents[1]]
