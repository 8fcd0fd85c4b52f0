# SPDX-License-Identifier: Apache-2.0
"""What ``dinemo doctor`` reports, line by line."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``level`` is "ok", "--" or "!!"."""

    level: str
    subject: str
    text: str


def installed(module: str) -> bool:
    """Whether ``import module`` would find something, without importing it (ROS and TensorRT load for seconds)."""
    return importlib.util.find_spec(module) is not None


def version(distribution: str) -> str:
    """Of an installed package, for a person to read."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "of unknown version"
