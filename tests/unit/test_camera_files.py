# SPDX-License-Identifier: Apache-2.0
"""Calibrations of ROS, OpenCV and Kalibr as files, and files that are none."""

import json
import os
import threading
import tracemalloc

import cv2
import numpy as np
import pytest

from dinemo_ros.camera.camera_file import file_and_entry
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import CameraError

K = np.array([[612.25, 0, 321.5], [0, 611.5, 240.25], [0, 0, 1]])
D = (-0.21, 0.07, 0.0011, -0.0007, -0.013)
EIGHT = (0.3, 0.05, 0.0004, -0.0002, 0.01, 0.6, 0.1, 0.02)
FISHEYE = (0.05, -0.01, 0.004, -0.001)
POINTS = np.random.default_rng(0).uniform([-1, -0.8, 2], [1, 0.8, 4], (50, 3))


def read(tmp_path, text, name="front.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Camera.from_yaml(path)


def assert_is(camera, distortion, size=(640, 480), fisheye=False):
    """The file's camera projects as OpenCV does with the numbers that were written into it."""
    zero = np.zeros(3)
    project = cv2.fisheye.projectPoints if fisheye else cv2.projectPoints
    expected = project(POINTS[:, None], zero, zero, K, np.array(distortion or [0.0] * 4))[0].reshape(-1, 2)
    np.testing.assert_allclose(camera.project(POINTS), expected, atol=1e-6)
    assert (camera.width, camera.height) == size


def refused(tmp_path, text, says, name="front.yaml"):
    with pytest.raises(CameraError, match=says) as caught:
        read(tmp_path, text, name)
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(tmp_path)) + 400


# ------------------------------------------------------------------------------------------------------------- ROS
ROS = f"""\
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix: {{rows: 3, cols: 3, data: {K.ravel().tolist()}}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: {list(D)}}}
rectification_matrix: {{rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}}
projection_matrix: {{rows: 3, cols: 4, data: [600, 0, 320, 0, 0, 600, 240, 0, 0, 0, 1, 0]}}
"""


@pytest.mark.parametrize(("text", "distortion", "fisheye"), [
    (ROS, D, False), (ROS.replace("distortion_model", "camera_model"), D, False),
    (ROS.replace("distortion_model: plumb_bob\n", ""), D, False),
    ("# by hand\r\n" + ROS.replace("\n", "\r\n"), D, False),
    (ROS.replace(f"5, data: {list(D)}", f"8, data: {list(EIGHT)}").replace("plumb_bob", "rational_polynomial"), EIGHT,
     False),
    (ROS.replace(f"5, data: {list(D)}", f"4, data: {list(FISHEYE)}").replace("plumb_bob", "fisheye"), FISHEYE, True),
    (ROS.replace("0.0011", "1.1e-03"), D, False),  # for YAML 1.1 no number without a sign, or without a point
    (ROS.replace("0.0011", "11e-4"), D, False), ("%YAML 1.1\n---\n" + ROS, D, False),
    (ROS + "---\nother: 1\n", D, False),
    ("first: &matrix {data: " + str(K.ravel().tolist()) + "}\n"  # PyYAML writes what it has twice like this
     + ROS.replace(f"{{rows: 3, cols: 3, data: {K.ravel().tolist()}}}", "*matrix"), D, False),
])
def test_ros_files(tmp_path, text, distortion, fisheye):
    camera = read(tmp_path, text)
    assert_is(camera, distortion, fisheye=fisheye)
    assert camera.notes == ()


