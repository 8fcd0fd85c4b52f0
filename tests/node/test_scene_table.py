# SPDX-License-Identifier: Apache-2.0
"""The table of a scene's errors, and the frame on the table that they are told in."""

import numpy as np
import pytest

from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation.demo_scene import read_demo_scene, scene_folder, table_frame
from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.node.scene_table import SceneTable
from dinemo_ros.scene.support_plane import SupportPlane

TRUE = se3(np.eye(3), np.array([0.1, 0.2, 0.5]))


def test_a_line_for_each_picture_and_medians_in_the_table():
    table = SceneTable()
    off = TRUE.copy()
    off[0, 3] += 0.004
    assert table.add("support", "a.jpg", off, TRUE) == "with the plane  a.jpg: error  0.40 cm,   0.0 deg"
    off[0, 3] += 0.02
    off[:3, :3] = so3_exp(np.array([0.0, 0.0, np.radians(3.0)]))
    table.add("support", "b.jpg", off, TRUE)
    table.add("support", "c.jpg", TRUE, TRUE)
    assert table.add("support", "d.jpg", None, TRUE).endswith("no object")
    assert table.add("support", "e.jpg", None, TRUE, answered=False).endswith("no answer")
    table.answers["support"].sources["support"] = 3
    row = next(line for line in table.text().splitlines() if line.startswith("with the plane"))
    assert row.split()[3:] == ["5", "3", "0.40", "cm", "2", "0.0", "deg", "3", "support"]
    assert table.poses == 3 and "RGB alone" in table.text()


def test_the_table_stays_where_it_is_while_the_camera_moves():
    """The true pose in that frame is the same in all pictures of the shipped scene."""
    scene = read_demo_scene(scene_folder("cups"))
    assert scene.category == "cup" and len(scene.views) == 12
    poses = [view.T_table_cam @ view.T_cam_obj for view in scene.views]
    assert np.allclose(poses, poses[0], atol=1e-3) and np.allclose(poses[0][:2, 3], 0.0, atol=1e-9)
    assert poses[0][2, 2] == pytest.approx(1.0, abs=1e-6) and 0.03 < poses[0][2, 3] < 0.1
    assert scene_folder("cups").name == "demo_scene_cups"


def test_an_object_on_its_nose_has_no_such_frame():
    with pytest.raises(DatasetError, match="an object that stands"):
        table_frame(SupportPlane(np.array([0.0, -1.0, 0.0]), -0.5), se3(
            np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.array([0.0, 0.1, 0.6])))


def test_a_scene_that_does_not_ship_is_told():
    with pytest.raises(DatasetError, match="scene 'teapots' does not ship with the package; there is cups"):
        scene_folder("teapots")
