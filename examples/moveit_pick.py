#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Needs MoveIt 2 (moveit_py) and a configured robot. NOT run by the tests of this package: a pattern to start from.

Plans to the pre-grasp frame of an object that pose_node sees:

    pose_node:  publish_grasps:=true  publish_collision_objects:=true  target_frame:=base_link  tracking:=true
    python3 examples/moveit_pick.py --arm panda_arm --link panda_hand_tcp --grasp cup_0/rim_0 --frame base_link \
        --ros-args --params-file MOVEIT_PY.yaml

move_group takes the obstacle from the topic collision_object by itself. A planning scene of this process's own, as
MoveItPy has one, is given it here. ``--link``: a link whose z is the approach and whose y is the closing direction, its
origin between the fingertips; where your gripper's is another, multiply by the fixed transform between the two.
"""

import argparse
import sys
import time

import rclpy
from geometry_msgs.msg import PoseStamped
from moveit.planning import MoveItPy
from moveit_msgs.msg import CollisionObject
from rclpy.duration import Duration
from rclpy.time import Time
from tf2_ros import Buffer, TransformException, TransformListener


def look_up(node, frame: str, child: str, timeout_s: float = 5.0) -> PoseStamped:
    """Where ``child`` is now, as a pose in ``frame``; TransformException where TF does not know it."""
    buffer = Buffer()
    listener = TransformListener(buffer, node)  # fills the buffer while it lives
    deadline = time.monotonic() + timeout_s
    while not buffer.can_transform(frame, child, Time()) and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    found = buffer.lookup_transform(frame, child, Time(), Duration(seconds=0))
    del listener
    pose = PoseStamped()
    pose.header.frame_id = frame
    pose.pose.position.x = found.transform.translation.x
    pose.pose.position.y = found.transform.translation.y
    pose.pose.position.z = found.transform.translation.z
    pose.pose.orientation = found.transform.rotation
    return pose


def hear_object(node, name: str, timeout_s: float = 5.0) -> CollisionObject | None:
    """The collision object of that name, as pose_node sends it when it is new or has moved."""
    heard: list[CollisionObject] = []
    subscription = node.create_subscription(CollisionObject, "collision_object", heard.append, 100)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
        found = [message for message in heard if message.id == name and message.operation == CollisionObject.ADD]
        if found:
            break
    node.destroy_subscription(subscription)
    return found[-1] if found else None


def main() -> int:
    """0 when a trajectory to the pre-grasp pose was executed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", required=True, help="planning group")
    parser.add_argument("--link", required=True, help="link of the gripper that goes to the grasp frame")
    parser.add_argument("--grasp", required=True, help="frame of TF, OBJECT/GRASP")
    parser.add_argument("--frame", default="base_link", help="frame to plan in")
    options = parser.parse_args(rclpy.utilities.remove_ros_args(sys.argv)[1:])
    rclpy.init(args=sys.argv)
    node = rclpy.create_node("pick")
    try:
        goal = look_up(node, options.frame, f"{options.grasp}/pregrasp")
    except TransformException as error:
        print(f"no frame {options.grasp}/pregrasp: is publish_grasps set, and is the grasp valid now? ({error})")
        return 1
    robot = MoveItPy(node_name="moveit_py")
    obstacle = hear_object(node, options.grasp.rsplit("/", 1)[0])
    if obstacle is not None:
        with robot.get_planning_scene_monitor().read_write() as scene:
            scene.apply_collision_object(obstacle)
            scene.current_state.update()
    arm = robot.get_planning_component(options.arm)
    arm.set_start_state_to_current_state()
    arm.set_goal_state(pose_stamped_msg=goal, pose_link=options.link)
    planned = arm.plan()
    if not planned:
        print("no way to the pre-grasp pose: take another grasp, or another place for the arm")
        return 1
    robot.execute(planned.trajectory, controllers=[])
    # Then, with the collision between gripper and object allowed: straight along the gripper's z to OBJECT/GRASP,
    # close, attach the object (moveit_msgs/AttachedCollisionObject), lift.
    return 0


if __name__ == "__main__":
    sys.exit(main())
