# SPDX-License-Identifier: Apache-2.0
"""The shipped cup and bottle together: in a picture of both, boxes that say nothing of what is in them."""

from pathlib import Path

import numpy as np
import pytest
from shared_data import ROOT

from dinemo_ros import Camera, LabelledBox, MultiPoseEstimator, PoseEstimator, load_bundle
from dinemo_ros.evaluation.synthetic import read_synthetic, synthetic_entries

RENDERS = Path(__file__).parent / "vessels"


@pytest.fixture(scope="module")
def both():
    return MultiPoseEstimator([PoseEstimator(load_bundle(ROOT / "engines" / name), threads=2)
                               for name in ("cup", "bottle")])


def pairs():
    """Picture, camera, and the boxes of a cup on the left and of a bottle on the right."""
    samples = [[entry.load() for entry in synthetic_entries(read_synthetic(RENDERS / name))]
               for name in ("cup", "bottle")]
    for cup, bottle in zip(*samples, strict=True):
        height = max(cup.image.shape[0], bottle.image.shape[0])
        image = np.full((height, cup.image.shape[1] + bottle.image.shape[1], 3), 128, np.uint8)
        image[:cup.image.shape[0], :cup.image.shape[1]] = cup.image
        image[:bottle.image.shape[0], cup.image.shape[1]:] = bottle.image
        beside = np.array(bottle.roi) + [cup.image.shape[1], 0, cup.image.shape[1], 0]
        rois = tuple(map(float, cup.roi)), tuple(beside.tolist())
        yield image, Camera.from_hfov(image.shape[1], height, 50.0), rois


def test_each_is_told_once_and_as_what_it_is(both):
    """Measured: 16 of 16, none told twice."""
    right = total = 0
    for image, camera, rois in pairs():
        poses = both.estimate(image, camera, [LabelledBox(roi) for roi in rois])
        assert len({pose.roi for pose in poses}) == len(poses), "one box is one object"
        told = {pose.roi: pose.category for pose in poses}
        right += sum(told.get(roi) == name for roi, name in zip(rois, ("cup", "bottle"), strict=True))
        total += len(rois)
    assert total == 16 and right >= 14, right
