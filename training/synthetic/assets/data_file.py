# SPDX-License-Identifier: Apache-2.0
"""Checks of the YAML files that say what renderers draw: a wrong key or value is named, and nothing is guessed."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.io.document import RECIPE, read_yaml
from dinemo_ros.io.quoting import shown, shown_path

Part = TypeVar("Part")
CONFIGS = Path(__file__).parents[2] / "configs"


def names_in(folder: Path) -> list[str]:
    """What :func:`document_of` finds in ``folder`` without a path."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def is_path(name: str) -> bool:
    """Whether ``name`` is the path of a file of one's own and no name of a shipped one."""
    return name.endswith((".yaml", ".yml"))


def document_of(name: str, folder: Path, what: str) -> tuple[Path, Any]:
    """The YAML file of this name in ``folder``, or at this path, and what it says.

    Raises:
        DatasetError: there is none, or it cannot be read; ``what`` it should be.
    """
    if not is_path(name) and name not in names_in(folder):
        raise DatasetError(f"{shown(name)} is no {what} that is known; allowed: {', '.join(names_in(folder))}, or the "
                           f"path of a YAML file like those in training/configs/{folder.name}")
    path = Path(name) if is_path(name) else folder / f"{name}.yaml"
    try:
        return path, read_yaml(path, RECIPE)
    except DocumentError as error:
        raise DatasetError(f"{shown_path(path)}: {error}; training/configs/{folder.name} has files to start "
                           "from") from error


def mapping(kind: type, data: Any, where: str) -> dict:
    """``data`` if it has the fields of the dataclass ``kind`` and no others; ValueError says which is wrong."""
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be a mapping of keys to values, got {type(data).__name__}")
    known = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(kind)}
    wrong = [f"unknown key {shown(key)}" for key in data if key not in known] + \
        [f"key {key} is missing" for key, needed in known.items() if needed and key not in data]
    if wrong:
        raise ValueError(f"{where}: {wrong[0]}; keys are {', '.join(known)}")
    return data


def listed(kind: type[Part], data: Any, where: str) -> tuple[Part, ...]:
    """A list of mappings as a tuple of ``kind``.

    Raises:
        ValueError: it is no list, or an item of it is no such mapping.
    """
    if not isinstance(data, list):
        raise ValueError(f"{where} must be a list, got {type(data).__name__}")
    return tuple(kind(**mapping(kind, item, where)) for item in data)


def require(condition: bool, key: str, value: Any, allowed: str) -> None:
    """ValueError with key, value and what is allowed, unless ``condition``."""
    if not condition:
        raise ValueError(f"{key} is {shown(repr(value), 80)}; allowed: {allowed}")


def is_number(value: Any, low: float = -1e6, high: float = 1e6) -> bool:
    """Whether ``value`` is a finite number above ``low``, at most ``high``, all in the unit of the key that has it."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and low < value <= high


def are_numbers(value: Any, count: int) -> bool:
    """Whether ``value`` is a list of so many finite numbers."""
    return isinstance(value, list) and len(value) == count and all(map(is_number, value))


def is_below(value: Any) -> bool:
    """Whether ``value`` is the path of something below a folder: relative, without ``..``."""
    if not isinstance(value, str) or not value or "\\" in value:
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and ".." not in path.parts
