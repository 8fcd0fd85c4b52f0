# SPDX-License-Identifier: Apache-2.0
"""A split by object: which sequences of a turntable folder may be looked at while something is tuned.

A YAML file, ``training/evaluation/splits/household.yaml`` for instance::

    format: dinemo-split/1
    parts: {development: [eth1, eth2], reserved: [eth6]}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import DatasetError, DocumentError
from ..io.document import CARD, read_yaml
from ..io.quoting import quoted, shown, shown_path
from .sample import ALL

FORMAT = "dinemo-split/1"


def read_split(path: Path) -> dict[str, list[str]]:
    """Part -> names of its sequences.

    Raises:
        DatasetError: no split, a sequence in two parts, or a part with the name of the row of all sequences.
    """
    try:
        document = read_yaml(path, CARD)
    except DocumentError as error:
        raise DatasetError(f"{shown_path(path)}: {error}; expected a split (docs/evaluation.md)") from error
    if not isinstance(document, dict) or set(document) != {"format", "parts"} or document["format"] != FORMAT:
        raise DatasetError(f"{shown_path(path)}: is no split; expected format: {FORMAT} and parts: {{NAME: "
                           "[SEQUENCE, ...]}}")
    parts = document["parts"]
    if not isinstance(parts, dict) or not parts or not all(_are_names(names) for names in parts.values()):
        raise DatasetError(f"{shown_path(path)}: parts is no mapping of names to lists of sequences; expected parts: "
                           "{NAME: [SEQUENCE, ...]}")
    if ALL in parts:
        raise DatasetError(f"{shown_path(path)}: a part is called {ALL!r}, as the row of all sequences; call it "
                           "something else")
    listed = [name for names in parts.values() for name in names]
    twice = next((name for name in listed if listed.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(f"{shown_path(path)}: sequence {quoted(twice)} is listed twice; an object belongs to "
                           "one part")
    return {name: list(names) for name, names in parts.items()}


def sequences_of(parts: dict[str, list[str]], wanted: Sequence[str], there: Iterable[str]) -> list[str]:
    """The sequences ``there`` of the ``wanted`` parts, all parts where none is named.

    Raises:
        DatasetError: no such part, or nothing of it is there.
    """
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        raise DatasetError(f"the split has no part {quoted(unknown[0])}; it has {shown(', '.join(parts))}")
    members = {name for part in wanted or parts for name in parts[part]}
    chosen = [name for name in there if name in members]
    if not chosen:
        raise DatasetError("the folder has no sequence of this split; name those that it has in the split, or leave "
                           "--split out")
    return chosen


def _are_names(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)
