# SPDX-License-Identifier: Apache-2.0
"""What the launch files have in common: arguments, the pose node, RViz where it is installed.

They are ordinary launch files; this module is imported by them only, because it needs ``launch`` and ``launch_ros``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import List  # noqa: UP035 - launch_ros knows the types of lists by these

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import Action, LaunchContext
from launch.actions import DeclareLaunchArgument, LogInfo, RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from ..process.fastdds_profile import profile_variable
from ..process.launcher import LAUNCHED_BY
from . import launch_arguments


def shared(*parts: str) -> PathJoinSubstitution:
    """A file in the share folder of the package."""
    return PathJoinSubstitution([FindPackageShare("dinemo_ros"), *parts])


def share_of(package: str) -> str:
    """The share folder of another package.

    Raises:
        RuntimeError: it is not installed; launch prints it and starts nothing.
    """
    try:
        return get_package_share_directory(package)
    except PackageNotFoundError:
        raise RuntimeError(f"the package {package} is not installed, or its workspace is not sourced") from None


def environment() -> dict:
    """What every node is started with: Fast DDS lets large images through, and no node outlives the launch."""
    variable = profile_variable()
    profile = {variable: shared("config", "fastdds.xml")} if variable else {}
    return {**profile, LAUNCHED_BY: str(os.getpid())}


def common_arguments(rviz: bool) -> list[DeclareLaunchArgument]:
    """Every parameter of the pose node, and what a launch file has besides; ``rviz``: open it unless told otherwise."""
    declared = [DeclareLaunchArgument("namespace", default_value="",
                                      description="Namespace of the nodes and their topics."),
                DeclareLaunchArgument("rviz", default_value=str(rviz).lower(),
                                      choices=["true", "false", "True", "False"],
                                      description="Open RViz with the overlay, the markers and the frames, where it is "
                                                  "installed."),
                DeclareLaunchArgument("params_file", default_value="",
                                      description="YAML of pose_node's parameters, like config/pose.yaml; what it sets "
                                                  "wins over the arguments.")]
    for argument in launch_arguments.of_parameters():
        choices = {"choices": list(argument.choices)} if argument.choices else {}
        declared.append(DeclareLaunchArgument(argument.name, default_value=argument.default,
                                              description=argument.description, **choices))
    return declared


def check_arguments(context: LaunchContext, file: str, known: Sequence[str]) -> None:
    """Stop a launch with an argument that ``file`` does not have; ``known``: those that it has.

    Where the file is included by another one, the arguments are that one's business.

    Raises:
        RuntimeError: launch prints it and starts nothing.
    """
    if any(Path(word).name == file for word in sys.argv):
        problem = launch_arguments.unknown(_named(context), known, file)
        if problem:
            raise RuntimeError(problem)


def pose_node(context: LaunchContext, category: str | None = None, **more: object) -> list[Action]:
    """The pose node with the parameters of the arguments; ``category`` in the place of that one, ``more`` for Node.

    Raises:
        ParameterError: an argument or the parameter file cannot be used.
    """
    given = dict(context.launch_configurations)
    parameters: dict = {name: as_it_is(name, value) for name, value in launch_arguments.values(given).items()}
    if category:
        parameters["category"] = category
    # The file comes last: an argument's default must not override what a user's file says. No name= here, because
    # launch_ros would key the dictionary by it, and rclpy lets that win over the file's /** in any order.
    file = given["params_file"]
    told = launch_arguments.overruled(Path(file), given, _named(context)) if file else []
    node = Node(package="dinemo_ros", executable="pose_node", namespace=LaunchConfiguration("namespace"),
                output="screen", additional_env=environment(), parameters=[parameters, *([file] if file else [])],
                **more)
    return [*(LogInfo(msg=sentence) for sentence in told), node]


def rviz(context: LaunchContext) -> list[Action]:
    """RViz with the layout of the package, in the frame of what is published; a sentence where it is not installed."""
    if context.launch_configurations["rviz"].lower() != "true":
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="RViz is not installed and is left out: install the package rviz2, or look at the topic "
                            "'overlay' with another viewer; rviz:=false keeps this quiet")]
    return [Node(package="dinemo_ros", executable="rviz_view", name="rviz2",
                 namespace=LaunchConfiguration("namespace"), additional_env=environment(), output="screen",
                 parameters=[{"use_sim_time": sim_time(context)}], arguments=["-d", shared("config", "dinemo.rviz")])]


def sim_time(context: LaunchContext) -> bool:
    """The argument ``use_sim_time``, for the nodes beside the pose node."""
    return bool(launch_arguments.values(context.launch_configurations, [launch_arguments.USE_SIM_TIME])["use_sim_time"])


def as_it_is(name: str, value: launch_arguments.Value) -> object:
    """What launch_ros passes on unchanged: a bare text would be read as YAML, and "2" become a number."""
    if isinstance(value, list):
        return ParameterValue(value, value_type=List[str])  # noqa: UP006
    return ParameterValue(LaunchConfiguration(name), value_type=str) if isinstance(value, str) else value


def ends_all(node: Action, only_when_failed: bool = False) -> Action:
    """End the whole launch when ``node`` ends, so that nothing is left waiting for it."""
    def ended(event, context) -> list[Action]:
        failed = bool(event.returncode)
        return [Shutdown(reason=f"{event.process_name} has ended")] if failed or not only_when_failed else []

    return RegisterEventHandler(OnProcessExit(target_action=node, on_exit=ended))


def _named(context: LaunchContext) -> list[str]:
    """Names of the arguments on the command line."""
    return [word.split(":=", 1)[0] for word in getattr(context, "argv", None) or () if ":=" in word]
