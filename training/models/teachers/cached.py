# SPDX-License-Identifier: Apache-2.0
"""Teacher features on disk, so that an interrupted or repeated run computes each picture once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dinemo_ros.io.files import completed, write_file

from .protocol import Teacher


class CachedTeacher:
    """A teacher that looks up every single picture by its content before it computes.

    Args:
        teacher: what computes. folder: one float16 file per picture; may be deleted at any time.
        identity: what the features depend on besides the picture (teacher, weights, options).
    """

    def __init__(self, teacher: Teacher, folder: str | Path, identity: str) -> None:
        self.teacher = teacher
        self.folder = Path(folder) / hashlib.sha256(identity.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_file(self.folder / "identity.txt", identity + "\n")

    def __call__(self, images: Tensor) -> Tensor:
        return torch.cat([self._one(image[None]) for image in images])

    def _one(self, image: Tensor) -> Tensor:
        key = hashlib.sha256(image.contiguous().numpy().tobytes() + str(tuple(image.shape)).encode()).hexdigest()[:24]
        path = self.folder / f"{key}.npy"
        if path.is_file():
            return torch.from_numpy(np.load(path, allow_pickle=False)).float()
        features = self.teacher(image).cpu()
        with completed(path) as part:
            np.save(part, features.half().numpy())
        return features.half().float()  # what the next look-up gives
