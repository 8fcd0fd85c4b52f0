# SPDX-License-Identifier: Apache-2.0
"""A mesh drawn at several poses."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Rendered:
    """screen [H, F, 3, 3] cell x, cell y, depth of each face's corners; of each cell as ``rasterise`` gives them: face
    [H, P] int64 (-1 none), perspective barycentric weights bary [H, P, 3], depth [H, P] (inf none).
    """

    screen: Tensor
    face: Tensor
    bary: Tensor
    depth: Tensor
