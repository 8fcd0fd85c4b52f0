# SPDX-License-Identifier: Apache-2.0
"""What turntables say beyond azimuths: planted poses with known errors must give exactly these figures."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation import bootstrap
from dinemo_ros.evaluation.baseline import elevations_of
from dinemo_ros.evaluation.coverage import coverage_rows
from dinemo_ros.evaluation.metrics import wilson_interval
from dinemo_ros.evaluation.rivals import Rival, rival_records
from dinemo_ros.evaluation.runner import Competitor, Setting, evaluate, tabulate
from dinemo_ros.evaluation.sample import LabelledSample, Sample
from dinemo_ros.evaluation.split import read_split, sequences_of
from dinemo_ros.evaluation.tables import parts_markdown, turns_markdown
from dinemo_ros.evaluation.truth import ReferenceObject
from dinemo_ros.evaluation.turns import Views, turn_rows
from dinemo_ros.evaluation.turntable import TurntableFrame, view_truths
from dinemo_ros.evaluation.view_truth import azimuth_is_seen, elevation_content
from dinemo_ros.geometry import ray_rotation, rotation_from_viewpoint, se3, so3_exp
from dinemo_ros.model.symmetry import Symmetry, with_axis_variance
from dinemo_ros.pose import ObjectPose

CUP, BOTTLE, CAR = Symmetry("z", 1), Symmetry("z", 0), Symmetry()
CAMERA = Camera.from_hfov(64, 64, 25.0)


def reference(symmetry):
    return ReferenceObject(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros(0, int), symmetry)


def pose(azimuth, elevation, theta=0.0, turn_deg=30.0, tilt_deg=5.0):
    """Off the optical axis, so that the ray to the object counts; announced deviations about the axis and across it."""
    position = np.array([0.1, -0.05, 1.0])
    R = ray_rotation(position) @ rotation_from_viewpoint(*np.radians([azimuth, elevation, theta]))
    covariance = np.diag([1e-6] * 3 + [math.radians(tilt_deg)**2] * 3)
    covariance = with_axis_variance(covariance, R, math.radians(turn_deg)**2)
    return ObjectPose(se3(R, position), 0.5, np.ones(3), covariance=covariance)


class Planted:
    """An estimator that answers what was planted for the picture, which holds its number."""

    def __init__(self, poses):
        self.poses = poses

    def estimate(self, image, camera, rois=None):
        found = self.poses[int(image[0, 0, 0])]
        return [] if found is None else [found]


def measured(frames, poses, symmetry, parts=None):
    """Records and turn rows of frames (sequence, azimuth, elevation or None) for which these poses are found."""
    annotated = [TurntableFrame(name, _path(k), azimuth, elevation) for k, (name, azimuth, elevation) in
                 enumerate(frames)]
    truths = view_truths(annotated)

    def load(k, truth):
        return Sample(np.full((64, 64, 3), k, np.uint8), CAMERA, None, None, truth)

    entries = [LabelledSample(key[0], key[1], lambda k=k, truth=truth: load(k, truth))
               for k, (key, truth) in enumerate(truths.items())]
    records = evaluate(Setting([Competitor("planted", Planted(poses))], reference(symmetry)), entries)
    return records, turn_rows(records, Views(truths, symmetry, parts or {}))


def _path(k):
    return Path(f"{k:03d}.jpg")


@pytest.mark.parametrize(("azimuth", "elevation", "seen"), [
    (124.0, 20.0, True), (125.0, 20.0, True), (126.0, 20.0, False), (236.0, 20.0, True), (235.0, 20.0, True),
    (234.0, 20.0, False), (-125.0, 20.0, True), (180.0, 20.0, False), (0.0, 84.9, True), (0.0, 85.0, False),
    (0.0, 90.0, False), (124.0, None, True), (126.0, None, False)])
def test_a_handle_is_seen_within_125_degrees_and_below_85(azimuth, elevation, seen):
    assert azimuth_is_seen(azimuth, elevation, CUP) is seen


def test_of_a_car_the_azimuth_is_seen_from_everywhere_but_above_and_of_a_bottle_from_nowhere():
    assert [azimuth_is_seen(180.0, elevation, CAR) for elevation in (None, 20.0, 85.0)] == [True, True, False]
    assert not azimuth_is_seen(0.0, 20.0, BOTTLE)


def test_known_errors_come_out_as_planted():
    """Azimuth errors 4, 20, 40, 170 where the handle is seen; elevation errors +2, +6, -1, +12, +3 degrees."""
    frames = [("mug", 0.0, 20.0), ("mug", 350.0, 20.0), ("mug", 90.0, 40.0), ("mug", 120.0, 40.0), ("mug", 180.0, 68.0)]
    poses = [pose(4.0, 22.0), pose(10.0, 26.0, 3.0), pose(50.0, 39.0, -3.0), pose(290.0, 52.0), pose(0.0, 71.0,
                                                                                                turn_deg=90.0)]
    _, (row,) = measured(frames, poses, CUP)
    assert (row["group"], row["part"], row["objects"], row["n"], row["seen_n"]) == ("mug", False, 1, 5, 4)
    assert (row["azimuth_acc10"], row["azimuth_acc30"], row["flips"], row["missing"]) == (0.25, 0.5, 0.25, 0.0)
    assert row["azimuth_median_deg"] == pytest.approx(30.0, abs=1e-6)
    assert (row["elevation_n"], row["elevation_found_n"], row["elevation_acc10"]) == (5, 5, 0.8)
    assert row["elevation_median_deg"] == pytest.approx(3.0, abs=1e-6)
    assert row["elevation_bias_deg"] == pytest.approx(3.0, abs=1e-6)
    assert row["elevation_deviation_deg"] == pytest.approx(np.std([2, 6, -1, 12, 3]), abs=1e-6)
    assert row["theta_deviation_deg"] == pytest.approx(np.std([0, 3, -3, 0, 0]), abs=1e-6)
    assert row["elevation_level_deg"] == pytest.approx(39.0, abs=1e-6)
    assert row["announced_seen_deg"] == pytest.approx(30.0, abs=1e-6)
    assert row["announced_hidden_deg"] == pytest.approx(90.0, abs=1e-6)


@pytest.mark.parametrize(("error", "flip"), [(149.0, 0.0), (151.0, 1.0), (180.0, 1.0), (209.0, 1.0), (211.0, 0.0)])
def test_a_flip_is_within_30_degrees_of_the_opposite_side(error, flip):
    _, (row,) = measured([("mug", 10.0, 20.0)], [pose(10.0 + error, 20.0)], CUP)
    assert row["flips"] == flip


def test_a_frame_without_a_pose_is_wrong_and_no_flip():
    frames = [("mug", 0.0, 20.0), ("mug", 10.0, 20.0)]
    _, (row,) = measured(frames, [pose(0.0, 20.0), None], CUP)
    assert (row["seen_n"], row["azimuth_acc30"], row["flips"], row["missing"]) == (2, 0.5, 0.0, 0.5)
    assert row["azimuth_median_deg"] == pytest.approx(90.0, abs=1e-6)
    assert (row["elevation_n"], row["elevation_found_n"], row["elevation_acc10"]) == (2, 1, 0.5)
    _, (row,) = measured(frames, [None, None], CUP)
    assert row["azimuth_acc30"] == row["elevation_acc10"] == 0.0
    assert not {"elevation_bias_deg", "elevation_deviation_deg", "announced_seen_deg"} & row.keys()


def test_without_elevations_there_is_steadiness_and_nothing_else_of_the_elevation():
    _, (row,) = measured([("mug", 0.0, None), ("mug", 5.0, None)], [pose(0.0, 30.0), pose(5.0, 34.0)], CUP)
    assert row["elevation_deviation_deg"] == pytest.approx(2.0, abs=1e-6)
    assert not {"elevation_n", "elevation_bias_deg", "elevation_median_deg"} & row.keys()


def test_of_a_bottle_the_error_is_the_angle_between_the_axes_whatever_its_turn():
    frames = [("jar", 0.0, 19.0), ("jar", 5.0, 19.0)]
    records, (row,) = measured(frames, [pose(77.0, 44.0), pose(200.0, 19.0, 8.0)], BOTTLE)
    assert [r["error_deg"] for r in records] == pytest.approx([25.0, 8.0 * math.cos(math.radians(19))], abs=0.02)
    assert row["elevation_bias_deg"] == pytest.approx(12.5, abs=1e-6)
    assert "seen_n" not in row and "announced_seen_deg" not in row and "azimuth" not in records[0]
    records, (row,) = measured([("jar", 0.0, None)], [pose(77.0, 0.0, 6.0)], BOTTLE)
    assert records[0]["error_deg"] == pytest.approx(6.0, abs=1e-6)  # how far it is from upright


def test_steadiness_of_several_turns_is_the_median_of_theirs():
    """Each object's own elevation is no scatter."""
    frames = [(name, 0.0, None) for name in "aabbcc"]
    _, rows = measured(frames, [pose(0.0, e) for e in (10.0, 12.0, 40.0, 46.0, 60.0, 80.0)], BOTTLE)
    by_name = {row["group"]: row["elevation_deviation_deg"] for row in rows}
    assert by_name == pytest.approx({"a": 1.0, "b": 3.0, "c": 10.0, "all": 3.0}, abs=1e-6)


