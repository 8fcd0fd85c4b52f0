# SPDX-License-Identifier: Apache-2.0
"""Over real DDS: an image goes in, and TF, detections, pose, markers and overlay come out, numerically right."""

import math

import numpy as np
import pytest
from ros_support.processes import running_node, start_node
from visualization_msgs.msg import Marker

from dinemo_ros.geometry import rotation_angle
from dinemo_ros.model.bundle import find_bundle, load_bundle
from dinemo_ros.node import conversions
from dinemo_ros.node.demo_listener import transform

NAMESPACE = "/pose_test"
# The worst of the 28 frames of this sequence is off by 16.7 degrees, another by 44 cm (int8; in fp32 16.1 and 44).
ROTATION_DEG, TRANSLATION_CM = 18.0, 48.0
# Medians over them: 4.4 / 4.3 degrees, 16.3 / 15.9 cm with int8 / fp32, distance and all; upper ends of their bootstrap
# intervals. All 28 are within the bounds above; the Wilson interval of that begins at 87.9 %.
MEDIAN_DEG, MEDIAN_CM, WITHIN = 5.7, 22.0, 0.879


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with running_node(tmp_path_factory.mktemp("pose_node"), NAMESPACE) as node:
        yield node


@pytest.fixture
def probe(node, make_probe):
    probe = make_probe(NAMESPACE)
    probe.wait_for_node()
    return probe


def true_roi(frame) -> tuple[float, float, float, float]:
    """Bounding box of the true mesh in the picture, pixels."""
    mesh = load_bundle(find_bundle("car")).mesh
    pixels = frame.camera.project(mesh.vertices @ frame.T_cam_obj[:3, :3].T + frame.T_cam_obj[:3, 3])
    (x_min, y_min), (x_max, y_max) = pixels.min(axis=0), pixels.max(axis=0)
    return float(x_min), float(y_min), float(x_max), float(y_max)


def errors(T, truth) -> tuple[float, float]:
    """Rotation error in degrees, translation error in centimetres."""
    return (math.degrees(rotation_angle(T[:3, :3], truth[:3, :3])),
            100 * float(np.linalg.norm(T[:3, 3] - truth[:3, 3])))


def assert_near(T, truth):
    degrees, centimetres = errors(T, truth)
    assert degrees < ROTATION_DEG and centimetres < TRANSLATION_CM


def test_outputs_agree_with_the_truth_and_with_each_other(probe, demo_frames):
    """Every output of one image: same stamp and frame as the image, same pose, and that pose is the true one."""
    frame = demo_frames[0]
    header = probe.send(frame.image, frame.camera, probe.header(frame_id="front_camera"))
    detections = probe.answer("detections", header)
    best = detections.detections[0]
    T = transform(best.bbox.center)
    assert_near(T, frame.T_cam_obj)
    assert detections.header == best.header == header
    assert best.id == "pose_test/car_0" and best.results[0].hypothesis.class_id == "car"

    covariance = np.array(best.results[0].pose.covariance).reshape(6, 6)
    assert np.allclose(covariance, covariance.T) and np.linalg.eigvalsh(covariance).min() > 0
    ray = T[:3, 3] / np.linalg.norm(T[:3, 3])
    along = ray @ covariance[:3, :3] @ ray
    assert along > 0.5 * np.trace(covariance[:3, :3]), "one RGB image knows the distance worst"

    pose = probe.answer("pose", header)
    assert pose.header == header and np.allclose(transform(pose.pose), T)
    with_covariance = probe.answer("pose_with_covariance", header)
    assert with_covariance.header == header and with_covariance.pose == best.results[0].pose

    tf = probe.wait(lambda: next((t for m in probe.received["/tf"] for t in m.transforms if t.header == header), None),
                    "/tf")
    assert tf.child_frame_id == "pose_test/car_0", "TF knows no namespaces"
    where = tf.transform.translation
    assert [where.x, where.y, where.z] == pytest.approx(T[:3, 3])
    assert tf.transform.rotation == best.bbox.center.orientation

    markers = probe.wait(lambda: next((m.markers for m in probe.received["markers"]
                                       if m.markers and m.markers[0].header == header), None), "markers")
    body = next(m for m in markers if m.ns == "body")
    assert {m.ns for m in markers} == {"body", "axes", "label"}
    assert body.type == Marker.TRIANGLE_LIST and body.pose == best.bbox.center and len(body.points) % 3 == 0
    corners = np.array([[p.x * body.scale.x, p.y * body.scale.y, p.z * body.scale.z] for p in body.points])
    size = [best.bbox.size.x, best.bbox.size.y, best.bbox.size.z]
    assert np.ptp(corners, axis=0) == pytest.approx(size, rel=0.15), "the mesh is shown at the estimated size"

    overlay = conversions.image_to_rgb(probe.answer("overlay", header))
    assert overlay.shape == frame.image.shape
    x, y = (int(v) for v in frame.camera.project(T[None, :3, 3])[0])
    changed = np.abs(overlay.astype(int) - frame.image).sum(axis=2) > 30
    assert changed[y - 10:y + 10, x - 10:x + 10].mean() > 0.5, "the object is drawn where it is"
    assert changed.mean() < 0.9


