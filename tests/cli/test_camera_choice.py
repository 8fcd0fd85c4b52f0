# SPDX-License-Identifier: Apache-2.0
"""A calibration that cannot be used ends the command; a field of view is assumed where there is none at all."""

import json

import cv2
import numpy as np
import pytest
from unit.test_sources import write_bag

from dinemo_ros.cli.camera_choice import CameraChoice
from dinemo_ros.cli.main import main
from dinemo_ros.defaults import DEFAULT_HFOV_DEG
from dinemo_ros.io.sources import Frame

from .conftest import CAMERA, CAMERA_INFO

BAD_LENS = {"d": np.array([50.0, 0, 0, 0, 0])}


def estimate(*arguments):
    return main(["estimate", *map(str, arguments)])


@pytest.fixture
def bag(scenes):
    """Writes a bag of one scene, its CameraInfo changed."""
    image = cv2.imread(str(scenes[0] / "a.png"))[..., ::-1]

    def message(types, header):
        return types["sensor_msgs/msg/Image"](header, 480, 640, "rgb8", 0, 1920, image.reshape(-1))

    def write(path, infos=((1.0, 0.0),), **fields):
        known = {"width": 640, "height": 480, "k": CAMERA.K.ravel()}
        write_bag(path, "mcap", [(1.0, message), (1.1, message)], infos, **{**known, **fields})
        return path

    return write


@pytest.mark.parametrize(("fields", "says"), [
    (BAD_LENS, "stretch the image's border"), ({"distortion_model": "double_sphere"}, "'double_sphere' is not"),
    ({"k": np.zeros(9)}, "focal lengths must be positive"), ({"d": np.full(7, 0.1)}, "takes (0, 4, 5) finite")])
def test_unusable_camera_info_of_a_bag_ends_the_command(bundle, bag, tmp_path, capsys, fields, says):
    assert estimate(bag(tmp_path / "bag", **fields), "--bundle", bundle) == 1
    captured = capsys.readouterr()
    assert captured.out == "", "nothing was estimated with a made-up field of view"
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("error: bag:000000: /front/camera_info is of no use: ") and says in last
    assert "--camera FILE or --hfov DEG" in last and "assumed" not in captured.err


@pytest.mark.parametrize("way_out", ["camera", "hfov"])
def test_a_calibration_given_by_hand_replaces_the_unusable_one(bundle, bag, tmp_path, capsys, way_out):
    (tmp_path / "c.yaml").write_text(CAMERA_INFO)
    options = {"camera": ["--camera", tmp_path / "c.yaml"], "hfov": ["--hfov", "60"]}[way_out]
    assert estimate(bag(tmp_path / "bag", **BAD_LENS), "--bundle", bundle, *options) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["camera"]["from"] for line in lines] == [{"camera": "file"}.get(way_out, "hfov")] * 2
    assert lines[0]["camera"]["fx"] == pytest.approx(CAMERA.K[0, 0])


def test_eight_coefficients_of_plumb_bob_keep_the_focal_length(bundle, bag, tmp_path, capsys):
    lens = np.array([1e-4, 0, 0, 0, 0, 0, 0, 0])
    assert estimate(bag(tmp_path / "bag", d=lens), "--bundle", bundle) == 0
    entry = json.loads(capsys.readouterr().out.splitlines()[0])
    assert entry["camera"]["from"] == "source" and entry["camera"]["fx"] == pytest.approx(CAMERA.K[0, 0])


def test_what_was_understood_other_than_written_is_told_once(bundle, bag, tmp_path, capsys):
    lens = np.array([1e-4, 0, 0, 0, 0, 1e-5, 0, 0])
    assert estimate(bag(tmp_path / "bag", d=lens), "--bundle", bundle) == 0
    assert capsys.readouterr().err.count("distortion model 'plumb_bob' has 8 coefficients") == 1


