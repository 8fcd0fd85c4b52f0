# SPDX-License-Identifier: Apache-2.0
import pytest
from std_msgs.msg import Header

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import CameraError
from dinemo_ros.node import conversions, validation
from dinemo_ros.node.diagnostics import Monitor

SECOND = 1_000_000_000


def test_stamps_may_stand_still_or_go_on():
    order = validation.StampOrder()
    for stamp in (0, 0, 5, SECOND, 100 * SECOND):
        order.check(stamp, 1.0)


def test_small_step_back_is_out_of_order_and_large_one_a_restart():
    order = validation.StampOrder()
    order.check(10 * SECOND, 1.0)
    with pytest.raises(validation.HeaderError, match="out of order") as error:
        order.check(int(9.5 * SECOND), 1.0)
    assert not isinstance(error.value, validation.RestartError)
    with pytest.raises(validation.RestartError, match="jumped back by 8.000 s"):
        order.check(2 * SECOND, 1.0)
    order.check(int(2.1 * SECOND), 1.0)  # the new run goes on


def test_camera_info_of_the_same_stamp_is_preferred():
    infos = validation.CameraInfos()
    with pytest.raises(CameraError, match="no camera_info has arrived"):
        infos.camera(0, 64, 48, False)
    for stamp, hfov in ((1, 40.0), (2, 60.0)):
        header = Header()
        header.stamp.sec = stamp
        infos.add(conversions.camera_to_info(header, Camera.from_hfov(64, 48, hfov)))
    assert infos.camera(1 * SECOND, 64, 48, False).hfov_deg == pytest.approx(40)
    assert infos.camera(7 * SECOND, 64, 48, False).hfov_deg == pytest.approx(60), "no such stamp: the latest"
    with pytest.raises(CameraError, match="64x48, the image is 65x48"):
        infos.camera(2 * SECOND, 65, 48, False)


def test_camera_info_that_is_understood_other_than_written_is_told():
    infos, message = validation.CameraInfos(), conversions.camera_to_info(Header(), Camera.from_hfov(64, 48, 60.0))
    message.d = [0.1, 0.01, 0.0, 0.0, 0.0, 0.05, 0.01, 0.0]
    infos.add(message)
    assert infos.camera(0, 64, 48, False).distortion_model == "rational_polynomial"
    assert "'plumb_bob' has 8 coefficients" in infos.notes[0]
    message.d = [0.1, 0.01, 0.0, 0.0, 0.0]
    assert infos.camera(0, 64, 48, False).distortion_model == "plumb_bob" and infos.notes == ()


def test_only_bad_boxes_are_left_out():
    nan = float("nan")
    good, bad = validation.check_rois([(1, 2, 30, 40), (nan, 0, 5, 5), (-20, -20, -5, -5), (30, 5, 20, 9),
                                       (-10, 5, 20, 40)], 64, 48)
    assert good == [(1, 2, 30, 40), (-10, 5, 20, 40)], "a box that sticks out is cut, not refused"
    assert len(bad) == 3


def test_boxes_that_the_lens_does_not_show_are_left_out_and_the_others_stay():
    K = [[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]
    camera = Camera(640, 480, K, "plumb_bob", (-0.6, 0, 0, 0, 0))  # turns back 248 pixels from the centre
    boxes = [(0, 0, 50, 50), (250, 200, 350, 300), (600, 220, 640, 260)]
    good, bad = validation.check_rois(boxes, 640, 480, camera)
    assert good == [boxes[1]] and len(bad) == 2
    assert "ROI [0.0, 0.0, 50.0, 50.0] cannot be looked at" in str(bad[0])
    assert validation.check_rois(boxes, 640, 480, Camera.from_hfov(640, 480, 60.0)) == (boxes, [])


class Recorder:
    """A logger that keeps what it is told."""

    def __init__(self):
        self.lines = []

    def warning(self, line):
        self.lines.append(line)

    info = warning


def test_monitor_says_each_thing_once_and_counts_all():
    log = Recorder()
    monitor = Monitor(log, "pose_node: pose estimation")
    for size in (3, 4, 5):
        monitor.reject("image", f"/image: data has {size} bytes", 60.0)
    monitor.reject("image", "/image: unknown encoding", 60.0)
    assert log.lines == ["/image: data has 3 bytes", "/image: unknown encoding"]
    assert monitor.rejected["image"] == 4
    monitor.image_done(1, 0.05, {"crop": 1.0})
    assert log.lines[-1] == "images are good again after 4 rejected"


def test_monitor_status_tells_what_is_wrong_and_recovers():
    monitor = Monitor(Recorder(), "pose_node: pose estimation")
    monitor.start()
    monitor.image_received()
    monitor.reject("camera_info", "/camera_info: focal length 0", 5.0)
    status = monitor.status("active", 3.0, "/image", {})
    values = {v.key: v.value for v in status.values}
    assert status.level == b"\x02" and "focal length 0" in status.message
    assert values["rejected_camera_info"] == "1" and values["rejected_image"] == "0"
    monitor.image_done(2, 0.04, {})
    status = monitor.status("active", 3.0, "/image", {})
    assert status.level == b"\x01", "it worked again, but something was wrong a moment ago"
    assert {v.key: v.value for v in status.values}["objects_published"] == "2"
    assert monitor.status("active", -1.0, "/image", {}).message.startswith("no image on /image")


def test_stamps_that_stay_the_same_are_strange():
    """Zero twice, as no camera sends it; another stamp four times, for a picture may come twice."""
    def strange(*stamps):
        order = validation.StampOrder()
        for stamp in stamps:
            order.check(stamp, 1.0)
        return order.strange()

    assert "stays zero" in strange(0, 0) and "stays 5.000" in strange(*[5 * SECOND] * 4)
    assert not any((strange(0), strange(5), strange(5, 5, 5), strange(0, 0, 1), strange(5, 5, 6, 6, 7, 7, 8)))


@pytest.mark.parametrize("name", ["camera_link", "camera_color_frame", "base_footprint", "map", "Camera_Link"])
def test_names_of_body_frames(name):
    assert f"'{name}'" in validation.strange_frame(name)


@pytest.mark.parametrize("name", ["camera_color_optical_frame", "camera", "cam0", "linked", "CAMERA_OPTICAL_FRAME"])
def test_names_of_frames_that_may_be_optical(name):
    assert validation.strange_frame(name) == ""


def test_camera_info_of_another_frame():
    assert "'left'" in (told := validation.strange_camera_frame("left", "right")) and "'right'" in told
    for info in ("left", "/left", ""):
        assert validation.strange_camera_frame("left", info) == ""


def test_camera_infos_tell_their_age(monkeypatch):
    infos = validation.CameraInfos()
    assert infos.silent_s() == 0.0 and not infos.once and infos.frame_id == ""
    now = 100.0
    monkeypatch.setattr(validation.time, "monotonic", lambda: now)
    infos.add(conversions.camera_to_info(Header(frame_id="left"), Camera.from_hfov(64, 48, 60.0)))
    now = 103.0
    assert infos.silent_s() == pytest.approx(3.0) and infos.once and infos.frame_id == "left"
    infos.add(conversions.camera_to_info(Header(frame_id="left"), Camera.from_hfov(64, 48, 60.0)))
    assert infos.silent_s() == 0.0 and not infos.once
