# SPDX-License-Identifier: Apache-2.0
"""Turntable annotations: what is read, and what is refused by name."""

import json

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation.truth import AzimuthTruth
from dinemo_ros.evaluation.turntable import left_out, read_turntables, region_source, turntable_entries, with_elevation
from dinemo_ros.evaluation.view_truth import ViewTruth


@pytest.fixture
def turntables(tmp_path):
    for sequence in ("red", "blue", "unannotated"):
        (tmp_path / sequence).mkdir()
        for name in ("000.jpg", "001.jpg"):
            (tmp_path / sequence / name).touch()
    annotate(tmp_path, red={"000.jpg": 10, "001.jpg": 20.5}, blue={"000.jpg": 350.0}, elsewhere={"000.jpg": 1.0})
    return tmp_path


def annotate(folder, **sequences):
    document = {name: {"frames": len(files), "azimuth_deg": files} for name, files in sequences.items()}
    (folder / "azimuth.json").write_text(json.dumps(document))


def test_annotated_sequences_with_a_folder_are_read(turntables):
    frames = read_turntables(turntables)
    assert [(f.sequence, f.path.name, f.azimuth_deg) for f in frames] == [
        ("red", "000.jpg", 10.0), ("red", "001.jpg", 20.5), ("blue", "000.jpg", 350.0)]
    assert {f.sequence for f in read_turntables(turntables, ["blue"])} == {"blue"}


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda d: (d / "azimuth.json").unlink(), "azimuth.json: cannot be read"),
    (lambda d: (d / "azimuth.json").write_text("{"), "azimuth.json: cannot be read"),
    (lambda d: (d / "azimuth.json").write_text('{"red": 3}'), "expected"),
    (lambda d: annotate(d, red={"000.jpg": float("nan")}), "'red' has no finite azimuth for 000.jpg"),
    (lambda d: annotate(d, red={"000.jpg": "ten"}), "no finite azimuth"),
    (lambda d: annotate(d, red={}), "'red' has no frames"),
    (lambda d: annotate(d, other={"000.jpg": 1.0}), "no sub-folder has an entry"),
    (lambda d: (d / "red" / "001.jpg").unlink(), "1 frames of azimuth.json are missing, the first is .*001.jpg"),
])
def test_annotations_that_do_not_fit_are_refused(turntables, spoil, says):
    spoil(turntables)
    with pytest.raises(DatasetError, match=says):
        read_turntables(turntables)


def test_what_is_not_read_is_told(turntables):
    assert left_out(turntables) == [
        "elsewhere: has an entry in azimuth.json and no folder",
        "blue: 1 of 2 pictures have no azimuth in azimuth.json",
        "unannotated: has 2 pictures and no entry in azimuth.json"]


def test_annotations_may_begin_with_a_byte_order_mark(turntables):
    (turntables / "azimuth.json").write_text('{"red": {"azimuth_deg": {"000.jpg": 3}}}', encoding="utf-8-sig")
    assert [frame.azimuth_deg for frame in read_turntables(turntables)] == [3.0]


def more(folder, **keys):
    """``azimuth.json`` of one sequence with two pictures and these keys beside the azimuths."""
    entry = {"azimuth_deg": {"000.jpg": 10, "001.jpg": 20}, **keys}
    (folder / "azimuth.json").write_text(json.dumps({"red": entry}))


def test_elevations_and_boxes_are_read_where_they_are_given(turntables):
    more(turntables, elevation_deg={"001.jpg": 68}, box={"000.jpg": [1, 2, 30.5, 40]}, frames=2, note="anything")
    first, second = read_turntables(turntables)
    assert (first.elevation_deg, first.box) == (None, (1.0, 2.0, 30.5, 40.0))
    assert (second.elevation_deg, second.box) == (68.0, None)
    more(turntables, elevation_deg=-4.5)
    assert [frame.elevation_deg for frame in read_turntables(turntables)] == [-4.5, -4.5]


