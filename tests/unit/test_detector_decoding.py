# SPDX-License-Identifier: Apache-2.0
"""Networks' answers read as boxes, against boxes worked out by hand."""

import numpy as np
import pytest

from dinemo_ros.detection.decoding import WrongOutputError, decode
from dinemo_ros.detection.detector_card import DetectorCard

LABELS = ("cup", "bottle")


def card(decoding, strides=()):
    return DetectorCard("dinemo-detector/1", "x", "1", "", LABELS, decoding, strides=strides)


def test_distances_from_cells():
    """A picture of 64 x 32 has 8 x 4 cells of 8 pixels, then 4 x 2 of 16."""
    scores, distances = np.zeros((1, 40, 2), np.float32), np.zeros((1, 40, 4), np.float32)
    scores[0, 8 + 3], distances[0, 8 + 3] = (0.2, 0.7), (1, 0.5, 2, 3)  # second row, fourth cell: centre (28, 12)
    scores[0, 32 + 5], distances[0, 32 + 5] = (0.9, 0.1), (0.5, 1, 1.5, 0)  # second row, second cell: centre (24, 24)
    boxes, found = decode(card("cell_distances", (8, 16)), {"scores": scores, "distances": distances}, 64, 32)
    assert np.allclose(boxes[11], (28 - 8, 12 - 4, 28 + 16, 12 + 24))
    assert np.allclose(boxes[37], (24 - 8, 24 - 16, 24 + 24, 24))
    assert np.array_equal(found, scores[0])


def test_rows_of_centres():
    rows = np.array([[50, 20], [40, 10], [20, 8], [60, 4], [0.1, 0.8], [0.9, 0.3]], np.float32)[None]
    boxes, scores = decode(card("centre_rows"), {"output0": rows}, 640, 640)
    assert np.allclose(boxes, [(40, 10, 60, 70), (16, 8, 24, 12)])
    assert np.allclose(scores, [(0.1, 0.9), (0.8, 0.3)])


def test_rows_of_corners():
    """A class that the card does not know is left out."""
    rows = np.array([[1, 2, 3, 4, 0.5, 1], [5, 6, 7, 8, 0.9, 0], [5, 6, 7, 8, 0.9, 2]], np.float32)[None]
    boxes, scores = decode(card("corner_rows"), {"o": rows}, 640, 640)
    assert np.allclose(boxes, [(1, 2, 3, 4), (5, 6, 7, 8)]) and np.allclose(scores, [(0, 0.5), (0.9, 0)])


@pytest.mark.parametrize(("decoding", "strides", "outputs", "words"), [
    ("cell_distances", (8,), {"scores": np.zeros((1, 16, 2)), "boxes": np.zeros((1, 16, 4))},
     "gives scores [1, 16, 2], boxes [1, 16, 4], and its card's decoding and labels ask for scores [1, 16, 2]"),
    ("cell_distances", (8,), {"scores": np.zeros((1, 16, 3)), "distances": np.zeros((1, 16, 4))}, "scores [1, 16, 2]"),
    ("centre_rows", (), {"o": np.zeros((1, 100, 6))}, "one output [1, 6, N]"),
    ("centre_rows", (), {"o": np.zeros((1, 6, 9)), "p": np.zeros(1)}, "one output [1, 6, N]"),
    ("corner_rows", (), {"o": np.zeros((1, 9, 7))}, "one output [1, N, 6]"),
])
def test_another_form_is_told(decoding, strides, outputs, words):
    with pytest.raises(WrongOutputError) as error:
        decode(card(decoding, strides), outputs, 32, 32)
    assert words in str(error.value)
