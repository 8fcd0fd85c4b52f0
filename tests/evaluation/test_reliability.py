# SPDX-License-Identifier: Apache-2.0
"""Announced probabilities against the share of right poses, and the tables that a person reads."""

import numpy as np
import pytest

from dinemo_ros.evaluation.coverage import coverage_rows
from dinemo_ros.evaluation.reliability import bins, expected_calibration_error, reliability_rows
from dinemo_ros.evaluation.tables import coverage_markdown, reliability_markdown


def records(shift=0.0, n=2000):
    """Errors that are right as often as announced, or ``shift`` less often; two levels."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.3, 0.9, n)
    right = rng.random(n) < p - shift
    return [{"model": "m", "occlusion": ("L0", "L1")[k % 2], "error_deg": 29.9 if right[k] else 30.1,
             "probability": p[k]} for k in range(n)]


def test_honest_probabilities_have_a_small_error_and_others_that_of_their_shift():
    rows = reliability_rows(records())
    assert [(row["occlusion"], row["n"]) for row in rows] == [("L0", 1000), ("L1", 1000), ("all", 2000)]
    assert max(row["ece"] for row in rows) < 0.05
    wrong = reliability_rows(records(shift=0.2))[-1]
    assert wrong["ece"] == pytest.approx(0.2, abs=0.03)
    assert wrong["mean_probability"] - wrong["right"] == pytest.approx(0.2, abs=0.03)
    assert wrong["interval"][0] < wrong["right"] < wrong["interval"][1] < wrong["mean_probability"]


def test_poses_without_a_probability_are_no_rows():
    assert reliability_rows([{"model": "m", "occlusion": "L0", "error_deg": 3.0}]) == []


def test_the_error_is_the_weighted_distance_of_the_groups():
    """Two groups: 0.25 announced and none right, 0.75 announced and all right."""
    p, right = np.r_[np.full(10, 0.75), np.full(30, 0.25)], np.r_[np.ones(10, bool), np.zeros(30, bool)]
    assert expected_calibration_error(p, right, 4) == pytest.approx(0.25)
    assert [b["n"] for b in bins(p, right, 4)] == [10] * 4
    assert [b["probability"] for b in bins(p, right, 4)] == [0.25, 0.25, 0.25, 0.75]


def test_tables():
    text = reliability_markdown(reliability_rows(records()))
    assert text.splitlines()[0].count("|") == text.splitlines()[-1].count("|") == 7
    told = [{"model": "m", "occlusion": "L0", "contents": {"rotation": c, "size": 1.0}}
            for c in (np.arange(400) + 0.5) / 400]
    lines = coverage_markdown(coverage_rows(told)).splitlines()
    assert "rotation" in lines[2] and "68.2 % (63.5 to 72.6)" in lines[2] and lines[2].rstrip(" |").endswith("yes")
    assert "size" in lines[3] and "0.0 % (0.0 to 1.0)" in lines[3] and lines[3].rstrip(" |").endswith("no")
    few = coverage_markdown(coverage_rows(told[:30])).splitlines()
    assert few[2].rstrip(" |").endswith("–")
