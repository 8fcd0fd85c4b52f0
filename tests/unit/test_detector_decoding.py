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


def test_cells_that_reach_over_the_edge():
    """A stride of 8 has 8 x 4 cells on 60 x 28 pixels, the last ones half outside."""
    scores, distances = np.full((1, 32, 2), 0.5, np.float32), np.zeros((1, 32, 4), np.float32)
    boxes, _ = decode(card("cell_distances", (8,)), {"scores": scores, "distances": distances}, 60, 28)
    assert boxes[-1].tolist() == [60.0, 28.0, 60.0, 28.0]


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


@pytest.mark.parametrize(("rows", "words"), [
    ([(1, 2, 3, 4, np.nan, 0)], "gives scores that are not numbers (NaN)"),
    ([(1, 2, 3, 4, 7.25, 0), (1, 2, 3, 4, 0.5, 1)], "gives scores up to 7.25; allowed: 0 to 1"),
    ([(1, 2, 3, 4, np.inf, 0)], "gives scores up to inf; allowed: 0 to 1"),
    ([(1, 2, 3, np.inf, 0.9, 0), (0, 0, np.nan, 9, 0.9, 0)], "gives boxes that are not finite"),
])
def test_numbers_that_are_none_are_told(rows, words):
    """With logits in the place of scores everything would be a certain object."""
    with pytest.raises(WrongOutputError) as error:
        decode(card("corner_rows"), {"o": np.array([rows], np.float32)}, 640, 640)
    assert words in str(error.value)


def test_a_wild_box_among_others_has_no_score():
    rows = np.array([[1, 2, 3, 4, 0.5, 1], [-np.inf, 6, 7, 8, 0.9, 0]], np.float32)[None]
    _, scores = decode(card("corner_rows"), {"o": rows}, 640, 640)
    assert np.allclose(scores, [(0, 0.5), (0, 0)])


@pytest.mark.parametrize("output", [[np.zeros((1, 9, 6))], np.array([["a"]]), None])
def test_outputs_that_are_no_arrays_of_numbers(output):
    with pytest.raises(WrongOutputError, match="gives no numbers as 'o'"):
        decode(card("corner_rows"), {"o": output}, 640, 640)


def test_a_million_rows_take_little_memory():
    """Dense scores of 2,000 labels would take 8 GB."""
    rows = np.zeros((1, 1_000_000, 6), np.float32)
    rows[0, 777_777, 4] = 0.9
    boxes, scores = decode(card("corner_rows"), {"o": rows}, 640, 640)
    assert len(boxes) == len(scores) == 3000 and scores.max() == pytest.approx(0.9)