def test_what_is_announced_covers_as_much_as_was_planted():
    """Azimuth: 30 degrees announced, errors of 20, 50 (seen) and 100 (hidden). Elevation: 5 announced, 4, 8, 20 off."""
    frames = [("mug", 0.0, 20.0), ("mug", 90.0, 20.0), ("mug", 180.0, 20.0)]
    records, _ = measured(frames, [pose(20.0, 24.0), pose(140.0, 12.0), pose(280.0, 40.0)], CUP)
    shares = {row["quantity"]: (row["n"], *row["coverage"].values()) for row in coverage_rows(records)}
    assert shares == {"azimuth": (3, 1 / 3, 2 / 3), "azimuth, seen": (2, 0.5, 1.0), "azimuth, hidden": (1, 0.0, 0.0),
                      "elevation": (3, 1 / 3, 2 / 3)}


@pytest.mark.parametrize("elevation", [0.0, 35.0, 70.0, 88.0])
def test_the_variance_of_the_elevation_is_that_of_turns_about_the_horizontal_axis(elevation):
    """Announced: 1 degree about all axes but one of 9, along which the camera goes up and down. Draws must agree."""
    base = pose(25.0, elevation, 4.0)
    R, ray = base.T_cam_obj[:3, :3], base.T_cam_obj[:3, 3] / np.linalg.norm(base.T_cam_obj[:3, 3])
    normal = np.cross(ray, R[:, 2]) / np.linalg.norm(np.cross(ray, R[:, 2]))
    tilted = base.T_cam_obj.copy()
    tilted[:3, :3] = so3_exp(normal * math.radians(1.0)) @ R
    moved = math.degrees(ObjectPose(tilted, 0.5, np.ones(3)).viewpoint()[1]) - elevation
    assert abs(moved) == pytest.approx(1.0, abs=0.02)
    covariance = np.eye(6) * math.radians(1.0)**2
    covariance[3:, 3:] += (math.radians(9.0)**2 - math.radians(1.0)**2) * np.outer(normal, normal)
    announced = ObjectPose(base.T_cam_obj, 0.5, np.ones(3), covariance=covariance)
    assert elevation_content(announced, 9.0) == pytest.approx(0.6827, abs=1e-3)


