# SPDX-License-Identifier: Apache-2.0
"""Whether two networks compute the same: the worst cell of the worst picture decides, wherever it stands."""

import numpy as np
import pytest

from dinemo_ros.features.parity import THRESHOLD, sample_picture, sample_pictures, smallest_cosine

PICTURES = [np.full((n, 16, 16, 3), k, np.uint8) for k, n in enumerate((1, 2, 3))]


def features(images: np.ndarray) -> np.ndarray:
    """Unit features [N, 4, 2, 2] that depend on the picture."""
    rng = np.random.default_rng(int(images[0, 0, 0, 0]))
    F = rng.normal(size=(len(images), 4, 2, 2))
    return F / np.linalg.norm(F, axis=1, keepdims=True)


def turned(F: np.ndarray, cosine: float, at: tuple[int, int, int]) -> np.ndarray:
    """One cell's feature replaced by a unit feature with this cosine to it."""
    F, (n, i, j) = F.copy(), at
    f = F[n, :, i, j].copy()
    aside = np.eye(4)[int(np.argmin(np.abs(f)))]
    aside -= (aside @ f) * f
    F[n, :, i, j] = cosine * f + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside)
    return F


@pytest.mark.parametrize("picture", range(3))
@pytest.mark.parametrize("cosine", [0.99, 0.5, -1.0])
def test_the_worst_picture_decides(picture, cosine):
    """An engine may be wrong for one shape or one batch only."""
    def candidate(images):
        F = features(images)
        return turned(F, cosine, (len(images) - 1, 1, 0)) if images[0, 0, 0, 0] == picture else F

    assert smallest_cosine(features, candidate, PICTURES) == pytest.approx(cosine)


def test_the_worst_cell_decides():
    def candidate(images):
        F = turned(features(images), 0.9, (0, 0, 0))
        return turned(F, 0.7, (len(F) - 1, 1, 1))

    assert smallest_cosine(features, candidate, PICTURES) == pytest.approx(0.7)
    assert smallest_cosine(features, features, PICTURES) == pytest.approx(1.0)


@pytest.mark.parametrize("picture", range(3))
def test_no_number_and_another_shape_are_never_the_same(picture):
    def spoilt(spoil):
        return lambda images: spoil(features(images)) if images[0, 0, 0, 0] == picture else features(images)

    assert np.isnan(smallest_cosine(features, spoilt(lambda F: np.where(np.arange(4)[:, None, None], F, np.nan)),
                                    PICTURES))
    assert smallest_cosine(features, spoilt(lambda F: F[:, :3]), PICTURES) == 0.0


def test_a_longer_feature_is_no_better():
    assert smallest_cosine(features, lambda images: 2 * features(images), PICTURES) == pytest.approx(0.5)


def test_thresholds_are_looser_where_fewer_bits_are():
    assert 0.99 < THRESHOLD["fp32"] < 1.0 and THRESHOLD["fp32"] > THRESHOLD["fp16"] > THRESHOLD["int8"] > 0.9
    assert THRESHOLD["fp16"] == THRESHOLD["bf16"]


@pytest.mark.parametrize("size", [64, 128])
def test_sample_pictures_have_the_shapes_that_occur(size):
    """One crop, a batch of them, and a frame wider than high."""
    assert [p.shape for p in sample_pictures(size, batch=3)] == [
        (1, size, size, 3), (3, size, size, 3), (1, 2 * size, 3 * size, 3)]
    assert len(sample_pictures(size)[1]) == 2


def test_sample_pictures_are_what_photographs_consist_of():
    """Different from one another, the same at each call, neither flat nor noise, and with hard edges."""
    first, second = sample_picture(2, 96, 128)
    assert first.dtype == np.uint8 and np.array_equal(sample_picture(2, 96, 128)[0], first)
    assert np.abs(first.astype(int) - second).mean() > 20
    for picture in (first, second):
        grey = picture.astype(float).mean(axis=2)
        steps = np.abs(np.diff(grey, axis=1))
        assert 30 < grey.std() < 90 and 80 < grey.mean() < 170
        assert np.median(steps) < 8 and np.percentile(steps, 99) > 40  # ramps and noise, and edges
        assert (picture == 0).mean() < 0.2 and (picture == 255).mean() < 0.2
