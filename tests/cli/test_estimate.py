# SPDX-License-Identifier: Apache-2.0
"""``dinemo estimate`` on pictures whose poses are known exactly: the whole runtime, from file to JSON."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from photographs import exif

from dinemo_ros.cli.main import main
from dinemo_ros.defaults import DEFAULT_HFOV_DEG
from dinemo_ros.geometry import rotation_angle

from .conftest import CAMERA, CAMERA_INFO, save

# Cells of 8 pixels on a car of about 25 cells, size known to some percent only: what the solver resolves. A swapped
# axis, a wrong focal length or half a ROI are off by 90 degrees or metres.
ROTATION_DEG, SIDEWAYS_M, DISTANCE_SHARE = 8.0, 0.3, 0.12


def estimate(*arguments):
    return main(["estimate", *map(str, arguments)])


def read(path):
    return {entry["file"]: entry for entry in map(json.loads, path.read_text().splitlines())}


def assert_close(T, T_true):
    T = np.array(T)
    assert np.degrees(rotation_angle(T[:3, :3], T_true[:3, :3])) < ROTATION_DEG
    t, t_true = T[:3, 3], T_true[:3, 3]
    assert abs(np.linalg.norm(t) / np.linalg.norm(t_true) - 1) < DISTANCE_SHARE
    assert np.abs(t / t[2] - t_true / t_true[2]).max() * t_true[2] < SIDEWAYS_M  # seen in the same direction


def test_poses_of_a_folder_with_its_camera(bundle, scenes, tmp_path, capsys):
    folder, truth = scenes
    assert estimate(folder, "--bundle", bundle, "--json", tmp_path / "poses.jsonl", "--out", tmp_path / "out") == 0
    entries = read(tmp_path / "poses.jsonl")
    assert list(entries) == list(truth)
    for name, T_true in truth.items():
        found, = entries[name]["objects"]
        assert_close(found["T_cam_obj"], T_true)
        assert found["category"] == "car"
        assert np.allclose(found["size"], [4.4, 1.8, 1.5], rtol=0.12)
        covariance = np.array(found["covariance"])
        assert np.allclose(covariance, covariance.T)
        assert np.linalg.eigvalsh(covariance).min() > 0
        # The axis along the ray holds the scale ambiguity: 8 % of the length in the bundle's prior.
        ray = T_true[:3, 3] / np.linalg.norm(T_true[:3, 3])
        assert np.sqrt(ray @ covariance[:3, :3] @ ray) > 0.02 * np.linalg.norm(T_true[:3, 3])
        assert entries[name]["camera"]["from"] == "source"
        assert entries[name]["camera"]["fx"] == pytest.approx(CAMERA.K[0, 0])
    for name, angles in {"a.png": (35, 10, 0), "b.png": (150, 5, 3), "c.png": (260, 18, 0)}.items():
        found = entries[name]["objects"][0]
        assert [found[k] for k in ("azimuth", "elevation", "theta")] == pytest.approx(angles, abs=ROTATION_DEG)
    errors = capsys.readouterr().err
    assert "skipped broken.jpg: " in errors
    assert "3 images, 3 car poses, 1 skipped" in errors
    for name in truth:
        drawn = cv2.imread(str(tmp_path / "out" / name.replace(".png", "_pose.png")))
        assert drawn.shape == (480, 640, 3)
        assert (drawn != cv2.imread(str(folder / name))).any()


def test_overlay_of_what_is_no_jpeg_is_a_png_and_later_images_are_done(bundle, scenes, tmp_path):
    for index, suffix in enumerate((".pgm", ".webp", ".jfif")):
        picture = cv2.imread(str(scenes[0] / "a.png"))
        picture = picture[..., 0] if suffix == ".pgm" else picture
        data = cv2.imencode(".jpg" if suffix == ".jfif" else suffix, picture)[1]
        (tmp_path / f"{index}{suffix}").write_bytes(data.tobytes())
    estimate(tmp_path, "--bundle", bundle, "--hfov", 60, "--json", tmp_path / "p.jsonl", "--out", tmp_path / "out")
    assert list(read(tmp_path / "p.jsonl")) == ["0.pgm", "1.webp", "2.jfif"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0.pgm_pose.png", "1.webp_pose.png",
                                                                    "2.jfif_pose.png"]


def test_regions_given_by_the_user_and_json_on_stdout(bundle, scenes, capsys):
    folder, truth = scenes
    t = truth["a.png"][:3, 3]
    u, v = CAMERA.project(t[None])[0]
    assert estimate(folder / "a.png", "--bundle", bundle, "--roi", f"{u - 110},{v - 60},{u + 110},{v + 60}") == 0
    entry = json.loads(capsys.readouterr().out)
    assert_close(entry["objects"][0]["T_cam_obj"], truth["a.png"])
    assert entry["objects"][0]["roi"] == pytest.approx([u - 110, v - 60, u + 110, v + 60])


def test_region_may_begin_outside_of_the_image(bundle, scenes, capsys):
    """argparse takes "-5,..." for an option."""
    assert estimate(scenes[0] / "a.png", "--bundle", bundle, "--roi", "-5,-5.5,640,480") == 0
    assert json.loads(capsys.readouterr().out)["objects"][0]["roi"] == pytest.approx([0, 0, 640, 480])


def test_camera_file_hfov_and_assumption(bundle, scenes, tmp_path, capsys):
    """Distance is proportional to the focal length; where none is known, the assumption is said and written."""
    folder, _ = scenes
    picture = tmp_path / "alone.png"
    picture.write_bytes((folder / "a.png").read_bytes())
    (tmp_path / "c.yaml").write_text(CAMERA_INFO)
    distance = {}
    for origin, options in {"file": ["--camera", tmp_path / "c.yaml"], "hfov": ["--hfov", "30"], "assumed": []}.items():
        assert estimate(picture, "--bundle", bundle, *options) == 0
        captured = capsys.readouterr()
        entry = json.loads(captured.out)
        assert entry["camera"]["from"] == origin
        distance[origin] = entry["objects"][0]["T_cam_obj"][2][3]
        assert (f"field of view of {DEFAULT_HFOV_DEG:g} degrees is assumed" in captured.err) == (origin == "assumed")
    focal_ratio = np.tan(np.radians(30)) / np.tan(np.radians(15))  # 30 instead of 60 degrees
    assert distance["hfov"] / distance["file"] == pytest.approx(focal_ratio, rel=0.1)


def test_camera_that_the_photograph_tells(bundle, scenes, tmp_path, capsys):
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    with Image.open(scenes[0] / "a.png") as picture:
        picture.save(tmp_path / "a.png", exif=exif(50))
    assert estimate(tmp_path / "a.png", "--bundle", bundle) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["camera"]["from"] == "exif"
    assert json.loads(captured.out)["camera"]["fx"] == pytest.approx(800 * 50 / np.hypot(36, 24))
    assert "the field of view comes from the focal length in the pictures (EXIF)" in captured.err


def test_camera_of_another_image_size_is_refused(bundle, scenes, tmp_path, capsys):
    save(tmp_path / "small.png", np.zeros((240, 320, 3), np.uint8))
    (tmp_path / "c.yaml").write_text(CAMERA_INFO)
    assert estimate(tmp_path / "small.png", "--bundle", bundle, "--camera", tmp_path / "c.yaml") == 1
    captured = capsys.readouterr()
    assert "camera_info is for 640x480, the image is 320x240" in captured.err
    assert json.loads(captured.out)["objects"] == []


def test_region_outside_the_image_is_told_per_image(bundle, scenes, tmp_path, capsys):
    assert estimate(scenes[0], "--bundle", bundle, "--roi", "700,0,800,100", "--json", tmp_path / "p.jsonl") == 1
    assert all("lies outside the 640x480 image" in e["error"] for e in read(tmp_path / "p.jsonl").values())
    assert "no image could be used" in capsys.readouterr().err


def test_nothing_found_is_exit_code_1_with_a_complete_report(bundle, tmp_path, capsys):
    save(tmp_path / "grey.png", np.full((480, 640, 3), 114, np.uint8))
    assert estimate(tmp_path / "grey.png", "--bundle", bundle, "--json", tmp_path / "p.jsonl") == 1
    assert "no car was found" in capsys.readouterr().err
    assert read(tmp_path / "p.jsonl")["grey.png"]["objects"] == []


def test_video(bundle, scenes, tmp_path, capsys):
    folder, truth = scenes
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (640, 480))
    for name in ("a.png", "c.png"):
        writer.write(cv2.imread(str(folder / name)))
    writer.release()
    assert estimate(tmp_path / "v.avi", "--bundle", bundle, "--hfov", 60, "--json", tmp_path / "p.jsonl",
                    "--out", tmp_path / "out") == 0
    entries = read(tmp_path / "p.jsonl")
    assert_close(entries["v.avi:000001"]["objects"][0]["T_cam_obj"], truth["c.png"])
    assert entries["v.avi:000001"]["stamp_s"] == pytest.approx(0.1)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["v.avi_000000_pose.jpg", "v.avi_000001_pose.jpg"]


def test_searched_and_not_searched_are_told_apart(bundle, scenes, tmp_path, capsys):
    """Every line has objects; an empty list is an answer only where no error stands beside it (docs/outputs.md)."""
    save(tmp_path / "grey.png", np.full((480, 640, 3), 114, np.uint8))
    save(tmp_path / "small.png", np.zeros((240, 320, 3), np.uint8))
    (tmp_path / "car.png").write_bytes((scenes[0] / "a.png").read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no jpeg")
    (tmp_path / "c.yaml").write_text(CAMERA_INFO)
    assert estimate(tmp_path, "--bundle", bundle, "--camera", tmp_path / "c.yaml", "--json", tmp_path / "p.jsonl") == 0
    entries = read(tmp_path / "p.jsonl")
    assert sorted(entries) == ["car.png", "grey.png", "small.png"], "what is no picture has no line"
    assert "skipped broken.jpg" in capsys.readouterr().err
    assert len(entries["car.png"]["objects"]) == 1 and "error" not in entries["car.png"]
    assert entries["grey.png"]["objects"] == [] and "error" not in entries["grey.png"]
    assert entries["small.png"]["objects"] == [] and "the image is 320x240" in entries["small.png"]["error"]


@pytest.mark.parametrize("command", ["estimate", "eval"])
def test_the_help_says_what_an_empty_list_means_and_what_is_answered(command, capsys):
    with pytest.raises(SystemExit):
        main([command, *(["turntable"] if command == "eval" else []), "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for sentence in {"estimate": ('Every line has "objects". [] alone says that the image was searched and nothing was '
                                  'found', 'with "error" beside it nothing was searched', 'has no line, so no list'),
                     "eval": ('The answer is no pose per line as of dinemo estimate, but "rows"', '"frames" (one per'),
                     }[command]:
        assert sentence in said


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_json_to_standard_output_by_name(bundle, scenes, tmp_path, name):
    result = subprocess.run([sys.executable, "-m", "dinemo_ros.cli.main", "estimate", scenes[0], "--bundle", bundle,
                             "--json", name, "--out", "out"], text=True, capture_output=True, timeout=240, cwd=tmp_path)
    assert result.returncode == 0
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == ["a.png", "b.png", "c.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