def test_printed_camera_info(tmp_path):
    """As ``ros2 topic echo --once`` prints it, and as ROS 1 did."""
    k, d = "\n".join(f"- {v!r}" for v in K.ravel().tolist()), "\n".join(f"- {v}" for v in D)
    text = ("header:\n  stamp:\n    sec: 12\n    nanosec: 5\n  frame_id: camera_optical_frame\nheight: 480\n"
            f"width: 640\ndistortion_model: plumb_bob\nd:\n{d}\nk:\n{k}\nr:\n- 1.0\np:\n- 600.0\nbinning_x: 0\n"
            "binning_y: 0\nroi:\n  x_offset: 0\n  y_offset: 0\n  height: 0\n  width: 0\n  do_rectify: false\n---\n")
    assert_is(read(tmp_path, text), D)
    assert_is(read(tmp_path, text.replace("\nk:", "\nK:").replace("\nd:", "\nD:")), D)
    for cut in (text.replace("binning_x: 0", "binning_x: 2"), text.replace("  width: 0", "  width: 320")):
        refused(tmp_path, cut, "region of interest or with binning")
    whole = text.replace("  height: 0\n  width: 0", "  height: 480\n  width: 640")
    assert whole != text
    assert_is(read(tmp_path, whole), D)


# ---------------------------------------------------------------------------------------------------------- OpenCV
def by_file_storage(path, names, distortion, fisheye=None, shape=None):
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write(names[0], 640)
    storage.write(names[1], 480)
    storage.write("flags", 2)
    if fisheye is not None:
        storage.write("fisheye_model", fisheye)
    storage.write(names[2], K)
    storage.write(names[3], np.array(distortion, np.float64).reshape(shape or (-1, 1)))
    storage.write("image_points", np.ones((3, 54), np.float64))
    storage.release()


@pytest.mark.parametrize("suffix", [".yml", ".yaml", ".xml", ".json"])
@pytest.mark.parametrize("distortion", [D, EIGHT, (*EIGHT, 0.002, -0.001, 0.0015, 0.0005),
                                        (*EIGHT, 0.002, -0.001, 0.0015, 0.0005, 0.02, -0.01)])
@pytest.mark.parametrize("names", [("image_width", "image_height", "camera_matrix", "distortion_coefficients"),
                                   ("image_Width", "image_Height", "Camera_Matrix", "Distortion_Coefficients"),
                                   ("imageWidth", "imageHeight", "cameraMatrix", "distCoeffs"),
                                   ("width", "height", "K", "D")])
def test_files_of_opencv(tmp_path, suffix, distortion, names):
    by_file_storage(tmp_path / f"c{suffix}", names, distortion)
    camera = Camera.from_yaml(tmp_path / f"c{suffix}")
    assert_is(camera, distortion)
    assert camera.notes == (), "the file has no name for its model, so there is nothing to wonder about"


@pytest.mark.parametrize("suffix", [".yml", ".xml", ".json"])
def test_fisheye_files_of_opencv(tmp_path, suffix):
    """The calibration sample writes whether it is one; four coefficients are not."""
    names = ("image_width", "image_height", "camera_matrix", "distortion_coefficients")
    for fisheye, shape in ((1, (4, 1)), (0, (1, 4))):
        by_file_storage(tmp_path / f"c{suffix}", names, FISHEYE, fisheye, shape)
        camera = Camera.from_yaml(tmp_path / f"c{suffix}")
        assert_is(camera, FISHEYE, fisheye=bool(fisheye))


OPENCV = f"""\
%YAML:1.0
---
calibration_time: "Sun Nov 29 10:00:00 2026"
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 6.1225e+02, 0., 3.2150000000000000e+02, 0.,
       611.5, 240.25, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ {D[0]}, {D[1]},
       {D[2]}, {D[3]}, {D[4]} ]
"""


@pytest.mark.parametrize("text", [
    OPENCV, OPENCV.replace("---\n", ""), OPENCV.replace("%YAML:1.0\n---\n", ""),  # with and without what it begins with
    OPENCV.replace("%YAML:1.0", "%YAML:1.0   "), "\ufeff" + OPENCV, OPENCV.replace("\n", "\r\n"),
    OPENCV.replace("!!opencv-matrix", "!<tag:yaml.org,2002:opencv-matrix>"),
    json.dumps({"image_size": [640, 480], "mtx": K.tolist(), "dist": [list(D)]}, indent="\t"),
    json.dumps({"resolution": [640, 480], "camera_matrix": K.tolist(), "dist_coeffs": list(D)})])
def test_variants_of_opencv_files(tmp_path, text):
    assert_is(read(tmp_path, text), D)