@pytest.mark.parametrize(("keys", "says"), [
    ({"box": {"000.jpg": [1, 2, 3]}}, r"sequence 'red': box of 000.jpg is '\[1, 2, 3\]'; allowed: \[x_min, y_min"),
    ({"box": {"000.jpg": [30, 2, 1, 40]}}, "with x_min < x_max"),
    ({"box": {"000.jpg": [1, 40, 30, 40]}}, "y_min < y_max"),
    ({"box": {"000.jpg": [1, 2, 30, float("nan")]}}, "allowed: "),
    ({"box": {"000.jpg": [1, 2, 30, True]}}, "allowed: "),
    ({"box": {"000.jpg": "big"}}, "box of 000.jpg is 'big'"),
    ({"box": [1, 2, 30, 40]}, "box is no mapping of files"),
    ({"box": {"002.jpg": [1, 2, 30, 40]}}, "has box for '002.jpg', which has no azimuth_deg"),
    ({"elevation_deg": {"000.jpg": 91}}, "elevation_deg of 000.jpg is '91'; allowed: degrees from -90 to 90"),
    ({"elevation_deg": {"000.jpg": "high"}}, "is 'high'; allowed"),
    ({"elevation_deg": "high"}, "elevation_deg is no mapping of files"),
    ({"elevation_deg": 100}, "elevation_deg of 000.jpg is '100'"),
])
def test_wrong_elevations_and_boxes_are_refused_in_one_sentence(turntables, keys, says):
    more(turntables, **keys)
    with pytest.raises(DatasetError, match=says) as caught:
        read_turntables(turntables)
    assert str(caught.value).startswith(f"{turntables / 'azimuth.json'}: ") and "\n" not in str(caught.value)


def test_the_region_is_the_box_where_there_are_boxes_and_else_the_picture(turntables):
    plain = read_turntables(turntables, ["red"])
    assert [region_source(plain, wanted) for wanted in (None, "frame", "auto")] == ["frame", "frame", "auto"]
    with pytest.raises(DatasetError, match="red/000.jpg: has no box in azimuth.json .2 of 2 frames have none.; add"):
        region_source(plain, "box")
    box = [1, 2, 30, 40]
    more(turntables, box={"000.jpg": box, "001.jpg": box})
    boxed = read_turntables(turntables)
    assert [region_source(boxed, wanted) for wanted in (None, "box", "frame")] == ["box", "box", "frame"]
    with pytest.raises(DatasetError, match="2 of 4 frames have none"):
        region_source([*boxed, *plain])


@pytest.mark.parametrize(("rois", "region"), [(None, (4.0, 6.0, 30.0, 40.0)), ("box", (4.0, 6.0, 30.0, 40.0)),
                                              ("frame", (0.0, 0.0, 64.0, 48.0)), ("auto", None)])
def test_what_a_sample_gives_to_the_estimator_and_to_baselines(turntables, rois, region):
    cv2.imwrite(str(turntables / "red" / "000.jpg"), np.full((48, 64, 3), 90, np.uint8))
    more(turntables, elevation_deg=20, box={name: [4, 6, 30, 40] for name in ("000.jpg", "001.jpg")})
    sample = turntable_entries(read_turntables(turntables), 25.0, rois)[0].load()
    assert (sample.roi, sample.box) == (region, (4.0, 6.0, 30.0, 40.0))
    assert sample.truth == ViewTruth(10.0, 20.0)


def test_the_region_may_be_the_box_of_the_mask_as_baselines_have_it(turntables, tmp_path):
    """Then all rows of a table look at one and the same place."""
    cv2.imwrite(str(turntables / "red" / "000.jpg"), np.full((48, 64, 3), 90, np.uint8))
    frames = read_turntables(turntables, ["red"])[:1]
    with pytest.raises(DatasetError, match="--rois mask takes the box of each frame's mask; give their folder"):
        region_source(frames, "mask")
    mask = np.zeros((48, 64), np.uint8)
    (tmp_path / "red").mkdir(exist_ok=True)
    for filled, region in ((np.s_[10:30, 20:50], (20.0, 10.0, 50.0, 30.0)), (np.s_[:0, :0], (0.0, 0.0, 64.0, 48.0))):
        painted = mask.copy()
        painted[filled] = 255
        cv2.imwrite(str(tmp_path / "red" / "000.png"), painted)
        assert turntable_entries(frames, 25.0, "mask", tmp_path)[0].load().roi == region


def test_a_folder_without_boxes_is_measured_as_before(turntables):
    cv2.imwrite(str(turntables / "red" / "000.jpg"), np.full((48, 64, 3), 90, np.uint8))
    frames = read_turntables(turntables, ["red"])
    sample = turntable_entries(frames, 25.0)[0].load()
    assert (sample.roi, sample.box, sample.truth) == ((0.0, 0.0, 64.0, 48.0), None, AzimuthTruth(10.0))
    assert turntable_entries(frames, 25.0, views=True)[0].load().truth == ViewTruth(10.0, None)


def test_a_common_elevation_stands_in_where_none_is_given(turntables):
    more(turntables, elevation_deg={"000.jpg": 68})
    frames = read_turntables(turntables)
    assert [f.elevation_deg for f in with_elevation(frames, 19.0)] == [68.0, 19.0]
    assert with_elevation(frames, None) == frames


def test_unknown_sequence_is_refused_with_those_there_are(turntables):
    with pytest.raises(DatasetError, match="no sequence green; there are red, blue"):
        read_turntables(turntables, ["green"])
