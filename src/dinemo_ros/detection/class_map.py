# SPDX-License-Identifier: Apache-2.0
"""From what a detector calls things ("41", "cup", "Mug") to the categories of bundles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import DinemoError
from ..io.quoting import quoted
from ..model.card import Card


class ClassMapError(DinemoError):
    """An entry that is none, or one of a category that is not there."""


def labels_of(card: Card) -> tuple[str, ...]:
    """What detectors call the category of ``card``: its name, and the labels that the card has for detectors."""
    return (card.category, *card.detector.labels)


class ClassMap:
    """Which category an id of a detector means. Upper and lower case are not told apart.

    Args:
        cards: of the categories, each with its labels, see :func:`labels_of`.
        entries: "ID=category", in the place of what the cards say of that id; empty ones are left out. One id may
            stand for several categories.

    Attributes:
        has_entries: beside what the cards say.

    Raises:
        ClassMapError: an entry is not of that form, or names another category.
    """

    def __init__(self, cards: Sequence[Card], entries: Iterable[str] = ()) -> None:
        self.categories = tuple(card.category for card in cards)
        told: dict[str, tuple[str, ...]] = {}
        for entry in filter(None, entries):
            label, equals, category = (part.strip() for part in entry.rpartition("="))
            if not (label and equals and category):
                raise ClassMapError(f"class_map has {quoted(entry, 60)}; allowed: ID=category, like '41=cup'")
            if category not in self.categories:
                raise ClassMapError(f"class_map has {quoted(entry, 60)}, and category {quoted(category, 40)} is not "
                                    f"looked for (allowed: {', '.join(self.categories)})")
            known = told.setdefault(label.casefold(), ())
            told[label.casefold()] = known if category in known else (*known, category)
        self._of: dict[str, tuple[str, ...]] = {}
        for card in cards:
            # A category may be called by its name.
            for label in {label.strip().casefold(): None for label in labels_of(card)}:
                self._of[label] = (*self._of.get(label, ()), card.category)
        self._of |= told
        self.has_entries = bool(told)

    def of(self, label: str) -> tuple[str, ...]:
        """The categories that ``label`` may be: all where it is empty, none where it is another thing."""
        return self._of.get(label.strip().casefold(), ()) if label else self.categories
