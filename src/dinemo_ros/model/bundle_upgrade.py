# SPDX-License-Identifier: Apache-2.0
"""The card of an older bundle in the format of today: every value and hash stays, networks and mesh are not touched.

A card that needs nothing is left alone, with its comments; one that is rewritten loses them, for YAML is read without.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BundleError
from ..io.document import CARD, read_yaml
from ..io.files import own_place, replace_files
from ..io.quoting import quoted, shown_path
from .bundle import load_bundle
from .card import FORMAT
from .card_document import BUNDLE_FILES, CARD_FILE, RENAMED, card_mapping, card_text


@dataclass(frozen=True)
class Upgrade:
    """What was done: ``folder`` holds the bundle.

    Attributes:
        changes: of the card, sentences; none where it needed nothing.
        left: files that were not copied, for they are no part of a bundle.
    """

    folder: Path
    changes: tuple[str, ...]
    left: tuple[str, ...] = ()


def upgrade_bundle(source: str | Path, out: str | Path | None = None) -> Upgrade:
    """Write the card of the bundle ``source`` in the format of today, there or, with the other files, into ``out``.

    Raises:
        BundleError: it is no valid bundle, it cannot be written, or there is something in ``out`` already. What was
            there is unchanged. OutputError: ``out`` is reached by a link of another user.
    """
    bundle = load_bundle(source)
    before = read_yaml(bundle.path / CARD_FILE, CARD)
    changes = _changes(before, card_mapping(bundle.card)) if _is_old(before) else ()
    new = card_text(bundle.card).encode() if changes else (bundle.path / CARD_FILE).read_bytes()
    try:
        if out is None:
            if changes:
                replace_files(bundle.path, {CARD_FILE: new})
            folder = bundle.path
        else:
            folder = _copied(bundle.path, own_place(out), new)
    except OSError as error:
        raise BundleError(f"bundle {shown_path(out or source)}: cannot be written ({error.strerror}), what was there "
                          "is unchanged; make room, or write where you may") from error
    load_bundle(folder)
    left = () if out is None else tuple(sorted(file.name for file in bundle.path.iterdir()
                                               if file.name not in BUNDLE_FILES))
    return Upgrade(folder, changes, left)


def _is_old(document: Any) -> bool:
    """Whether a card that was read is of an older format, or has a key by its old name."""
    return document["format"] != FORMAT or any(section in document and key in document[section]
                                               for section, key in _old_keys())


def _old_keys() -> Iterator[tuple[str, str]]:
    for name in RENAMED:
        section, _, key = name.partition(".")
        yield section, key


def _changes(before: Any, after: dict) -> tuple[str, ...]:
    """Sentences about what is written otherwise; the values are the same, for one was made of the other."""
    found = []
    if before["format"] != after["format"]:
        found.append(f"format is {after['format']}, was {quoted(before['format'])}")
    for section, key in _old_keys():
        if section in before and key in before[section]:
            found.append(f"{section}.{RENAMED[f'{section}.{key}']} is the new name of {section}.{key}")
    written = [name for name in _keys(after) if name not in set(_keys(before)) and name not in _new_names(before)]
    if written:
        found.append(f"written down as what they were by default: {', '.join(written)}")
    return (*found, "comments, where the card had any, are not kept")


def _new_names(document: Any) -> set[str]:
    return {f"{section}.{RENAMED[f'{section}.{key}']}" for section, key in _old_keys()
            if section in document and key in document[section]}


def _keys(document: dict) -> Iterator[str]:
    for name, value in document.items():
        yield name
        if isinstance(value, dict):
            yield from (f"{name}.{key}" for key in value)


def _copied(source: Path, out: Path, card: bytes) -> Path:
    """The folder ``out`` with every file of the bundle and this card; complete, or not there at all."""
    if out.is_dir() and any(out.iterdir()) or out.exists() and not out.is_dir():
        raise BundleError(f"{shown_path(out)}: there is something already; give another folder, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name[:100]}.", suffix=".draft", dir=out.parent))
    try:
        for file in sorted(source.iterdir()):
            if file.name in BUNDLE_FILES and file.is_file():
                shutil.copyfile(file, draft / file.name)
        replace_files(draft, {CARD_FILE: card})
        draft.chmod(0o755)
        os.rename(draft, out)  # takes the place of an empty folder
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out