def test_most_frames_of_the_sequence_are_right(probe, demo_frames):
    """All the frames, found without help: medians and the share within the bounds; no pose counts as wrong."""
    found = []
    for frame in demo_frames:
        detections = probe.answer("detections", probe.send(frame.image, frame.camera)).detections
        found.append(errors(transform(detections[0].bbox.center), frame.T_cam_obj) if detections else (180.0, np.inf))
    degrees, centimetres = np.array(found).T
    assert np.median(degrees) < MEDIAN_DEG
    assert np.median(centimetres) < MEDIAN_CM
    assert np.mean((degrees < ROTATION_DEG) & (centimetres < TRANSLATION_CM)) >= WITHIN


def test_boxes_of_a_detector_are_used(probe, demo_frames):
    frame = demo_frames[len(demo_frames) // 2]
    probe.start_detector()
    try:
        roi = true_roi(frame)
        header = probe.send(frame.image, frame.camera)
        probe.spin(0.5)
        assert not probe.answered("detections", header), "it must wait for the detector"
        probe.send_boxes(header, [roi])
        found = probe.answer("detections", header).detections
        assert len(found) == 1
        assert_near(transform(found[0].bbox.center), frame.T_cam_obj)

        empty = probe.send(frame.image, frame.camera)
        probe.send_boxes(empty, [])
        assert probe.answer("detections", empty).detections == [], "nothing detected is an answer too"
    finally:
        probe.stop_detector()


def test_overlay_and_markers_cost_nothing_when_nobody_listens(node, make_probe, demo_frames):
    probe = make_probe(NAMESPACE, outputs=("detections",))
    probe.wait_for_node()
    probe.answer("detections", probe.send(demo_frames[0].image, demo_frames[0].camera))
    assert probe.count_subscribers("overlay") == 0 and probe.count_publishers("overlay") == 1


def test_diagnostics_count_and_time(probe, demo_frames):
    before = int(probe.diagnosis()["images_published"])
    probe.answer("detections", probe.send(demo_frames[0].image, demo_frames[0].camera))
    values = probe.diagnosis()
    assert values["state"] == "active" and values["level"] == 0 and values["message"] == "estimating"
    assert int(values["images_published"]) == before + 1
    assert 0 < float(values["image_to_pose_median_ms"]) < 10_000
    assert {"stage_crop_ms", "stage_features_ms", "stage_coarse_ms", "stage_refine_ms"} <= set(values)


def test_compressed_images(tmp_path, make_probe, demo_frames):
    """The type of the topic is found out; a PNG carries the same pixels, so the pose is the same."""
    import cv2
    from sensor_msgs.msg import CompressedImage
    frame = demo_frames[0]
    node = start_node("pose_node", tmp_path / "log", "/compressed_test")
    probe = make_probe("/compressed_test", compressed=True)
    probe.wait_for_node()
    assert "(CompressedImage)" in node.output
    header = probe.header()
    data = cv2.imencode(".png", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))[1].tobytes()
    probe.infos.publish(conversions.camera_to_info(header, frame.camera))
    probe.images.publish(CompressedImage(header=header, format="png", data=data))
    found = probe.answer("detections", header).detections
    assert_near(transform(found[0].bbox.center), frame.T_cam_obj)
    assert node.interrupt() == 0


def test_parameters_of_the_outputs(tmp_path, make_probe, demo_frames):
    """Prefix, toggles, box markers and the number of objects are obeyed; the field of view stands in for a camera."""
    frame = demo_frames[0]
    node = start_node("pose_node", tmp_path / "log", "/output_test", child_frame_prefix="robot1/", publish_tf=False,
                      marker_style="box", max_objects=1, default_hfov_deg=float(frame.camera.hfov_deg))
    probe = make_probe("/output_test")
    probe.wait_for_node()
    header = probe.header()
    probe.images.publish(conversions.rgb_to_image(header, frame.image))  # and no camera_info
    found = probe.answer("detections", header).detections
    assert [d.id for d in found] == ["robot1/car_0"]
    body = probe.wait(lambda: next((m for a in probe.received["markers"] for m in a.markers if m.ns == "body"), None),
                      "markers")
    assert body.type == Marker.CUBE and body.scale == found[0].bbox.size
    probe.spin(0.3)
    assert not any(t.child_frame_id.startswith("robot1/") for m in probe.received["/tf"] for t in m.transforms)
    assert "none has arrived, a horizontal field of view" in node.output
    assert node.interrupt() == 0


def test_tracking_gives_ids_instead_of_ranks(tmp_path, make_probe, demo_frames):
    """The car keeps its frame from image to image; after a pause longer than a track's age it is a new object."""
    node = start_node("pose_node", tmp_path / "log", "/tracking_test", tracking=True, track_max_age_s=0.5)
    probe = make_probe("/tracking_test")
    probe.wait_for_node()
    probe.start_detector()
    first = probe.header()
    start_ns = conversions.nanoseconds(first.stamp)
    seen = []
    for frame, after_s in zip(demo_frames[:4], (0.0, 0.1, 0.2, 1.2), strict=True):
        header = probe.header(start_ns + round(after_s * 1e9))
        probe.send(frame.image, frame.camera, header)
        probe.send_boxes(header, [true_roi(frame)])
        seen += [(detection.id, errors(transform(detection.bbox.center), frame.T_cam_obj))
                 for detection in probe.answer("detections", header).detections]
    assert [name for name, _ in seen] == [f"tracking_test/car_{k}" for k in (0, 0, 0, 1)]
    assert all(degrees < ROTATION_DEG for _, (degrees, _) in seen)
    assert node.interrupt() == 0 and "Traceback" not in node.output
