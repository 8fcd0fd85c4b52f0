# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from dinemo_ros.camera.camera_info import camera_from_info
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.errors import CameraError
from dinemo_ros.geometry import rotation_angle, se3, so3_exp
from dinemo_ros.node import conversions
from dinemo_ros.node.demo_listener import transform
from dinemo_ros.pose import Hypothesis, ObjectPose

HEADER = Header(frame_id="camera")


def info(**changes) -> CameraInfo:
    K = [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
    P = [400.0, 0.0, 300.0, 0.0, 0.0, 410.0, 200.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    fields = {"width": 640, "height": 480, "k": K, "p": P, "d": [0.1, -0.05, 0.0, 0.0, 0.0],
              "distortion_model": "plumb_bob"}
    return CameraInfo(header=HEADER, **{**fields, **changes})


def test_convention_quaternion_is_xyzw_and_right_handed():
    """A quarter turn about z: x goes to y."""
    x, y, z, w = conversions.quaternion_from_rotation(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    assert (x, y, z, w) == pytest.approx((0, 0, np.sqrt(0.5), np.sqrt(0.5)))


def test_pose_message_holds_the_transform():
    rng = np.random.default_rng(0)
    half_turns = [np.pi * np.eye(3)[i] for i in range(3)]  # w = 0: the other three branches of Shepperd's method
    for omega in [*half_turns, *rng.normal(size=(50, 3)) * 2]:
        T = se3(so3_exp(omega), rng.normal(size=3))
        back = transform(conversions.pose_message(T))
        assert rotation_angle(back[:3, :3], T[:3, :3]) < 1e-6
        assert np.allclose(back[:3, 3], T[:3, 3])


def test_camera_of_a_raw_and_of_a_rectified_image():
    raw = camera_from_info(info())
    assert raw.K[0, 0] == 500 and raw.K[1, 2] == 239.5 and raw.distortion[:2] == (0.1, -0.05)
    rectified = camera_from_info(info(), rectified=True)
    assert rectified.K[0, 0] == 400 and rectified.K[1, 2] == 200 and rectified.distortion == ()


def test_binning_and_region_of_interest_move_the_principal_point():
    """The camera of the published picture projects as the full one followed by cutting and averaging."""
    full = camera_from_info(info(d=[]))
    cut = camera_from_info(info(d=[], binning_x=2, binning_y=2,
                                            roi=RegionOfInterest(x_offset=100, y_offset=40, width=400, height=300)))
    assert (cut.width, cut.height) == (200, 150)
    points = np.array([[0.1, -0.2, 2.0], [0.4, 0.3, 3.0]])
    expected = (full.project(points) - [100, 40] + 0.5) / 2 - 0.5  # pixel centres at integers
    assert np.allclose(cut.project(points), expected)


@pytest.mark.parametrize("changes", [
    {"k": [0.0] * 9}, {"k": [float("nan")] * 9}, {"k": [-500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]},
    {"width": 0, "height": 0}, {"d": [float("nan")] * 5}, {"distortion_model": "mystery"}])
def test_impossible_camera_info_is_refused(changes):
    with pytest.raises(CameraError):
        camera_from_info(info(**changes))


def test_camera_info_round_trip():
    for camera in (Camera.from_hfov(640, 480, 70.0), camera_from_info(info())):
        back = camera_from_info(conversions.camera_to_info(HEADER, camera))
        assert np.array_equal(back.K, camera.K) and back.distortion == camera.distortion
        assert (back.width, back.height) == (camera.width, camera.height)


def test_image_round_trip():
    rgb = np.random.default_rng(1).integers(0, 255, (33, 47, 3), dtype=np.uint8)
    message = conversions.rgb_to_image(HEADER, rgb[:, ::-1])  # not contiguous
    assert np.array_equal(conversions.image_to_rgb(message), rgb[:, ::-1])


def test_detection_carries_size_covariance_and_runners_up():
    T, flipped = se3(so3_exp([0, 0.3, 0]), [1.0, 0.5, 9.0]), se3(so3_exp([0, 3.1, 0]), [1.0, 0.5, 9.0])
    covariance = np.diag([0.1, 0.2, 3.0, 0.01, 0.02, 0.03])
    covariance[0, 2] = covariance[2, 0] = 0.05
    pose = ObjectPose(T, 0.8, np.array([4.4, 1.8, 1.5]), category="car", covariance=covariance,
                      runners_up=(Hypothesis(flipped, 0.6, np.array([4.4, 1.8, 1.5])),))
    message = conversions.detections_message(HEADER, [pose], ["car_0"])
    found = message.detections[0]
    assert message.header == found.header == HEADER and found.id == "car_0"
    assert (found.bbox.size.x, found.bbox.size.y, found.bbox.size.z) == (4.4, 1.8, 1.5)
    assert [r.hypothesis.score for r in found.results] == [0.8, 0.6]
    assert {r.hypothesis.class_id for r in found.results} == {"car"}
    assert np.allclose(np.array(found.results[0].pose.covariance).reshape(6, 6), covariance)
    assert found.results[1].pose.covariance[0] == -1, "the covariance of a runner-up is not known"
    assert rotation_angle(transform(found.results[1].pose.pose)[:3, :3], flipped[:3, :3]) < 1e-6
