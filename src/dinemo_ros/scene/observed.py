# SPDX-License-Identifier: Apache-2.0
"""Everything that is known of one image beside its pixels, as it is handed from the estimator to the solver."""

from __future__ import annotations

from dataclasses import dataclass

from .depth_image import DepthImage
from .support_plane import SupportPlane


@dataclass(frozen=True)
class Observed:
    """The support plane and the depth image of one picture; None is what nobody knows."""

    support: SupportPlane | None = None
    depth: DepthImage | None = None

    def __bool__(self) -> bool:
        return self.support is not None or self.depth is not None


NOTHING = Observed()
