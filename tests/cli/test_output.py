# SPDX-License-Identifier: Apache-2.0
"""Files appear whole or not at all; numbers are JSON."""

import json
import os

import numpy as np
import pytest

from dinemo_ros.cli.output import AtomicFile, OutputError, check_output_file, object_entry, overlay_name, to_json
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.pose import Hypothesis, ObjectPose, Observation


def test_file_appears_when_complete(tmp_path):
    path = tmp_path / "new" / "report.json"
    with AtomicFile(path) as file:
        file.write("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["report.json"]


def test_every_frame_has_an_overlay_of_its_own():
    names = {"a.jpg": "a_pose.jpg", "a.PNG": "a_pose.PNG", "a.pgm": "a.pgm_pose.png", "a.webp": "a.webp_pose.png",
             "a.jfif": "a.jfif_pose.png",
             "v.mp4:000012": "v.mp4_000012_pose.jpg", "a:b.jpg": "a:b_pose.jpg", "no suffix": "no suffix_pose.png"}
    assert {name: overlay_name(name) for name in names} == names


@pytest.mark.parametrize("name", ["../../a.jpg", "/etc/a.png", "../a.bin", "/a/b:000012", "../b:000012", "..", "/", "",
                                  "a/../../b.jpg", "../" * 200 + "a.mp4:000001", "..:000001"])
def test_no_overlay_leaves_the_folder_that_was_given(tmp_path, name):
    drawn = overlay_name(name)
    assert "/" not in drawn and (tmp_path / drawn).resolve().parent == tmp_path


def test_after_an_error_the_old_file_stays_and_the_new_part_is_kept(tmp_path):
    path = tmp_path / "poses.jsonl"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), AtomicFile(path) as file:
        file.write("new line")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert (tmp_path / "poses.jsonl.part").read_text() == "new line"


def test_unwritable_places_are_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a folder"):
        AtomicFile(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        AtomicFile(tmp_path / "file" / "x.json")


def test_a_place_is_tried_without_leaving_anything(tmp_path):
    check_output_file(None)
    check_output_file(tmp_path / "new" / "report.json")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(OutputError, match="is a folder; give the name of a file"):
        check_output_file(tmp_path)


def test_object_entry_is_what_the_help_promises():
    T = se3(rotation_from_viewpoint(*np.radians([143.0, 10.0, -3.0])), np.array([0, 0, 7.3]))
    flipped = se3(rotation_from_viewpoint(*np.radians([323.0, 10.0, 0.0])), np.array([0, 0, 7.0]))
    pose = ObjectPose(T, np.float32(0.8125), np.array([4.4, 1.8, 1.5]), category="car", roi=(1, 2, 3, 4.5),
                      runners_up=(Hypothesis(flipped, 0.5, np.ones(3)),))
    entry = json.loads(to_json(object_entry(pose)))
    assert (entry["category"], entry["score"], entry["size"], entry["roi"]) == ("car", 0.8125, [4.4, 1.8, 1.5],
                                                                              [1, 2, 3, 4.5])
    assert np.allclose(entry["T_cam_obj"], T, atol=1e-7)
    assert [entry[k] for k in ("azimuth", "elevation", "theta")] == pytest.approx([143.0, 10.0, -3.0], abs=1e-5)
    assert np.shape(entry["covariance"]) == (6, 6)
    assert entry["runner_up"]["azimuth"] == pytest.approx(323.0, abs=1e-5)
    assert json.loads(to_json(object_entry(ObjectPose(T, 0.5, np.ones(3)))))["runner_up"] is None


def test_what_a_pose_rests_on_is_told():
    observed = (Observation("support", True, np.float64(0.004)), Observation("depth", False, float("nan"), "holes"))
    pose = ObjectPose(se3(np.eye(3), np.array([0, 0, 2.0])), 0.5, np.ones(3), source="support", observations=observed)
    entry = json.loads(to_json(object_entry(pose)))
    assert entry["source"] == "support"
    assert entry["observations"] == [{"name": "support", "used": True, "reason": "", "residual_m": 0.004},
                                     {"name": "depth", "used": False, "reason": "holes", "residual_m": None}]
    assert json.loads(to_json(object_entry(ObjectPose(pose.T_cam_obj, 0.5, np.ones(3)))))["observations"] == []


def test_an_azimuth_that_nobody_knows_is_null():
    R = rotation_from_viewpoint(0.0, np.radians(20.0), 0.0)
    covariance = Symmetry("z", 0).covariance(1e-4 * np.eye(6), R)
    bottle = ObjectPose(se3(R, np.array([0, 0, 0.8])), 0.5, np.ones(3), covariance=covariance,
                        runners_up=(Hypothesis(se3(R, np.array([0, 0, 0.9])), 0.4, np.ones(3)),))
    entry = json.loads(to_json(object_entry(bottle)))
    assert entry["azimuth"] is entry["runner_up"]["azimuth"] is None
    assert entry["elevation"] == pytest.approx(20.0, abs=1e-5)


def test_json_is_strict():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"x": float("nan")})
    assert to_json({"n": np.int64(3), "ok": np.bool_(True), "x": [np.float64(1 / 3)]}) == \
        '{"n": 3, "ok": true, "x": [0.33333333]}'


def test_names_that_are_no_unicode_are_strict_json_and_can_be_had_back():
    """Two names that read the same are told apart by their bytes; ordinary names are as they are."""
    latin, written_so = os.fsdecode(b"Gr\xf6"), r"Gr\xf6"
    entries = [json.loads(to_json({"file": name, "names": [name], name: 1})) for name in (latin, written_so, "Grö")]
    assert [entry["file"] for entry in entries] == [r"Gr\xf6", r"Gr\xf6", "Grö"]
    assert [entry.get("file_bytes") for entry in entries] == ["4772f6", None, None]
    assert entries[0]["names"] == [r"Gr\xf6"] and entries[0][r"Gr\xf6"] == 1
