# SPDX-License-Identifier: Apache-2.0
"""``dinemo eval detector`` and a detector of one's own in the other commands: figures by hand, and what is refused."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest
from unit.test_onnx_detector import rows_network, write

from dinemo_ros.cli import options
from dinemo_ros.cli.main import build_parser, main

#: Of pictures of 640 x 480: one box of a car in the upper left, one in the lower right, which is less certain.
ROWS = [(100, 100, 300, 300, 0.9, 0), (400, 300, 600, 460, 0.42, 0), (0, 0, 600, 400, 0.9, 1)]


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((480, 640, 3), 114, np.uint8))


@pytest.fixture
def detector(tmp_path):
    return write(tmp_path / "detector", rows_network(ROWS), labels=["car", "cup"])


@pytest.fixture
def empty(tmp_path):
    for name in ("a.png", "b b.png"):
        picture(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def evaluated(folder, detector, *more):
    report = folder.parent / "report.json"
    assert main(["eval", "detector", str(folder), "--detector", str(detector), "--json", str(report),
                 *map(str, more)]) == 0
    return json.loads(report.read_text())


def refused(capsys, *words):
    """The one sentence on standard error of a command that ends with 1."""
    capsys.readouterr()
    assert main([*map(str, words)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1, err
    return err


def turntable(folder, boxes):
    for name in boxes:
        picture(folder / "spin" / name)
    (folder / "azimuth.json").write_text(json.dumps({"spin": {
        "azimuth_deg": dict.fromkeys(boxes, 10.0), "box": {name: box for name, box in boxes.items() if box}}}))
    return folder


def kitti(folder):
    for name in ("calib", "label_2"):
        (folder / name).mkdir(parents=True)
    for stem in ("000000", "000001"):
        picture(folder / "image_2" / f"{stem}.png")
        (folder / "calib" / f"{stem}.txt").write_text("P2: 600 0 320 0 0 600 240 0 0 0 1 0\n")
        (folder / "label_2" / f"{stem}.txt").write_text("Car 0.00 0 0.0 100 100 300 310 1.5 1.6 4.0 -2 1 12 0.6\n")
    return folder


def test_pictures_without_an_object(empty, detector):
    rows = evaluated(empty, detector)["rows"]
    wrong = {row["min_score"]: row["pictures_wrong"] for row in rows}
    assert {row["pictures"] for row in rows} == {2} and set(wrong.values()) == {2} and "recall" not in rows[0]


def test_recall_and_precision_by_hand(tmp_path, detector):
    """Two frames, in one of which the object is where the better box is; a third one has no box and is told."""
    folder = turntable(tmp_path / "t", {"1.png": [100, 100, 300, 310], "2.png": [0, 300, 90, 470]})
    rows = {row["min_score"]: row for row in evaluated(folder, detector)["rows"]}
    assert (rows[0.3]["recall"], rows[0.3]["recall_n"], rows[0.3]["precision_n"]) == (0.5, 2, 4)
    assert (rows[0.45]["precision"], rows[0.45]["precision_n"], rows[0.45]["pictures_wrong"]) == (0.5, 2, 1)


def test_frames_without_a_box_are_told(tmp_path, detector, capfd):
    folder = turntable(tmp_path / "t", {"1.png": [100, 100, 300, 310], "2.png": None})
    assert evaluated(folder, detector)["rows"][0]["pictures"] == 1
    assert "1 of 2 frames have no box in azimuth.json and are left out" in capfd.readouterr().err


def test_no_frame_with_a_box(tmp_path, detector, capsys):
    folder = turntable(tmp_path / "t", {"1.png": None})
    assert "no frame has a box in azimuth.json" in refused(capsys, "eval", "detector", folder, "--detector", detector)


def test_names_in_a_file(empty, detector, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("b b.png\n\n")
    assert evaluated(empty, detector, "--list", names)["rows"][0]["pictures"] == 1
    assert evaluated(empty, detector, "--only", "a")["rows"][0]["pictures"] == 1, "or without its suffix"


@pytest.mark.parametrize(("text", "words"), [("a.png\nmissing.png\n", "no picture 'missing.png'; there are 2"),
                                             ("\n", "holds no name"), (b"\xff\xfe", "is no text"),
                                             (None, "cannot be read (No such file or directory)")])
def test_a_list_that_is_none(empty, detector, tmp_path, capsys, text, words):
    names = tmp_path / "names.txt"
    if text is not None:
        names.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert words in refused(capsys, "eval", "detector", empty, "--detector", detector, "--list", names)


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_without_pictures(tmp_path, detector, capsys, there):
    if there:
        (tmp_path / "nothing").mkdir()
    assert "no pictures here" in refused(capsys, "eval", "detector", tmp_path / "nothing", "--detector", detector)


def test_kitti_asks_for_pictures_by_name(tmp_path, detector, capsys):
    folder = kitti(tmp_path / "kitti")
    assert evaluated(folder, detector, "--only", "000001")["rows"][0]["pictures"] == 1
    assert "no picture '7'" in refused(capsys, "eval", "detector", folder, "--detector", detector, "--only", "7")


@pytest.mark.parametrize("command", [("estimate", "PICTURES", "--hfov", "60"), ("eval", "detector", "PICTURES"),
                                     ("eval", "kitti", "KITTI"), ("eval", "turntable", "PICTURES"),
                                     ("bench", "--frames", "1")])
@pytest.mark.parametrize(("which", "words"), [
    ("missing", "no such folder; give the folder that holds detector.yaml"),
    ("pictures", "not a detector, it has no detector.yaml"), ("pipe", "not a detector, it has no detector.yaml"),
    ("other", "finds 'lorry', 'cup' and bundle car asks for 'car'"),
])
def test_a_detector_that_is_none(empty, bundle, tmp_path, capsys, command, which, words):
    """Wherever it can be named; what is named is not left out in silence."""
    write(tmp_path / "other", rows_network(ROWS), labels=["lorry", "cup"])
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "detector.yaml")
    folders = {"PICTURES": empty, "KITTI": kitti(tmp_path / "kitti")}
    if "turntable" in command:
        turntable(empty, {"1.png": [100, 100, 300, 310]})
    assert words in refused(capsys, *(folders.get(word, word) for word in command), "--detector", tmp_path / which)


@pytest.mark.parametrize("command", [("estimate", "PICTURES"), ("eval", "detector", "PICTURES"),
                                     ("eval", "kitti", "PICTURES"), ("bench",)])
def test_a_result_does_not_replace_the_detector(empty, detector, capsys, command):
    before = (detector / "detector.yaml").read_bytes()
    given = [str(empty) if word == "PICTURES" else word for word in command]
    err = refused(capsys, *given, "--detector", detector, "--json", detector / "detector.yaml")
    assert "is read by this command and would be overwritten" in err
    assert (detector / "detector.yaml").read_bytes() == before


def test_where_boxes_are_given_no_detector_is_asked_for(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["eval", "bop", str(tmp_path), "--objects", "objects.json", "--detector", "none"])
    assert ended.value.code == 2 and "--detector" in capsys.readouterr().err


def test_a_label_in_the_place_of_the_cards(empty, tmp_path, capsys):
    """For a detector that calls it otherwise, without a change of the bundle."""
    other = write(tmp_path / "other", rows_network(ROWS), labels=["lorry", "cup"])
    rows = evaluated(empty, other, "--detector-label", "lorry")["rows"]
    assert rows[0]["pictures_wrong"] == 2
    err = refused(capsys, "estimate", empty, "--hfov", "60", "--detector", other, "--detector-label", "Lorry")
    assert "finds 'lorry', 'cup' and bundle car asks for 'Lorry'" in err
    err = refused(capsys, "estimate", empty, "--hfov", "60", "--detector-label", "lorry")
    assert "detector nanodet-g" in err and "asks for 'lorry'" in err


def test_a_label_reaches_the_estimator(tmp_path, scenes, bundle):
    """The painted bundle has no label of its own: boxes come from the detector, and own proposals are not made."""
    folder, _ = scenes
    other = write(tmp_path / "other", rows_network([(1, 1, 3, 3, 0.9, 1)]), labels=["lorry", "cup"])
    arguments = build_parser().parse_args(["estimate", str(folder), "--bundle", str(bundle), "--detector", str(other),
                                           "--detector-label", "lorry"])
    estimator = options.make_estimator(arguments)
    assert estimator.finds_with == "mine 2" and not estimator.find(np.zeros((64, 64, 3), np.uint8)).proposed


def test_nothing_to_measure(empty, tmp_path, bundle, capsys):
    assert "--detector none" in refused(capsys, "eval", "detector", empty, "--detector", "none")
    shutil.copytree(bundle, tmp_path / "unnamed")
    assert "no detector.labels" in refused(capsys, "eval", "detector", empty, "--bundle", tmp_path / "unnamed")
