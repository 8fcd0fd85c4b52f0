# SPDX-License-Identifier: Apache-2.0
"""The rows of the ablation: one option at a time, everything else as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...pseudo_labels.correspondence import ONE_WAY, MatchConfig

FULL = MatchConfig()


@dataclass(frozen=True)
class Variant:
    """One row: the options of the matching, what is done with the mirror image, and whether temporal consistency of a
    turntable's frames is used."""

    name: str
    config: MatchConfig = FULL
    mirror: str = "correct"
    temporal: bool = False


BIDIRECTIONAL = [
    Variant("bidirectional on"),
    Variant("bidirectional off: raw matches, no vote", ONE_WAY),
    Variant("on, features alone (no layout)", replace(FULL, layout=0.0)),
    Variant("off, features alone (no layout)", replace(ONE_WAY, layout=0.0)),
]
PARTS = [
    Variant("vote, raw matches", replace(FULL, suppress=False, rematch=False)),
    Variant("vote and suppression, no second matching", replace(FULL, rematch=False)),
    Variant("vote and second matching, no suppression", replace(FULL, suppress=False)),
    Variant("vote alone, no pose fit", replace(FULL, fit=False)),
    Variant("one template object", replace(FULL, instances=1)),
    Variant("no mirrored templates", replace(FULL, mirrored_templates=False)),
    Variant("no mirrored templates, mirror check rejects", replace(FULL, mirrored_templates=False), "reject"),
    Variant("no mirrored templates, no mirror check", replace(FULL, mirrored_templates=False), "off"),
    Variant("mirror check rejects", FULL, "reject"),
    Variant("no mirror check", FULL, "off"),
    Variant("plain and mirrored templates must agree", replace(FULL, halves=True), "off"),
    Variant("the same, and the mirror image too", replace(FULL, halves=True), "reject"),
    Variant("flip alignment per template (GeoAware-SC)", replace(FULL, flip_alignment=True)),
    Variant("plain arg-max read-out", replace(FULL, window=0)),
    Variant("no there-and-back weight", replace(FULL, cycle=False)),
    Variant("temporal consistency of the turntable's frames", FULL, temporal=True),
]
