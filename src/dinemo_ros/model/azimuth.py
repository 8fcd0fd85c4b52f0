# SPDX-License-Identifier: Apache-2.0
"""Key ``azimuth`` of a bundle's card: how far the evidence of all turns about the axis is believed.

Of a category whose azimuth a single part tells (a cup's handle), the object is compared with the picture at every turn
(:mod:`dinemo_ros.solver.ambiguity`). What makes a probability of these figures is fitted to renders with exact poses by
``dinemo_training.export.azimuth_uncertainty --fit``.
"""

from __future__ import annotations

from dataclasses import dataclass

from .allowed import require

HANDLE_SEEN_DEG = 125.0  # how far the handle may point away from the camera and still show beside the body


@dataclass(frozen=True)
class AzimuthSpec:
    """All but ``level`` is only applied where the bundle was fitted, that is where ``scale`` is not 0.

    Attributes:
        level: cosine between a vertex and a cell that shows something else.
        scale: what the variance of a cell's cosine is multiplied by; 0 takes ``score.covariance_scale``.
        unseen: how much likelier than one of the other readings it is beforehand that the part which tells the turn is
            covered or behind the object; then the picture says nothing of the turn.
        blur_deg: standard deviation that a turn has besides, degrees: the part of this very object is of another shape.
        doubt: probability of any turn at all, whatever the evidence.
    """

    level: float = 0.1
    scale: float = 0.0
    unseen: float = 0.0
    blur_deg: float = 0.0
    doubt: float = 0.0

    def __post_init__(self) -> None:
        require(-1.0 <= self.level <= 1.0, "azimuth.level", self.level, "-1 to 1")
        require(self.scale == 0.0 or 0.01 <= self.scale <= 1000.0, "azimuth.scale", self.scale, "0, or 0.01 to 1000")
        require(0.0 <= self.unseen <= 1000.0, "azimuth.unseen", self.unseen, "0 to 1000")
        require(0.0 <= self.blur_deg <= 90.0, "azimuth.blur_deg", self.blur_deg, "0 to 90 degrees")
        require(0.0 <= self.doubt <= 1.0, "azimuth.doubt", self.doubt, "0 to 1")

    def __bool__(self) -> bool:
        """Whether it was fitted; a card is written without it otherwise."""
        return self.scale > 0.0


NOT_FITTED = AzimuthSpec()
