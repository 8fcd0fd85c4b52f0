# SPDX-License-Identifier: Apache-2.0
"""Metrics on numbers worked out by hand."""

import numpy as np
import pytest

from dinemo_ros.evaluation.boxes import intersection, iou, match_greedily
from dinemo_ros.evaluation.metrics import azimuth_error_deg, summarise_angles


@pytest.mark.parametrize(("estimate", "truth", "error"), [
    (10, 20, 10), (350, 10, 20), (10, 350, 20), (0, 180, 180), (359.5, 0.25, 0.75), (720, 0, 0), (-90, 270, 0),
    (181, 0, 179),
])
def test_azimuth_error_goes_the_short_way_round(estimate, truth, error):
    assert azimuth_error_deg(estimate, truth) == pytest.approx(error)


def test_summary_counts_shares_of_all_frames():
    s = summarise_angles([1.0, 9.99, 10.0, 29.0, 30.0, 100.0, 150.0, 151.0, 179.0, None])
    assert (s.n, s.acc10, s.acc30, s.flips, s.missing) == (10, 0.2, 0.4, 0.2, 0.1)
    assert s.median_deg == pytest.approx(65.0)  # between 30 and 100; the missing frame is worst


def test_frame_without_pose_is_wrong_but_no_flip():
    s = summarise_angles([None, None, 5.0])
    assert s.acc30 == pytest.approx(1 / 3)
    assert s.median_deg == 180.0
    assert s.flips == 0.0
    assert s.missing == pytest.approx(2 / 3)


def test_no_frames_have_no_summary():
    with pytest.raises(ValueError, match="no frames"):
        summarise_angles([])


def test_overlap_of_boxes():
    a = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    b = np.array([[5, 0, 15, 10], [0, 0, 10, 10], [10, 10, 12, 12]])
    assert intersection(a, b).tolist() == [[50, 100, 0], [0, 0, 0]]
    assert iou(a, b) == pytest.approx(np.array([[50 / 150, 1, 0], [0, 0, 0]]))
    assert iou(np.empty((0, 4)), b).shape == (0, 3)


def test_matching_gives_the_best_score_first_choice_and_every_box_once():
    truth = np.array([[0, 0, 10, 10], [8, 0, 18, 10]])
    found = np.array([[0, 0, 10, 11], [0, 0, 10, 10], [9, 0, 19, 10], [50, 50, 60, 60]])
    assert match_greedily(truth, found, [0.9, 0.5, 0.7, 0.99]) == {0: 0, 1: 2}
    assert match_greedily(truth, found, [0.5, 0.9, 0.7, 0.99]) == {0: 1, 1: 2}
    assert match_greedily(truth, found[3:], [1.0]) == {}
    assert match_greedily(truth, np.empty((0, 4)), []) == {}
