# SPDX-License-Identifier: Apache-2.0
"""Folder, video and bag as sources: real files, good and bad."""

import shutil

import cv2
import numpy as np
import pytest

from dinemo_ros.errors import CameraError, DatasetError
from dinemo_ros.io.sources import open_source

CAMERA_INFO = """\
image_width: 32
image_height: 24
camera_matrix: {rows: 3, cols: 3, data: [40.0, 0, 15.5, 0, 41.0, 11.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}
"""


def picture(value: int) -> np.ndarray:
    """RGB [24, 32, 3] of one colour that tells the channels apart."""
    return np.full((24, 32, 3), (value, 40, 90), np.uint8)


def save(path, value: int):
    cv2.imwrite(str(path), picture(value)[..., ::-1])


@pytest.fixture
def folder(tmp_path):
    for number in (1, 2, 10):
        save(tmp_path / f"view {number}.png", 10 * number)
    return tmp_path


def test_folder_is_read_in_natural_order_as_rgb(folder):
    frames = list(open_source(folder, fps=20))
    assert [f.name for f in frames] == ["view 1.png", "view 2.png", "view 10.png"]
    assert [f.stamp_s for f in frames] == pytest.approx([0, 0.05, 0.10])
    assert all(np.array_equal(f.image_rgb, picture(v)) for f, v in zip(frames, (10, 20, 100), strict=True))
    assert frames[0].camera is None


def test_names_with_digits_that_are_no_numbers_are_sorted_too(tmp_path):
    for name in ("1²2.png", "①.png", "3.png"):
        save(tmp_path / name, 1)
    assert sorted(f.name for f in open_source(tmp_path)) == sorted(["1²2.png", "①.png", "3.png"])


def test_gif_among_pictures_says_what_to_do(folder):
    (folder / "a.gif").write_bytes(b"GIF89a")
    source = open_source(folder)
    assert len(list(source)) == 3 and "ffmpeg -i" in source.skipped[0] and "read as a video" in source.skipped[0]


@pytest.mark.parametrize("suffix", [".jfif", ".jp2", ".avif"])
def test_less_common_formats_are_read(tmp_path, suffix):
    """As far as this OpenCV has their codec; a distribution's may lack some."""
    try:
        ok, data = cv2.imencode({".jfif": ".jpg"}.get(suffix, suffix), cv2.resize(picture(200), (160, 120)))
    except cv2.error:
        ok = False
    if not ok:
        pytest.skip(f"OpenCV {cv2.__version__} writes no {suffix}")
    (tmp_path / f"x{suffix}").write_bytes(data.tobytes())
    assert next(iter(open_source(tmp_path))).image_rgb.shape == (120, 160, 3)


def test_bad_files_among_good_ones_are_skipped_named_and_counted(folder):
    whole = (folder / "view 1.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("hello")
    (folder / "truth.json").write_text("{}")  # belongs beside images
    (folder / ".hidden").touch()
    (folder / "sub").mkdir()
    source = open_source(folder)
    for _ in range(2):  # iterating again starts again
        assert len(list(source)) == 3
        assert len(source.skipped) == 4
        for name in ("cut.png", "text.jpg", "empty.jpg", "notes.txt"):
            assert sum(sentence.startswith(f"{name}: ") for sentence in source.skipped) == 1
    assert len(source) == 7


def test_folder_brings_its_camera(folder):
    (folder / "camera_info.yaml").write_text(CAMERA_INFO)
    camera = next(iter(open_source(folder))).camera
    assert (camera.width, camera.height, camera.K[0, 0], camera.distortion[0]) == (32, 24, 40.0, 0.1)


def test_broken_camera_info_is_an_error_not_ignored(folder):
    (folder / "camera_info.yaml").write_text("image_width: 32")
    with pytest.raises(CameraError, match=r"camera_info\.yaml"):
        open_source(folder)


def test_single_image_is_a_source_of_one_frame(folder):
    frames = list(open_source(folder / "view 2.png"))
    assert [f.name for f in frames] == ["view 2.png"]


@pytest.mark.parametrize("make", [lambda p: p / "missing", lambda p: p, lambda p: (p / "a.txt").touch() or p])
def test_nothing_to_read_is_an_error(tmp_path, make):
    with pytest.raises(DatasetError, match=str(tmp_path)):
        open_source(make(tmp_path))


def test_impossible_rate_is_refused(folder):
    with pytest.raises(DatasetError, match="fps is 0"):
        open_source(folder, fps=0.0)


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (32, 24))
    assert writer.isOpened()
    for value in (20, 120, 220):
        writer.write(np.ascontiguousarray(picture(value)[..., ::-1]))
    writer.release()
    return path


