# SPDX-License-Identifier: Apache-2.0
"""Depth images that belong to the pictures of a source, wherever they lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ...camera.pinhole import Camera
from .frame import Frame


@dataclass(frozen=True)
class FoundDepth:
    """One depth image.

    Attributes:
        stored: uint16 (millimetres) or float32 (metres) [H, W].
        name: for sentences.
        camera: of the depth image, None where nothing is known of it.
        T_cam_depth: [4, 4] metres, its frame to that of the picture's camera; None where it is aligned to the picture.
        note: what was taken for granted, or an empty string.
    """

    stored: np.ndarray
    name: str
    camera: Camera | None = None
    T_cam_depth: np.ndarray | None = None
    note: str = ""


class DepthSource(ABC):
    """Finds the depth image of a picture. To be closed.

    Attributes:
        notes: what a user should know about it as a whole.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    @abstractmethod
    def of(self, frame: Frame) -> FoundDepth | None:
        """The depth image of ``frame``, None where there is none.

        Raises:
            ImageError: there is one, and it cannot be read.
        """

    def close(self) -> None:
        """Let go of what is open."""
        return
