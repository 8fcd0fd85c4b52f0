# SPDX-License-Identifier: Apache-2.0
"""The floor of ``presence`` in evaluation: who annotates an object says that it is there.

So its pose is judged whatever its presence, which keeps tables of bundles with and without a floor comparable, and
beside it stands how many would have been dropped: ``below_floor``. A detector's boxes get what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..model.bundle import Bundle
from ..pose import ObjectPose


def without_floor(bundle: Bundle) -> Bundle:
    """The same, for boxes that hold an object for sure: presences are told, and no pose is dropped."""
    card = bundle.card
    return replace(bundle, card=replace(card, presence=replace(card.presence, floor=0.0)))


def below_floor(pose: ObjectPose, floor: float) -> dict[str, float | bool]:
    """What a record says of a pose's presence, 0 to 1; nothing where the bundle, or the baseline, does not tell."""
    presence = getattr(pose, "presence", None)
    return {} if presence is None else {"presence": presence, "below_floor": presence < floor}


def share_below(records: Sequence[dict]) -> dict[str, float]:
    """``below_floor``: share of all frames whose pose is below; nothing where no record tells."""
    if not any("below_floor" in record for record in records):
        return {}
    return {"below_floor": sum(bool(record.get("below_floor")) for record in records) / len(records)}