def test_video_is_read_as_rgb_with_its_own_rate(video):
    source = open_source(video)
    frames = list(source)
    assert [f.name for f in frames] == ["drive.avi:000000", "drive.avi:000001", "drive.avi:000002"]
    assert [f.stamp_s for f in frames] == pytest.approx([0, 0.04, 0.08])
    for frame, value in zip(frames, (20, 120, 220), strict=True):
        assert np.abs(frame.image_rgb.mean(axis=(0, 1)) - [value, 40, 90]).max() < 8  # JPEG inside
    assert len(source) == 3
    assert source.skipped == []


def test_video_that_is_none_is_an_error(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(DatasetError, match="cannot be opened as a video; it is a text file"):
        open_source(tmp_path / "x.mp4")
    (tmp_path / "x.mp4").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(DatasetError, match="cannot be opened as a video"):
        open_source(tmp_path / "x.mp4")


# ----------------------------------------------------------------------------------------------------------- bags

rosbags = pytest.importorskip("rosbags", reason="rosbags is not installed (pip install rosbags)")


def write_bag(path, storage: str, images, infos=(), topic="/front/image_raw", **fields):
    """A bag of ``images`` [(stamp_s, message maker)] and CameraInfo ``infos`` [(time_s, fx)], ``fields`` changed."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    types = store.types
    stamp_of = types["builtin_interfaces/msg/Time"]
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        connections = {}

        def put(name, time_s, message):
            kind = message.__msgtype__
            if name not in connections:
                connections[name] = writer.add_connection(name, kind, typestore=store)
            writer.write(connections[name], int(time_s * 1e9), store.serialize_cdr(message, kind))

        def header(time_s):
            return types["std_msgs/msg/Header"](stamp_of(int(time_s), round(time_s % 1 * 1e9)), "camera_optical")

        for time_s, fx in infos:
            region = types["sensor_msgs/msg/RegionOfInterest"](*fields.get("roi", (0, 0, 0, 0)), False)
            known = {"header": header(time_s), "height": 24, "width": 32, "distortion_model": "plumb_bob",
                     "d": np.zeros(5), "k": np.array([fx, 0, 15.5, 0, fx, 11.5, 0, 0, 1.0]), "r": np.eye(3).ravel(),
                     "p": np.zeros(12), "binning_x": 0, "binning_y": 0, **fields, "roi": region}
            put(topic.rsplit("/", 1)[0] + "/camera_info", time_s, types["sensor_msgs/msg/CameraInfo"](**known))
        for time_s, make in images:
            put(topic, time_s, make(types, header(time_s)))


def raw_image(value, step=96, encoding="rgb8"):
    return lambda types, header: types["sensor_msgs/msg/Image"](header, 24, 32, encoding, 0, step,
                                                                picture(value).reshape(-1))


def jpeg_image(value):
    data = cv2.imencode(".jpg", picture(value)[..., ::-1])[1].reshape(-1)
    return lambda types, header: types["sensor_msgs/msg/CompressedImage"](header, "rgb8; jpeg compressed bgr8", data)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_bag_brings_images_stamps_frame_and_camera(tmp_path, storage):
    write_bag(tmp_path / "bag", storage, [(5.25, raw_image(10)), (5.5, raw_image(20))], [(5.3, 40.0), (5.4, 50.0)])
    suffix = "mcap" if storage == "mcap" else "db3"
    for path in (tmp_path / "bag", next((tmp_path / "bag").glob(f"*.{suffix}"))):
        frames = list(open_source(path))
        assert [f.stamp_s for f in frames] == pytest.approx([5.25, 5.5], abs=1e-8)
        assert [f.image_rgb[0, 0, 0] for f in frames] == [10, 20]
        assert {f.frame_id for f in frames} == {"camera_optical"}
        assert [f.camera.K[0, 0] for f in frames] == [40.0, 50.0]  # the first came after the image, still serves it


def test_compressed_topic_finds_the_camera_info_one_level_up(tmp_path):
    write_bag(tmp_path / "bag", "mcap", [(2.0, jpeg_image(200))], topic="/front/image_raw/compressed")
    write_bag(tmp_path / "both", "mcap", [(2.0, jpeg_image(200))], [(2.0, 40.0)], topic="/front/compressed")
    frame, = open_source(tmp_path / "bag")
    assert np.abs(frame.image_rgb[0, 0].astype(int) - [200, 40, 90]).max() < 6
    assert frame.camera is None
    frame, = open_source(tmp_path / "both")
    assert frame.camera.K[0, 0] == 40.0


def test_damaged_images_in_a_bag_are_skipped_and_named(tmp_path):
    write_bag(tmp_path / "bag", "mcap", [(1.0, raw_image(1, step=50)), (2.0, raw_image(2)),
                                         (3.0, raw_image(3, encoding="rgb99"))])
    source = open_source(tmp_path / "bag")
    frame, = source
    assert frame.name == "bag:000001"
    assert [s.split(": ")[0] for s in source.skipped] == ["bag:000000", "bag:000002"]
    assert "step is 50" in source.skipped[0]


def test_binning_and_region_of_interest_of_a_bag_count_as_in_the_node(tmp_path):
    """The sensor has 80 x 68 pixels; 64 x 48 of them were averaged two by two."""
    write_bag(tmp_path / "bag", "mcap", [(1.0, raw_image(1))], [(1.0, 100.0)], width=80, height=68, binning_x=2,
              binning_y=2, roi=(8, 10, 48, 64))
    camera = next(iter(open_source(tmp_path / "bag"))).camera
    assert (camera.width, camera.height, camera.K[0, 0]) == (32, 24, 50.0)
    assert camera.K[:2, 2] == pytest.approx([(15.5 - 8 + 0.5) / 2 - 0.5, (11.5 - 10 + 0.5) / 2 - 0.5])


@pytest.mark.parametrize("topic", ["/front/image_rect", "/front/image_rect_color/compressed"])
def test_convention_an_image_rect_topic_has_the_camera_p_and_no_lens(tmp_path, topic):
    make = jpeg_image(1) if "compressed" in topic else raw_image(1)
    lens = {"d": np.array([0.1, 0, 0, 0, 0])}
    P = np.array([30.0, 0, 14, 0, 0, 31, 12, 0, 0, 0, 1, 0])
    for name, fields, focal in (("filled", {"p": P}, 30.0), ("empty", {}, 40.0)):
        write_bag(tmp_path / name, "mcap", [(1.0, make)], [(1.0, 40.0)], topic, **lens, **fields)
        source = open_source(tmp_path / name)
        camera = next(iter(source)).camera
        assert camera.K[0, 0] == focal and camera.distortion == ()
        assert any("is taken as rectified, by its name" in note for note in source.notes)
    write_bag(tmp_path / "raw", "mcap", [(1.0, raw_image(1))], [(1.0, 40.0)], **lens, p=P)
    camera = next(iter(open_source(tmp_path / "raw"))).camera
    assert camera.K[0, 0] == 40.0 and camera.distortion[0] == 0.1


def test_uncalibrated_camera_info_gives_no_camera_and_a_note(tmp_path):
    write_bag(tmp_path / "bag", "mcap", [(1.0, raw_image(1))], [(1.0, 0.0)])
    source = open_source(tmp_path / "bag")
    frame = next(iter(source))
    assert frame.camera is None
    assert any("/front/camera_info is of no use: focal lengths" in note for note in source.notes)
    assert frame.camera_error.startswith("/front/camera_info is of no use: focal lengths must be positive")


def test_camera_info_as_drivers_publish_it(tmp_path):
    """Orbbec's eight coefficients are five and three zeros; a camera that is there is no error."""
    lens = np.array([-0.03, 0.035, -0.0001, -0.0001, -0.012, 0, 0, 0])
    write_bag(tmp_path / "bag", "mcap", [(1.0, raw_image(1))], [(1.0, 40.0)], d=lens)
    source = open_source(tmp_path / "bag")
    frame = next(iter(source))
    assert frame.camera.distortion == tuple(lens[:5]) and frame.camera.K[0, 0] == 40.0
    assert frame.camera_error == "" and source.notes == []


def test_no_camera_info_is_no_error(tmp_path):
    write_bag(tmp_path / "bag", "mcap", [(1.0, raw_image(1))])
    frame = next(iter(open_source(tmp_path / "bag")))
    assert frame.camera is None and frame.camera_error == ""


def test_topic_is_chosen_by_name_and_an_unknown_one_is_refused(tmp_path):
    write_bag(tmp_path / "bag", "mcap", [(1.0, raw_image(1))])
    assert len(list(open_source(tmp_path / "bag", topic="/front/image_raw"))) == 1
    with pytest.raises(DatasetError, match="no image topic '/rear'; it has /front/image_raw"):
        open_source(tmp_path / "bag", topic="/rear")


def test_bag_without_images_is_an_error(tmp_path):
    write_bag(tmp_path / "bag", "mcap", [], [(1.0, 40.0)])
    with pytest.raises(DatasetError, match="no topic of colour images"):
        open_source(tmp_path / "bag")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_truncated_bag_is_an_error_that_names_it(tmp_path, storage):
    write_bag(tmp_path / "bag", storage, [(float(i), raw_image(i)) for i in range(1, 30)])
    file = next(p for p in (tmp_path / "bag").iterdir() if p.suffix in (".mcap", ".db3"))
    cut = tmp_path / f"cut{file.suffix}"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    with pytest.raises(DatasetError, match="cut"):
        list(open_source(cut))


def test_bag_without_metadata_is_still_read(tmp_path):
    write_bag(tmp_path / "bag", "mcap", [(1.0, raw_image(1))])
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert len(list(open_source(tmp_path / "bag"))) == 1
    shutil.copy(next((tmp_path / "bag").glob("*.mcap")), tmp_path / "bag" / "second.mcap")
    with pytest.raises(DatasetError, match="reindex"):
        open_source(tmp_path / "bag")
