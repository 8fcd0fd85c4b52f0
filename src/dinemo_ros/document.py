# SPDX-License-Identifier: Apache-2.0
"""YAML, JSON and OpenCV's XML as nested dictionaries and lists of texts, whoever wrote them.

Nothing is constructed: tags are passed over, numbers stay texts, depth and size are limited before anything is built.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from xml.etree import ElementTree

import yaml

from .errors import CameraError

_LARGEST = 1 << 20  # bytes; OpenCV's files may hold every corner that was seen
_DEEPEST = 16
_OPENCV_DIRECTIVE = re.compile(r"\A\s*%YAML:[^\n]*")  # not YAML's own, which has a blank there


def read_document(path: str | os.PathLike):
    """The first document of a file.

    Raises:
        CameraError: it cannot be read, is too large, too deep, or neither YAML, JSON nor XML; without the path.
    """
    text = _text(path)
    if text.lstrip().startswith("<"):
        return _from_xml(text)
    if text.lstrip().startswith("{"):  # JSON, or YAML that begins like it
        with contextlib.suppress(ValueError):
            return _from_json(text)
    try:
        return _from_yaml(_OPENCV_DIRECTIVE.sub("", text))
    except yaml.YAMLError as error:
        raise CameraError(f"is no YAML ({_where(error)}); see what camera_calibration writes") from error


def _text(path: str | os.PathLike) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:  # a name with a zero byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise CameraError(f"cannot be read ({reason}); give a camera_info YAML as camera_calibration writes "
                          "it") from error
    if len(data) > _LARGEST:
        raise CameraError(f"is larger than {_LARGEST >> 20} MiB, which no calibration is; give a camera_info YAML as "
                          "camera_calibration writes it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CameraError(f"is no text (byte {error.start} is not UTF-8); give a camera_info YAML as "
                          "camera_calibration writes it") from error


class _Builder:
    """Puts values into the innermost open dictionary or list."""

    def __init__(self) -> None:
        self.document = None
        self._open: list = []
        self._keys: list = []  # the key that waits for its value, for each open one; a list has none

    def add(self, value) -> None:
        if not self._open:
            self.document = value
        elif isinstance(self._open[-1], list):
            self._open[-1].append(value)
        elif self._keys[-1] is None:
            self._keys[-1] = value if isinstance(value, str) else ""
        else:
            self._open[-1][self._keys[-1]] = value
            self._keys[-1] = None

    def begin(self, container) -> None:
        if len(self._open) == _DEEPEST:
            raise _too_deep()
        self.add(container)
        self._open.append(container)
        self._keys.append(None)

    def end(self) -> None:
        self._open.pop()
        self._keys.pop()


def _from_json(text: str):
    try:
        return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except RecursionError as error:
        raise _too_deep() from error


def _from_yaml(text: str):
    builder, anchors = _Builder(), {}
    for event in yaml.parse(io.StringIO(text), Loader=yaml.SafeLoader):
        if isinstance(event, yaml.ScalarEvent):
            value = None if event.implicit[0] and event.value in ("", "~", "null") else event.value
            builder.add(value)
        elif isinstance(event, yaml.AliasEvent):
            value = anchors.get(event.anchor)
            builder.add(value)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
            builder.begin(value)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            builder.end()
        elif isinstance(event, yaml.DocumentEndEvent):
            break
        if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            anchors[event.anchor] = value
    return builder.document


def _from_xml(text: str) -> dict:
    """Elements as keys; an element without elements in it is its text. OpenCV writes no declarations but the first."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CameraError("is XML with declarations, which OpenCV does not write")
    root: dict = {}
    nodes = [(root, None)]
    parser = ElementTree.XMLPullParser(("start", "end"))
    try:
        parser.feed(text)
        parser.close()
        for kind, element in parser.read_events():
            if kind == "start":
                if len(nodes) > _DEEPEST:
                    raise _too_deep()
                nodes.append(({}, element))
            else:
                children, _ = nodes.pop()
                nodes[-1][0][element.tag] = children or (element.text or "").strip()
    except ElementTree.ParseError as error:
        raise CameraError(f"is no XML ({error})") from error
    return root.get("opencv_storage") or root


def _too_deep() -> CameraError:
    return CameraError(f"is nested more than {_DEEPEST} deep, which no calibration is")


def _where(error: yaml.YAMLError) -> str:
    """Line and problem; the error itself goes over several lines."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return f"line {mark.line + 1}: {problem}" if mark and problem else " ".join(str(error).split())
