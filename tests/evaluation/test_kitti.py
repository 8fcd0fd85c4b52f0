# SPDX-License-Identifier: Apache-2.0
"""KITTI labels in our frames, and the bookkeeping of found and missed cars."""

import numpy as np
import pytest
from shared_data import shared_data

from dinemo_ros.drawing.overlay import box_corners
from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation.kitti import assign_own
from dinemo_ros.evaluation.kitti_labels import KittiObject, read_kitti, read_labels, read_projection
from dinemo_ros.io.sources.folder import read_image
from dinemo_ros.pose import Hypothesis, ObjectPose

# fx = fy = 700, centre (600, 180), camera 2 lies 6 cm to the left of camera 0: b = K^-1 P2[:, 3] = (0.06, 0, 0).
P2 = np.array([[700.0, 0, 600, 42], [0, 700, 180, 0], [0, 0, 1, 0]])
CALIB = "P0: 1 2 3\nP2: " + " ".join(f"{v:.6e}" for v in P2.ravel()) + "\nR0_rect: 1 0 0 0 1 0 0 0 1\n"


def label(rotation_y=0.0, location=(0, 1.5, 20), kind="Car", truncation=0.0, occlusion=0, box=(500, 150, 600, 200)):
    return (f"{kind} {truncation} {occlusion} -1.5 {' '.join(map(str, box))} 1.5 1.8 4.2 "
            f"{' '.join(map(str, location))} {rotation_y}")


def read(tmp_path, *lines):
    path = tmp_path / "000000.txt"
    path.write_text("\n".join(lines) + "\n")
    return read_labels(path, P2)


def test_centre_size_and_camera_offset(tmp_path):
    car, = read(tmp_path, label(location=(-2.0, 1.5, 20.0)))
    assert car.size.tolist() == [4.2, 1.8, 1.5]  # file order is height, width, length
    assert car.T_cam_obj[:3, 3] == pytest.approx([-2.0 + 0.06, 1.5 - 0.75, 20.0])
    assert car.roi.tolist() == [500.5, 150.5, 600.5, 200.5]


