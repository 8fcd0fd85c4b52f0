# SPDX-License-Identifier: Apache-2.0
"""Which parts of a picture a detector looks at, and how large: more where there is time for more.

A network that takes pictures of any size sees the whole frame at several sizes, the small ones for near objects, the
large ones for far ones. One of a fixed size sees the whole frame and then tiles of it, which come to the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .detector_card import DetectorCard, InputSpec

_NEXT_SIDE = 1.4  # times the last one, beyond those that the card names
_LARGEST_SCALE = 1.5  # of a picture; beyond, nothing is to be seen that was not
_MOST_SQUARES = 6.0  # area of the network's picture in squares of its shorter side: of a panorama, no more
_TILES = (1.0, 0.6)  # side of the tiles by the shorter side of the picture
_TILE_OVERLAP = 0.4


@dataclass(frozen=True)
class View:
    """A part of the picture as one run of the network.

    Attributes:
        box: (x_min, y_min, x_max, y_max) of the part, pixels of the picture.
        content: (width, height) that it is scaled to. size: (width, height) of the network's picture, which holds the
            content in its upper left corner.
    """

    box: tuple[int, int, int, int]
    content: tuple[int, int]
    size: tuple[int, int]

    @property
    def megapixels(self) -> float:
        return 1e-6 * self.size[0] * self.size[1]


def whole_view(width: int, height: int, short_side: int, spec: InputSpec) -> View:
    """The whole picture with its aspect kept, as nearly as ``spec.multiple`` allows, its shorter side so long.

    Of a strip less: enlarged like that, 4,000 x 16 pixels would be 80,000 x 320.
    """
    if spec.fixed:
        return _fixed_view((0, 0, width, height), spec)
    scale = short_side * min(1.0 / min(width, height), (_MOST_SQUARES / (width * height)) ** 0.5)
    across, down = (max(1, round(scale * side / spec.multiple)) for side in (width, height))
    size = spec.multiple * across, spec.multiple * down
    return View((0, 0, width, height), size, size)


def planned_views(width: int, height: int, card: DetectorCard, budget_ms: float = 0.0,
                  cost_ms: Callable[[View], float] = lambda view: 0.0) -> list[View]:
    """What is looked at in a picture of this size.

    Args:
        budget_ms: milliseconds for all views together: as many are taken, in this order, as ``cost_ms`` says fit, the
            first one whatever it costs. 0 takes what the card names.
    """
    if not budget_ms:
        return _distinct([whole_view(width, height, side, card.input) for side in card.short_sides])
    planned: list[View] = []
    spent = 0.0
    for views in _stages(width, height, card):
        spent += sum(map(cost_ms, views))
        if planned and spent > budget_ms:
            break
        planned += views
    return _distinct(planned)


def inner_edges(boxes: np.ndarray, view: View, width: int, height: int) -> np.ndarray:
    """Whether each of ``boxes`` [N, 4] in pixels of the picture touches an edge of the view that lies inside the
    picture: it is then a part of an object, which another view shows whole."""
    near = 0.01 * (view.box[2] - view.box[0])
    low, high = np.array(view.box[:2]), np.array(view.box[2:])
    cut = ((boxes[:, :2] < low + near) & (low > 0)) | ((boxes[:, 2:] > high - near) & (high < (width, height)))
    return np.asarray(cut.any(axis=1))


def _stages(width: int, height: int, card: DetectorCard) -> list[list[View]]:
    """What is added at a time, first what is most worth its time."""
    if card.input.fixed:
        whole = [whole_view(width, height, 0, card.input)]
        return [whole, *([_fixed_view(box, card.input) for box in _tiles(width, height, share)] for share in _TILES)]
    sides = sorted(card.short_sides)
    while sides[-1] * _NEXT_SIDE <= _LARGEST_SCALE * min(width, height):
        sides.append(round(sides[-1] * _NEXT_SIDE))
    return [[whole_view(width, height, side, card.input)] for side in sides]


def _fixed_view(box: tuple[int, int, int, int], spec: InputSpec) -> View:
    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(spec.fixed[0] / width, spec.fixed[1] / height)
    return View(box, (max(1, round(scale * width)), max(1, round(scale * height))), (spec.fixed[0], spec.fixed[1]))


def _tiles(width: int, height: int, share: float) -> list[tuple[int, int, int, int]]:
    """Squares that cover the picture and overlap; none where one would be all of it."""
    side = share * min(width, height)
    starts = [np.linspace(0, length - side, 1 + int(np.ceil((length - side) / ((1 - _TILE_OVERLAP) * side) - 1e-9)))
              for length in (width, height)]
    if len(starts[0]) * len(starts[1]) == 1:
        return []
    return [(int(x), int(y), int(x + side), int(y + side)) for y in starts[1] for x in starts[0]]


def _distinct(views: list[View]) -> list[View]:
    return list(dict.fromkeys(views))
