# SPDX-License-Identifier: Apache-2.0
"""How a value of somebody's card that is out of range is refused: by its key, what it is, and what is allowed."""

from __future__ import annotations

from ..errors import BundleError
from ..io.quoting import shown


def require(condition: bool, key: str, value: object, allowed: str) -> None:
    """BundleError unless ``condition``; ``value`` is what stands at ``key``."""
    if not condition:
        raise BundleError(f"{key} is {told(value)}; allowed: {allowed}")


def told(value: object) -> str:
    """A value of somebody's card in a sentence."""
    return shown(repr(value), 200)
