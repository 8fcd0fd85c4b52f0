# SPDX-License-Identifier: Apache-2.0
"""Where the checks on messages begin and end."""

import pytest
from std_msgs.msg import Header

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import CameraError
from dinemo_ros.node import conversions, validation

SECOND = 1_000_000_000


def info(stamp_ns: int, hfov_deg: float):
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, SECOND)
    return conversions.camera_to_info(header, Camera.from_hfov(64, 48, hfov_deg))


def test_one_nanosecond_back_is_out_of_order():
    order = validation.StampOrder()
    order.check(0, 1.0)
    order.check(10 * SECOND, 1.0)
    with pytest.raises(validation.HeaderError, match="skipped as out of order") as error:
        order.check(10 * SECOND - 1, 1.0)
    assert not isinstance(error.value, validation.RestartError)
    order.check(10 * SECOND, 1.0)  # what was skipped is not the last one


def test_a_jump_of_just_the_allowed_time_is_out_of_order_and_a_longer_one_a_restart():
    order = validation.StampOrder()
    order.check(10 * SECOND, 1.0)
    with pytest.raises(validation.HeaderError) as error:
        order.check(9 * SECOND, 1.0)
    assert not isinstance(error.value, validation.RestartError)
    with pytest.raises(validation.RestartError):
        order.check(9 * SECOND - 1, 1.0)


def test_a_stamp_of_zero_is_a_stamp():
    order = validation.StampOrder()
    order.check(0, 1.0)
    order.check(5, 1.0)
    with pytest.raises(validation.HeaderError):
        order.check(0, 1.0)


def test_no_more_camera_infos_are_kept_than_some_and_the_oldest_go_first():
    """At thirty a second for days: memory must not grow."""
    infos, kept = validation.CameraInfos(), validation.CameraInfos.KEPT
    for k in range(kept + 3):
        infos.add(info(k * SECOND, 30.0 + k))
    assert len(infos) == kept
    latest = pytest.approx(30 + kept + 2)
    assert infos.camera(3 * SECOND, 64, 48, False).hfov_deg == pytest.approx(33)
    assert infos.camera(2 * SECOND, 64, 48, False).hfov_deg == latest, "gone: the latest stands in"


def test_a_camera_info_that_comes_again_counts_as_new():
    infos, kept = validation.CameraInfos(), validation.CameraInfos.KEPT
    for k in range(kept):
        infos.add(info(k * SECOND, 30.0))
    infos.add(info(0, 50.0))
    infos.add(info(kept * SECOND, 30.0))
    assert infos.camera(0, 64, 48, False).hfov_deg == pytest.approx(50)
    assert len(infos) == kept


def test_an_empty_frame_is_refused_and_any_other_taken():
    validation.check_frame_id(Header(frame_id="camera"))
    with pytest.raises(validation.HeaderError, match="header.frame_id is empty"):
        validation.check_frame_id(Header())


def test_a_camera_info_of_another_size_is_refused():
    infos = validation.CameraInfos()
    infos.add(info(0, 40.0))
    for width, height in ((64, 47), (63, 48)):
        with pytest.raises(CameraError, match="64x48"):
            infos.camera(0, width, height, False)
