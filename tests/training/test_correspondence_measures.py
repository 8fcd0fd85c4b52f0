# SPDX-License-Identifier: Apache-2.0
"""The measures of features: right values on answers that are known, layouts read as published, bad files named.

The features of these tests are colours, so where a point is found again is known before.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dinemo_ros.errors import DatasetError
from dinemo_training.evaluation.correspondence import __main__ as command
from dinemo_training.evaluation.correspondence.feature_pose import errors_of
from dinemo_training.evaluation.correspondence.keypoint_pairs import KeypointPair
from dinemo_training.evaluation.correspondence.matching import feature_map, match
from dinemo_training.evaluation.correspondence.one_shot_pose import one_shot_rows, pose_error, read_objects
from dinemo_training.evaluation.correspondence.pck import Found, normaliser, pck_rows
from dinemo_training.evaluation.correspondence.pf_pascal import read_pf_pascal
from dinemo_training.evaluation.correspondence.spair import read_spair
from dinemo_training.evaluation.correspondence.tap_vid import Video, queries, read_videos, tap_vid_measures
from dinemo_training.evaluation.correspondence.tracking import follow, tap_vid_rows
from dinemo_training.synthetic.render.rasterizer import rasterize


def colours(images):
    """A teacher whose features are colours, seen with a stride of four."""
    small = torch.nn.functional.avg_pool2d(images / 255, 4)
    waves = [f(k * small) for k in (1.5, 3.0, 6.0) for f in (torch.sin, torch.cos)]
    return torch.nn.functional.normalize(torch.cat(waves, dim=1), dim=1)


def rainbow(height, width):
    """A picture in which every place has its own colour."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], axis=-1).astype(np.uint8)


def pair(points=((10, 20), (100, 60)), box=(0, 0, 50, 100), **changes):
    points = np.array(points, float)
    return KeypointPair(**{"name": "p", "category": "car", "source": Path("a"), "target": Path("b"),
                           "source_points": points, "target_points": points, "target_box": box, **changes})


# PCK


def test_a_point_is_right_within_a_tenth_of_the_longer_side_of_box_or_picture():
    assert normaliser(pair(), "box", (300, 200)) == 100 and normaliser(pair(), "image", (300, 200)) == 300
    with pytest.raises(DatasetError, match="has no box.*--relative-to image"):
        normaliser(pair(box=None), "box", (300, 200))
    row = pck_rows([Found(pair(), np.array([0.1, 0.1001]))])[0]
    assert row["per_point"] == row["per_image"] == 0.5 and row["pairs"] == 1 and row["points"] == 2


def test_per_image_and_per_point_differ_where_pairs_have_different_numbers_of_points():
    found = [Found(pair(), np.zeros(1)), Found(pair(), np.array([0, 1, 1, 1])),
             Found(pair(category="cat"), np.array([1.0]))]
    cars, cats, mean, everything = pck_rows(found)
    assert (cars["category"], cats["category"]) == ("car", "cat")
    assert cars["per_image"] == pytest.approx((1 + 0.25) / 2) and cars["per_point"] == pytest.approx(2 / 5)
    assert mean["per_image"] == pytest.approx(0.625 / 2) and mean["per_point"] == pytest.approx(0.2)
    assert everything["per_image"] == pytest.approx(1.25 / 3) and everything["per_point"] == pytest.approx(2 / 6)
    low, high = cars["per_image_interval"]
    assert 0.25 <= low <= cars["per_image"] <= high <= 1


