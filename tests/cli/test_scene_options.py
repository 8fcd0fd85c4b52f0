# SPDX-License-Identifier: Apache-2.0
"""``dinemo estimate`` with a support plane and with depth: what the options say reaches the estimator, and what cannot
be is one sentence."""

import json

import cv2
import numpy as np
import pytest
from bop_folder import plane_under
from depth_pictures import record_what_is_given, write_depth
from painted_car import depth_picture

from dinemo_ros.cli.main import main

from .conftest import CAMERA, CAMERA_INFO

UP = [0.0, -np.cos(np.radians(30)), -np.sin(np.radians(30))]


@pytest.fixture
def given(monkeypatch):
    return record_what_is_given(monkeypatch)


@pytest.fixture
def folder(scenes, tmp_path):
    """Two pictures of the painted scenes with their camera, and the true depth of the first in a folder beside it."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.png", "b.png"):
        (pictures / name).write_bytes((scenes[0] / name).read_bytes())
    (pictures / "camera_info.yaml").write_text(CAMERA_INFO)
    write_depth(tmp_path / "depth" / "a.png", in_mm(scenes[1]["a.png"]))
    return pictures


def in_mm(T):
    return np.round(1000 * depth_picture(T, CAMERA)).astype(np.uint16)


def estimate(*words, code=0):
    assert main(["estimate", *map(str, words)]) == code


def lines(path):
    return {entry["file"]: entry for entry in map(json.loads, path.read_text().splitlines())}


def test_a_plane_reaches_the_estimator(bundle, folder, scenes, given, tmp_path):
    plane = plane_under(scenes[1]["a.png"])
    word = ",".join(f"{value:.9f}" for value in (*plane["normal"], plane["offset_m"]))
    estimate(folder / "a.png", "--bundle", bundle, "--support", word, "--json", tmp_path / "p.jsonl")
    known, = given
    assert known["depth"] is None and known["support"].normal == pytest.approx(plane["normal"], abs=1e-6)
    assert known["support"].offset_m == pytest.approx(plane["offset_m"], abs=1e-6)
    assert (known["support"].normal_sigma, known["support"].offset_sigma) == pytest.approx((np.radians(1.0), 0.003))
    entry, = lines(tmp_path / "p.jsonl")["a.png"]["objects"]
    assert entry["source"] in ("rgb", "support") and all(set(o) == {"name", "used", "residual_m", "reason"}
                                                         for o in entry["observations"])
    assert "depth_error" not in lines(tmp_path / "p.jsonl")["a.png"]


def test_a_normal_may_begin_with_a_minus_and_be_rounded(bundle, folder, given):
    estimate(folder / "a.png", "--bundle", bundle, "--support", "-0.1,-0.86,-0.5,-1.2", "--support-sigma", "2,5")
    plane = given[0]["support"]
    assert plane.normal == pytest.approx(np.array([-0.1, -0.86, -0.5]) / np.hypot(0.1, np.hypot(0.86, 0.5)))
    assert (plane.offset_m, plane.offset_sigma) == pytest.approx((-1.2, 0.005))
    assert plane.normal_sigma == pytest.approx(np.radians(2.0))


def test_a_camera_over_a_level_plane(bundle, folder, given):
    estimate(folder / "a.png", "--bundle", bundle, "--camera-height", "1.5", "--camera-pitch", "30")
    assert given[0]["support"].normal == pytest.approx(UP) and given[0]["support"].offset_m == -1.5
    estimate(folder / "a.png", "--bundle", bundle, "--camera-height", 1.5, "--camera-pitch", -30, "--camera-roll", 90)
    assert given[1]["support"].normal == pytest.approx([-np.cos(np.radians(30)), 0.0, 0.5])
    estimate(folder / "a.png", "--bundle", bundle)
    assert given[2] == {"support": None, "depth": None}


@pytest.mark.parametrize(("words", "says"), [
    (["--support", "0,-1,0"], "'0,-1,0' is no plane; write nx,ny,nz,d"), (["--support", "0,-1,0,x"], "is no plane"),
    (["--support", "0,-1,0,nan"], "is no plane"), (["--camera-height", "0"], "'0' is not a height in metres from 0.01"),
    (["--camera-height", "2", "--camera-pitch", "91"], "'91' is not a pitch in degrees from -90 to 90"),
    (["--camera-height", "2", "--camera-roll", "x"], "'x' is not a roll in degrees from -180 to 180"),
    (["--support", "0,-1,0,-1", "--camera-height", "2"], "not allowed with argument"),
    (["--camera-height", "2", "--support-sigma", "0,3"], "'0,3' is not allowed; above 0 up to 90 degrees"),
    (["--camera-height", "2", "--support-sigma", "3"], "is no pair of standard deviations; write DEG,MM")])
def test_wrong_usage_says_what_is_allowed(capsys, words, says):
    with pytest.raises(SystemExit) as ended:
        main(["estimate", "x.png", *words])
    assert ended.value.code == 2 and says in capsys.readouterr().err


@pytest.mark.parametrize(("words", "says"), [
    (["--support", "0,-2,0,-1"], "--support: the normal has the length 2; it must be of length one"),
    (["--support", "0,-1,0,1"], "the support plane's offset is 1.0 m; it must be below zero"),
    (["--camera-pitch", "3"], "--camera-pitch says how the camera of --camera-height looks; give that height"),
    (["--camera-roll", "3", "--support", "0,-1,0,-1"], "--camera-roll says how the camera of --camera-height looks"),
    (["--support-sigma", "1,3"], "--support-sigma says how exact the plane of --support or --camera-height is"),
    (["--depth-camera", "x.yaml"], "--depth-camera is the calibration of --depth; give that as well"),
    (["--depth", ""], "--depth is empty"), (["--depth", "{p}/nowhere"], "no such folder of depth pictures"),
    (["--depth", "{p}/pictures"], "has no depth picture for any of the 2 pictures; NAME_depth or NAME with .png, .tif"),
    (["--depth", "{p}/depth", "--depth-camera", "{p}/x.yaml"], "x.yaml: cannot be read"),
    (["--depth", "{p}/depth", "--json", "{p}/depth/a.png"], "is read by this command and would be overwritten")])
def test_what_cannot_be_is_one_sentence_before_the_work(bundle, folder, tmp_path, capsys, words, says):
    estimate(folder, "--bundle", bundle, *[word.format(p=tmp_path) for word in words], code=1)
    told = capsys.readouterr()
    assert says in told.err and told.out == "" and told.err.count("\n") == 1 and told.err.startswith("error: ")


def test_depth_of_a_folder(bundle, folder, scenes, given, tmp_path, capsys):
    estimate(folder, "--bundle", bundle, "--depth", tmp_path / "depth", "--json", tmp_path / "p.jsonl")
    first, second = (known["depth"] for known in given)
    assert np.abs(first.metres - depth_picture(scenes[1]["a.png"], CAMERA)).max() < 6e-4
    assert first.T_cam_depth is None and np.allclose(first.camera.K, CAMERA.K) and second is None
    entries = lines(tmp_path / "p.jsonl")
    assert "depth_error" not in entries["a.png"]
    assert entries["b.png"]["depth_error"] == "there is no depth image of this picture" and entries["b.png"]["objects"]
    told = capsys.readouterr().err
    assert told.count("b.png has no depth image and is looked at without one") == 1
    assert "2 images (1 with depth), 2 car poses" in told


def test_many_missing_ones_are_told_once(bundle, folder, tmp_path, capsys):
    (folder / "c.png").write_bytes((folder / "b.png").read_bytes())
    estimate(folder, "--bundle", bundle, "--depth", tmp_path / "depth")
    assert capsys.readouterr().err.count("has no depth image") == 1


@pytest.mark.parametrize(("picture", "depth"), [
    ("a.png", "a_depth.png"), ("a.png", "a.tif"), ("a_color.png", "a_depth.png"), ("a_rgb.jpg", "a.tiff"),
    ("a_color.png", "a_color_depth.png")])
def test_names_of_depth_pictures(bundle, scenes, given, tmp_path, picture, depth):
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / picture), cv2.imread(str(scenes[0] / "a.png")))
    metres = depth_picture(scenes[1]["a.png"], CAMERA)
    write_depth(tmp_path / "depth" / depth, metres if depth.endswith("f") else in_mm(scenes[1]["a.png"]))
    estimate(tmp_path / "pictures", "--hfov", 60, "--bundle", bundle, "--depth", tmp_path / "depth")
    assert np.abs(given[0]["depth"].metres - metres).max() < 6e-4


def test_depth_pictures_among_the_others_are_no_pictures(bundle, folder, scenes, given, tmp_path, capsys):
    write_depth(folder / "a_depth.png", in_mm(scenes[1]["a.png"]))
    cv2.imwrite(str(folder / "b.jpg"), cv2.imread(str(folder / "b.png")))  # another photograph, and no depth of b.png
    estimate(folder, "--bundle", bundle, "--depth", folder, "--json", tmp_path / "p.jsonl")
    assert sorted(lines(tmp_path / "p.jsonl")) == ["a.png", "b.jpg", "b.png"]
    assert [known["depth"] is not None for known in given] == [True, False, False]
    assert "is no depth" not in capsys.readouterr().err


def test_a_single_picture_and_its_file(bundle, folder, scenes, given, tmp_path):
    write_depth(tmp_path / "measured.png", in_mm(scenes[1]["a.png"]))
    estimate(folder / "a.png", "--bundle", bundle, "--depth", tmp_path / "measured.png")
    assert given[0]["depth"].metres.max() == pytest.approx(depth_picture(scenes[1]["a.png"], CAMERA).max(), abs=1e-3)


def test_depth_of_fewer_pixels_has_the_camera_of_the_picture_scaled(bundle, folder, scenes, given, tmp_path):
    small = CAMERA.scaled(320, 240)
    metres = depth_picture(scenes[1]["a.png"], small)
    write_depth(tmp_path / "depth" / "a.png", np.round(1000 * metres).astype(np.uint16))
    estimate(folder / "a.png", "--bundle", bundle, "--depth", tmp_path / "depth")
    assert np.allclose(given[0]["depth"].camera.K, small.K)


def test_depth_of_another_shape_needs_its_own_calibration(bundle, folder, given, tmp_path, capsys):
    write_depth(tmp_path / "depth" / "a.png", np.full((240, 424), 9000, np.uint16))
    estimate(folder / "a.png", "--bundle", bundle, "--depth", tmp_path / "depth", "--json", tmp_path / "p.jsonl")
    assert given[0]["depth"] is None
    assert ("a.png is 424x240 pixels and the picture 640x480, of another shape; give the calibration of the depth "
            "images by --depth-camera FILE; the picture is looked at without depth") in capsys.readouterr().err
    assert "of another shape" in lines(tmp_path / "p.jsonl")["a.png"]["depth_error"]
    (tmp_path / "d.yaml").write_text("image_width: 424\nimage_height: 240\ncamera_matrix: {data: [400, 0, 212, 0, 400, "
                                     "120, 0, 0, 1]}\ndistortion_model: plumb_bob\n"
                                     "distortion_coefficients: {data: [0, 0, 0, 0, 0]}\n")
    estimate(folder / "a.png", "--bundle", bundle, "--depth", tmp_path / "depth", "--depth-camera", tmp_path / "d.yaml")
    assert given[1]["depth"].camera.K[0, 0] == 400 and given[1]["depth"].metres.shape == (240, 424)


@pytest.mark.parametrize(("depth", "says"), [
    (np.full((480, 640), 9, np.uint16), "by a factor of 1000 wrong"),
    (np.full((480, 640), 9, np.uint8), "has 1 channel of uint8, which is no depth; a 16-bit PNG or TIFF"),
    (np.full((480, 640, 3), 9, np.uint16), "has 3 channels of uint16, which is no depth")])
def test_what_is_no_depth_is_told_and_left_out(bundle, folder, given, tmp_path, capsys, depth, says):
    write_depth(tmp_path / "depth" / "a.png", depth)
    estimate(folder / "a.png", "--bundle", bundle, "--depth", tmp_path / "depth")
    assert given[0]["depth"] is None and says in capsys.readouterr().err


def test_floats_in_millimetres_are_mended_and_told_once(bundle, folder, scenes, given, tmp_path, capsys):
    (tmp_path / "depth" / "a.png").unlink()
    for name in ("a", "b"):
        write_depth(tmp_path / "depth" / f"{name}.tif", np.full((480, 640), 9000, np.float32))
    estimate(folder, "--bundle", bundle, "--depth", tmp_path / "depth")
    assert [float(known["depth"].metres.max()) for known in given] == [9.0, 9.0]
    assert capsys.readouterr().err.count("it is taken for millimetres, a factor of 1000") == 1


def test_a_video_has_no_depth(bundle, tmp_path, capsys):
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (640, 480))
    writer.write(np.zeros((480, 640, 3), np.uint8))
    writer.release()
    estimate(tmp_path / "v.avi", "--bundle", bundle, "--depth", tmp_path, code=1)
    assert "--depth goes with pictures and bags" in capsys.readouterr().err


def test_the_help_describes_the_new_keys(capsys):
    with pytest.raises(SystemExit):
        main(["estimate", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for words in ("source what the distance is known from: rgb", "observations what was known beside the picture",
                  "depth_error, which says why", "--support NX,NY,NZ,D", "matched within 35 ms"):
        assert words in said, words


def test_a_pose_from_a_plane_is_the_pose(bundle, folder, scenes, tmp_path):
    """A true plane and true depth make nothing worse, whatever the solver does with them."""
    truth = scenes[1]["a.png"]
    plane = plane_under(truth)
    word = ",".join(f"{value:.9f}" for value in (*plane["normal"], plane["offset_m"]))
    estimate(folder / "a.png", "--bundle", bundle, "--support", word, "--depth", tmp_path / "depth",
             "--json", tmp_path / "p.jsonl")
    found, = lines(tmp_path / "p.jsonl")["a.png"]["objects"]
    t, t_true = np.array(found["T_cam_obj"])[:3, 3], truth[:3, 3]
    assert abs(np.linalg.norm(t) / np.linalg.norm(t_true) - 1.0) < 0.12