def test_opencv_file_without_a_size_says_what_to_add(tmp_path):
    text = OPENCV.replace("image_width: 640\nimage_height: 480\n", "")
    refused(tmp_path, text, "the size of the image is missing: add image_width and image_height, in pixels")


# ---------------------------------------------------------------------------------------------------------- Kalibr
def kalibr(model="radtan", coefficients=D[:4], camera="pinhole", intrinsics=None, name="cam0"):
    return (f"{name}:\n  cam_overlaps: [1]\n  camera_model: {camera}\n  distortion_coeffs: {list(coefficients)}\n"
            f"  distortion_model: {model}\n  intrinsics: {intrinsics or [612.25, 611.5, 321.5, 240.25]}\n"
            "  resolution: [640, 480]\n  rostopic: /cam0/image_raw\n  T_cam_imu:\n  - [1.0, 0.0, 0.0, 0.0]\n")


@pytest.mark.parametrize(("model", "coefficients", "fisheye"), [
    ("radtan", D[:4], False), ("equidistant", FISHEYE, True), ("none", [], False)])
def test_kalibr_camchain(tmp_path, model, coefficients, fisheye):
    camera = read(tmp_path, kalibr(model, coefficients))
    assert_is(camera, coefficients, fisheye=fisheye)
    assert camera.notes == ()


def test_kalibr_camchain_of_several_cameras(tmp_path):
    other = kalibr(intrinsics=[400.0, 401, 300, 200], name="cam1")
    camera = read(tmp_path, other + kalibr())  # whatever their order in the file
    assert_is(camera, D[:4])
    assert camera.notes == ("the camchain has cam0, cam1; cam0 is taken, FILE:cam1 takes another",)
    chosen = Camera.from_yaml(f"{tmp_path / 'front.yaml'}:cam1")
    assert chosen.K[0].tolist() == [400, 0, 300] and chosen.K[1].tolist() == [0, 401, 200] and chosen.notes == ()
    for text, says in ((other + kalibr(), "front.yaml:cam2: there is no cam2 in it; it has cam0, cam1"),
                       (ROS, "front.yaml:cam2: there is no cam2 in it")):
        (tmp_path / "front.yaml").write_text(text)
        with pytest.raises(CameraError, match=says):
            Camera.from_yaml(f"{tmp_path / 'front.yaml'}:cam2")
    assert file_and_entry(f"{tmp_path / 'front.yaml'}:cam12") == (str(tmp_path / "front.yaml"), "cam12")
    assert file_and_entry(tmp_path / "front.yaml") == (str(tmp_path / "front.yaml"), None)
    (tmp_path / "odd.yaml:cam1").write_text(ROS)
    assert_is(Camera.from_yaml(tmp_path / "odd.yaml:cam1"), D)


@pytest.mark.parametrize(("text", "says"), [
    (kalibr(camera="omni", intrinsics=[0.8, 612, 611, 321, 240]), "camera model 'omni' of cam0 is not supported; "),
    (kalibr(camera="ds", model="none", coefficients=[]), "camera model 'ds' of cam0 is not supported"),
    (kalibr(camera="eucm"), "camera model 'eucm' of cam0 is not supported"),
    (kalibr(model="fov", coefficients=[0.9]), "distortion model 'fov' is not supported; known: .*fisheye"),
    (kalibr(coefficients=[0.1, 0.1]), r"'radtan' takes \(0, 4, 5\) finite"),
    (kalibr(intrinsics=[0.8, 612, 611, 321, 240]), "cam0.intrinsics has 5 numbers and must have 4"),
    (kalibr().replace("[640, 480]", "[640]"), "cam0.resolution has 1 numbers and must have 2"),
    (kalibr().replace("camera_model: pinhole", "x: 1"), "camera model '' of cam0 is not supported"),
])
def test_kalibr_models_that_are_not_supported_are_named(tmp_path, text, says):
    refused(tmp_path, text, says)


# ------------------------------------------------------------------------------------------------- what is no camera
NESTED = "[" * 300_000
BOMB = "x0: &x0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"x{n + 1}: &x{n + 1} [{', '.join([f'*x{n}'] * 9)}]\n" for n in range(9))


