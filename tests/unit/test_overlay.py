# SPDX-License-Identifier: Apache-2.0
"""What is drawn where: projected by the camera, not by the drawing code."""

import numpy as np
import pytest

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.drawing.overlay import box_corners, draw_poses, label_of
from dinemo_ros.geometry import ray_rotation, rotation_from_viewpoint, se3
from dinemo_ros.model.neural_mesh import NeuralMesh
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.pose import ObjectPose

SIZE = np.array([4.4, 1.8, 1.5])
GREY = 128


def pose(position, azimuth_deg, elevation_deg=15.0, **fields) -> ObjectPose:
    R = ray_rotation(np.array(position)) @ rotation_from_viewpoint(*np.radians([azimuth_deg, elevation_deg, 0.0]))
    return ObjectPose(se3(R, np.array(position, float)), 0.82, SIZE, category="car", **fields)


def grey(camera: Camera) -> np.ndarray:
    return np.full((camera.height, camera.width, 3), GREY, np.uint8)


@pytest.fixture(scope="module")
def mesh() -> NeuralMesh:
    """A box of the mean size, each side a grid of 8 x 8 cells, faces counter-clockwise seen from outside."""
    vertices, faces = [], []
    steps = np.linspace(-0.5, 0.5, 9)
    for axis in range(3):
        for side in (-0.5, 0.5):
            first = sum(map(len, vertices))
            a, b = np.meshgrid(steps, steps, indexing="ij")
            # Cyclic axes: for the positive side, (axis + 1) x (axis + 2) points outwards.
            grid = np.zeros((81, 3))
            grid[:, axis], grid[:, (axis + 1) % 3], grid[:, (axis + 2) % 3] = side, a.ravel(), b.ravel()
            vertices.append(grid * SIZE)
            for i in range(8):
                for j in range(8):
                    p, q, r, t = (first + 9 * (i + di) + j + dj for di, dj in ((0, 0), (1, 0), (1, 1), (0, 1)))
                    faces += [(p, q, r), (p, r, t)] if side > 0 else [(p, r, q), (p, t, r)]
    vertices = np.concatenate(vertices)
    unit = np.tile([[1.0, 0.0]], (len(vertices), 1))
    return NeuralMesh(vertices, np.array(faces), vertices / np.linalg.norm(vertices, axis=1, keepdims=True), unit,
                      unit[:1])


CAMERA = Camera.from_hfov(640, 480, 60)
FISHY = Camera(640, 480, CAMERA.K, "plumb_bob", (-0.25, 0.05, 0.0, 0.0, 0.0))


def test_nothing_is_drawn_without_poses_and_the_input_is_left_alone(mesh):
    image = grey(CAMERA)
    drawn = draw_poses(image, CAMERA, [], mesh)
    assert np.array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)
    draw_poses(image, CAMERA, [pose((0, 0, 9), 30)], mesh)
    assert (image == GREY).all()


@pytest.mark.parametrize("camera", [CAMERA, FISHY], ids=["pinhole", "distorted"])
def test_mesh_covers_the_projected_surface(mesh, camera):
    found = pose((1.5, 0.5, 8), 40)
    drawn = draw_poses(grey(camera), camera, [found], mesh)
    inside = np.round(camera.project(found.T_cam_obj[:3, 3][None])[0]).astype(int)
    rng = np.random.default_rng(0)
    surface = rng.uniform(-0.45, 0.45, (200, 3)) * SIZE @ found.T_cam_obj[:3, :3].T + found.T_cam_obj[:3, 3]
    u, v = np.round(camera.project(surface)).astype(int).T
    assert (drawn[v, u] != GREY).any(axis=1).all()
    assert (drawn[inside[1], inside[0]] != GREY).any()
    corners = camera.project(box_corners(found))
    below = int(corners[:, 1].max()) + 8
    assert (drawn[below:] == GREY).all()  # nothing drawn under the object


def colour_at(drawn: np.ndarray, camera: Camera, found: ObjectPose, point) -> np.ndarray:
    """Mean RGB of 3 x 3 pixels around a point of the object frame, relative to the size."""
    at = camera.project((found.T_cam_obj[:3, :3] @ (np.array(point) * SIZE) + found.T_cam_obj[:3, 3])[None])[0]
    u, v = np.round(at).astype(int)
    return drawn[v - 1:v + 2, u - 1:u + 2].reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize(("azimuth", "left_is_front"), [(90, True), (270, False)])
