# SPDX-License-Identifier: Apache-2.0
"""The label of a marker tells what the axes cannot show."""

from dataclasses import replace

import numpy as np
from std_msgs.msg import Header

from dinemo_ros.drawing.palette import AXES, pose_colour
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.neural_mesh import NeuralMesh
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.node.markers import MarkerMaker
from dinemo_ros.pose import ObjectPose

TRIANGLE = NeuralMesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]]), np.eye(3, dtype=np.float32),
                      np.ones((3, 1), np.float32), np.ones((1, 1), np.float32))
POSE = ObjectPose(se3(rotation_from_viewpoint(1.0, 0.4, 0.1), [0.1, 0.0, 0.52]), 0.7, np.array([0.1, 0.1, 0.2]),
                  category="bottle", covariance=1e-3 * np.eye(6))


def label(pose: ObjectPose) -> str:
    markers = MarkerMaker({"bottle": (TRIANGLE, [1, 1, 1])}).make(Header(), [pose], [0.53], "mesh", 1.0).markers
    return next(marker.text for marker in markers if marker.ns == "label")


def test_label_names_the_uncertainty_of_the_turn():
    uncertain = Symmetry("z", 0).covariance(POSE.covariance, POSE.T_cam_obj[:3, :3])
    assert label(POSE) == "bottle 0.70, 0.53 m"
    assert label(replace(POSE, covariance=uncertain)) == "bottle 0.70, 0.53 m, turn +-104 deg"


def test_colours_are_those_of_the_overlay():
    poses = [POSE, replace(POSE, category="cup"), replace(POSE, track_id=2)]
    markers = MarkerMaker({}).make(Header(), poses, [0.5] * 3, "box", 1.0).markers
    bodies = [marker.color for marker in markers if marker.ns == "body"]
    for rank, (pose, body) in enumerate(zip(poses, bodies, strict=True)):
        assert np.allclose([body.r, body.g, body.b], np.array(pose_colour(pose, rank)) / 255) and 0.3 < body.a < 0.8
    axes = next(marker.colors for marker in markers if marker.ns == "axes")
    assert np.allclose([[c.r, c.g, c.b, c.a] for c in axes[::2]], np.c_[np.array(AXES) / 255, np.ones(3)])
