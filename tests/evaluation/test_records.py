# SPDX-License-Identifier: Apache-2.0
"""From records to rows, tables and pictures."""

import csv
import io

import cv2
import numpy as np
import pytest
from shared_data import ROOT
from unit.planted import car_mesh

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.evaluation.floor import below_floor, share_below, without_floor
from dinemo_ros.evaluation.metrics import summarise, wilson_interval
from dinemo_ros.evaluation.runner import split, tabulate
from dinemo_ros.evaluation.tables import comma_separated, markdown
from dinemo_ros.evaluation.worst import WorstFrames, caption
from dinemo_ros.geometry import se3
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.pose import Hypothesis, ObjectPose


def record(model="ours", level="L0", group="cx5", file="000.jpg", error=5.0, **more):
    return {"model": model, "occlusion": level, "group": group, "file": file, "score": 0.5, "error_deg": error} | more


def posed(error, add):
    return {"error_deg": error, "azimuth_error_deg": error, "distance_error_pct": 10 * add,
            "elevation_offset_deg": error - 10, "distance_offset_pct": -10 * add, "translation_error_m": 2 * add,
            "add_m": add, "add_within": float(add < 0.4), "pck": 1 - add}


def test_summary_of_poses_counts_missing_ones_as_wrong():
    row = summarise([posed(1.0, 0.1), posed(29.0, 0.3), posed(31.0, 0.5), {"error_deg": None}])
    assert (row["n"], row["acc30"], row["azimuth_acc30"], row["missing"]) == (4, 0.5, 0.5, 0.25)
    assert row["add_median_m"] == pytest.approx(0.4)
    assert (row["distance_median_pct"], row["translation_median_m"]) == pytest.approx((4.0, 0.8))
    assert (row["add_within"], row["pck"]) == pytest.approx((0.5, 2.1 / 4))
    assert (row["elevation_bias_deg"], row["distance_bias_pct"]) == pytest.approx((19.0, -3.0))
    assert (row["coverage"], row["surroundings"]) == (None, None)


def test_median_without_a_value_is_none():
    row = summarise([posed(1.0, 0.1), {"error_deg": None}, {"error_deg": None}])
    assert (row["median_deg"], row["add_median_m"], row["distance_median_pct"]) == (180.0, None, None)
    assert "add_m" not in summarise([{"error_deg": 3.0}])


def test_poses_without_an_azimuth_have_no_column_of_it():
    bottle = {key: value for key, value in posed(1.0, 0.1).items() if key != "azimuth_error_deg"}
    assert "azimuth_acc30" not in summarise([bottle])
    assert summarise([bottle])["pck"] == 0.9


def test_a_bias_is_written_with_its_sign():
    table = markdown(tabulate([record(**posed(12.5, 0.24)), record(file="1", **posed(12.5, 0.24))]))
    head, _, line = table.splitlines()
    told = dict(zip((c.strip() for c in head.split("|")), (c.strip() for c in line.split("|")), strict=True))
    assert (told["elevation bias"], told["distance bias"], told["distance"]) == ("+2.5°", "-2.4 %", "2.4 %")


def test_rows_per_level_model_and_group():
    records = [record(model, level, group, file, coverage=0.3)
               for file in ("0", "1") for level in ("L0", "L1") for model in ("ours", "theirs")
               for group in ("cx5", "subaru")]
    rows = tabulate(records)
    assert [(r["occlusion"], r["model"], r["group"], r["n"]) for r in rows[:4]] == [
        ("L0", "ours", "cx5", 2), ("L0", "ours", "subaru", 2), ("L0", "ours", "all", 4), ("L0", "theirs", "cx5", 2)]
    assert len(rows) == 12
    assert rows[0]["coverage"] == pytest.approx(0.3)
    assert split(records) == {"cx5": 2, "subaru": 2}
    assert [r["group"] for r in tabulate([record()])] == ["cx5"]  # one set is all there is


