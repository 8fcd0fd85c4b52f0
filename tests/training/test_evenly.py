# SPDX-License-Identifier: Apache-2.0
"""Some of many, evenly."""

import numpy as np
import pytest

from dinemo_training.data.evenly import evenly_spread, some_of


@pytest.mark.parametrize("total, count, expected", [
    (10, 4, [0, 3, 6, 9]), (3, 8, [0, 1, 2]), (5, 1, [0]), (1, 3, [0]), (0, 4, [])])
def test_the_ends_are_among_them_and_nothing_is_taken_twice(total, count, expected):
    assert evenly_spread(total, count).tolist() == expected
    assert some_of("abcdefghij"[:total], count) == ["abcdefghij"[i] for i in expected]


def test_gaps_differ_by_one_at_most():
    gaps = np.diff(evenly_spread(1000, 37))
    assert len(gaps) == 36 and np.ptp(gaps) <= 1
