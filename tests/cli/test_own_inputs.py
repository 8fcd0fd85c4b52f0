# SPDX-License-Identifier: Apache-2.0
"""An output is never an input, by whatever name; pictures that were drawn are no photographs."""

import json
import os

import cv2
import numpy as np
import pytest

from dinemo_ros.cli.main import main
from dinemo_ros.cli.output import overlay_name
from dinemo_ros.errors import OutputError
from dinemo_ros.io.overlay_file import is_overlay, write_overlay
from dinemo_ros.io.sources import open_source
from dinemo_ros.process.input_guard import refuse_inputs

GREY = np.full((96, 96, 3), 114, np.uint8)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.jpg", "b.png", "a_pose.jpg"):  # the last one a photograph that is called so
        cv2.imwrite(str(folder / name), GREY)
    (folder / "camera.yaml").write_text("image_width: 96\n")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("kind", ["itself", "symbolic link", "hard link", "other spelling", "its part"])
def test_no_name_of_an_input_is_written(pictures, tmp_path, kind):
    target = tmp_path / "out"
    if kind == "symbolic link":
        target.symlink_to(pictures / "a.jpg")
    elif kind == "hard link":
        os.link(pictures / "a.jpg", target)
    elif kind == "its part":
        os.link(pictures / "a.jpg", tmp_path / "out.part")
    else:
        target = pictures / "a.jpg" if kind == "itself" else pictures / ".." / "pictures" / "a.jpg"
    for inputs in ([pictures], [pictures / "a.jpg"], [None, "nowhere", pictures]):
        with pytest.raises(OutputError, match="--json .* is read by this command and would be overwritten; give the "):
            refuse_inputs({"--json": target}, inputs)
    refuse_inputs({"--json": tmp_path / "new", "--csv": None}, [pictures])


def test_files_further_down_count_where_they_are_read(pictures, tmp_path):
    (pictures / "loop").symlink_to(pictures)
    refuse_inputs({"--json": pictures / "a.jpg"}, [tmp_path])
    with pytest.raises(OutputError, match="--json"):
        refuse_inputs({"--json": pictures / "a.jpg"}, [tmp_path], deep=True)


def test_two_outputs_are_two_files(tmp_path):
    with pytest.raises(OutputError, match="--json and --csv name the same file, .*; give two names"):
        refuse_inputs({"--json": tmp_path / "a", "--csv": tmp_path / "." / "a"}, [])
    refuse_inputs({"--json": "/dev/fd/1", "--csv": "/dev/fd/1"}, [])


@pytest.mark.parametrize("words", [
    ["estimate", "{p}", "--json", "{p}/b.png"],
    ["estimate", "{p}/a.jpg", "--json", "{p}/a.jpg"],
    ["estimate", "{p}/a.jpg", "--json", "{b}/model.yaml", "--bundle", "{b}"],
    ["bench", "{p}", "--json", "{p}/b.png"],
    ["bench", "--json", "{b}/mesh.npz", "--bundle", "{b}"],
    ["doctor", "--json", "{b}/backbone.onnx", "--bundle", "{b}"],
    ["estimate", "{p}", "--out", "{p}"],  # the drawn a.jpg would be called as the photograph a_pose.jpg
])
def test_commands_refuse_before_the_work(pictures, bundle, capsys, words):
    before = contents(pictures) | contents(bundle)
    assert main([word.format(p=pictures, b=bundle) for word in words]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "read by this command" in error
    assert contents(pictures) | contents(bundle) == before


def test_eval_refuses_its_data_set(tmp_path, bundle, capsys):
    (tmp_path / "car").mkdir()
    cv2.imwrite(str(tmp_path / "car" / "0.jpg"), GREY)
    table = tmp_path / "azimuth.json"
    table.write_text(json.dumps({"car": {"azimuth_deg": {"0.jpg": 0.0}}}))
    for option, path in (("--json", table), ("--csv", tmp_path / "car" / "0.jpg"), ("--json", bundle / "model.yaml")):
        before = path.read_bytes()
        assert main(["eval", "turntable", str(tmp_path), "--bundle", str(bundle), option, str(path)]) == 1
        assert f"error: {option} {path} is read by this command" in capsys.readouterr().err
        assert path.read_bytes() == before


def test_a_camera_file_is_an_input(bundle, scenes, capsys):
    from .conftest import CAMERA_INFO

    camera = scenes[0] / "camera_info.yaml"
    for words in (["--json", camera], ["--json", camera, "--camera", camera]):
        assert main(["estimate", str(scenes[0] / "a.png"), "--bundle", str(bundle), *map(str, words)]) == 1
        assert "is read by this command" in capsys.readouterr().err
    assert camera.read_text() == CAMERA_INFO


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".JPG"])
def test_drawn_pictures_say_so_and_show_the_same(tmp_path, suffix):
    drawn, plain = tmp_path / f"drawn{suffix}", tmp_path / f"plain{suffix}"
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    write_overlay(drawn, picture)
    cv2.imwrite(str(plain), picture[..., ::-1])
    assert is_overlay(drawn) and not is_overlay(plain) and not is_overlay(tmp_path / "none")
    assert np.array_equal(cv2.imread(str(drawn)), cv2.imread(str(plain)))
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    with Image.open(drawn) as image:  # another reader, which checks sums and segments
        image.load()
        said = image.info.get("Comment") or image.info["comment"].decode()
        assert image.size == (60, 40) and said == "dinemo_ros: poses are drawn into this picture"


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(OutputError, match="drawn pictures are written as .jpg, .jpeg, .png"):
        write_overlay(tmp_path / "a.webp", GREY)


