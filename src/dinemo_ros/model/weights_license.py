# SPDX-License-Identifier: Apache-2.0
"""What may be done with the weights of a bundle, which is not what may be done with the code that runs them.

Weights are made of what they were taught with. A package under Apache-2.0 whose default weights are for research alone
is a trap unless it says so wherever somebody looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .allowed import require

NOT_STATED = "not stated"
#: SPDX names of licences that allow any use, for money too. The Free Art License (LAL) asks that copies stay as free.
PERMISSIVE = frozenset((
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0", "ISC", "LAL-1.2",
    "LAL-1.3", "MIT", "MIT-0", "Unlicense", "Zlib"))
_LONGEST = {"terms": 300, "why": 1000}  # characters


@dataclass(frozen=True)
class WeightsLicense:
    """Terms of the weights; empty where a card does not state them, which allows nothing.

    Attributes:
        terms: an SPDX expression (``LicenseRef-NAME`` for what SPDX does not list), or a short text.
        why: a sentence, what the weights were taught with.
    """

    terms: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        for name, longest in _LONGEST.items():
            value = getattr(self, name)
            require(len(value) <= longest and (not value or value.isprintable()), f"weights_license.{name}", value,
                    f"up to {longest} characters that can be printed, in one line")

    def __bool__(self) -> bool:
        return bool(self.terms or self.why)

    @property
    def permissive(self) -> bool:
        """Whether the weights may be used for anything: every name in ``terms`` is one of :data:`PERMISSIVE`."""
        return is_permissive(self.terms)

    def told(self) -> str:
        """The terms and why, for a line of text."""
        terms = self.terms or NOT_STATED
        return f"{terms} ({self.why})" if self.why else terms


def is_permissive(terms: str) -> bool:
    """Whether ``terms`` is an SPDX expression of :data:`PERMISSIVE` names and of nothing else.

    Where there is a choice (OR), every alternative has to be one: nobody is asked which was taken.
    """
    names = re.split(r"\s+(?:AND|OR)\s+", terms.replace("(", " ").replace(")", " ").strip())
    return all(name in PERMISSIVE for name in names)
