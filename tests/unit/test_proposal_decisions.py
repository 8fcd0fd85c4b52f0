# SPDX-License-Identifier: Apache-2.0
"""What single lines of the proposals are for: duplicates, half hidden neighbours, views and sizes that slide."""


import numpy as np
import pytest
from unit.planted import car_card, car_mesh

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.detection.duplicates import without_duplicates
from dinemo_ros.detection.proposals import label_objects
from dinemo_ros.detection.regions import projected_box
from dinemo_ros.detection.sliding_window import make_templates
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import SearchSpec
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.pose import ObjectPose
from dinemo_ros.solver.surface import prepare_surface

CAMERA = Camera.from_hfov(640, 480, 60.0)
CUBE = 0.5 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])


def pose_at(x: float, z: float, score: float) -> ObjectPose:
    return ObjectPose(se3(np.eye(3), np.array([x, 0.0, z])), score, np.ones(3))


def kept(*poses) -> list[float]:
    """Scores of what is left of poses, best first."""
    found = without_duplicates(poses, CAMERA, CUBE)
    for pose in found:
        assert pose.roi == tuple(projected_box(pose, CAMERA, CUBE)), "what is reported is where the object is"
    return [pose.score for pose in found]


def test_of_poses_in_one_place_the_best_is_kept():
    assert kept(pose_at(0, 5, 0.8), pose_at(0.05, 5, 0.79), pose_at(3, 5, 0.3)) == [0.8, 0.3]


@pytest.mark.parametrize("score, expected", [(0.7, [0.8, 0.7]), (0.55, [0.8])])
def test_what_lies_over_a_better_one_must_be_nearly_as_good(score, expected):
    """A small box inside of a large one: a car behind another, or a second reading of the same one."""
    assert kept(pose_at(0, 4, 0.8), pose_at(0.1, 9, score)) == expected


def test_every_better_one_has_to_allow_it():
    """Beside the first and inside of the second: the second decides."""
    assert kept(pose_at(-2.5, 4, 0.9), pose_at(0, 4, 0.8), pose_at(0.1, 9, 0.4)) == [0.9, 0.8]


def test_views_slide_from_the_middles_of_thirds_of_the_cards_elevations():
    search = SearchSpec(azimuth=8, elevation_deg=(-10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0), theta_deg=(0.0,))
    surface = prepare_surface(car_mesh())
    t = make_templates(car_card(search=search), surface, (10.0, 20.0))
    assert len(t.vertex) == 3 * 8 * 2 and t.vertex.shape[1] % 4 == 0 and t.vertex.max() < 128
    np.testing.assert_allclose(t.box.max(axis=1), np.tile([10.0, 20.0], 24))
    distance = 3.0 * np.linalg.norm(np.ptp(surface.vertices, axis=0))
    for e, elevation in enumerate((0.0, 20.0, 40.0)):
        for a in range(8):
            k = 2 * (8 * e + a) + 1
            R = rotation_from_viewpoint(np.pi / 4 * a, np.radians(elevation), 0.0)
            points = surface.vertices @ R.T + [0, 0, distance]
            plane = points[:, :2] / points[:, 2:]
            low, high = plane.min(axis=0), plane.max(axis=0)
            np.testing.assert_allclose(t.box[k], 20.0 * (high - low) / np.max(high - low))
            at = (plane[t.vertex[k]] - 0.5 * (low + high)) * 20.0 / np.max(high - low)
            np.testing.assert_allclose(t.offset[k], at, atol=0.51)
            assert (np.sum(surface.normals[t.vertex[k]] * (R.T @ [0, 0, -1]), axis=1) > -0.2).all(), "seen from there"


def test_of_a_bottle_one_azimuth_slides():
    search = SearchSpec(azimuth=8, elevation_deg=(0.0, 10.0, 20.0), theta_deg=(0.0,))
    t = make_templates(car_card(search=search, symmetry=Symmetry("z", 0)), prepare_surface(car_mesh()), (10.0,))
    assert len(t.vertex) == 3


def test_pieces_are_labelled_one_by_one_in_the_order_of_their_first_cells():
    """Corners do not touch; a piece goes round bends and along the border."""
    mask = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]], bool)
    labels = np.zeros((4, 4), np.int32)
    assert label_objects(mask, np.zeros((4, 4, 3), np.float32), 1.0, labels) == 2
    assert labels.tolist() == [[1, 1, 0, 2], [0, 1, 0, 2], [2, 0, 0, 2], [2, 2, 2, 2]]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("step, count", [(0.99, 1), (1.01, 2)])
def test_neighbours_belong_together_where_their_points_are_nearer_than_the_jump(axis, step, count):
    for shape in ((1, 2), (2, 1)):
        points = np.zeros((*shape, 3), np.float32)
        points[-1, -1, axis] = step
        assert label_objects(np.ones(shape, bool), points, 1.0, np.zeros(shape, np.int32)) == count