def test_a_folder_with_drawn_pictures_gives_the_photographs(pictures):
    """Whatever they are called; by its own name a drawn one is read."""
    write_overlay(pictures / "b_pose.png", GREY)
    write_overlay(pictures / "photo.jpg", GREY)
    source = open_source(pictures)
    for _ in range(2):
        assert [frame.name for frame in source] == ["a.jpg", "a_pose.jpg", "b.png"]
    assert [note for note in source.notes if "drawn" in note] == \
        ["left out: 2 pictures that have poses drawn into them; name one of them alone to have it read"]
    assert [frame.name for frame in open_source(pictures / "photo.jpg")] == ["photo.jpg"]


def test_drawing_into_the_folder_of_the_photographs_twice(bundle, scenes, tmp_path, capsys):
    for name in ("a.png", "camera_info.yaml"):
        (tmp_path / name).write_bytes((scenes[0] / name).read_bytes())
    original = (tmp_path / "a.png").read_bytes()
    for _ in range(2):
        assert main(["estimate", str(tmp_path), "--bundle", str(bundle), "--out", str(tmp_path)]) == 0
        captured = capsys.readouterr()
        assert [json.loads(line)["file"] for line in captured.out.splitlines()] == ["a.png"]
    assert "left out: 1 pictures that have poses drawn" in captured.err
    assert (tmp_path / "a.png").read_bytes() == original and is_overlay(tmp_path / "a_pose.png")


def test_a_video_is_not_drawn_over(bundle, tmp_path, capsys):
    """A name in --out that leads to what is being read."""
    video = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (96, 96))
    writer.write(GREY)
    writer.release()
    before = video.read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "v.avi_000000_pose.jpg").symlink_to(video)
    assert main(["estimate", str(video), "--bundle", str(bundle), "--hfov", "60", "--out", str(tmp_path / "out")]) == 1
    assert "would replace" in capsys.readouterr().err and video.read_bytes() == before


def test_a_photograph_that_only_is_called_like_an_overlay_stays(bundle, scenes, tmp_path, capsys):
    """It is neither read nor drawn by the command that would replace it."""
    photograph = (scenes[0] / "a.png").read_bytes()
    for name in ("a.png", "a_pose.png"):
        (tmp_path / name).write_bytes(photograph)
    words = ["estimate", str(tmp_path / "a.png"), "--bundle", str(bundle), "--hfov", "60", "--out", str(tmp_path)]
    assert main(words) == 1
    assert "a_pose.png, which dinemo has not drawn: give another folder" in capsys.readouterr().err
    assert (tmp_path / "a_pose.png").read_bytes() == photograph


def test_json_and_drawn_picture_in_one_file(bundle, scenes, tmp_path, capsys):
    words = ["estimate", str(scenes[0] / "a.png"), "--bundle", str(bundle), "--hfov", "60", "--out", str(tmp_path),
             "--json", str(tmp_path / "a_pose.png")]
    assert main(words) == 1
    assert "would replace what --json writes" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["b" * 251 + ".jpg", "ü" * 125 + ".png", "c" * 255])
def test_names_of_drawn_pictures_fit_a_file_system(name):
    drawn = overlay_name(name)
    assert len(os.fsencode(drawn)) <= 255 and overlay_name(name) == drawn
    assert drawn != overlay_name("x" + name[1:])
