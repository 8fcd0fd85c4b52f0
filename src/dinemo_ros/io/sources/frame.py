# SPDX-License-Identifier: Apache-2.0
"""One image of a source, and what every source offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from ...camera.pinhole import Camera

_MOST_NOTES = 50


@dataclass(frozen=True)
class Frame:
    """One image.

    Attributes:
        stamp_s: seconds; the header's stamp for a bag, the container's for a video (mostly 0 for the first frame),
            otherwise since the first frame.
        image_rgb: uint8 [H, W, 3].
        camera: intrinsics that came with the source, None where it has none.
        calibrated: whether these were measured; False: computed from the focal length in the picture's EXIF data.
        name: file name, or ``NAME:000012`` for the frame number in a video or bag.
        frame_id: TF frame of the camera, "" where the source has none.
        camera_error: why the calibration that came with the source cannot be used, where ``camera`` is None for that.
        stamp: of a bag the header's, as it stands there, seconds and nanoseconds; 0 of other sources.
        received_ns: of a bag the time of receipt, nanoseconds; 0 of other sources.
    """

    stamp_s: float
    image_rgb: np.ndarray
    camera: Camera | None
    name: str
    frame_id: str = ""
    calibrated: bool = True
    camera_error: str = ""
    stamp: tuple[int, int] = (0, 0)
    received_ns: int = 0


def undecoded(width: int, height: int) -> np.ndarray:
    """[height, width, 3] uint8 black in place of a picture that is of another size than its camera's.

    It takes three bytes of memory, whatever its size, and cannot be written to: for whoever refuses it by its size.
    """
    return np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))


class Source(ABC):
    """Yields frames in order; may be iterated again, from the start.

    Attributes:
        description: what is read, in words.
        skipped: one sentence for every input that could not be used, filled while iterating.
        notes: what a user should know about the source as a whole (said once); some only turn up while iterating.
        required_camera: of the source's own calibration the camera whose size a picture must have to be worth decoding,
            None for any. Set by whoever refuses pictures of another size; such a frame is :func:`undecoded`.
    """

    def __init__(self, description: str) -> None:
        self.description = description
        self.skipped: list[str] = []
        self.notes: list[str] = []
        self.required_camera: Callable[[Camera | None], Camera | None] = lambda own: None

    def __iter__(self) -> Generator[Frame, None, None]:
        self.skipped.clear()
        return self._frames()

    def note(self, sentence: str) -> None:
        """Add to :attr:`notes`, once; of a flood of them the first."""
        if sentence not in self.notes and len(self.notes) < _MOST_NOTES:
            self.notes.append(sentence)

    @abstractmethod
    def __len__(self) -> int:
        """Frames to expect, unreadable ones included; of a video an estimate, and 0 where the container does not say.
        """

    @abstractmethod
    def _frames(self) -> Generator[Frame, None, None]:
        """Yield the frames, and add what cannot be used to ``skipped``."""