def test_front_is_warm_and_rear_is_cool(mesh, azimuth, left_is_front):
    """Azimuth 90 sees the object's left side: its front is on the left of the picture."""
    found = pose((0, 0, 9), azimuth, 10)
    drawn = draw_poses(grey(CAMERA), CAMERA, [found], mesh).astype(float)
    side = 0.5 if azimuth == 90 else -0.5
    front = colour_at(drawn, CAMERA, found, (0.4, side, -0.25))
    rear = colour_at(drawn, CAMERA, found, (-0.4, side, -0.25))
    assert front[0] - front[2] > 20
    assert rear[2] - rear[0] > 20
    front_u, rear_u = (CAMERA.project((found.T_cam_obj @ [x, 0, 0, 1])[None, :3])[0, 0] for x in (2.0, -2.0))
    assert (front_u < rear_u) == left_is_front


def test_axes_are_red_green_blue_and_point_along_the_object():
    found = pose((0, 0, 9), 120, 25)
    drawn = draw_poses(grey(CAMERA), CAMERA, [found]).astype(int)
    for axis, channel in enumerate((0, 1, 2)):
        tip = found.T_cam_obj @ [*(0.55 * SIZE[axis] * np.eye(3)[axis]), 1.0]
        u, v = np.round(CAMERA.project(tip[None, :3])[0]).astype(int)
        patch = drawn[v - 1:v + 2, u - 1:u + 2].reshape(-1, 3)
        assert (patch.argmax(axis=1) == channel).any(), f"axis {axis}"
        assert np.ptp(patch, axis=1).max() > 80


def test_label_names_category_score_distance_and_azimuth():
    assert label_of(pose((0, 0, 7.3), 143)) == "car 0.82 7.3 m az 143"
    assert label_of(pose((0, 0, 7.3), 359.8)) == "car 0.82 7.3 m az 0"
    assert label_of(pose((3, 0, 4), 10)) == "car 0.82 5.0 m az 10"
    upright = pose((0, 0, 7.3), 0, 0)
    nothing_known = Symmetry("z", 0).covariance(1e-4 * np.eye(6), upright.T_cam_obj[:3, :3])
    assert label_of(pose((0, 0, 7.3), 0, 0, covariance=nothing_known)) == "car 0.82 7.3 m"


@pytest.mark.parametrize("position", [(0, 0, 0.8), (0.5, 0.2, 1.5), (0, 0, -5), (40, 0, 3), (-6, 0, 0.2),
                                      (0, 0, 400), (3, 1, 2.5)])
@pytest.mark.parametrize("camera", [CAMERA, FISHY, Camera.from_hfov(64, 48, 60)], ids=["pinhole", "distorted", "tiny"])
def test_objects_at_and_behind_the_camera_are_drawn_without_harm(mesh, camera, position):
    """Boxes around the camera, behind it, far beside and far away: cut or left out, never a wild line."""
    drawn = draw_poses(grey(camera), camera, [pose(position, 70)], mesh)
    assert drawn.shape == (camera.height, camera.width, 3)
    if position[2] < 0 and position[2] + np.linalg.norm(SIZE) / 2 < 0:
        assert (drawn == GREY).all()


def test_line_across_the_camera_plane_keeps_its_direction():
    """A car beside the camera, reaching behind it: its box edges must leave through the right border only."""
    found = ObjectPose(se3(np.array([[0, -1.0, 0], [0, 0, -1], [1, 0, 0]]), np.array([2.5, 0.5, 1.0])), 0.5, SIZE,
                       category="car")
    drawn = draw_poses(grey(CAMERA), CAMERA, [found])
    assert (drawn[60:, :240] == GREY).all()  # left of the object; the label may stand at the top
    assert (drawn[:, 400:] != GREY).any()


def test_labels_do_not_cover_each_other():
    crowd = [pose((x, 0, 20), 10 * i) for i, x in enumerate(np.linspace(-2, 2, 4))]
    def label_pixels(poses):
        return (draw_poses(grey(CAMERA), CAMERA, poses).max(axis=2) < 60).sum()  # the dark background of labels

    assert label_pixels(crowd) > 0.9 * sum(label_pixels([p]) for p in crowd)