def test_the_interval_over_objects_draws_objects():
    found = [Found(pair(objects=(str(k // 10), "x")), np.full(3, float(k // 10 % 2))) for k in range(60)]
    row = pck_rows(found)[0]
    low, high = row["per_image_interval_objects"]
    assert high - low > row["per_image_interval"][1] - row["per_image_interval"][0]


@pytest.mark.parametrize("size", [(128, 128), (128, 96), (96, 128)])
def test_a_point_is_found_where_its_colour_is(size):
    picture = rainbow(size[1], size[0])
    seen = feature_map(colours, picture, 128)
    points = np.array([[20.0, 30.0], [70, 60], [90, 90]])
    pixels, cosines = seen.nearest(seen.at(points))
    assert np.abs(pixels - points).max() < 1.5 and cosines.min() > 0.999 and seen.size == size


def test_what_is_padded_is_no_answer():
    seen = feature_map(colours, rainbow(64, 128), 128)
    black = feature_map(colours, np.zeros((128, 128, 3), np.uint8), 128).at(np.array([[60.0, 60.0]]))
    assert seen.nearest(black)[0][0, 1] < 64


# SPair-71k


@pytest.fixture
def spair(tmp_path):
    """Two pairs of one category, the second with its second point in the wrong place."""
    pictures = tmp_path / "JPEGImages" / "car"
    pictures.mkdir(parents=True)
    (tmp_path / "Layout" / "large").mkdir(parents=True)
    (tmp_path / "PairAnnotation" / "test").mkdir(parents=True)
    cv2.imwrite(str(pictures / "a.jpg"), rainbow(120, 160)[..., ::-1])
    cv2.imwrite(str(pictures / "b.jpg"), cv2.copyMakeBorder(rainbow(120, 160), 0, 0, 40, 0, 0)[..., ::-1])
    lines = []
    for k, moved in enumerate((0, 60), start=1):
        name = f"{k:06d}-a-b:car"
        entry = {"category": "car", "src_imname": "a.jpg", "trg_imname": "b.jpg", "trg_bndbox": [40, 0, 200, 120],
                 "src_kps": [[30, 40], [100, 90]], "trg_kps": [[70, 40], [140 + moved, 90]], "kps_ids": ["0", "1"]}
        (tmp_path / "PairAnnotation" / "test" / f"{name}.json").write_text(json.dumps(entry))
        lines.append(name)
    (tmp_path / "Layout" / "large" / "test.txt").write_text("\n".join([*lines, ""]))
    return tmp_path


def test_spair_is_read_and_matched(spair):
    pairs = read_spair(spair)
    assert [p.category for p in pairs] == ["car", "car"] and pairs[0].target_box == (40, 0, 200, 120)
    assert pairs[0].source.is_file() and pairs[0].objects is None
    found = list(match(colours, pairs, 160, "box"))
    row = pck_rows(found)[0]
    assert row["per_image"] == 0.75 and row["per_point"] == 0.75
    assert found[1].errors[1] == pytest.approx(60 / 160, abs=0.02)
    assert len(read_spair(spair, limit=1)) == 1


@pytest.mark.parametrize(("key", "value", "message"), [
    ("src_kps", [[30, 40]], "src_kps has 1 points and trg_kps 2"), ("src_kps", [], "src_kps must be points"),
    ("trg_kps", [[1, float("inf")], [1, 2]], "trg_kps must be points"), ("trg_bndbox", [5, 5, 5, 9], "is empty"),
    ("trg_bndbox", [1, 2, 3], "trg_bndbox must be 4 numbers"), ("src_imname", "../a.jpg", "src_imname must be a plain"),
    ("category", 3, "category must be a plain name")])
def test_a_bad_annotation_is_named(spair, key, value, message):
    path = spair / "PairAnnotation" / "test" / "000001-a-b:car.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(DatasetError, match=message):
        read_spair(spair)


def test_what_is_not_there_is_named(spair, tmp_path):
    with pytest.raises(DatasetError, match=r"trn.txt.*no such list"):
        read_spair(spair, "trn")
    with pytest.raises(DatasetError, match="lists no pair of cat; the categories are car"):
        read_spair(spair, categories=["cat"])
    (spair / "JPEGImages" / "car" / "b.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match="b.jpg: is no picture"):
        list(match(colours, read_spair(spair), 160, "box"))


def test_the_command_prints_a_table_and_writes_its_rows(spair, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command, "create_teacher", lambda text, cache: colours)
    monkeypatch.setattr("sys.argv", ["x", "spair", str(spair), "--teacher", "cnn", "--side", "160", "--json",
                                     str(tmp_path / "pck.json")])
    command.main()
    assert "| cnn | car | 0.1 | 2 | 4 | 75.0 (" in capsys.readouterr().out
    rows = json.loads((tmp_path / "pck.json").read_text())["rows"]
    assert rows[0]["teacher"] == "cnn" and rows[0]["per_image"] == 0.75
    monkeypatch.setattr("sys.argv", ["x", "spair", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="no such list"):
        command.main()


def test_a_teacher_is_named_without_the_folders_of_this_machine():
    text = "fused:0.5(cnn|equivariant:/a/b/x.safetensors@/c/y.pth)"
    assert command._shown(text) == "fused:0.5(cnn|equivariant:x.safetensors@y.pth)"
    assert command._cell({"teacher": "a|b"}, "teacher") == r"a\|b"  # one cell of a table


# PF-PASCAL


def test_pf_pascal_is_read(tmp_path):
    head = "source_image,target_image,class,XA,YA,XB,YB\n"
    line = "PF-dataset-PASCAL/JPEGImages/a.jpg,PF-dataset-PASCAL/JPEGImages/b.jpg,{},{},40;90,{},40;90\n"
    listed = tmp_path / "test_pairs_pf_pascal.csv"
    listed.write_text(head + line.format("7.0", "30;100", "70;140") + line.format(2, "1;2", "3;4"))
    cars, bicycles = read_pf_pascal(tmp_path)
    assert (cars.category, bicycles.category) == ("car", "bicycle") and cars.target_box is None
    assert cars.target_points.tolist() == [[70, 40], [140, 90]]
    assert cars.source == tmp_path / "PF-dataset-PASCAL/JPEGImages/a.jpg"
    assert len(read_pf_pascal(tmp_path, limit=1)) == 1
    for text, message in ((line.format(21, "1;2", "3;4"), "line 2: class is '21'"),
                          (line.format(7, "1", "3;4"), "line 2: XA and YA must be"),
                          (line.format(7, "1;x", "3;4"), "line 2: XA and YA must be"),
                          (line.format(7, "1;2", "3;4").replace("PF-dataset", "../PF"), "is no picture below")):
        listed.write_text(head + text)
        with pytest.raises(DatasetError, match=message):
            read_pf_pascal(tmp_path)
    listed.write_text("a,b\n")
    with pytest.raises(DatasetError, match="must name source_image"):
        read_pf_pascal(tmp_path)
    with pytest.raises(DatasetError, match="no such list"):
        read_pf_pascal(tmp_path, "other.csv")


# TAP-Vid


def test_tap_vid_measures_by_hand():
    """One point, asked for in frame 0 of four: near and seen, far and seen, hidden."""
    tracks = np.zeros((1, 4, 2))
    found = np.array([[[0, 0], [3, 0], [20, 0], [0, 0]]], float)
    occluded = np.array([[False, False, False, True]])
    said = np.array([[False, False, False, False]])
    got = tap_vid_measures(np.array([0]), tracks, occluded, found, said, "first")
    # Frame 1 is within 4, 8 and 16 pixels, frame 2 is not, frame 3 is hidden: TP 1, seen 2, FP 2 (or 3 with TP 0).
    assert got["position_accuracy"] == pytest.approx(np.mean([0, 0, 0.5, 0.5, 0.5]))
    assert got["average_jaccard"] == pytest.approx(np.mean([0, 0, 0.25, 0.25, 0.25]))
    assert got["occlusion_accuracy"] == pytest.approx(2 / 3)
    exact = tap_vid_measures(np.array([0]), tracks, occluded, tracks, occluded, "first")
    assert set(exact.values()) == {1.0}


def test_frames_before_the_query_count_only_where_it_is_strided():
    tracks, hidden = np.zeros((1, 3, 2)), np.zeros((1, 3), bool)
    found = np.array([[[99, 0], [0, 0], [0, 0]]], float)
    first, strided = (tap_vid_measures(np.array([1]), tracks, hidden, found, hidden, mode)["position_accuracy"]
                      for mode in ("first", "strided"))
    assert (first, strided) == (1.0, 0.5)


def test_queries_are_asked_where_points_are_seen():
    occluded = np.ones((3, 7), bool)
    occluded[0, 2:], occluded[1, :6] = False, False
    assert [v.tolist() for v in queries(occluded, "first")] == [[0, 1], [2, 0]]
    assert [v.tolist() for v in queries(occluded, "strided")] == [[0, 1, 1], [5, 0, 5]]


def test_a_moved_picture_is_followed(tmp_path):
    picture = rainbow(96, 128)
    frames = np.stack([np.roll(picture, 2 * t, axis=1) for t in range(4)])
    points = np.array([[[(30.5 + 2 * t) / 128, 40.5 / 96] for t in range(4)]])
    hidden = np.zeros((1, 4), bool)
    np.savez(tmp_path / "v.npz", video=frames, points=points, occluded=hidden)
    (video,) = read_videos(tmp_path)
    row = follow(colours, video, 128, "first")
    assert row["average_jaccard"] > 0.75 and row["occlusion_accuracy"] == 1 and row["points"] == 1
    rows = tap_vid_rows([row, {**row, "video": "w", "average_jaccard": 0.0}])
    assert rows[-1]["average_jaccard"] == pytest.approx(row["average_jaccard"] / 2) and len(rows) == 3
    unseen = follow(colours, Video("u", frames, points, hidden), 128, "first", visible=1.1)
    assert unseen["occlusion_accuracy"] == 0 and unseen["average_jaccard"] == 0 and unseen["position_accuracy"] > 0.75
    np.savez(tmp_path / "v.npz", video=frames, points=points[:, :3], occluded=hidden)
    with pytest.raises(DatasetError, match="of the same T"):
        list(read_videos(tmp_path))
    with pytest.raises(DatasetError, match="holds no video"):
        read_videos(tmp_path / "nothing")


# OnePose


SIDE, FOCAL = 128, 150.0


def camera(turn):
    """K, T_cam_obj of a camera half a metre before a box, ``turn`` degrees round it and from above."""
    R = cv2.Rodrigues(np.array([np.radians(115.0), 0, 0]))[0] @ cv2.Rodrigues(np.array([0, 0, np.radians(turn)]))[0]
    T = np.eye(4)
    T[:3, :3], T[2, 3] = R, 0.5
    return np.array([[FOCAL, 0, (SIDE - 1) / 2], [0, FOCAL, (SIDE - 1) / 2], [0, 0, 1]]), T


def box_picture(turn):
    """A box 20 cm wide whose colours are places on it; also the points that pixels show, NaN elsewhere."""
    corners = np.array([[x, y, z] for x in (-0.1, 0.1) for y in (-0.1, 0.1) for z in (-0.1, 0.1)])
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6],
                      [0, 6, 4], [1, 5, 7], [1, 7, 3]])
    seen = rasterize(corners, faces, *camera(turn), (SIDE, SIDE))
    points = (corners[faces[seen.face]] * seen.weights[..., None]).sum(2)
    points[~seen.mask] = np.nan
    return np.nan_to_num(255 * (points + 0.1) / 0.2, nan=0).clip(0, 255).astype(np.uint8), points


@pytest.fixture
def one_pose(tmp_path):
    """An object with one sequence of two pictures that teaches and one of 11 that is asked for."""
    item = tmp_path / "0700-box"
    for name, turns in (("box-1", (20, 40)), ("box-2", range(25, 36))):
        for part in ("color", "intrin_ba", "poses_ba"):
            (item / name / part).mkdir(parents=True)
        for k, turn in enumerate(turns):
            cv2.imwrite(str(item / name / "color" / f"{k}.png"), box_picture(turn)[0][..., ::-1])
            K, T = camera(turn)
            np.savetxt(item / name / "intrin_ba" / f"{k}.txt", K)
            np.savetxt(item / name / "poses_ba" / f"{k}.txt", T)
    (item / "sfm").mkdir()
    images, places, number = ["# comment"], ["# comment"], 0
    for k, turn in enumerate((20, 40)):
        points, body = box_picture(turn)[1], []
        for y in range(2, SIDE, 4):
            for x in range(2, SIDE, 4):
                if np.isfinite(points[y, x]).all():
                    number += 1
                    places.append(f"{number} {' '.join(map(str, points[y, x]))} 0 0 0 0.1 1 1")
                    body += [str(x + 0.5), str(y + 0.5), str(number)]
        images += [f"{k + 1} 1 0 0 0 0 0 0 1 {k}.png", " ".join([*body, "1.0", "1.0", "-1"])]
    (item / "sfm" / "images.txt").write_text("\n".join(images) + "\n")
    (item / "sfm" / "points3D.txt").write_text("\n".join(places) + "\n")
    return tmp_path


def test_one_posed_sequence_gives_the_poses_of_another(one_pose):
    (item,) = read_objects(one_pose)
    assert item.name == "0700-box" and len(item.references) == 2 and len(item.queries) == 2  # every tenth of 11
    assert (item.references[0].pixels % 4 == 2).all()  # as they were before COLMAP's half pixel
    errors = errors_of(colours, item, SIDE, item.queries)
    assert max(max(error) for error in errors) < 3, errors
    row = one_shot_rows({"0700-box": errors})[0]
    assert row["within_3cm_3deg"] == 1 and row["missing"] == 0 and row["frames"] == 2


def test_a_pose_that_is_not_found_is_wrong():
    T = np.eye(4)
    moved = T.copy()
    moved[0, 3] = 0.02
    assert pose_error(moved, T) == (0, pytest.approx(2.0)) and pose_error(None, T) == (float("inf"), float("inf"))
    rows = one_shot_rows({"a": [(0.5, 2.0), (float("inf"), float("inf"))], "b": [(0.1, 0.1)]})
    assert rows[0]["within_1cm_1deg"] == 0 and rows[0]["within_3cm_3deg"] == 0.5 and rows[0]["missing"] == 0.5
    assert rows[2]["within_3cm_3deg"] == 0.75


def test_bad_files_of_one_pose_are_named(one_pose):
    item = one_pose / "0700-box"
    with pytest.raises(DatasetError, match="holds no object"):
        read_objects(one_pose, only=["other"])
    images = (item / "sfm" / "images.txt").read_text()
    for text, message in ((images.replace(" 0.png", " 9.png"), "'9.png' is no picture of"),
                          (images.replace("-1\n", "x\n"), "is no text of COLMAP"), ("", "show no point")):
        (item / "sfm" / "images.txt").write_text(text)
        with pytest.raises(DatasetError, match=message):
            read_objects(one_pose)
    (item / "sfm" / "images.txt").write_text(images)
    (item / "box-2" / "poses_ba" / "10.txt").write_text("1 2 3")
    with pytest.raises(DatasetError, match=r"10.txt: must hold 4 x 4 finite numbers"):
        read_objects(one_pose)
