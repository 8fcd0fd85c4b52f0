# SPDX-License-Identifier: Apache-2.0
"""The same thing is said once in a while, however often and in whatever words it happens."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

# What messages of one cause differ in without being news: numbers, and what somebody else wrote, which is in quotes
# (:func:`dinemo_ros.io.quoting.quoted`).
_NUMBER = re.compile(r"\d[\d.]*(?:e[-+]?\d+)?|\bnan\b|\binf\b")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'(?:\.\.\.)?|"(?:[^"\\]|\\.)*"(?:\.\.\.)?""")
_KEY_LENGTH = 160
_KINDS = 12  # different sentences of one cause that are said at a time


@dataclass
class _Said:
    """When a sentence was let through, and how often it was held back since."""

    time_s: float
    held_back: int = 0


class Throttle:
    """Lets a message through when nothing like it was for a while; what it remembers is bounded.

    Messages are alike when they have the cause in common and differ in numbers and quoted names only: whoever sends
    another name with every message is heard once.
    """

    def __init__(self) -> None:
        self._said: dict[str, OrderedDict[str, _Said]] = {}

    def let_through(self, cause: str, message: str, period_s: float, now_s: float) -> str | None:
        """``message`` with how many like it were held back since the last, or None if it is to be held back too.

        cause: of a fixed set, not made of what messages hold.
        """
        said = self._said.setdefault(cause, OrderedDict())
        key = _NUMBER.sub("#", _QUOTED.sub("'#'", message))[:_KEY_LENGTH]
        last = said.get(key)
        if last is None and len(said) >= _KINDS:
            oldest = next(iter(said.values()))
            if now_s - oldest.time_s < period_s:  # a flood of news is no news
                oldest.held_back += 1
                return None
            said.popitem(last=False)
        if last and now_s - last.time_s < period_s:
            last.held_back += 1
            return None
        said[key] = _Said(now_s)
        said.move_to_end(key)
        return message + (f" ({last.held_back} more like it since the last time)" if last and last.held_back else "")
