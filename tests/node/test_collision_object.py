# SPDX-License-Identifier: Apache-2.0
"""Collision objects for MoveIt: shapes, poses and subframes, what is sent when, and the sentence without MoveIt."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from ros_support import moveit_stand_in
from ros_support.moveit_stand_in import CollisionObject, SolidPrimitive
from std_msgs.msg import Header

from dinemo_ros.geometry import rotation_from_viewpoint, se3, turn
from dinemo_ros.model.card import Card, SizePrior
from dinemo_ros.model.grasps import GraspSpec
from dinemo_ros.model.symmetry import NO_SYMMETRY, Symmetry, with_axis_variance
from dinemo_ros.node.collision_object import (
    CollisionObjects,
    MoveItMissingError,
    collision_object,
    moveit_messages,
    solids,
)
from dinemo_ros.node.conversions import pose_message
from dinemo_ros.node.demo_listener import transform
from dinemo_ros.node.gripper_outputs import GripperOutputs
from dinemo_ros.pose import ObjectPose

POSE = ObjectPose(se3(rotation_from_viewpoint(1.0, 0.4, 0.1), np.array([0.1, 0.0, 0.52])), 0.7,
                  np.array([0.11, 0.08, 0.10]), category="cup", covariance=1e-3 * np.eye(6))
TURN_UNKNOWN = replace(POSE, covariance=with_axis_variance(POSE.covariance, POSE.T_cam_obj[:3, :3], np.pi**2 / 3))
CUP, BOTTLE, BOX = Symmetry("z", 1), Symmetry("z", 0), NO_SYMMETRY


def at(seconds: float) -> Header:
    return Header(frame_id="base_link", stamp=Time(sec=int(seconds), nanosec=round(seconds % 1 * 1e9)))


@pytest.fixture
def messages(monkeypatch):
    moveit_stand_in.installed(monkeypatch)
    return moveit_messages()


def test_a_car_is_a_box_and_a_bottle_a_cylinder():
    box, = solids(BOX, POSE)
    assert (box.kind, box.dimensions) == ("BOX", pytest.approx((0.11, 0.08, 0.10)))
    cylinder, = solids(BOTTLE, replace(POSE, size=np.array([0.07, 0.07, 0.25])))
    assert (cylinder.kind, cylinder.dimensions) == ("CYLINDER", pytest.approx((0.25, 0.035)))
    square, = solids(Symmetry("z", 4), POSE)
    assert square.kind == "BOX"


def test_a_cup_is_its_body_and_a_box_round_its_handle():
    """The body is 0.08 wide and its axis the origin, so the handle ends at 0.11 - 0.04."""
    body, handle = solids(CUP, POSE)
    assert (body.kind, body.dimensions) == ("CYLINDER", pytest.approx((0.10, 0.04)))
    assert handle.kind == "BOX" and handle.dimensions[0] == pytest.approx(0.03)
    middle = handle.T_obj_solid[0, 3]
    assert (middle - 0.015, middle + 0.015) == pytest.approx((0.04, 0.07))
    assert np.array_equal(handle.T_obj_solid[1:3, 3], [0, 0])


def test_a_cup_whose_handle_may_be_anywhere_keeps_clear_of_it():
    around, = solids(CUP, TURN_UNKNOWN)
    assert (around.kind, around.dimensions) == ("CYLINDER", pytest.approx((0.10, 0.07)))
    beaker, = solids(CUP, replace(POSE, size=np.array([0.08, 0.08, 0.10])))
    assert (beaker.kind, beaker.dimensions) == ("CYLINDER", pytest.approx((0.10, 0.04)))


def test_the_message_says_where_what_and_how_to_take_it(messages):
    grasps = GraspSpec("rim", (0, 1, 1), (0, 0, -1), (0, 1, 0), opening_m=0.03).frames(POSE.size)
    message = collision_object(messages, at(3.5), "cup_4", POSE, solids(CUP, POSE), grasps)
    assert (message.header, message.id, message.type.key) == (at(3.5), "cup_4", "cup")
    assert message.operation == CollisionObject.ADD
    np.testing.assert_allclose(transform(message.pose), POSE.T_cam_obj, atol=1e-9)
    assert [p.type for p in message.primitives] == [SolidPrimitive.CYLINDER, SolidPrimitive.BOX]
    cylinder, box = message.primitives
    assert cylinder.dimensions[SolidPrimitive.CYLINDER_HEIGHT] == pytest.approx(0.10)
    assert cylinder.dimensions[SolidPrimitive.CYLINDER_RADIUS] == pytest.approx(0.04)
    assert box.dimensions[SolidPrimitive.BOX_X] == pytest.approx(0.03)
    assert message.primitive_poses[0] == pose_message(np.eye(4)) and len(message.primitive_poses) == 2
    assert message.subframe_names == ["rim"]
    np.testing.assert_allclose(transform(message.subframe_poses[0]), grasps[0].T_obj_grasp, atol=1e-9)


class Graph:
    """A node of which only the publishers matter."""

    def __init__(self) -> None:
        self.sent, self.topics = [], []

    def create_publisher(self, kind, topic, qos):
        self.topics.append((kind, topic))
        return self

    def destroy_publisher(self, publisher) -> None:
        self.topics.clear()

    def publish(self, message) -> None:
        self.sent.append(message)

    def told(self) -> list[tuple[bytes, str]]:
        """Operation and name of every message since the last call."""
        told = [(message.operation, message.id) for message in self.sent]
        self.sent.clear()
        return told


@pytest.fixture
def scene(messages):
    graph = Graph()
    card = Card("cup", "1", SizePrior((0.11, 0.08, 0.1), (0.1, 0.1, 0.1)), symmetry=CUP)
    return graph, CollisionObjects(graph, card)


def shifted(metres: float) -> ObjectPose:
    T = POSE.T_cam_obj.copy()
    T[0, 3] += metres
    return replace(POSE, T_cam_obj=T)


def publish(objects, seconds, *poses, names=None, lifetime_s=2.0, grasps=()) -> None:
    objects.publish(at(seconds), names or [f"cup_{k}" for k in range(len(poses))], poses, [list(grasps)] * len(poses),
                    lifetime_s)


def test_what_stays_where_it_is_is_sent_once(scene):
    graph, objects = scene
    assert graph.topics == [(CollisionObject, "collision_object")]
    publish(objects, 1.0, POSE)
    assert graph.told() == [(CollisionObject.ADD, "cup_0")]
    publish(objects, 1.1, shifted(0.001))
    assert graph.told() == []
    publish(objects, 1.2, shifted(0.002))
    publish(objects, 1.3, shifted(0.004))  # against what was sent, not against the image before
    assert graph.told() == [(CollisionObject.ADD, "cup_0")]


def test_who_comes_late_hears_of_what_stays_within_a_second(scene):
    graph, objects = scene
    for seconds in (1.0, 1.5, 1.9, 2.1, 2.9):
        publish(objects, seconds, POSE)
    assert [message.header.stamp.sec for message in graph.sent] == [1, 2]


@pytest.mark.parametrize("changed", [
    replace(POSE, size=1.03 * POSE.size), TURN_UNKNOWN,
    replace(POSE, T_cam_obj=POSE.T_cam_obj @ se3(turn(np.radians(3.0)), np.zeros(3)))], ids=["size", "shape", "turn"])
def test_what_changes_is_sent_again(scene, changed):
    graph, objects = scene
    publish(objects, 1.0, POSE)
    publish(objects, 1.1, changed)
    assert graph.told() == 2 * [(CollisionObject.ADD, "cup_0")]


def test_another_frame_or_other_grasps_are_sent_again(scene):
    graph, objects = scene
    publish(objects, 1.0, POSE)
    other = at(1.1)
    other.frame_id = "map"
    objects.publish(other, ["cup_0"], [POSE], [[]], 2.0)
    rim = GraspSpec("rim", (0, 1, 1), (0, 0, -1), (0, 1, 0), opening_m=0.03).frames(POSE.size)
    objects.publish(other, ["cup_0"], [POSE], [rim], 2.0)
    assert graph.told() == 3 * [(CollisionObject.ADD, "cup_0")]


def test_what_is_gone_is_removed_after_its_time_and_under_its_own_name(scene):
    """An arm before the camera for a moment takes nothing out of the scene."""
    graph, objects = scene
    publish(objects, 1.0, POSE, shifted(0.3))
    publish(objects, 2.9, POSE)
    assert (CollisionObject.REMOVE, "cup_1") not in graph.told()
    publish(objects, 3.1, POSE)
    assert graph.sent[-1].header.frame_id == "base_link"
    assert graph.told() == [(CollisionObject.REMOVE, "cup_1")]
    publish(objects, 5.0)
    assert graph.told() == []
    publish(objects, 5.2)
    assert graph.told() == [(CollisionObject.REMOVE, "cup_0")]


def test_zero_keeps_what_was_seen_until_the_node_stops_looking(scene):
    graph, objects = scene
    publish(objects, 1.0, POSE)
    publish(objects, 1000.0, lifetime_s=0.0)
    assert graph.told() == [(CollisionObject.ADD, "cup_0")]
    objects.clear()
    assert graph.told() == [(CollisionObject.REMOVE, "cup_0")]
    objects.clear()
    assert graph.told() == []


def test_time_that_jumps_back_takes_out_what_is_of_the_time_before(scene):
    graph, objects = scene
    publish(objects, 100.0, POSE, names=["cup_7"])
    publish(objects, 1.0, POSE, names=["cup_1"])
    assert graph.told() == [(CollisionObject.ADD, "cup_7"), (CollisionObject.ADD, "cup_1"),
                            (CollisionObject.REMOVE, "cup_7")]


def test_a_node_that_is_asked_for_them_sends_them_with_the_grasps_and_takes_them_back(messages):
    """As the pose node's outputs have it: objects of an image, then the end of looking."""
    graph = Graph()
    graph.get_parameter = lambda name: SimpleNamespace(value=name == "publish_collision_objects")
    rim = GraspSpec("rim", (0, 1, 1), (0, 0, -1), (0, 1, 0), opening_m=0.03)
    card = Card("cup", "1", SizePrior((0.11, 0.08, 0.1), (0.1, 0.1, 0.1)), symmetry=CUP, grasps=(rim,))
    outputs = GripperOutputs(graph, card)
    outputs.publish(at(1.0), ["left/cup_4"], [POSE], SimpleNamespace(collision_object_lifetime_s=2.0))
    assert graph.sent[0].subframe_names == ["rim"]
    assert graph.told() == [(CollisionObject.ADD, "left/cup_4")]
    outputs.clear()
    assert graph.told() == [(CollisionObject.REMOVE, "left/cup_4")]
    outputs.destroy()
    assert graph.topics == []


def test_without_moveit_one_sentence_says_what_to_install(monkeypatch):
    moveit_stand_in.missing(monkeypatch)
    with pytest.raises(MoveItMissingError, match=r"moveit_msgs is not installed.*apt: .*or set "
                       "publish_collision_objects to false"):
        moveit_messages()
