# SPDX-License-Identifier: Apache-2.0
"""What a section of the report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Picture:
    """A file beside the page, and what it shows."""

    file: str
    caption: str


@dataclass(frozen=True)
class Table:
    """Column heads, rows of text, and a caption."""

    heads: list[str]
    rows: list[list[str]]
    caption: str = ""


@dataclass
class Section:
    """A heading with paragraphs, tables and pictures below it, in this order."""

    title: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    @property
    def filled(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.text or self.tables or self.pictures)


def percent(share: float | None) -> str:
    """0.914 -> 91.4 %."""
    return "–" if share is None else f"{100 * share:.1f} %"


def number(value: float | None, digits: int = 1, unit: str = "") -> str:
    """A number with so many ``digits`` after the point and its unit; a dash where it is missing."""
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def duration(seconds: float) -> str:
    """A number of seconds as text: 75 becomes ``1 min 15 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(hours or minutes) + [f"{rest} s"] * (not hours)
    return " ".join(parts)
