# SPDX-License-Identifier: Apache-2.0
"""The demo program: real nodes, poses printed with their errors, pictures, exit codes."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from ament_index_python.packages import get_package_share_path

from dinemo_ros.errors import DatasetError
from dinemo_ros.node.demo import parse
from dinemo_ros.node.demo_listener import picture_name, read_truth


def demo(*words) -> subprocess.CompletedProcess:
    # A background job's children ignore SIGINT; the demo must end its nodes all the same.
    return subprocess.run([sys.executable, "-m", "dinemo_ros.node.demo", *map(str, words)], text=True, timeout=240,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ),
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))


def test_sequence_with_truth(tmp_path):
    """Three frames of the shipped sequence: every pose with its error, a picture each, a summary, exit code 0."""
    shipped, folder = get_package_share_path("dinemo_ros") / "config" / "demo_sequence", tmp_path / "three"
    folder.mkdir()
    for name in ("012.jpg", "013.jpg", "026.jpg", "camera_info.yaml", "ground_truth.json"):
        shutil.copy(shipped / name, folder)
    done = demo(folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stdout
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["012.jpg", "013.jpg", "026.jpg"]
    lines = [line for line in done.stdout.splitlines() if "car_0 score" in line]
    assert [line[:7] for line in lines] == ["012.jpg", "013.jpg", "026.jpg"]
    assert all(" deg, " in line.split("| error")[1] for line in lines)
    assert "3 images answered" in done.stdout and "against the truth" in done.stdout


def test_every_frame_has_a_picture_of_its_own_and_bundles_have_names(tmp_path):
    """A video's frames differ behind the suffix, pictures of one name in it; a shipped category is a bundle."""
    frames = [cv2.imread(str(get_package_share_path("dinemo_ros") / "config" / "demo_sequence" / f"{n}.jpg"))
              for n in ("012", "013")]
    size = frames[0].shape[1::-1]
    video = cv2.VideoWriter(str(tmp_path / "my vidéo.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, size)
    for frame in frames:
        video.write(frame)
    video.release()
    done = demo(tmp_path / "my vidéo.avi", "--out", tmp_path / "out", "--bundle", "car")
    assert "2 images answered" in done.stdout, done.stdout
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"my vidéo.avi_00000{n}.jpg" for n in (0, 1)]
    names = ["x.jpg", "x.pgm", "x.tiff", "v.mp4:000012"]
    assert [picture_name(n) for n in names] == ["x.jpg", "x.pgm.jpg", "x.tiff.jpg", "v.mp4_000012.jpg"]


def test_folder_without_object_says_so_and_fails(tmp_path):
    folder = tmp_path / "empty_road"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.full((120, 160, 3), 128, np.uint8))
    done = demo(folder, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "0.png: no object" in done.stdout and "no pose came out" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("words", [["nowhere"], [".", "--bundle", "nowhere"]], ids=["path", "bundle"])
def test_what_is_missing_is_named(tmp_path, words):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((64, 64, 3), np.uint8))
    given = [tmp_path / words[0], *words[1:2], *(tmp_path / w for w in words[2:])]
    done = demo(*given, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "nowhere: no such" in done.stdout and "Traceback" not in done.stdout


def test_foreign_truth_file_is_refused(tmp_path):
    (tmp_path / "ground_truth.json").write_text('{"frames": {"0.png": {"pose": 1}}}')
    with pytest.raises(DatasetError, match=r"frames.NAME.T_cam_obj"):
        read_truth(tmp_path)
    assert read_truth(tmp_path / "elsewhere") == {}


def test_a_photograph_is_not_drawn_over(tmp_path):
    """The pictures are to go into the folder of the photographs."""
    shipped = get_package_share_path("dinemo_ros") / "config" / "demo_sequence"
    for name in ("012.jpg", "camera_info.yaml"):
        shutil.copy(shipped / name, tmp_path)
    done = demo(tmp_path, "--out", tmp_path)
    assert done.returncode == 1 and "012.jpg is there and was not drawn by the demo" in done.stdout, done.stdout
    assert (tmp_path / "012.jpg").read_bytes() == (shipped / "012.jpg").read_bytes()
    assert "Traceback" not in done.stdout


def test_scene_is_played_with_its_errors():
    """RGB alone, the plane, depth and both, each for all pictures; exit code 0."""
    done = demo("--scene", "cups")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert len([line for line in lines if ".jpg: error " in line]) == 4 * 12
    rows = [line.split(" deg  ")[1] for line in lines if " deg  " in line and ".jpg" not in line]
    assert rows == ["12 rgb", "12 support", "12 depth", "12 support+depth"]


@pytest.mark.parametrize(("words", "code", "says"), [
    (["--scene", "teapots"], 1, "demo: scene 'teapots' does not ship with the package; there is cups"),
    (["--scene", "cups", "--bundle", "nowhere"], 1, "no bundle for category 'nowhere' is installed"),
    (["--scene", "cups", "--hfov", "60"], 2, "--scene goes without PATH, --out and --hfov"),
    (["--scene", "cups", "--out", "x"], 2, "--scene goes without PATH, --out and --hfov"),
    (["photos", "--scene", "cups"], 2, "--scene goes without PATH, --out and --hfov")])
def test_what_is_no_scene_is_told(words, code, says):
    done = demo(*words)
    assert done.returncode == code and says in done.stdout, done.stdout
    assert "Traceback" not in done.stdout and "loading the bundle" not in done.stdout


def test_command_line_without_a_scene_is_as_it_was():
    options = parse([])
    assert (options.scene, options.path, options.out, options.hfov, options.bundle) == (
        None, None, Path("demo_out"), 0.0, "")
    assert parse(["drive.mp4", "--out", "there"]).out == Path("there")
