# SPDX-License-Identifier: Apache-2.0
"""Key points of meshes are named by the object's own sides, and rendered pairs are what SPair's reader reads."""

import json

import numpy as np
import pytest
import trimesh
from shared_data import shared_data

from dinemo_ros.errors import DatasetError
from dinemo_training.evaluation.correspondence.mesh_keypoints import consistent, own_side, read_keypoints
from dinemo_training.evaluation.correspondence.rendered_pairs import read_figures, shoot, write_pairs
from dinemo_training.evaluation.correspondence.spair import read_spair

# A box in the files' axes: front is -y, so the object's own left is +x. Named as somebody in front of it sees it.
CORNERS = {f"{side}_{end}_{height}": [x * 0.2, y * 0.4, z * 0.1]
           for side, x in (("left", -1), ("right", 1)) for end, y in (("front", -1), ("back", 1))
           for height, z in (("lower", -1), ("upper", 1))}
MIDDLE = np.array([0, -0.05, 0.3])  # of the box; files need not be about their origin


@pytest.fixture
def category(tmp_path):
    folder = tmp_path / "box"
    folder.mkdir()
    for name, stretch in (("01", (1, 1, 1)), ("02", (1, 1, 1.5))):
        solid = trimesh.creation.box(np.multiply((0.4, 0.8, 0.2), stretch))
        solid.apply_translation(MIDDLE).export(folder / f"{name}.obj")
        points = {key: list(np.multiply(value, stretch) + MIDDLE) for key, value in CORNERS.items()}
        (folder / f"{name}.keypoints.json").write_text(json.dumps(points))
    return folder


def test_sides_are_the_objects_own(category):
    mesh = read_keypoints(category / "01.keypoints.json")
    assert len(mesh.renamed) == 8 and not mesh.dropped and mesh.name == "01"
    assert mesh.points["left_front_upper"].tolist() == pytest.approx([0.45, 0.2, 0.4])  # x forward, y left
    assert all((point[1] > 0) == name.startswith("left") for name, point in mesh.points.items())
    assert own_side("upper_left_window", np.array([0, -0.3, 0])) == "upper_right_window"
    assert own_side("upper_left_window", np.array([0, 0.3, 0])) == "upper_left_window"
    assert own_side("left_window", np.array([0.5, 0.01, 0])) is None and own_side("cleft", np.zeros(3)) == "cleft"


def test_names_that_mean_nothing_certain_are_left_out(tmp_path):
    first, second = tmp_path / "01.keypoints.json", tmp_path / "02.keypoints.json"
    first.write_text(json.dumps({"left_a": [0.3, 0, 0], "right_a": [0.3, 0.1, 0], "left_b": [0, 0, 0],
                                 "lamp": [0, -0.4, 0], "roof": [0, 0, 0.2]}))
    second.write_text(json.dumps({"lamp": [0, 0.4, 0], "roof": [0, 0.1, 0.2]}))
    meshes, told = consistent([read_keypoints(first), read_keypoints(second)])
    assert [set(mesh.points) for mesh in meshes] == [{"roof"}, {"roof"}]
    assert told == ["left_b of 01.keypoints.json lies on no side",
                    "left_a of 01.keypoints.json is the side of two points",
                    "lamp is before the middle on some meshes and behind it on others"]
    for text in ("[]", '{"a": [1, 2]}', '{"a": "x"}', '{"a": [1, 2, NaN]}', "{"):
        first.write_text(text)
        with pytest.raises(DatasetError, match=r"01\.keypoints\.json"):
            read_keypoints(first)


def test_key_points_lie_on_what_is_drawn(category):
    """Corners of a box that are seen are corners of its outline's box, or inside of it."""
    figures, told = read_figures(category)
    assert told["dropped"] == [] and len(told["renamed"]["02"]) == 8
    shot = shoot(figures[1], np.random.default_rng(0))
    seen = np.array(list(shot.seen.values()))
    left, top, right, bottom = shot.box
    assert 4 <= len(seen) <= 7 and shot.object == "02"
    assert (seen > [left - 2, top - 2]).all() and (seen < [right + 1, bottom + 1]).all()
    assert abs(seen[:, 0].min() - left) < 3 or abs(seen[:, 0].max() - right) < 3


def test_pairs_depend_on_the_seed_alone_and_are_read_as_spair(category, tmp_path):
    written = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_pairs(tmp_path / name, {"box": category}, 6, seed)
        pairs = read_spair(tmp_path / name)
        written.append([(pair.name, pair.target_points.tolist(), pair.source.read_bytes()) for pair in pairs])
    assert written[0] == written[1] != written[2] and len(written[0]) == 6
    assert all(pair.objects in (("01", "02"), ("02", "01")) and len(pair.source_points) >= 3 for pair in pairs)
    left, top, right, bottom = pairs[0].target_box
    assert right - left > 30 and bottom - top > 30


def test_what_cannot_be_drawn_is_named(category, tmp_path):
    with pytest.raises(DatasetError, match="1 meshes with key points; two are needed|0 meshes"):
        (category / "02.keypoints.json").unlink()
        read_figures(category)
    (category / "02.keypoints.json").write_text("{}")
    with pytest.raises(DatasetError, match="box: 0 pairs of pictures share 3 points, 4 are wanted"):
        write_pairs(tmp_path / "out", {"box": category}, 4, 0)


@pytest.mark.parametrize(("name", "least"), [("car", 12), ("chair", 10)])
def test_the_files_at_hand_agree_once_their_sides_are_read_by_place(name, least):
    meshes, told = consistent([read_keypoints(path) for path in sorted(shared_data(f"meshes/{name}").glob("*.json"))])
    assert told == [] and len(meshes) >= 4
    names = set.union(*(set(mesh.points) for mesh in meshes))
    assert len(names) >= least
    for key in names:
        sides = {np.sign(mesh.points[key][1]) for mesh in meshes if key in mesh.points}
        assert "left" not in key or sides == {1.0}
        assert "right" not in key or sides == {-1.0}
    if name == "car":  # in the files the wheels are named by whom the car faces, the trunk by whom it does not
        assert "left_front_wheel" in meshes[0].renamed and "left_back_trunk" not in meshes[0].renamed
        assert (meshes[0].points["left_front_wheel"] * [1, 1, -1] > 0).all()
