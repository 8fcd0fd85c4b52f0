# SPDX-License-Identifier: Apache-2.0
"""The card of a box detector: what it may say, and how it is refused."""

import pytest
import yaml

from dinemo_ros.detection.detector_card import CARD_FILE, DetectorCard, InputSpec, read_detector_card
from dinemo_ros.detection.detector_search import find_detector
from dinemo_ros.errors import BundleError

GOOD = {"format": "dinemo-detector/1", "name": "mine", "version": "2", "sha256": "00", "labels": ["cup", "mug"],
        "decoding": "centre_rows", "input": {"layout": "nchw", "type": "float32", "mean": [0, 0, 0],
                                             "deviation": [255, 255, 255], "fixed": [640, 640]}}


def read(tmp_path, **changes):
    (tmp_path / CARD_FILE).write_text(yaml.safe_dump({**GOOD, **changes}))
    return read_detector_card(tmp_path / CARD_FILE)


def test_a_card_of_ones_own(tmp_path):
    card = read(tmp_path)
    assert card.labels == ("cup", "mug") and card.short_sides == (320,) and card.strides == ()
    assert card.input == InputSpec("nchw", "float32", "rgb", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), 32, (640, 640))


def test_the_shipped_card():
    card = read_detector_card(find_detector() / CARD_FILE)
    assert {"car", "cup", "bottle"} <= set(card.labels) and len(card.labels) == 80 and card.license


@pytest.mark.parametrize(("changes", "words"), [
    ({"format": "dinemo-detector/9"}, "expected 'dinemo-detector/1'"),
    ({"labels": []}, "labels is '0 names'"),
    ({"labels": ["a\x1b[2J"]}, "can be printed"),
    ({"labels": [1]}, "labels must be"),
    ({"decoding": "yolo"}, "decoding is 'yolo'; allowed: cell_distances, centre_rows, corner_rows"),
    ({"decoding": "cell_distances"}, "strides is ()"),
    ({"strides": [8]}, "strides is (8,)"),
    ({"decoding": "cell_distances", "strides": [1] * 9000}, "up to 8 numbers"),  # 20 GB of cells
    ({"labels": ["cup", "mug", "cup"]}, "allowed: each name once"),
    ({"short_sides": []}, "short_sides"),
    ({"short_sides": [9000]}, "short_sides is (9000,); allowed"),
    ({"min_score": 0.0}, "min_score is 0.0; allowed: 0.01 to 1"),
    ({"overlap": 3.0}, "overlap is 3.0"),
    ({"input": {"layout": "hwc"}}, "input.layout is 'hwc'; allowed: nhwc or nchw"),
    ({"input": {"order": "grb"}}, "input.order"),
    ({"input": {"mean": [1.0, 2.0, 3.0]}}, "zeros and ones for a network that takes uint8"),
    ({"input": {"type": "float32", "deviation": [1.0, 0.0, 1.0]}}, "three numbers above 0"),
    ({"input": {"fixed": [640]}}, "width and height"),
    ({"input": {"fixed": [640, 100000]}}, "input.fixed"),
    ({"input": {"multiple": 0}}, "input"),
    ({"colour": "red"}, "unknown key 'colour'"),
])
def test_what_a_card_may_not_say(tmp_path, changes, words):
    with pytest.raises(BundleError) as error:
        read(tmp_path, **changes)
    assert words in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_a_card(tmp_path):
    with pytest.raises(BundleError, match="not a detector, it has no detector.yaml"):
        read_detector_card(tmp_path / CARD_FILE)


def test_cards_are_compared_by_what_they_say(tmp_path):
    assert read(tmp_path) == DetectorCard(**{**GOOD, "labels": ("cup", "mug"), "input": read(tmp_path).input})
