# SPDX-License-Identifier: Apache-2.0
"""The card of a box detector, ``detector.yaml``: what its network takes, and how its answer is read.

With a card of your own any ONNX detector whose answer is of one of the :data:`DECODINGS` takes the place of the one
that ships; engines/detector/README.md shows one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BundleError
from ..model.allowed import require, told
from ..model.card_document import parse_schema, read_with_format

CARD_FILE, MODEL_FILE = "detector.yaml", "detector.onnx"
FORMAT = "dinemo-detector/1"
#: How boxes are read from what the network gives, see ``decoding.py``.
DECODINGS = ("cell_distances", "centre_rows", "corner_rows")
_LONGEST = {"name": 64, "version": 64, "description": 2000, "license": 2000}  # characters
_MOST_LABELS, _LONGEST_LABEL = 2000, 100
_LARGEST_SIDE = 4096  # pixels
_MOST_STRIDES = 8


@dataclass(frozen=True)
class InputSpec:
    """The picture that the network takes.

    Attributes:
        layout: "nhwc" or "nchw". type: "uint8" or "float32". order: of the channels, "rgb" or "bgr".
        mean, deviation: [3] in ``order``: of the pixels, 0 to 255, the one is subtracted, then divided by the other.
            Of uint8 pictures neither.
        multiple: of which both sides of a picture have to be.
        fixed: (width, height) of a network that takes no other picture; empty where any will do.
    """

    layout: str = "nhwc"
    type: str = "uint8"
    order: str = "rgb"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    deviation: tuple[float, ...] = (1.0, 1.0, 1.0)
    multiple: int = 32
    fixed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in (("layout", ("nhwc", "nchw")), ("type", ("uint8", "float32")), ("order", ("rgb", "bgr"))):
            value = getattr(self, name)
            require(value in allowed, f"input.{name}", value, " or ".join(allowed))
        require(len(self.mean) == 3, "input.mean", self.mean, "three numbers")
        require(len(self.deviation) == 3 and min(self.deviation) > 0, "input.deviation", self.deviation,
                "three numbers above 0")
        plain = not any(self.mean) and set(self.deviation) == {1.0}
        require(self.type == "float32" or plain, "input.mean and input.deviation", (self.mean, self.deviation),
                "zeros and ones for a network that takes uint8")
        require(1 <= self.multiple <= 256, "input.multiple", self.multiple, "1 to 256")
        sides = self.fixed or (self.multiple, self.multiple)
        require(len(sides) == 2 and 16 <= max(16, *sides) <= _LARGEST_SIDE and min(sides) > 0, "input.fixed",
                self.fixed, f"width and height, 1 to {_LARGEST_SIDE}, or nothing")


@dataclass(frozen=True)
class DetectorCard:
    """``detector.yaml``.

    Attributes:
        sha256: of ``detector.onnx``.
        labels: names of the classes in the order of the network's scores.
        decoding: one of :data:`DECODINGS`. strides: of "cell_distances", pixels, in the order of the network's rows.
        short_sides: what the shorter side of the whole picture is scaled to, pixels; one run of the network each. A
            latency budget may take fewer of them or more, see :mod:`~dinemo_ros.detection.views`.
        min_score: what is less certain is no detection, whatever a category asks for.
        overlap: intersection over union above which two boxes of a label are one object.
        inside: share of a box that lies in a more certain one of the same label above which it is a part of it.
    """

    format: str
    name: str
    version: str
    sha256: str
    labels: tuple[str, ...]
    decoding: str
    description: str = ""
    license: str = ""
    input: InputSpec = field(default_factory=InputSpec)
    strides: tuple[int, ...] = ()
    short_sides: tuple[int, ...] = (320,)
    min_score: float = 0.2
    overlap: float = 0.5
    inside: float = 0.7

    def __post_init__(self) -> None:
        require(self.format == FORMAT, "format", self.format, FORMAT)
        for name, longest in _LONGEST.items():
            value = getattr(self, name)
            require(len(value) <= longest and (name not in ("name", "version") or value.isprintable()), name, value,
                    f"up to {longest} characters that can be printed")
        require(1 <= len(self.labels) <= _MOST_LABELS, "labels", f"{len(self.labels)} names", f"1 to {_MOST_LABELS}")
        for label in self.labels:
            require(0 < len(label) <= _LONGEST_LABEL and label.isprintable(), "labels", label,
                    f"names of up to {_LONGEST_LABEL} characters that can be printed")
        require(self.decoding in DECODINGS, "decoding", self.decoding, ", ".join(DECODINGS))
        cells = self.decoding == "cell_distances"
        require(len(set(self.labels)) == len(self.labels), "labels", "a list with a name twice", "each name once")
        require(bool(self.strides) == cells and len(self.strides) <= _MOST_STRIDES
                and all(1 <= stride <= 256 for stride in self.strides), "strides", self.strides,
                f"pixels per cell, up to {_MOST_STRIDES} numbers from 1 to 256, with the decoding cell_distances, and "
                "none with another")
        require(1 <= len(self.short_sides) <= 8 and all(32 <= side <= 2048 for side in self.short_sides),
                "short_sides", self.short_sides, "one to eight numbers from 32 to 2048")
        for name, low, high in (("min_score", 0.01, 1.0), ("overlap", 0.1, 1.0), ("inside", 0.1, 1.0)):
            value = getattr(self, name)
            require(low <= value <= high, name, value, f"{low:g} to {high:g}")


def read_detector_card(path: Path) -> DetectorCard:
    """The card of the file ``path``; BundleError says what is wrong with it."""
    document, found = read_with_format(path, "detector", "engines/detector/README.md")
    if found != FORMAT:
        raise BundleError(f"{path}: not a detector's card (format is {told(found)}, expected {FORMAT!r})")
    try:
        return parse_schema(DetectorCard, document)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
