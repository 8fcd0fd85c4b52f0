# SPDX-License-Identifier: Apache-2.0
"""Text that came from elsewhere, fit for a line of a log."""

from __future__ import annotations


def quoted(text: str, limit: int = 80) -> str:
    """``text`` in quotes, control characters escaped; of more than ``limit`` characters the beginning and '...'."""
    text = str(text)
    return repr(text[:limit]) + "..." * (len(text) > limit)