def test_rows_of_sequences_parts_and_all_and_their_intervals():
    frames = [(name, 0.0, 20.0) for name in ("a", "b", "c", "d") for _ in range(10)]
    right = [10, 8, 6, 0]  # of ten frames each
    poses = [pose(0.0 if k < right["abcd".index(name)] else 90.0, 20.0) for name in "abcd" for k in range(10)]
    _, rows = measured(frames, poses, CUP, {"tuning": ["a", "b", "c"], "reserved": ["d"], "elsewhere": ["x"]})
    assert [(row["group"], row["part"]) for row in rows] == [
        ("a", False), ("b", False), ("c", False), ("d", False), ("tuning", True), ("reserved", True), ("all", False)]
    found = {row["group"]: row for row in rows}
    assert [found[name]["azimuth_acc30"] for name in ("tuning", "reserved", "all")] == pytest.approx([0.8, 0.0, 0.6])
    assert [found[name]["objects"] for name in ("tuning", "reserved", "all")] == [3, 1, 4]
    assert found["reserved"]["azimuth_acc30_interval"] == pytest.approx(wilson_interval(0, 10))
    assert found["reserved"]["azimuth_acc30_interval_objects"] is None
    assert found["tuning"]["azimuth_acc30_interval_objects"] == pytest.approx((0.6, 1.0))  # thrice the same object
    low, high = found["all"]["azimuth_acc30_interval_objects"]
    assert low < found["all"]["azimuth_acc30_interval"][0] and high > found["all"]["azimuth_acc30_interval"][1]
    assert "| tuning" in turns_markdown(rows)
    side_by_side = parts_markdown([row for row in rows if row["part"]])
    line, = [line for line in side_by_side.splitlines() if "azimuth@30°" in line]
    assert "80.0 % (" in line and "; 60.0 to 100.0)" in line and "0.0 % (0.0 to 27.8)" in line


