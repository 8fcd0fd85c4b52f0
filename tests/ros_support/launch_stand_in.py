# SPDX-License-Identifier: Apache-2.0
"""Runs the package's unmodified launch files where ``launch`` and ``launch_ros`` are not installed.

Knows the few actions and substitutions our launch files keep to, and builds the command line that launch_ros builds.
An unknown keyword is an error here as there, so a typing mistake does not pass; an unknown argument is taken in
silence, as there. Parameters are read as ``launch.utilities.type_utils.coerce_to_type`` reads them.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import List  # noqa: UP035 - as launch_ros has it
from unittest import mock

import yaml
from ament_index_python.packages import get_package_prefix, get_package_share_directory


class LaunchConfiguration:
    def __init__(self, name):
        self.name = name

    def perform(self, values):
        if self.name not in values:
            raise KeyError(f"launch configuration '{self.name}' is not declared")
        return values[self.name]


class PathJoinSubstitution:
    def __init__(self, parts):
        self.parts = parts

    def perform(self, values):
        return os.path.join(*(text(part, values) for part in self.parts))


class FindPackageShare:
    def __init__(self, package):
        self.package = package

    def perform(self, values):
        return get_package_share_directory(text(self.package, values))


class ParameterValue:
    def __init__(self, value, *, value_type):
        self.value, self.value_type = value, value_type

    def perform(self, values):
        if isinstance(self.value, list):  # launch_ros takes a list as it is where it is one of the type
            assert self.value_type == List[str] and all(isinstance(item, str) for item in self.value)  # noqa: UP006
            return self.value
        raw = text(self.value, values)
        if self.value_type is not bool:
            return self.value_type(raw)
        parsed = yaml.safe_load(raw)
        if type(parsed) is not self.value_type:
            raise ValueError(f"{raw!r} is no {self.value_type.__name__}")
        return parsed


class DeclareLaunchArgument:
    def __init__(self, name, *, default_value=None, description=None, choices=None):
        self.name, self.default_value, self.description, self.choices = name, default_value, description, choices


class Node:
    def __init__(self, *, executable, package=None, name=None, namespace=None, parameters=None, remappings=None,
                 arguments=None, additional_env=None, output=None):
        self.package, self.executable, self.name, self.namespace = package, executable, name, namespace
        self.parameters, self.remappings = parameters or [], remappings or []
        self.arguments, self.additional_env = arguments or [], additional_env or {}

    def command(self, values, folder: Path) -> list[str]:
        """The command line; parameter dictionaries become YAML files in ``folder``."""
        words = [str(Path(get_package_prefix(self.package)) / "lib" / self.package / self.executable)]
        words += [text(word, values) for word in self.arguments] + ["--ros-args"]
        namespace = text(self.namespace or "", values)
        if self.name:
            words += ["-r", f"__node:={self.name}"]
        if namespace:
            words += ["-r", f"__ns:=/{namespace.strip('/')}"]
        for index, entry in enumerate(self.parameters):
            words += ["--params-file", self._parameter_file(entry, values, namespace, folder / f"{index}.yaml")]
        for source, target in self.remappings:
            words += ["-r", f"{text(source, values)}:={text(target, values)}"]
        return words

    def _parameter_file(self, entry, values, namespace: str, path: Path) -> str:
        if not isinstance(entry, dict):
            return text(entry, values)
        key = "/".join(["", *filter(None, [namespace.strip("/"), self.name])]) if self.name else "/**"
        content = {name: value.perform(values) if hasattr(value, "perform") else value
                   for name, value in entry.items()}
        path.write_text(yaml.safe_dump({key: {"ros__parameters": content}}))
        return str(path)


class LogInfo:
    def __init__(self, *, msg):
        self.msg = msg


class Shutdown:
    def __init__(self, *, reason=""):
        self.reason = reason


class OnProcessExit:
    def __init__(self, *, target_action, on_exit):
        self.target_action, self.on_exit = target_action, on_exit


class RegisterEventHandler:
    def __init__(self, event_handler):
        self.event_handler = event_handler


class GroupAction:
    def __init__(self, actions, *, scoped=True, forwarding=True):
        self.actions, self.scoped, self.forwarding = actions, scoped, forwarding


class PythonLaunchDescriptionSource:
    def __init__(self, location):
        self.location = location


class IncludeLaunchDescription:
    def __init__(self, source, *, launch_arguments=()):
        self.source, self.launch_arguments = source, dict(launch_arguments)


class OpaqueFunction:
    def __init__(self, *, function):
        self.function = function


class Action:
    """Of annotations only, as the next one."""


class LaunchContext:
    pass


class LaunchDescription:
    def __init__(self, entities):
        self.entities = entities


def text(value, values) -> str:
    return value.perform(values) if hasattr(value, "perform") else value


_MODULES = {
    "launch": [Action, LaunchContext, LaunchDescription],
    "launch.actions": [DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, LogInfo, OpaqueFunction,
                       RegisterEventHandler, Shutdown],
    "launch.event_handlers": [OnProcessExit], "launch.launch_description_sources": [PythonLaunchDescriptionSource],
    "launch.substitutions": [LaunchConfiguration, PathJoinSubstitution], "launch_ros": [],
    "launch_ros.actions": [Node], "launch_ros.parameter_descriptions": [ParameterValue],
    "launch_ros.substitutions": [FindPackageShare],
}


class Launch:
    """A launch file resolved with the given arguments.

    included: by another launch file, in whose name the process was started.
    """

    def __init__(self, file: Path, included: bool = False, **arguments: str) -> None:
        argv = [f"{name}:={value}" for name, value in arguments.items()]
        command = ["ros2", "launch", "some_package", "robot.launch.py" if included else file.name, *argv]
        with mock.patch.dict(sys.modules, {name: _module(name, names) for name, names in _MODULES.items()}), \
                mock.patch.object(sys, "argv", command):
            self._resolve(file, arguments, argv)

    def _resolve(self, file: Path, arguments: dict[str, str], argv: list[str]) -> None:
        spec = importlib.util.spec_from_file_location(file.stem.replace(".", "_"), file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        entities = module.generate_launch_description().entities
        self.arguments = {e.name: e for e in entities if isinstance(e, DeclareLaunchArgument)}
        self.values = {**{name: text(a.default_value, {}) for name, a in self.arguments.items()}, **arguments}
        for name, argument in self.arguments.items():
            if argument.choices and self.values[name] not in argument.choices:
                raise ValueError(f"argument {name}:={self.values[name]} is not one of {argument.choices}")
        context = types.SimpleNamespace(launch_configurations=self.values, argv=argv)
        self.entities = [e for entity in entities
                         for e in (entity.function(context) if isinstance(entity, OpaqueFunction) else [entity])]
        self.nodes = [e for e in self.entities if isinstance(e, Node)]
        groups = [e for e in self.entities if isinstance(e, GroupAction)]
        self.included = {Path(text(e.source.location, self.values)): (e.launch_arguments, group)
                         for group in groups for e in group.actions}
        self.told = [e.msg for e in self.entities if isinstance(e, LogInfo)]

    def after(self, node: Node, returncode: int) -> list:
        """What follows of the end of ``node``."""
        event = types.SimpleNamespace(returncode=returncode, process_name=node.executable)
        handlers = [e.event_handler for e in self.entities if isinstance(e, RegisterEventHandler)]
        return [action for h in handlers if h.target_action is node for action in h.on_exit(event, None)]

    def environment(self, node: Node) -> dict[str, str]:
        return {**os.environ, **{name: text(value, self.values) for name, value in node.additional_env.items()}}

    def commands(self, folder: Path) -> list[tuple[list[str], dict[str, str]]]:
        """Command line and environment of every node; parameter files are written into ``folder``."""
        result = []
        for index, node in enumerate(self.nodes):
            place = folder / str(index)
            place.mkdir()
            result.append((node.command(self.values, place), self.environment(node)))
        return result


def _module(name: str, members: list[type]) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__path__ = []
    for member in members:
        setattr(module, member.__name__, member)
    return module
