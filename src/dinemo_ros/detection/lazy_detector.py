# SPDX-License-Identifier: Apache-2.0
"""A box detector whose network is loaded when it is first asked: a node that is given boxes needs none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BundleError
from .detector import Detection
from .detector_card import CARD_FILE, read_detector_card

if TYPE_CHECKING:
    from .onnx_detector import OnnxDetector


class LazyDetector:
    """As :class:`~dinemo_ros.detection.onnx_detector.OnnxDetector`, of which the arguments are; the card is read now.

    Raises:
        BundleError: the card is no good; that of the network comes with :meth:`load` or the first picture.
    """

    def __init__(self, folder: Path, threads: int = 2, budget_ms: float = 0.0) -> None:
        card = read_detector_card(folder / CARD_FILE)
        self.name, self.labels = f"{card.name} {card.version}", card.labels
        self._arguments = folder, threads, budget_ms
        self._loaded: OnnxDetector | None = None
        self._failed: BundleError | None = None

    def load(self) -> OnnxDetector:
        """The detector, with its network. One that is no good is tried once, and told for every picture."""
        if self._failed:
            raise BundleError(*self._failed.args)
        if self._loaded is None:
            # Imported late: a node has to be up before ONNX Runtime is, to say what is wrong with it.
            from .onnx_detector import OnnxDetector

            try:
                self._loaded = OnnxDetector(*self._arguments)
            except BundleError as error:
                self._failed = error
                raise
        return self._loaded

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """As the protocol says."""
        return self.load()(image)
