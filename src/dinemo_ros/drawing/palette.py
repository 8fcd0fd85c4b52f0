# SPDX-License-Identifier: Apache-2.0
"""Every colour that tells something, for overlay, markers and Rerun alike: red-green blind people tell them apart too.

The hues of objects are those of Okabe and Ito (Color Universal Design, 2008). ``tests/unit/test_palette.py`` simulates
protanopia and deuteranopia (Machado, Oliveira and Fernandes, 2009) and holds how far colours stay apart in CIELAB.
"""

from __future__ import annotations

import zlib

from ..pose import ObjectPose

Colour = tuple[int, int, int]  # RGB, 0 to 255

ORANGE, SKY_BLUE, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, VERMILION, PURPLE = (0, 114, 178), (213, 94, 0), (204, 121, 167)
WHITE, DARK = (255, 255, 255), (24, 24, 28)  # of words, and behind lines

#: Axes x, y and z: red, green and blue as REP 103 has them, of a lightness each.
AXES: tuple[Colour, Colour, Colour] = ((200, 40, 20), (40, 215, 150), (30, 80, 240))
#: Along an object's length, rear, middle, front: a pose turned by half a turn is seen at a glance.
LENGTH: tuple[Colour, Colour, Colour] = ((38, 92, 214), (116, 190, 160), (255, 138, 24))
FRONT = LENGTH[2]
#: Of an object's grasps, one after the other.
GRASPS: tuple[Colour, ...] = (YELLOW, SKY_BLUE, PURPLE, WHITE)

_OF_CATEGORY = {"car": BLUE, "cup": GREEN, "bottle": ORANGE}  # in all their shades apart from each other
_OF_OTHERS = (VERMILION, SKY_BLUE, PURPLE, YELLOW)
_SHADES = ((WHITE, 0.0), (WHITE, 0.5), ((0, 0, 0), 0.42))  # mixed with so much of that: as it is, light, dark


def object_colour(category: str, instance: int = 0) -> Colour:
    """RGB: the hue tells the category, the shade one object from the next of its category (three, then again).

    A category of your own always has the same hue; two of them may share one.
    """
    hue = _OF_CATEGORY.get(category) or _OF_OTHERS[zlib.crc32(category.encode()) % len(_OF_OTHERS)]
    other, share = _SHADES[instance % len(_SHADES)]
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(hue, other, strict=True))
    return red, green, blue


def pose_colour(pose: ObjectPose, rank: int) -> Colour:
    """:func:`object_colour` of a pose: by its track, which it keeps, else by its rank among the image's poses."""
    return object_colour(pose.category, rank if pose.track_id is None else pose.track_id)
