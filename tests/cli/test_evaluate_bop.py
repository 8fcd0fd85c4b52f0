# SPDX-License-Identifier: Apache-2.0
"""``dinemo eval bop`` from files to report: with the real estimator, and what is refused before the work."""

import json
import os
import shutil

import numpy as np
import pytest
from bop_folder import Placed, edit, on_ground, plane_under, write_objects, write_scene
from depth_pictures import record_what_is_given

from dinemo_ros.cli.main import main

T_TRUE = [on_ground((-2.0, 0.6, 10.0), 35.0), on_ground((1.5, 0.2, 13.0), 150.0)]


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Two scenes with a car each, and the file of objects beside them."""
    folder = tmp_path_factory.mktemp("bop") / "test"
    for scene, T in enumerate(T_TRUE):
        write_scene(folder / f"{scene:06d}", [[Placed(T, info={"standing": ["table", "held"][scene]})]])
    write_objects(folder.parent / "objects.json")
    return folder


@pytest.fixture
def copy(split, tmp_path):
    return shutil.copytree(split, tmp_path / "test")


def evaluate(split, *words, objects=None, code=0):
    objects = objects or split.parent / "objects.json"
    assert main(["eval", "bop", str(split), "--objects", str(objects), *map(str, words)]) == code


def test_every_source_is_a_row_and_reaches_the_estimator(bundle, split, tmp_path, capsys, monkeypatch):
    given = record_what_is_given(monkeypatch)
    evaluate(split, "--bundle", bundle, "--support", "--depth", "--json", tmp_path / "r.json", "--csv",
             tmp_path / "r.csv", "--support-sigma", "2,5")
    report = json.loads((tmp_path / "r.json").read_text())
    sources = ["rgb", "support", "depth", "support+depth"]
    assert report["sources"] == sources and report["left_out"] == {"other_objects": 0, "unseen": 0}
    rows = {row["source"]: row for row in report["rows"] if row["group"] == "all"}
    assert list(rows) == sources and len(report["frames"]) == 8
    for row in rows.values():
        assert row["n"] == 2 and row["missing"] == 0.0 and row["coverage_n"] == 2
        assert row["rotation_median_deg"] < 8.0 and row["azimuth30"] == 1.0 and row["time_median_ms"] > 0.0
        assert row["translation_median_cm"] < 150.0  # of 10 to 13 m; a wrong unit or frame is far beyond it
    assert {row["group"] for row in report["rows"]} == {"000000/car", "000001/car", "standing=table", "standing=held",
                                                       "all"}
    wanted = [(s, d) for _ in T_TRUE for s, d in ((0, 0), (1, 0), (0, 1), (1, 1))]
    assert [(k["support"] is not None, k["depth"] is not None) for k in given] == wanted
    plane = given[1]["support"]
    assert plane.offset_m == pytest.approx(plane_under(T_TRUE[0])["offset_m"]) and plane.offset_sigma == 0.005
    frame = next(f for f in report["frames"] if f["source"] == "support" and f["scene"] == 1)
    assert frame["observations"] is not None and frame["extra"] == {"standing": "held"} and frame["category"] == "car"
    assert report["bundles"]["car"].startswith("car ") and report["networks"] == {"car": "fp32"}
    told = capsys.readouterr()
    assert told.out.startswith("regions: bbox_visib; network: car") and "| support+depth | all" in told.out


def test_poses_are_results_of_bop_of_each_source(bundle, split, tmp_path):
    evaluate(split, "--bundle", bundle, "--support", "--csv", tmp_path / "r.csv", "--scene", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r_rgb.csv", "r_support.csv"]
    evaluate(split, "--bundle", bundle, "--csv", tmp_path / "r.csv", "--scene", 1)
    line = (tmp_path / "r.csv").read_text().splitlines()[1].split(",")
    truth = json.loads((split / "000001" / "scene_gt.json").read_text())["0"][0]
    assert line[:3] == ["1", "0", "3"]
    t, t_true = np.array(line[5].split(), float), np.array(truth["cam_t_m2c"])
    assert np.linalg.norm(t - t_true) < 0.12 * np.linalg.norm(t_true)
    R = np.array(line[4].split(), float).reshape(3, 3)
    assert np.trace(R.T @ np.reshape(truth["cam_R_m2c"], (3, 3))) > 2.95


def test_rgb_alone_needs_neither_plane_nor_depth(bundle, copy, split, tmp_path):
    for scene in ("000000", "000001"):
        (copy / scene / "scene_support.json").unlink()
        shutil.rmtree(copy / scene / "depth")
    evaluate(copy, "--bundle", bundle, "--json", tmp_path / "r.json", "--brief", objects=split.parent / "objects.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert {row["source"] for row in report["rows"]} == {"rgb"} and "frames" not in report


def test_another_file_of_planes(bundle, copy, split, tmp_path, monkeypatch):
    given = record_what_is_given(monkeypatch)
    planes = {"0": {"normal": [0, -1, 0], "offset_m": -4.5}}
    for scene in ("000000", "000001"):
        (copy / scene / "noisy.json").write_text(json.dumps(planes))
    evaluate(copy, "--bundle", bundle, "--support", "--support-file", "noisy.json", "--limit", 1,
             objects=split.parent / "objects.json")
    assert [k["support"] and k["support"].offset_m for k in given] == [None, -4.5]


def test_what_is_left_out_is_counted(bundle, copy, split, tmp_path, capsys):
    gt, info = copy / "000000" / "scene_gt.json", copy / "000000" / "scene_gt_info.json"
    edit(gt, lambda d: d["0"].append(d["0"][0] | {"obj_id": 9}))
    edit(gt, lambda d: d["0"].append(d["0"][0]))
    edit(info, lambda d: d["0"].append({}))
    edit(info, lambda d: d["0"].append({"bbox_visib": [-1, -1, -1, -1]}))
    (copy / "000007").mkdir()
    evaluate(copy, "--bundle", bundle, "--json", tmp_path / "r.json", objects=split.parent / "objects.json")
    told = capsys.readouterr().err
    for sentence in ("left out: 1 objects that the file of objects does not name",
                     "left out: 1 objects of which nothing is seen", "left out: 1 folders without scene_gt.json"):
        assert sentence in told
    assert json.loads((tmp_path / "r.json").read_text())["left_out"] == {"other_objects": 1, "unseen": 1}


def test_an_object_outside_of_its_picture_is_wrong_and_named(bundle, copy, split, tmp_path, capsys):
    edit(copy / "000000" / "scene_gt_info.json", lambda d: d["0"][0].update(bbox_visib=[3000, 50, 100, 100]))
    evaluate(copy, "--bundle", bundle, "--json", tmp_path / "r.json", objects=split.parent / "objects.json")
    report = json.loads((tmp_path / "r.json").read_text())
    row, = (row for row in report["rows"] if row["group"] == "all")
    assert (row["n"], row["missing"], row["azimuth30"]) == (2, 0.5, 0.5)
    told = capsys.readouterr().err
    assert "counted as wrong: 1 of 2 objects" in told and "scene 0, image 0, object 0 (rgb): ROI [3000" in told
    edit(copy / "000001" / "scene_gt_info.json", lambda d: d["0"][0].update(bbox_visib=[3000, 50, 100, 100]))
    evaluate(copy, "--bundle", bundle, objects=split.parent / "objects.json", code=1)
    assert "none of the 2 objects could be looked for; the first is scene 0" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "says"), [
    (["{s}", "--objects", "{t}/nothing.yaml"], "nothing.yaml: cannot be read"),
    (["{s}/nothing", "--objects", "{o}"], "nothing: cannot be read"),
    (["{t}", "--objects", "{o}"], "has 0 folders of scenes"),
    (["{s}", "--objects", "{o}", "--scene", "8"], "no scene 8 with scene_gt.json in it; there are 0, 1"),
    (["{s}", "--objects", "{o}", "--support", "--support-file", "x/y"], "--support-file is 'x/y'; the name of a file"),
    (["{s}", "--objects", "{o}", "--support", "--support-file", "none.json"], "none.json: cannot be read"),
    (["{s}", "--objects", "{o}", "--support-file", "none.json"], "are of the planes of --support; give that as well"),
    (["{s}", "--objects", "{o}", "--support-sigma", "1,3"], "are of the planes of --support; give that as well"),
    (["{s}", "--objects", "{o}", "--support", "--csv", "-"], "--csv: the poses of 2 sources are 2 files"),
    (["{s}", "--objects", "{o}", "--csv", ""], "is empty; give the name of a file"),
    (["{s}", "--objects", "{o}", "--json", "{o}"], "is read by this command and would be overwritten"),
    (["{s}", "--objects", "{o}", "--json", "{s}/000000/scene_gt.json"], "is read by this command and would be"),
    (["{s}", "--objects", "{o}", "--json", "{t}"], "is a folder; give the name of a file"),
    (["{s}", "--objects", "{o}", "--bundle", "cup"], "cup: is a bundle of the category 'cup', and the objects"),
    (["{s}", "--objects", "{o}", "--bundle", "{b}", "--bundle", "{b}"], "and another --bundle is of it, too"),
    (["{s}", "--objects", "{t}/spoon.json"],
     "no bundle of the category 'spoon' is shipped (bottle, car, chair, cup are)"),
    (["{s}", "--objects", "{t}/small.json", "--bundle", "{b}"], "times as large as their boxes"),
], ids=range(17))
def test_refused_in_one_sentence_before_the_work(bundle, split, tmp_path, capsys, words, says):
    write_objects(tmp_path / "spoon.json", "spoon")
    write_objects(tmp_path / "small.json", size=[0.3, 0.2, 0.1])
    known = {"s": split, "t": tmp_path, "o": split.parent / "objects.json", "b": bundle}
    assert main(["eval", "bop", *[word.format(**known) for word in words]]) == 1
    told = capsys.readouterr()
    assert says in told.err and told.out == "" and "features:" not in told.err
    assert told.err.count("\n") == 1 and told.err.startswith("error: ")


@pytest.mark.parametrize("content", ["[" * 5000, "{", b"\xff\xfe", None, '{"0": {"a": 1, "a": 2}}'], ids=range(5))
@pytest.mark.parametrize("name", ["scene_gt.json", "scene_camera.json", "scene_gt_info.json", "scene_support.json"])
def test_files_of_strangers(copy, split, bundle, capsys, name, content):
    path = copy / "000000" / name
    path.write_bytes(b"" if content is None else content if isinstance(content, bytes) else content.encode())
    if content is None:
        os.truncate(path, 40 << 30)
    evaluate(copy, "--bundle", bundle, "--support", objects=split.parent / "objects.json", code=1)
    told = capsys.readouterr().err
    assert name in told and told.count("\n") == 1 and told.strip().isprintable() and len(told) < 1200


def test_the_help_says_what_is_read_and_answered(capsys):
    with pytest.raises(SystemExit):
        main(["eval", "bop", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for words in ("scene_support.json", "T_cam_category = T_m2c @ T_model_category", "x, y, x + w, y + h taken as "
                  "pixel edges", "deg5cm1", "coverage_68", "docs/evaluation.md", "azimuths within 30 degrees, null"):
        assert words in said, words