def test_the_interval_of_a_share_is_the_known_one_and_always_the_same():
    """40 of 100: binomial quantiles 31 and 50 of 100; a cluster of 20 equal frames each is one draw."""
    hits = np.repeat([True, False, True, False, False], 20)
    low, high = bootstrap.share_by_frames(hits)
    assert low == pytest.approx(0.305, abs=0.015) and high == pytest.approx(0.50, abs=0.015)
    assert bootstrap.share_by_frames(hits) == (low, high)
    objects = np.repeat(list("abcde"), 20).tolist()
    assert bootstrap.share_by_objects(hits, objects) == pytest.approx((0.0, 0.8))
    assert bootstrap.share_by_objects(np.ones(40, bool), objects[:40]) is None
    assert bootstrap.by_objects(hits[:40], objects[:40]) is None  # two objects
    assert bootstrap.by_frames(np.full(9, 3.0), np.median) == (3.0, 3.0)


def frames_of(box=(10.0, 10.0, 50.0, 50.0)):
    return [TurntableFrame("mug", _path(k), azimuth, 20.0, box) for k, azimuth in enumerate((0.0, 90.0, 180.0))]


def answers(tmp_path, document):
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(document))
    return Rival.read("other", path)


def test_answers_of_another_program_are_compared_as_poses_are(tmp_path):
    rival = answers(tmp_path, {"mug": {"000.jpg": {"azimuth_deg": 355, "elevation_deg": 26.5, "theta_deg": 2},
                                       "001.jpg": {"azimuth_deg": 270, "elevation_deg": 20}, "002.jpg": None},
                               "elsewhere": {"000.jpg": {"azimuth_deg": 0, "elevation_deg": 0}}})
    frames = frames_of()
    records = rival_records(rival, frames, view_truths(frames), reference(CUP))
    assert [r["error_deg"] for r in records] == [pytest.approx(5.0), pytest.approx(180.0), None]
    assert {r["model"] for r in records} == {"other"} and "contents" not in records[0]
    assert (records[0]["elevation"], records[0]["theta"]) == (pytest.approx(26.5), pytest.approx(2.0))
    assert tabulate(records)[0]["missing"] == pytest.approx(1 / 3)
    row, = turn_rows(records, Views(view_truths(frames), CUP, {}))
    assert (row["seen_n"], row["azimuth_acc30"], row["flips"]) == (2, 0.5, 0.5)


@pytest.mark.parametrize(("box", "counts"), [([10, 10, 50, 50], True), ([10, 10, 50, 31], True),
                                             ([10, 10, 50, 29], False), ([55, 55, 60, 60], False)])
