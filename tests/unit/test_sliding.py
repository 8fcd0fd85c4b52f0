# SPDX-License-Identifier: Apache-2.0
"""The mesh slid over a feature map, held against plain loops."""

import numpy as np
import pytest

from dinemo_ros.detection.sliding_window import Templates, Windows, count_inside, fill_evidence, slide
from dinemo_ros.process.thread_pool import ThreadPool
from dinemo_ros.solver.similarity import UNIT


def templates(rng, count=6, samples=8, reach=3):
    """Of no view: any vertices at any places."""
    offset = rng.integers(-reach, reach + 1, (count, samples, 2)).astype(np.int32)
    offset[0, 0] = reach
    return Templates(rng.integers(0, 5, (count, samples)).astype(np.int32), offset, rng.uniform(2, 4, (count, 2)))


def means(evidence, t: Templates, k: int):
    """[h, w] of template k: mean over its vertices on the map, 0 where fewer than 0.6 of them are."""
    h, w = evidence.shape[1:]
    out = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            cells = [(v, i + dy, j + dx) for v, (dx, dy) in zip(t.vertex[k], t.offset[k], strict=True)]
            values = [evidence[c] for c in cells if 0 <= c[1] < h and 0 <= c[2] < w]
            out[i, j] = np.mean(values) if len(values) >= 0.6 * len(cells) else 0.0
    return out


def test_sliding_equals_its_twin():
    """Best template and mean evidence per cell, templates that leave the map left out."""
    rng = np.random.default_rng(0)
    t, S, background_score = templates(rng), rng.random((5, 7, 9), np.float32), 0.3 * rng.random((7, 9), np.float32)
    margin, score, best = 3, np.zeros((7, 9), np.float32), np.zeros((7, 9), np.int32)
    evidence, count = np.zeros((5, 13, 15), np.uint8), np.empty((len(t.vertex), 7, 9), np.uint8)
    fill_evidence(S, background_score, evidence, margin, 0, 5)
    plain = np.maximum(S - background_score, 0.0)
    np.testing.assert_allclose(evidence[:, 3:-3, 3:-3] / UNIT, plain, atol=0.51 / UNIT)
    assert evidence.sum() == evidence[:, 3:-3, 3:-3].sum()
    count_inside(t.offset, count)
    slide(evidence, count, margin, t, 1, 6, 0.6, score, best, np.empty(7 * 15, np.uint16))
    rounded = evidence[:, 3:-3, 3:-3] / UNIT
    expected = np.stack([means(rounded, t, k) for k in range(1, 6)])
    np.testing.assert_allclose(score, expected.max(axis=0), atol=1e-5)
    some = score > 0
    assert some.any() and not some.all()
    np.testing.assert_allclose(np.take_along_axis(expected, best[None] - 1, 0)[0][some], score[some], atol=1e-5)


@pytest.mark.parametrize("parts", [1, 3])
def test_local_maxima_in_boxes_about_their_places(parts):
    rng = np.random.default_rng(1)
    t = templates(rng)
    windows = Windows(t, ThreadPool(parts, ""))
    for h, w in ((11, 14), (9, 20)):  # buffers are made anew
        S, background_score = rng.random((5, h, w), np.float32), np.full((h, w), 0.2, np.float32)
        boxes, scores = windows(S, background_score, floor=0.3)
        expected = np.stack([means(np.maximum(S - background_score, 0.0), t, k) for k in range(6)]).max(axis=0)
        middles = (0.5 * (boxes[:, :2] + boxes[:, 2:]) - 0.5).round().astype(int)
        assert len(boxes) and scores.min() >= 0.3
        for (j, i), score, box in zip(middles, scores, boxes, strict=True):
            around = expected[max(i - 1, 0):i + 2, max(j - 1, 0):j + 2]
            assert score == pytest.approx(around.max(), abs=2 / UNIT) == pytest.approx(expected[i, j], abs=2 / UNIT)
            assert np.abs(t.box - (box[2:] - box[:2])).max(axis=1).min() < 1e-9


@pytest.mark.parametrize("sign", [1, -1])
def test_the_margins_are_as_wide_as_the_farthest_offset_to_either_side(sign):
    """What is compared lies in one array without looking for its ends."""
    offset = np.zeros((1, 4, 2), np.int32)
    offset[0, 2] = sign * 9, 3
    templates = Templates(np.zeros((1, 4), np.int32), offset, np.array([[4.0, 4.0]]))
    assert Windows(templates, ThreadPool(1, "test"))._margin == 9
