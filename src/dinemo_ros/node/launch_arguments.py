# SPDX-License-Identifier: Apache-2.0
"""The arguments of the launch files, from the schema of the parameters: every parameter is one, under its own name.

``ros2 launch`` takes any argument in silence, and what a parameter file says wins over them; both are told here. Knows
nothing of ``launch``, see :mod:`dinemo_ros.node.launching`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..errors import DocumentError
from ..io.document import RECIPE, read_yaml
from ..io.quoting import quoted
from .parameters import POSE_NODE, Parameter, ParameterError

#: Of every node, declared by rclpy itself.
USE_SIM_TIME = Parameter("use_sim_time", False, "Take the time from /clock: in simulation, and where a bag is played "
                         "with --clock.")
#: What is an argument.
SCHEMA = (*POSE_NODE, USE_SIM_TIME)

_BOOLS = {"true": True, "false": False, "True": True, "False": False}
_AROUND = (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent)
_ALIKE = 0.75  # of two names, above which one is taken for a slip of the other
_NODES = ("**", "*", "pose_node")  # last parts of a parameter file's key that mean this node

#: Of a parameter.
Value = bool | int | float | str | list[str]


@dataclass(frozen=True)
class Argument:
    """What DeclareLaunchArgument takes; ``choices`` empty: any."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...]


def of_parameters(schema: Sequence[Parameter] = SCHEMA) -> list[Argument]:
    """One argument per parameter, its default written as on a command line."""
    return [Argument(p.name, _text(p.default), _description(p), _choices(p)) for p in schema]


def values(given: Mapping[str, str], schema: Sequence[Parameter] = SCHEMA) -> dict[str, Value]:
    """The parameters, each of its own type, from the texts of a command line.

    Raises:
        ParameterError: a text is no value of that parameter.
    """
    return {p.name: _value(p, given[p.name]) for p in schema if p.name in given}


def unknown(names: Iterable[str], known: Collection[str], file: str) -> str:
    """The sentence about arguments of ``names`` that ``file`` does not have; empty where it has all of them."""
    strange = [name for name in names if name not in known and not name.startswith("__")]  # those are of launch
    if not strange:
        return ""
    told = []
    for name in strange[:5]:
        near = difflib.get_close_matches(name, known, 1, _ALIKE)
        told.append(quoted(name) + (f" (is {near[0]} meant?)" if near else ""))
    return (f"{file} has no argument {', '.join(told)}{' and more' * (len(strange) > 5)}: ros2 launch dinemo_ros "
            f"{file} --show-args lists all of them")


def overruled(file: Path, given: Mapping[str, str], explicit: Collection[str],
              schema: Sequence[Parameter] = SCHEMA) -> list[str]:
    """Sentences about the arguments that somebody gave and that do not count, because ``file`` sets them.

    given: every argument's text; explicit: names of those that stood on the command line.

    Raises:
        ParameterError: the file cannot be read, or is no YAML.
    """
    told, defaults = [], {p.name: p.default for p in schema}
    for name, set_here in _set_in(file).items():
        if name not in defaults or name not in given:
            continue
        value = values(given, schema)[name]
        if value != set_here and (name in explicit or value != defaults[name]):
            told.append(f"{name}:={given[name]} is not used: {file} sets {name} to {_text(set_here)}, and what the "
                        "file sets wins; take it out there")
    return told


def _set_in(file: Path) -> dict[str, object]:
    """What a parameter file sets of the pose node."""
    try:
        content = read_yaml(file, RECIPE)
    except DocumentError as error:
        raise ParameterError(f"params_file {quoted(str(file))}: {error}") from error
    found: dict[str, object] = {}
    _collect(content, "", found)
    return found


def _collect(content: object, key: str, found: dict[str, object]) -> None:
    if not isinstance(content, dict):
        return
    for name, inner in content.items():
        if name == "ros__parameters" and isinstance(inner, dict):
            if key.rpartition("/")[2] in _NODES:
                found.update(inner)
        else:
            _collect(inner, str(name), found)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _description(parameter: Parameter) -> str:
    unit = f" Unit: {parameter.unit}." if parameter.unit else ""
    limits = f" Allowed: {parameter.range_text}." if parameter.bounds else ""
    return f"{parameter.description}{unit}{limits}"


def _choices(parameter: Parameter) -> tuple[str, ...]:
    return tuple(_BOOLS) if isinstance(parameter.default, bool) else parameter.choices


def _value(parameter: Parameter, text: str) -> Value:
    """Of a list "cup, bottle" or, as YAML has it, "[cup, bottle]"."""
    kind = type(parameter.default)
    try:
        value: Value = _list(text) if kind is list else _BOOLS[text] if kind is bool else kind(text)
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "an integer", float: "a number",
                  list: "a list like cup,bottle or \"[cup, 'a, b=bottle']\""}[kind]
        raise ParameterError(f"argument {parameter.name}:={quoted(text)} must be {wanted}") from None
    if problem := parameter.check(value):
        raise ParameterError(problem)
    return value


def _list(text: str) -> list[str]:
    """With brackets as YAML has it, where quotes keep commas together; every entry is the text that stands there."""
    if not text.strip().startswith("["):
        return [part.strip().strip("'\"") for part in text.split(",")]
    try:
        events = [event for event in yaml.parse(text, yaml.SafeLoader) if not isinstance(event, _AROUND)]
    except yaml.YAMLError as error:
        raise ValueError from error
    entries = [event.value for event in events if isinstance(event, yaml.ScalarEvent)]
    if len(entries) != len(events) - 2 or not isinstance(events[-1], yaml.SequenceEndEvent):
        raise ValueError
    return entries or [""]  # a list without entries has no type in ROS
