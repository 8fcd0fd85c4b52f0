# SPDX-License-Identifier: Apache-2.0
"""Boxes with and without an object, and what is fitted to them."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dinemo_ros.evaluation.boxes import iou
from dinemo_ros.verification.spec import NUMBERS
from dinemo_training.data.presence_boxes import HELD_OUT_OF, Sources, is_held_out, rough, samples
from dinemo_training.evaluation.presence_rows import share_markdown, share_rows
from dinemo_training.export.presence import FEWEST, Measured, fit

N, D = len(NUMBERS), 4


def measured(count=400, apart=3.0, seed=0):
    """One number and one channel tell; a tenth of the boxes without the object got no pose."""
    rng = np.random.default_rng(seed)
    present = np.arange(count) % 2 == 0
    numbers, pooled = rng.normal(size=(count, N)), rng.normal(size=(count, 2 * D))
    numbers[:, 3] += apart * present
    pooled[:, 5] += apart * present
    found = present | (np.arange(count) % 20 != 1)
    numbers[~found], pooled[~found] = 0.0, 0.0
    return Measured(np.repeat("fp32", count), np.where(present, "photograph", "facade"), present, found, numbers,
                    pooled)


def test_the_fit_tells_them_apart_and_the_floor_keeps_the_objects():
    spec, judged = fit(measured())
    other = measured(seed=1)
    presence = other.presences(spec)
    assert np.mean(presence[other.present] >= spec.floor) > 0.97
    assert np.mean(presence[~other.present] >= spec.floor) < 0.15
    assert not presence[~other.found].any() and not judged[~measured().found].any()
    assert np.mean(judged[measured().present] < spec.floor) == pytest.approx(0.01, abs=0.006)
    assert spec.linear[3] > 5 * max(abs(w) for k, w in enumerate(spec.linear) if k != 3)
    assert spec.pooled[5] == max(spec.pooled)


def test_both_kinds_count_the_same():
    """Of boxes that nothing tells apart the presence is one half, however many there are of each."""
    data = measured(apart=0.0)
    kept = data.present | (np.random.default_rng(2).random(400) < 0.4)
    spec, _ = fit(data.only(kept))
    presence = data.presences(spec)[data.found]
    assert abs(np.median(presence) - 0.5) < 0.2


def test_too_few_poses_are_refused():
    data = measured()
    with pytest.raises(ValueError, match=f"0 poses in boxes without the object; at least {FEWEST} are needed"):
        fit(replace(data, present=np.ones(400, bool)))


@pytest.fixture
def folders(tmp_path):
    for name, colour in (("cups", 200), ("cars", 90), ("walls", 20)):
        (tmp_path / name).mkdir()
        for k in range(40):
            cv2.imwrite(str(tmp_path / name / f"{name}{k}.png"), np.full((120, 160, 3), colour, np.uint8))
    return tmp_path


def sources(folders: Path, held_out: bool = False) -> Sources:
    return Sources((), (folders / "cups",), (), (folders / "cars",), (folders / "walls",), held_out)


def test_boxes_follow_from_the_seed_and_lie_in_their_pictures(folders):
    first, again = (list(samples(sources(folders), 6, 16, seed=3)) for _ in range(2))
    assert [s.kind for s in first] == ["photograph"] * 6 + ["other photograph", "background", "facade", "plain"] * 4
    assert [s.present for s in first] == [True] * 6 + [False] * 16
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one.image, two.image) and np.array_equal(one.box, two.box)
        assert (one.camera.width, one.camera.height) == one.image.shape[1::-1]
        assert (one.box[:2] >= 0).all() and (one.box[2:] <= one.image.shape[1::-1]).all()
        assert np.min(one.box[2:] - one.box[:2]) >= 8
    others = samples(sources(folders), 6, 16, seed=4)
    assert any(not np.array_equal(a.box, b.box) for a, b in zip(first, others, strict=True))


def test_rough_boxes_overlap_as_a_detectors_do():
    rng, image, box = np.random.default_rng(0), np.zeros((200, 300, 3), np.uint8), np.array([50.0, 40, 150, 120])
    overlaps = [iou(rough(rng, box, image), box[None])[0, 0] for _ in range(200)]
    assert min(overlaps) >= 0.7 and np.std(overlaps) > 0.03


def test_a_fifth_of_the_photographs_is_never_fitted_to():
    names = [f"{k:05d}.jpg" for k in range(2000)]
    assert abs(np.mean([is_held_out(name) for name in names]) - 1 / HELD_OUT_OF) < 0.03
    assert is_held_out("00003.jpg") == is_held_out("00003.jpg")


def test_rows_count_what_is_published():
    table = share_rows(np.repeat("int8", 5), np.array(["render", "render", "sky", "sky", "wall"]),
                       np.array([True, True, False, False, False]), np.array([True, True, True, False, True]),
                       np.array([True, False, True, True, False]))
    found = {(row["present"], row["kind"]): (row["n"], row["poses"], row["passed"]) for row in table}
    assert found == {(True, "render"): (2, 2, 1), (True, "all"): (2, 2, 1), (False, "sky"): (2, 1, 1),
                     (False, "wall"): (1, 1, 0), (False, "all"): (3, 2, 1)}
    assert "| int8 | nothing, sky | 2 | 1 | 1 (50.0 %) |" in share_markdown(table)