def test_a_bag_without_camera_info_gets_the_stated_field_of_view(bundle, bag, tmp_path, capsys):
    estimate(bag(tmp_path / "bag", infos=()), "--bundle", bundle)
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[0])["camera"]["from"] == "assumed"
    assert captured.err.count(f"field of view of {DEFAULT_HFOV_DEG:g} degrees is assumed") == 1


def test_unusable_camera_file_of_a_folder_ends_the_command(bundle, scenes, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes((scenes[0] / "a.png").read_bytes())
    (tmp_path / "camera_info.yaml").write_text(CAMERA_INFO.replace("plumb_bob", "mystery").replace("[0, 0", "[0.1, 0"))
    assert estimate(tmp_path, "--bundle", bundle) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith(f"error: {tmp_path}/camera_info.yaml: unknown distortion model 'mystery'")


@pytest.mark.parametrize("broken", [
    "unknown: [", "", CAMERA_INFO.replace("plumb_bob", "mystery").replace("[0, 0", "[9, 0"),
    CAMERA_INFO.replace("640", "none")])
@pytest.mark.parametrize("way_out", ["camera", "hfov"])
@pytest.mark.parametrize("single", [True, False])
def test_a_camera_given_by_hand_replaces_the_unusable_file_of_a_folder(bundle, scenes, tmp_path, capsys, broken,
                                                                      way_out, single):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes((scenes[0] / "a.png").read_bytes())
    (folder / "camera_info.yaml").write_text(broken)
    (tmp_path / "c.yaml").write_text(CAMERA_INFO)
    options = {"camera": ["--camera", tmp_path / "c.yaml"], "hfov": ["--hfov", "60"]}[way_out]
    assert estimate(folder / "a.png" if single else folder, "--bundle", bundle, *options) == 0
    captured = capsys.readouterr()
    entry, = map(json.loads, captured.out.splitlines())
    assert entry["camera"]["from"] == {"camera": "file"}.get(way_out, "hfov") and len(entry["objects"]) == 1
    note, = [line for line in captured.err.splitlines() if "camera_info.yaml" in line]
    assert note.startswith(f"{folder}/camera_info.yaml: ")
    assert note.endswith("; it is left out, for another camera was given")


@pytest.mark.parametrize("text", [None, "", "a: [", CAMERA_INFO.replace("[0, 0", "[-9, 0")])
@pytest.mark.parametrize("command", ["estimate"])
def test_unusable_camera_option_ends_the_command(bundle, scenes, tmp_path, capsys, command, text):
    if text is not None:
        (tmp_path / "c.yaml").write_text(text)
    assert main([command, str(scenes[0]), "--bundle", str(bundle), "--camera", str(tmp_path / "c.yaml")]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith(f"error: {tmp_path}/c.yaml: ")


def test_bench_ends_on_the_same_calibration_and_states_the_same_assumption(bundle, bag, tmp_path, capsys):
    assert main(["bench", str(bag(tmp_path / "bag", **BAD_LENS)), "--bundle", str(bundle)]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: bag:000000: /front/camera_info is of no use: ") and "--camera" not in last
    main(["bench", str(bag(tmp_path / "none", infos=())), "--bundle", str(bundle), "--frames", "1"])
    assert f"field of view of {DEFAULT_HFOV_DEG:g} degrees is assumed" in capsys.readouterr().err


def test_kalibr_camera_by_name(tmp_path):
    one = ("camera_model: pinhole, distortion_coeffs: [], distortion_model: none, intrinsics: [{f}, {f}, 320, 240], "
           "resolution: [640, 480]")
    (tmp_path / "chain.yaml").write_text(f"cam0: {{{one.format(f=500)}}}\ncam1: {{{one.format(f=600)}}}\n")
    frame, said = Frame(0.0, np.zeros((480, 640, 3), np.uint8), None, "a"), []
    for name, focal in (("chain.yaml", 500), ("chain.yaml:cam1", 600)):
        camera, origin = CameraChoice(str(tmp_path / name), None, said.append).of(frame)
        assert (camera.K[0, 0], origin) == (focal, "file")
    assert len(said) == 1 and "cam0 is taken" in said[0]