@pytest.mark.parametrize(("rotation_y", "forward", "azimuth_deg"), [
    (0.0, (1, 0, 0), 270.0),  # drives to the right of the picture: its right side is seen
    (np.pi, (-1, 0, 0), 90.0),  # to the left: its left side is seen
    (-np.pi / 2, (0, 0, 1), 180.0),  # away: its rear is seen
    (np.pi / 2, (0, 0, -1), 0.0),  # towards the camera: its front is seen
])
def test_convention_rotation_y_and_azimuth(tmp_path, rotation_y, forward, azimuth_deg):
    car, = read(tmp_path, label(rotation_y, location=(-0.06, 0.75, 20)))  # straight ahead of camera 2
    R = car.T_cam_obj[:3, :3]
    assert R[:, 0] == pytest.approx(forward, abs=1e-12)
    assert R[:, 2] == pytest.approx([0, -1, 0], abs=1e-12)  # up
    azimuth, elevation, theta = np.degrees(Hypothesis(car.T_cam_obj, 1.0, car.size).viewpoint())
    assert (azimuth - azimuth_deg + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    assert (elevation, theta) == pytest.approx((0, 0), abs=1e-6)


def test_azimuth_is_seen_along_the_ray_to_the_car(tmp_path):
    """A car driving away at the right border shows its left side, at the left border its right side."""
    right, left = read(tmp_path, label(-np.pi / 2, (10, 0.75, 10)), label(-np.pi / 2, (-10, 0.75, 10)))
    assert 90 < np.degrees(Hypothesis(right.T_cam_obj, 1.0, right.size).viewpoint()[0]) < 180
    assert 180 < np.degrees(Hypothesis(left.T_cam_obj, 1.0, left.size).viewpoint()[0]) < 270


@pytest.mark.parametrize(("change", "easy"), [
    ({}, True), ({"truncation": 0.14}, True), ({"truncation": 0.15}, False), ({"occlusion": 1}, True),
    ({"occlusion": 2}, False), ({"box": (500, 150, 600, 189.9)}, False), ({"box": (500, 150, 600, 190)}, True),
    ({"kind": "Van"}, False),
])
def test_easy_set(tmp_path, change, easy):
    car, = read(tmp_path, label(**change))
    assert car.is_easy_car is easy


@pytest.mark.parametrize(("text", "says"), [
    ("Car 0 0 0 1 2 3 4", "line 2: has 8 fields, a KITTI label has 15"),
    ("Car 0 0 zero 1 2 3 4 1 1 1 1 1 1 1", "line 2: could not convert"),
    (label(occlusion="nan"), "line 2: holds a number that is not finite"),
    (label(location=(0, "inf", 20)), "line 2: holds a number that is not finite"),
    (label(box=(500, "nan", 600, 200)), "line 2: holds a number that is not finite"),
    (label(box=(600, 150, 500, 200)), r"line 2: the box .600.0, 150.0, 500.0, 200.0. is empty"),
    (label(box=(500, 200, 600, 150), kind="Van"), "line 2: the box .* is empty"),
    (label().replace("1.5 1.8 4.2", "1.5 0 4.2"), r"line 2: dimensions .1.5, 0.0, 4.2. must be positive"),
    (label(location=(0, 1.5, -20)), "line 2: location z leaves the car 20 m behind the camera"),
    (label(rotation_y=-71.6), "line 2: rotation_y is -71.6; field 15 is in radians"),
])
def test_broken_label_names_file_and_line(tmp_path, text, says):
    with pytest.raises(DatasetError, match=f"000000.txt, {says}"):
        read(tmp_path, label(), text)


@pytest.mark.parametrize("line", [
    "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10",
    "DontCare -1 -1 -10 0 0 0 0 -1 -1 -1 -1000 -1000 -1000 -10",
    "Misc -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10",
    label(truncation=0.9, location=(-2, 1.5, -0.3)),  # half beside the camera: not evaluated, so not judged
])
def test_what_is_not_evaluated_needs_no_possible_pose(tmp_path, line):
    other, car = read(tmp_path, line, label())
    assert (other.is_easy_car, car.is_easy_car) == (False, True)


def test_a_label_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "000000.txt").write_text(label() + "\n", encoding="utf-8-sig")
    assert read_labels(tmp_path / "000000.txt", P2)[0].kind == "Car"


def kitti_folder(tmp_path):
    for name in ("image_2", "calib", "label_2"):
        (tmp_path / name).mkdir()
    (tmp_path / "image_2" / "000000.png").touch()
    (tmp_path / "calib" / "000000.txt").write_text(CALIB)
    (tmp_path / "label_2" / "000000.txt").write_text(label() + "\n")
    return tmp_path


def test_folder_is_read(tmp_path):
    frame, = read_kitti(kitti_folder(tmp_path))
    assert np.array_equal(frame.P2, P2)
    assert frame.camera(1242, 375).K[0].tolist() == [700, 0, 600]
    assert len(frame.objects) == 1


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda d: (d / "label_2" / "000000.txt").unlink(), "label_2/000000.txt: cannot be read"),
    (lambda d: (d / "calib" / "000000.txt").unlink(), "calib/000000.txt: cannot be read"),
    (lambda d: (d / "calib" / "000000.txt").write_text("P0: 1\n"), "has no line 'P2"),
    (lambda d: (d / "calib" / "000000.txt").write_text("P2: 1 2\n"), "must be 12 numbers"),
    (lambda d: (d / "calib" / "000000.txt").write_text("P2: " + "0 " * 12), "is no camera"),
    (lambda d: (d / "image_2" / "000000.png").unlink(), r"image_2: no image; known are \.jpg, \.jpeg, .*\.png"),
    (lambda d: (d / "image_2").rename(d / "image_3"), "no folder image_2"),
])
def test_folder_of_another_layout_is_refused_by_name(tmp_path, spoil, says):
    spoil(kitti_folder(tmp_path))
    with pytest.raises(DatasetError, match=says):
        read_kitti(tmp_path)


@pytest.mark.parametrize("name", ["000000.jpeg", "000000.PNG"])
def test_pictures_of_every_known_kind_are_read(tmp_path, name):
    folder = kitti_folder(tmp_path)
    (folder / "image_2" / "000000.png").rename(folder / "image_2" / name)
    (folder / "image_2" / "._000000.png").touch()  # what a Mac leaves beside it
    assert [frame.image.name for frame in read_kitti(folder)] == [name]


