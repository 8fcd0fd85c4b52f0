# SPDX-License-Identifier: Apache-2.0
"""Occlusion levels as in Occluded PASCAL3D+ (Wang et al., CVPR 2020): cut-outs are pasted until enough is hidden.

Each level names how much of the object and how much of its surroundings is covered; the surroundings matter because an
occluder that only ever lies on the object would give its outline away. What a frame looks like depends on seed, name
and level alone, never on which model is evaluated.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from .cutouts import CutOuts

_TOLERANCE = 0.02  # share of the object or the surroundings by which a frame's own goal may be missed
_FRAME_TRIES, _TRIES = 8, 120  # layouts per frame, cut-outs per layout
_SMALLEST = 0.01  # of the object's area


@dataclass(frozen=True)
class Level:
    """Shares of the object and of everything else that are to be covered, from and to."""

    name: str
    object: tuple[float, float]
    surroundings: tuple[float, float]


# FGL1_BGL1, FGL2_BGL2 and FGL3_BGL3 of Occluded PASCAL3D+, the columns L1 to L3 of the papers' tables.
LEVELS = {level.name: level for level in (Level("L1", (0.2, 0.4), (0.0, 0.2)), Level("L2", (0.4, 0.6), (0.2, 0.4)),
                                          Level("L3", (0.6, 0.8), (0.4, 0.6)))}


@dataclass(frozen=True)
class Occluded:
    """A picture with cut-outs pasted over it.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        covered: bool [H, W].
        coverage, surroundings: shares of the object and of the rest that are covered.
    """

    image: np.ndarray
    covered: np.ndarray
    coverage: float
    surroundings: float


class Occluder:
    """Covers pictures up to a level; ``cutouts`` are what it pastes."""

    def __init__(self, cutouts: CutOuts, seed: int = 0) -> None:
        self._cutouts, self._seed = cutouts, seed

    def __call__(self, image: np.ndarray, mask: np.ndarray, level: Level, name: str) -> Occluded:
        """``image`` uint8 [H, W, 3] with the object ``mask`` [H, W] bool covered up to ``level``.

        The goal is drawn from the level's range. A layout that misses it is thrown away and drawn again a few times;
        the nearest one stays, and says what it reached.
        """
        rng = np.random.default_rng([self._seed, zlib.crc32(name.encode()), zlib.crc32(level.name.encode())])
        best: tuple[float, _Layer] | None = None
        for _ in range(_FRAME_TRIES):
            layer = _Layer(image, mask)
            self._cover_object(layer, rng, _inner(level.object, rng), level.surroundings[1])
            self._cover_surroundings(layer, rng, _inner(level.surroundings, rng), level.object[1])
            miss = 3.0 * _outside(layer.coverage, level.object) + _outside(layer.surroundings, level.surroundings)
            if best is None or miss < best[0]:
                best = miss, layer
            if miss == 0.0:
                break
        layer = best[1]
        return Occluded(layer.image, layer.covered, layer.coverage, layer.surroundings)

    def _cover_object(self, layer: _Layer, rng: np.random.Generator, goal: float, most_around: float) -> None:
        shrink = 1.0
        for _ in range(_TRIES):
            missing = goal - layer.coverage
            if missing < _TOLERANCE:
                return
            area = max(missing * rng.uniform(0.7, 1.6) * shrink, _SMALLEST) * layer.object_area
            at = _random_pixel(layer.mask & ~layer.covered, rng)
            accepted = layer.paste(*self._cutouts(rng, area), at, goal + _TOLERANCE, most_around)
            shrink = 1.0 if accepted else max(0.8 * shrink, 0.05)

    def _cover_surroundings(self, layer: _Layer, rng: np.random.Generator, goal: float, most: float) -> None:
        shrink = 1.0
        most = min(most, layer.coverage + _TOLERANCE)
        for _ in range(_TRIES):
            missing = goal - layer.surroundings
            if missing < _TOLERANCE or not (~layer.mask & ~layer.covered).any():
                return
            area = max(missing * rng.uniform(0.2, 0.8) * shrink, 0.004) * layer.surrounding_area
            at = _random_pixel(~layer.mask & ~layer.covered, rng)
            accepted = layer.paste(*self._cutouts(rng, area), at, most, goal + _TOLERANCE)
            shrink = 1.0 if accepted else max(0.8 * shrink, 0.05)


class _Layer:
    """A picture that is being covered."""

    def __init__(self, image: np.ndarray, mask: np.ndarray) -> None:
        self.image, self.mask = image.copy(), mask
        self.covered = np.zeros(mask.shape, bool)
        self.object_area, self.surrounding_area = int(mask.sum()), int((~mask).sum())

    @property
    def coverage(self) -> float:
        return float((self.covered & self.mask).sum() / max(self.object_area, 1))

    @property
    def surroundings(self) -> float:
        return float((self.covered & ~self.mask).sum() / max(self.surrounding_area, 1))

    def paste(self, colour: np.ndarray, opacity: np.ndarray, at: tuple[int, int], most: float,
              most_around: float) -> bool:
        """Put a cut-out with its middle at pixel ``at`` (row, column), unless it then hides too much."""
        (h, w), (height, width) = opacity.shape, self.mask.shape
        top, left = at[0] - h // 2, at[1] - w // 2
        i0, j0, i1, j1 = max(top, 0), max(left, 0), min(top + h, height), min(left + w, width)
        to, of = np.s_[i0:i1, j0:j1], np.s_[i0 - top:i1 - top, j0 - left:j1 - left]
        covered = self.covered.copy()
        covered[to] |= opacity[of] > 0.5
        if (covered & self.mask).sum() > most * self.object_area or \
                (covered & ~self.mask).sum() > most_around * self.surrounding_area:
            return False
        weight = opacity[of][..., None]
        self.image[to] = np.round(self.image[to] * (1 - weight) + colour[of] * weight).astype(np.uint8)
        self.covered = covered
        return True


def _random_pixel(where: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """(row, column) of one of the true pixels."""
    return tuple(np.unravel_index(rng.choice(np.flatnonzero(where)), where.shape))


def _inner(span: tuple[float, float], rng: np.random.Generator) -> float:
    """A number of the span that may be missed by the tolerance without leaving it."""
    return float(rng.uniform(span[0] + _TOLERANCE, span[1] - _TOLERANCE))


def _outside(value: float, span: tuple[float, float]) -> float:
    return max(span[0] - value, value - span[1], 0.0)