def test_every_share_of_frames_has_its_interval():
    row = summarise([{"error_deg": 4.0, "add_m": 0.1, "distance_error_pct": 1.0, "translation_error_m": 0.1,
                      "elevation_offset_deg": 0.0, "distance_offset_pct": 0.0, "azimuth_error_deg": 1.0,
                      "add_within": float(k < 3), "pck": 0.5} for k in range(4)])
    shares = {"acc30": 4, "acc10": 4, "flips": 0, "missing": 0, "azimuth_acc30": 4, "add_within": 3}
    for key, count in shares.items():
        assert row[key] == count / 4 and row[f"{key}_interval"] == wilson_interval(count, 4)
    assert {key for key in row if key.endswith("_interval")} == {f"{key}_interval" for key in shares}


def test_markdown_leaves_out_what_nobody_measured():
    table = markdown(tabulate([record(error=4.0), record(file="1", error=20.0)]))
    head, rule, line = table.splitlines()
    assert "ADD" not in head and "covered" not in head and "flips" in head
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "ours", "L0", "cx5", "2", "100.0 % (34.2 to 100.0)", "50.0 % (9.5 to 90.5)", "12.0°", "0.0 % (0.0 to 65.8)",
        "0.0 %"]
    assert all(set(cell.strip()) <= set("-:") and "-" in cell for cell in rule.strip("|").split("|"))
    assert len({len(text) for text in (head, rule, line)}) == 1


def test_csv_has_a_column_for_every_key():
    text = comma_separated([record(), record(file="1", error=None, coverage=0.25), record(roi=[1, 2, 3, 4])])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["error_deg"] for row in rows] == ["5.0", "", "5.0"]
    assert [row["coverage"] for row in rows] == ["", "0.25", ""]
    assert "roi" not in rows[0]


def test_worst_frames_are_those_of_one_model_worst_first(tmp_path):
    image, camera = np.full((60, 80, 3), 120, np.uint8), Camera.from_hfov(80, 60, 50)
    worst = WorstFrames("ours", car_mesh(), 2)
    for file, error in (("a.jpg", 12.0), ("b/b.jpg", None), ("c.jpg", 90.0), ("d.jpg", 3.0)):
        worst.offer(record(file=file, error=error), image, camera, None)
    worst.offer(record("theirs", file="e.jpg", error=179.0), image, camera, None)
    files = worst.save(tmp_path)
    assert [file.name for file in files] == ["00_L0_cx5_b_b.png", "01_L0_cx5_c.png"]
    picture = cv2.imread(str(files[0]))
    assert picture.shape[1] > 2 * 320 and picture.shape[0] > 320  # small pictures are enlarged, twice side by side


def test_captions_say_what_went_wrong():
    assert caption(record(error=None, coverage=0.713)) == "cx5/000.jpg L0, 71 % covered, no pose"
    assert caption(record(error=170.2, azimuth=190.0, azimuth_true=20.0)) == (
        "cx5/000.jpg L0, error 170 deg, azimuth 190 instead of 20, score 0.50")


def test_poses_below_the_floor_are_judged_and_counted():
    """An annotated object is there: what a floor costs stands in a column of its own."""
    pose = ObjectPose(se3(np.eye(3), np.array([0.0, 0.0, 5.0])), 0.5, np.ones(3), presence=0.3)
    assert below_floor(pose, 0.2) == {"presence": 0.3, "below_floor": False}
    assert below_floor(pose, 0.4) == {"presence": 0.3, "below_floor": True}
    assert below_floor(Hypothesis(pose.T_cam_obj, 0.5, pose.size), 0.4) == {}, "a baseline knows no presence"
    records = [record(**below_floor(pose, floor)) for floor in (0.2, 0.4, 0.4)] + [record(error=None)]
    row, = tabulate(records)
    assert row["below_floor"] == 0.5 and row["acc30"] == 0.75 and "below floor" in markdown([row])
    assert row["below_floor_interval"] == wilson_interval(2, 4) and share_below([record()]) == {}
    bundle = load_bundle(ROOT / "engines" / "car")
    assert without_floor(bundle).card.presence.floor == 0.0 < bundle.card.presence.floor