def test_what_another_program_found_elsewhere_is_no_answer(tmp_path, box, counts):
    rival = answers(tmp_path, {"mug": {"000.jpg": {"azimuth_deg": 0, "elevation_deg": 20, "box": box}}})
    frames = frames_of()
    record = rival_records(rival, frames, view_truths(frames), reference(CUP))[0]
    assert (record["error_deg"] is not None) is counts
    unboxed = frames_of(None)
    assert rival_records(rival, unboxed, view_truths(unboxed), reference(CUP))[0]["error_deg"] is not None


@pytest.mark.parametrize(("document", "says"), [
    ([], "has another layout; expected {SEQUENCE: {FILE: "), ({"mug": []}, "has another layout"),
    ({"mug": {"0.jpg": 3}}, "'mug', '0.jpg': is '3'; expected .* or null for no answer"),
    ({"mug": {"0.jpg": {"azimuth_deg": 3}}}, "allowed: finite azimuth_deg and elevation_deg"),
    ({"mug": {"0.jpg": {"azimuth_deg": 3, "elevation_deg": float("nan")}}}, "allowed: finite"),
    ({"mug": {"0.jpg": {"azimuth_deg": 3, "elevation_deg": 3, "box": [1, 2, 3]}}}, "box with four pixels"),
    ({"mug": {"0.jpg": {"azimuth_deg": True, "elevation_deg": 3}}}, "allowed: finite"),
])
def test_answers_that_are_none_are_refused_in_one_sentence(tmp_path, document, says):
    with pytest.raises(DatasetError, match=says) as caught:
        answers(tmp_path, document)
    assert "answers.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("document", "says"), [
    ("[]", "is no split; expected format: dinemo-split/1"), ("{format: other, parts: {a: [b]}}", "is no split"),
    ("{format: dinemo-split/1, parts: [a]}", "parts is no mapping of names to lists"),
    ("{format: dinemo-split/1, parts: {a: [1]}}", "parts is no mapping"),
    ("{format: dinemo-split/1, parts: {a: []}}", "parts is no mapping"),
    ("{format: dinemo-split/1, parts: {all: [b]}}", "a part is called 'all'"),
    ("{format: dinemo-split/1, parts: {a: [x], b: [y, x]}}", "sequence 'x' is listed twice"),
    ("{", "expected a split")])
def test_splits_that_are_none_are_refused_in_one_sentence(tmp_path, document, says):
    (tmp_path / "split.yaml").write_text(document)
    with pytest.raises(DatasetError, match=says) as caught:
        read_split(tmp_path / "split.yaml")
    assert "split.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_sequences_of_the_wanted_parts(tmp_path):
    (tmp_path / "split.yaml").write_text(yaml.safe_dump({"format": "dinemo-split/1",
                                                         "parts": {"tuning": ["b", "a"], "reserved": ["c"]}}))
    parts = read_split(tmp_path / "split.yaml")
    assert sequences_of(parts, [], ["a", "b", "c", "d"]) == ["a", "b", "c"]
    assert sequences_of(parts, ["reserved"], ["a", "c"]) == ["c"]
    with pytest.raises(DatasetError, match="no part 'other'; it has reserved, tuning"):
        sequences_of(parts, ["other"], ["a"])
    with pytest.raises(DatasetError, match="the folder has no sequence of this split"):
        sequences_of(parts, [], ["d"])


def test_nearest_views_reach_as_high_as_the_bundle_searches():
    """A car's stay what they were."""
    assert elevations_of((-5.0, 0.0, 8.0, 18.0, 30.0)) == (-5.0, 5.0, 15.0, 25.0, 40.0)
    assert elevations_of((0.0, 68.0)) == (-5.0, 5.0, 15.0, 25.0, 40.0, 55.0, 70.0)
    assert elevations_of((90.0,)) == (-5.0, 5.0, 15.0, 25.0, 40.0, 55.0, 70.0, 85.0, 90.0)
