# SPDX-License-Identifier: Apache-2.0
"""Boxes from foreground: geometry of boxes, separation of neighbours, duplicates."""

import numpy as np
import pytest
from unit.planted import SIZE

from dinemo_ros.camera import Camera
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.pose import ObjectPose
from dinemo_ros.proposals import label_objects
from dinemo_ros.regions import distinct_boxes, overlap, projected_box

CAMERA = Camera.from_hfov(640, 480, 60.0)
CORNERS = 0.5 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])


def pose_at(position, score=0.5) -> ObjectPose:
    R = rotation_from_viewpoint(np.pi / 2, 0.0, 0.0)
    return ObjectPose(se3(R, np.array(position, float)), score, np.array(SIZE))


def test_overlap():
    unit = np.array([0.0, 0.0, 2.0, 2.0])
    assert overlap(unit, unit) == 1.0
    assert overlap(unit, unit + [1, 0, 1, 0]) == pytest.approx(1 / 3)
    assert overlap(unit, unit + 5) == 0.0
    assert overlap(unit, np.zeros(4)) == 0.0


def test_distinct_boxes_keep_the_best_of_each_place():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [30, 1, 40, 11.0]])
    assert distinct_boxes(boxes, np.array([0.4, 0.9, 0.8, 0.1])) == [1, 2]
    assert distinct_boxes(np.empty((0, 4)), np.empty(0)) == []


def test_projected_box_of_a_side_view():
    """Seen from its left at 10 m, 4.4 m long: the near side, 0.9 m closer, sets the width; edges, not pixel centres."""
    box = projected_box(pose_at([0, 0, 10]), CAMERA, CORNERS)
    focal = CAMERA.K[0, 0]
    half = np.array([SIZE[0] / 2, SIZE[2] / 2]) * focal / (10 - SIZE[1] / 2)
    assert np.allclose(box, [320 - half[0], 240 - half[1], 320 + half[0], 240 + half[1]])


def test_projected_box_ends_at_the_image():
    assert projected_box(pose_at([-6, 0, 10]), CAMERA, CORNERS)[0] == 0.0


def test_one_piece_of_foreground_is_one_object():
    mask = np.zeros((6, 9), bool)
    mask[1:5, 1:4] = mask[2:4, 6:8] = True
    labels = np.zeros(mask.shape, np.int32)
    assert label_objects(mask, np.zeros((6, 9, 3), np.float32), 1.0, labels) == 2
    assert (labels > 0).sum() == mask.sum() and len(set(labels[1:5, 1:4].ravel())) == 1


def test_touching_objects_are_split_where_the_mesh_coordinate_jumps():
    """Two cars in a row: from the tail of one to the bonnet of the next x jumps by a car's length."""
    mask = np.ones((4, 20), bool)
    points = np.zeros((4, 20, 3), np.float32)
    points[:, :10, 0], points[:, 10:, 0] = np.linspace(2, -2, 10), np.linspace(2, -2, 10)
    labels = np.zeros(mask.shape, np.int32)
    assert label_objects(mask, points, 1.4, labels) == 2
    assert set(labels[:, :10].ravel()) == {1} and set(labels[:, 10:].ravel()) == {2}