def test_a_folder_without_an_easy_car_says_why(tmp_path):
    folder = kitti_folder(tmp_path)
    lines = [label(kind="car"), label(occlusion=2), label(kind="car")]
    (folder / "label_2" / "000000.txt").write_text("\n".join(lines))
    with pytest.raises(DatasetError, match="label_2: none of the 3 objects of 1 pictures is an easy car .*: 2 of the "
                                           "type car, 1 with an occlusion above 1$"):
        read_kitti(folder)
    (folder / "label_2" / "000000.txt").write_text("")
    with pytest.raises(DatasetError, match="none of the 0 objects of 1 pictures"):
        read_kitti(folder)


def pose(roi, score=0.5, T=None) -> ObjectPose:
    return ObjectPose(np.eye(4) if T is None else T, score, np.ones(3), category="car", roi=roi)


def annotated(kind, box, occlusion=0, truncation=0.0) -> KittiObject:
    return KittiObject(kind, truncation, occlusion, np.array(box, float), np.ones(3), np.eye(4))


def test_only_detections_of_nothing_are_false():
    objects = [annotated("Car", (0, 0, 100, 100)), annotated("Car", (200, 0, 300, 100), occlusion=2),
               annotated("Car", (700, 0, 800, 100)), annotated("Van", (400, 0, 500, 100)),
               annotated("DontCare", (600, 0, 690, 100)), annotated("Pedestrian", (900, 0, 1000, 100))]
    right = pose((5, 0, 100, 100), 0.6)
    poses = [right, pose((0, 0, 90, 100), 0.4),  # a second one on the same car
             pose((200, 0, 300, 100)), pose((400, 0, 500, 100)),  # hard car, van: ignored
             pose((610, 10, 680, 90)),  # within DontCare: ignored
             pose((1100, 0, 1150, 39)),  # less than 40 pixels high: ignored
             pose((900, 0, 1000, 100)), pose((0, 200, 100, 300))]  # pedestrian, nothing
    held, false_positives = assign_own(poses, objects)
    assert held == [right, None]
    assert false_positives == 3


def test_nothing_found_and_nothing_there():
    assert assign_own([], [annotated("Car", (0, 0, 100, 100))]) == ([None], 0)
    assert assign_own([pose((0, 0, 50, 50))], []) == ([], 1)


@pytest.fixture(scope="module")
def frames():
    return read_kitti(shared_data("kitti"))


def test_real_thirteen_easy_cars(frames):
    assert len(frames) == 18
    assert sum(o.kind == "Car" for f in frames for o in f.objects) == 42
    assert sum(o.is_easy_car for f in frames for o in f.objects) == 13


def test_real_projected_boxes_fill_the_label_boxes(frames):
    """The boxes that KITTI's annotators drew around the projected 3-D boxes must come out of our conversion."""
    offsets = []
    for frame in frames:
        height, width = read_image(frame.image).shape[:2]
        camera = frame.camera(width, height)
        for o in (o for o in frame.objects if o.kind == "Car" and o.truncation == 0.0):
            pixels = camera.project(box_corners(ObjectPose(o.T_cam_obj, 1.0, o.size))) + 0.5
            box = np.clip([*pixels.min(axis=0), *pixels.max(axis=0)], 0, [width, height, width, height])
            offsets.append(np.abs(box - o.roi).max())
    assert len(offsets) > 30
    # Labels are rounded to 1 cm and 0.01 rad: up to 2 px on a near car. P2's offset is 5 px there.
    assert np.median(offsets) < 1.0
    assert max(offsets) < 2.5


def test_real_calibrations_have_the_stereo_offset(frames):
    for frame in frames:
        assert 0.04 < np.linalg.solve(frame.P2[:, :3], frame.P2[:, 3])[0] < 0.08


def test_projection_is_read_from_its_line(tmp_path):
    (tmp_path / "c.txt").write_text(CALIB)
    assert np.allclose(read_projection(tmp_path / "c.txt"), P2)
