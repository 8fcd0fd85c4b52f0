# SPDX-License-Identifier: Apache-2.0
"""A bundle from elsewhere: a folder, an archive or the address of one, checked before it is where bundles are found.

The only place of the runtime that opens a connection, and only because somebody called it with an address.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BundleError, DocumentError
from ..io.archive import unpack
from ..io.bounded_file import read_bounded
from ..io.document import CARD
from ..io.download import download, is_address
from ..io.files import own_place
from ..io.quoting import named, quoted, shown_path
from ..process.own_folder import UntrustedError, open_folder
from .bundle import Bundle, load_bundle
from .bundle_search import BUNDLE_NAME, fetched_folder, shipped_categories
from .card_document import BUNDLE_FILES, CARD_FILE

_LARGEST = 1 << 30  # bytes of an archive, and of what is in it
_LONGEST_S = 3600.0  # of a download
_CHUNK = 1 << 20  # bytes
_log = logging.getLogger(__name__)


def fetch_bundle(source: str, sha256: str = "", name: str = "", out: Path | None = None) -> Bundle:
    """Take the bundle ``source``, check it, and keep it where :func:`~dinemo_ros.model.bundle.find_bundle` finds it.

    Args:
        source: folder, archive (.tar.gz, .zip), or http(s) address of an archive.
        sha256: of the archive, or of a folder's ``model.yaml``, in hexadecimal; needed for an address.
        name: what it is called; its category where that is empty.
        out: keep it in this new folder instead, under no name.

    Raises:
        BundleError: it cannot be had, is not what ``sha256`` says, is no valid bundle, or cannot be kept. Nothing is
            left of it then, and what was there is unchanged. OutputError: ``out`` is a link of another user.
    """
    sha256 = sha256.lower()
    _check_options(source, sha256, name)
    home = own_place(out).parent if out else fetched_folder()
    place = own_place(out) if out else home / name if name else None
    if place is not None:
        _require_free(place)
    try:
        with _draft(home, ours=out is None) as draft:
            _take(source, sha256, draft)
            category = load_bundle(draft).card.category
            place = place or home / _checked_name(category)
            _require_free(place)
            os.rename(draft, place)
    except OSError as error:
        raise BundleError(f"{shown_path(place or home)}: cannot be written ({error.strerror}), nothing was kept; make "
                          "room, or give another folder with --out") from error
    return load_bundle(place)


def _check_options(source: str, sha256: str, name: str) -> None:
    if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise BundleError(f"the sha256 {quoted(sha256)} is none; give its 64 hexadecimal digits")
    if is_address(source) and not sha256:
        raise BundleError(f"{shown_path(source)}: what comes from an address is only taken with its hash; give "
                          "--sha256, from whoever made the bundle")
    if name:
        _checked_name(name)


def _checked_name(name: str) -> str:
    if not re.fullmatch(BUNDLE_NAME, name):
        raise BundleError(f"the name {quoted(name)} cannot be kept; allowed: up to 64 lower-case letters, digits, _ "
                          "and -, a letter or digit first")
    if name in shipped_categories():
        raise BundleError(f"a bundle {name} came with the package and would be found first; give another --name, or a "
                          "folder with --out")
    return name


def _require_free(place: Path) -> None:
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise BundleError(f"{shown_path(place)}: there is something already; remove it, or give another name or folder")


@contextmanager
def _draft(home: Path, ours: bool) -> Iterator[Path]:
    """A new folder in ``home``, on the same disk as where it will be moved to; removed if it still is there at the end.

    ours: ``home`` is where fetched bundles are believed to be: nobody else may be able to write there.
    """
    if ours:
        try:
            os.close(open_folder(home, make=True))
        except UntrustedError as error:
            raise BundleError(f"{shown_path(home)} {error}; bundles are not kept there, give a folder with --out") \
                from None
    else:
        home.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".fetch.", suffix=".draft", dir=home))
    try:
        draft.chmod(0o755)  # readable for the user that the robot runs as
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _take(source: str, sha256: str, draft: Path) -> None:
    """Put the files of the bundle ``source`` into ``draft``."""
    try:
        if is_address(source):
            with _archive_beside(draft) as archive:
                with archive.open("wb") as file:
                    _require_hash(source, download(source, file, _LARGEST, _LONGEST_S), sha256)
                _unpacked(source, archive, draft)
        elif Path(source).is_dir():
            _copied(Path(source), sha256, draft)
        else:
            with _archive_beside(draft) as archive:
                _require_hash(source, _copied_archive(Path(source), archive), sha256)
                _unpacked(source, archive, draft)
    except DocumentError as error:
        raise BundleError(f"{shown_path(source)}: {error}") from None


@contextmanager
def _archive_beside(draft: Path) -> Iterator[Path]:
    """A copy of ours is hashed and unpacked: what others may write to could change in between."""
    archive = draft.with_suffix(".part")
    try:
        yield archive
    finally:
        archive.unlink(missing_ok=True)


def _copied_archive(source: Path, archive: Path) -> str:
    """sha256 in hexadecimal of the file ``source``, which is copied to ``archive`` as far as it may be long."""
    if not source.is_file():
        raise BundleError(f"{shown_path(source)}: no such file or folder; give a bundle's folder, an archive of it, or "
                          "an http(s) address")
    digest, count = hashlib.sha256(), 0
    with source.open("rb") as file, archive.open("wb") as copy:
        while chunk := file.read(_CHUNK):
            count += len(chunk)
            if count > _LARGEST:
                raise DocumentError("is larger than 1 GiB, which is the most that is read")
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest()


def _unpacked(source: str, archive: Path, draft: Path) -> None:
    if left := unpack(archive, BUNDLE_FILES, draft, _LARGEST):
        _log.info("%s: not taken, no part of a bundle: %s", shown_path(source), named(left, 8))


def _copied(source: Path, sha256: str, draft: Path) -> None:
    """Of a folder: each file once into memory, so that what is hashed is what is kept."""
    _require_hash(str(source), hashlib.sha256(read_bounded(source / CARD_FILE, CARD.size)).hexdigest(), sha256)
    for name in BUNDLE_FILES:
        if (source / name).is_file():
            (draft / name).write_bytes(read_bounded(source / name, _LARGEST))
    _require_hash(str(source), hashlib.sha256((draft / CARD_FILE).read_bytes()).hexdigest(), sha256)


def _require_hash(source: str, found: str, expected: str) -> None:
    if expected and found != expected:
        raise BundleError(f"{shown_path(source)}: has the sha256 {found}, expected {expected}; nothing was taken: ask "
                          "whoever made it which one is right")