@pytest.mark.parametrize(("text", "says"), [
    ("", "not a camera_info YAML"), ("just words", "not a camera_info YAML"), ("a: 1\n", "no camera_matrix in it; kn"),
    (ROS.replace("612.25", "wide"), "camera_matrix holds 'wide', which is no number"),
    (ROS.replace("612.25", "[612, 1]"), "camera_matrix has 10 numbers|which is no number"),
    (ROS.replace("640", "640.5"), "the width of the image is 640.5; it counts pixels"),
    (ROS.replace("640", "-640"), "the width of the image is -640"), (ROS.replace("640", ".nan"), "width .* is nan"),
    (ROS.replace("640", "1e999"), "width of the image is inf"), (ROS.replace("612.25", ".nan"), "3x3 finite numbers"),
    (ROS.replace("image_width: 640", "image_width: [640, 1]"), "imagewidth has 2 numbers|holds"),
    (ROS.replace(", 1.0]}}".replace("}}", "}"), "]}"), "camera_matrix has 8 numbers and must have 9"),
    (ROS.replace("plumb_bob", "mystery"), "unknown distortion model 'mystery'"),
    (ROS.replace(str(D[0]), "50.0"), "stretch the image's border"),
    (ROS.replace(f"data: {list(D)}", f"data: [{'0.1, ' * 3000}0.1]"), "finite coefficients"),
    (NESTED, "nested more than 16 deep"), ("{a: " * 30_000, "nested more than 16 deep"),
    ("{a: " * 100_000, "more than 33333 lists and objects"),
    ('{"a":' * 100_000 + "1" + "}" * 100_000, "more than 33333 lists and objects"),
    ("- " * 100_000, "nested more than 16 deep"),
    ("<a>" * 100_000 + "</a>" * 100_000, "nested more than 16 deep"), ("<opencv_storage><a>", "is no XML"),
    ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "cc">]><a>&b;</a>', "XML with declarations"),
    (ROS + "#" * (1 << 20), "is larger than 1 MiB"), (b"\xff\xfe\x00\x01", "is no text .byte 0 is not UTF-8"),
    (ROS + "x: \x00", "cannot be read as YAML"),
    (BOMB + "camera_matrix: *x9\nimage_width: 4\nimage_height: 4\n", "more than 100000 values"),
    (BOMB + ROS.replace("camera_matrix: {rows: 3", "camera_matrix: {<<: *x9, rows: 3").replace("data: [6", "d: [6"),
     "has more than 100000 values"),
    ("a: &a [*a]\ncamera_matrix: *a\nimage_width: 4\nimage_height: 4\n", "alias 'a' stands for nothing"),
    ("a: *nothing\n", "not a camera_info YAML|cannot be read as YAML"),
    ("!!python/object/apply:os.system ['touch PWNED']", "not a camera_info YAML"),
    ("camera_matrix: !!python/object/apply:os.system ['touch PWNED']\nimage_width: 4\nimage_height: 4\n",
     "camera_matrix has 1 numbers"),
])
def test_what_is_no_camera_is_one_sentence(tmp_path, text, says, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    try:
        refused(tmp_path, text, says)
        assert tracemalloc.get_traced_memory()[1] < 100e6, "nothing may grow out of a small file"
    finally:
        tracemalloc.stop()
    assert not (tmp_path / "PWNED").exists(), "no tag is carried out"


def test_paths_that_are_no_files(tmp_path):
    for path, says in ((tmp_path, "cannot be read .Is a directory"), (tmp_path / "none", "cannot be read .No such"),
                       ("bad\0name", "cannot be read")):
        with pytest.raises(CameraError, match=says):
            Camera.from_yaml(path)
    with pytest.raises(CameraError, match="is larger than 1 MiB"):
        Camera.from_yaml("/dev/zero")


def test_a_pipe_is_read(tmp_path):
    """``--camera <(ssh robot cat camera.yaml)``"""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(ROS,))
    writer.start()
    try:
        assert_is(Camera.from_yaml(tmp_path / "pipe"), D)
    finally:
        writer.join()
