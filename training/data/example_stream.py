# SPDX-License-Identifier: Apache-2.0
"""The stream of training examples: a fixed list, though it is made up at random.

Example number n depends on the seed and n alone. So a killed run that goes on sees what it would have seen, and several
processes can share the list by striding through it.
"""

from __future__ import annotations

import cv2
import numpy as np
from torch.utils.data import Dataset

from .batches import CorrespondenceSampler
from .posed_crops import PosedCrop, load_posed_crops

Pool = tuple[list[PosedCrop], float]  # crops, and how often the pool is drawn from relative to the others


class ExampleStream(Dataset):
    """Examples ``first`` to ``first + count`` of the list that ``seed`` stands for."""

    def __init__(self, pools: list[Pool], sampler: CorrespondenceSampler, seed: int, first: int, count: int) -> None:
        self.pools, self.sampler, self.seed, self.first, self.count = pools, sampler, seed, first, count
        share = np.array([weight for _, weight in pools], float)
        self.share = share / share.sum()
        self.clutter = [crop for crops, _ in pools for crop in crops if crop.weight == 0]
        self.neighbours = [crop for crops, _ in pools for crop in crops if crop.weight > 0 and crop.mask is not None]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, self.first + index])
        crop = self._pick(rng)
        neighbour = self.neighbours[rng.integers(len(self.neighbours))] if self.neighbours else None
        return self.sampler.sample(rng, crop, self._texture(rng), self._texture(rng), neighbour)

    def _pick(self, rng: np.random.Generator) -> PosedCrop:
        crops = self.pools[rng.choice(len(self.pools), p=self.share)][0]
        return crops[rng.integers(len(crops))]

    def _texture(self, rng: np.random.Generator) -> np.ndarray:
        """Background or occluder: a picture without the object, or the corner of one with it."""
        size = self.sampler.augmentation.size
        if self.clutter and rng.random() < 0.6:
            return _window(rng, self.clutter[rng.integers(len(self.clutter))].image(), size)
        return _corner(rng, self._pick(rng).image(), size)


def _corner(rng: np.random.Generator, image: np.ndarray, size: int) -> np.ndarray:
    """A small piece from a corner, scaled up; the middle shows another object of the category, no background."""
    height, width = image.shape[:2]
    side = int(rng.integers(min(height, width) // 8, min(height, width) // 4))
    y = 0 if rng.random() < 0.5 else height - side
    x = 0 if rng.random() < 0.5 else width - side
    piece = np.rot90(image[y : y + side, x : x + side], rng.integers(4))
    return cv2.resize(piece, (size, size), interpolation=cv2.INTER_CUBIC)


def _window(rng: np.random.Generator, image: np.ndarray, size: int) -> np.ndarray:
    """A random square of at least half the picture."""
    side = int(rng.uniform(0.5, 1.0) * min(image.shape[:2]))
    y, x = rng.integers(0, image.shape[0] - side + 1), rng.integers(0, image.shape[1] - side + 1)
    return cv2.resize(image[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)


def parse_pool(argument: str) -> Pool:
    """``FOLDER`` or ``FOLDER:SHARE``; without a share a folder counts by its number of pictures."""
    folder, _, share = argument.partition(":")
    crops = load_posed_crops(folder)
    return crops, float(share) if share else float(len(crops))
