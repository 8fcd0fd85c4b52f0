# SPDX-License-Identifier: Apache-2.0
"""Where the features of a point are found again: the nearest neighbour by cosine over the whole other picture.

No mask, no box, no best buddies: what the features alone give, as the zero-shot rows of the papers' tables. Pictures
are padded to squares as SD+DINO does, and cells of the padding are no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dinemo_ros.errors import DatasetError
from dinemo_ros.io.picture_read import imread
from dinemo_ros.io.quoting import shown_path
from dinemo_training.equivariance.metrics import sample
from dinemo_training.models.teachers.protocol import Teacher, prepare_picture

from .keypoint_pairs import KeypointPair
from .pck import Found, normaliser

DENSE = 4  # times the resolution of the features that the other picture is searched at
_KEPT = 200  # pictures whose features are held in memory, up to some 2 GB


@dataclass(frozen=True)
class FeatureMap:
    """Features of one picture.

    Attributes:
        maps: [D, h, w] unit norm, of the picture padded to a square at the right or below.
        side: of that square, pixels of the file. size: (width, height) of the picture itself.
    """

    maps: Tensor
    side: int
    size: tuple[int, int]

    def at(self, points: np.ndarray) -> Tensor:
        """Unit-norm features [N, D] at pixels [N, 2]."""
        return sample(self.maps[None], torch.from_numpy(np.asarray(points, np.float32))[None], self.side)[0]

    @cached_property
    def lengths(self) -> Tensor:
        """[DENSE h, DENSE w] lengths of the features between the cells, which are less than 1."""
        return _denser(self.maps).norm(dim=0).clamp_min(1e-6)

    def nearest(self, queries: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [N, 2] whose features have the largest cosine with ``queries`` [N, D], and the cosines [N].

        Products are interpolated instead of features, which is the same and takes a fraction of the time.
        """
        cosines = _denser((queries @ self.maps.flatten(1)).unflatten(1, self.maps.shape[1:])) / self.lengths
        height, width = cosines.shape[1:]
        x = (torch.arange(width) + 0.5) * self.side / width - 0.5
        y = (torch.arange(height) + 0.5) * self.side / height - 0.5
        inside = (y <= self.size[1] - 0.5)[:, None] & (x <= self.size[0] - 0.5)[None]
        best = cosines.masked_fill(~inside, -2.0).flatten(1).max(dim=1)
        pixels = torch.stack([x[best.indices % width], y[best.indices // width]], dim=1)
        return pixels.double().numpy(), best.values.double().numpy()


def _denser(maps: Tensor) -> Tensor:
    """[D, h, w] at :data:`DENSE` times the resolution."""
    return F.interpolate(maps[None], scale_factor=DENSE, mode="bilinear", align_corners=False)[0]


def feature_map(teacher: Teacher, picture: np.ndarray, side: int) -> FeatureMap:
    """Features of ``picture`` uint8 [H, W, 3] RGB, given to the teacher as a square of ``side`` pixels."""
    height, width = picture.shape[:2]
    square = max(height, width)
    padded = cv2.copyMakeBorder(picture, 0, square - height, 0, square - width, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    with torch.inference_mode():
        return FeatureMap(teacher(prepare_picture(padded, side))[0].float(), square, (width, height))


def read_picture(path: Path) -> np.ndarray:
    """RGB uint8 [H, W, 3]; DatasetError where there is none that can be read."""
    picture = imread(path)
    if picture is None:
        raise DatasetError(f"{shown_path(path)}: is no picture that can be read; fetch the data set again")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def match(teacher: Teacher, pairs: Iterable[KeypointPair], side: int, relative_to: str) -> Iterator[Found]:
    """Errors of every pair in the order given.

    Args:
        side: of the squares that the teacher sees, pixels. relative_to: see :func:`~.pck.normaliser`.
    """
    kept: dict[Path, FeatureMap] = {}  # of the pictures of late; the next pair often has one of them
    for pair in pairs:
        for path in (pair.source, pair.target):
            if path not in kept:
                if len(kept) >= _KEPT:
                    kept.pop(next(iter(kept)))
                kept[path] = feature_map(teacher, read_picture(path), side)
        source, target = kept[pair.source], kept[pair.target]
        pixels, _ = target.nearest(source.at(pair.source_points))
        errors = np.linalg.norm(pixels - pair.target_points, axis=1)
        yield Found(pair, errors / normaliser(pair, relative_to, target.size))
