# SPDX-License-Identifier: Apache-2.0
"""Boxes from foreground: geometry of boxes, separation of neighbours, duplicates."""

import numpy as np
import pytest
from painted_car import photograph, write_painted_bundle
from unit.planted import SIZE

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.detection.proposals import Proposer, label_objects, snapped
from dinemo_ros.detection.regions import covered_share, distinct_boxes, overlap, projected_box
from dinemo_ros.detection.scaling import halved, scaled
from dinemo_ros.features import create_extractor
from dinemo_ros.features.protocol import LARGEST_SIDE
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.pose import ObjectPose

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


def test_covered_share():
    assert covered_share(np.array([0.0, 0, 2, 2]), np.array([1.0, 0, 9, 9])) == 0.5
    assert covered_share(np.array([0.0, 0, 2, 2]), np.array([5.0, 5, 9, 9])) == 0.0


def test_pictures_of_any_size_are_scaled():
    picture = np.full((37, 1201, 3), 90, np.uint8)
    assert scaled(picture, 0.1).shape == (4, 120, 3) and scaled(picture, 1.5).shape == (56, 1802, 3)
    assert halved(picture).shape == (18, 600, 3) and halved(picture[:1, :1]).shape == (1, 1, 3)


def test_scaling_keeps_places_and_averages():
    """A bright square in a coarse chequer stays where it is, and the chequer becomes grey."""
    picture = np.zeros((400, 600, 3), np.uint8)
    picture[::2, ::2] = picture[1::2, 1::2] = 200
    picture[120:200, 300:420] = 255
    small = scaled(picture, 0.2)
    assert small.shape == (80, 120, 3) and abs(int(small[4, 4, 0]) - 100) <= 2
    rows, columns = np.nonzero(small[..., 0] > 180)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (24, 40, 60, 84)


def test_a_window_takes_the_outline_that_agrees_with_it():
    window, pieces = np.array([0.0, 0, 10, 5]), np.array([[1.0, 0, 11, 6], [30, 0, 40, 5]])
    assert np.array_equal(snapped(window, pieces), pieces[0])
    assert np.array_equal(snapped(window + 50, pieces), window + 50)
    assert np.array_equal(snapped(window, np.empty((0, 4))), window)


def test_every_painted_car_is_proposed(tmp_path):
    """Three cars of different sizes, two of them overlapping in the picture; and an empty picture has none."""
    bundle = load_bundle(write_painted_bundle(tmp_path))
    proposer = Proposer(bundle, create_extractor(bundle, threads=1), threads=2)
    R = rotation_from_viewpoint(np.radians(70), np.radians(8), 0.0)
    cars = [se3(R, np.array(p)) for p in ([-3.5, 0.3, 10.0], [-0.4, 0.0, 13.5], [6.0, 0.0, 20.0])]
    unit = bundle.mesh.vertices / bundle.mesh.extent
    true = [projected_box(ObjectPose(T, 1.0, np.array(SIZE)), CAMERA, unit) for T in cars]
    found = proposer(photograph(cars, CAMERA))
    assert len(found) <= 8
    for box in true:
        assert max(overlap(box, np.array(other)) for other in found) > 0.5
    assert proposer(photograph([], CAMERA)) == []


@pytest.mark.parametrize("width, height", [(1600, 400), (4000, 64), (64, 2000), (640, 480)])
def test_every_frame_fits_into_an_engine(tmp_path, width, height):
    """As many pixels in a strip would be longer than what engines are built for."""
    bundle = load_bundle(write_painted_bundle(tmp_path))
    extractor, sides = create_extractor(bundle, "onnxruntime", 1), []

    def noted(images):
        sides.extend(images.shape[1:3])
        return extractor(images)

    Proposer(bundle, noted, 1)(np.full((height, width, 3), 114, np.uint8))
    assert max(sides) <= LARGEST_SIDE and all(side % 32 == 0 for side in sides)
