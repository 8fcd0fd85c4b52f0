# SPDX-License-Identifier: Apache-2.0
"""Turntable annotations: what is read, and what is refused by name."""

import json

import pytest

from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation.turntable import left_out, read_turntables, require_azimuth
from dinemo_ros.model.symmetry import Symmetry


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


def test_a_turntable_says_nothing_about_a_category_without_azimuth():
    with pytest.raises(DatasetError, match="a bottle looks the same from all around .* use dinemo eval synthetic"):
        require_azimuth("bottle", Symmetry("z", 0))
    require_azimuth("cup", Symmetry("z", 1))
    require_azimuth("car", Symmetry())


def test_unknown_sequence_is_refused_with_those_there_are(turntables):
    with pytest.raises(DatasetError, match="no sequence green; there are red, blue"):
        read_turntables(turntables, ["green"])
