# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The window soft-argmax finds maxima between cells and is not drawn to other ones."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")

from dinemo_training.pseudo_labels.peak_readout import window_soft_argmax


def bump(centre, spread=1.0, height=1.0):
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    return height - 0.03 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * spread**2)


def test_window_read_out_is_sub_cell():
    rng = np.random.default_rng(0)
    centres = rng.uniform(5, 14, (50, 2))
    maps = torch.stack([bump(c) for c in centres])
    found = window_soft_argmax(maps, window=3, temperature=0.03).numpy()
    assert np.abs(found - centres).max() < 0.05
    whole = window_soft_argmax(maps, window=0, temperature=0.03).numpy()
    np.testing.assert_array_equal(whole, centres.round())  # a window of one cell is the plain arg-max


def test_window_read_out_ignores_a_second_maximum_far_away():
    first, second = bump((5.3, 6.4)), bump((15.0, 15.0), height=0.99)
    maps = torch.maximum(first, second)[None]
    near = window_soft_argmax(maps, window=2, temperature=0.03)[0].numpy()
    anywhere = window_soft_argmax(maps, window=20, temperature=0.03)[0].numpy()
    assert np.hypot(*(near - [5.3, 6.4])) < 0.15
    assert np.hypot(*(anywhere - [5.3, 6.4])) > 2  # what the window is for


def test_a_maximum_at_the_border_stays_inside():
    found = window_soft_argmax(bump((0.0, 19.0))[None], window=2, temperature=0.03)[0]
    assert 0 <= found[0] < 1 and 18 < found[1] <= 19
