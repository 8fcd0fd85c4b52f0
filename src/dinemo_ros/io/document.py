# SPDX-License-Identifier: Apache-2.0
"""Documents as nested dictionaries and lists, whoever wrote them: cards, recipes, calibrations, tables of data sets.

No tag is carried out. Size, depth and number of values are limited before anything is built, aliases count as what
they stand for, and errors never repeat the document. ``read_yaml`` and ``read_json`` give texts, finite or not finite
numbers, truth values and None; ``read_texts`` takes calibrations of several programs and leaves every number a text.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import yaml

from ..errors import DocumentError
from .bounded_file import read_bounded
from .quoting import quoted, shown
from .scalars import Scalar, checked_text, json_float, json_integer, plain_text, typed_scalar

#: Whatever a file says, to be checked by its reader; as ``json.loads`` has it.
Document = Any

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # thirty times as fast where PyYAML has libyaml
_OPENCV_DIRECTIVE = re.compile(r"\A\s*%YAML:[^\n]*")  # not YAML's own, which has a blank there
_COLLECTION_TAGS = (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass(frozen=True)
class Limits:
    """How much of a document is read: bytes of the file, levels of nesting, values in it with aliases spelt out."""

    size: int
    depth: int = 16
    values: int = 100_000


CARD = Limits(64 << 10, values=10_000)
RECIPE = Limits(1 << 20)
CALIBRATION = Limits(1 << 20)  # OpenCV's files may hold every corner that was seen
TABLE = Limits(16 << 20, values=2_000_000)  # labels of a data set


def read_yaml(path: str | os.PathLike, limits: Limits) -> Document:
    """The first document of a YAML file; every key is a text and stands once in its mapping.

    Raises:
        DocumentError: it cannot be read, goes beyond ``limits``, or is no plain YAML; without the path.
    """
    return _from_yaml(_text(path, limits), limits, typed=True)


def parse_yaml(text: str, limits: Limits) -> Document:
    """Of a text that is at hand; otherwise as :func:`read_yaml`."""
    if len(text) > limits.size:
        raise DocumentError(f"is longer than {limits.size} characters, which is the most that is read")
    return _from_yaml(text, limits, typed=True)


def read_json(path: str | os.PathLike, limits: Limits = TABLE) -> Document:
    """What a JSON file says; DocumentError as for :func:`read_yaml`."""
    text = _text(path, limits)
    try:
        return _from_json(text, limits, json_integer, json_float, float)
    except ValueError as error:
        raise DocumentError(f"cannot be read as JSON ({shown(error)})") from error


def read_texts(path: str | os.PathLike) -> Document:
    """A calibration as YAML, JSON or OpenCV's XML, with all numbers as texts and tags passed over.

    Raises:
        DocumentError: it cannot be read, is too large, too deep, or none of these; without the path.
    """
    text = _text(path, CALIBRATION, pipes=True)  # --camera <(ssh robot cat camera.yaml)
    if text.lstrip().startswith("<"):
        return _from_xml(text, CALIBRATION.depth)
    if text.lstrip().startswith("{"):  # JSON, or YAML that begins like it
        with contextlib.suppress(ValueError):
            return _from_json(text, CALIBRATION, str, str, str)
    return _from_yaml(_OPENCV_DIRECTIVE.sub("", text), CALIBRATION, typed=False)


def _text(path: str | os.PathLike, limits: Limits, pipes: bool = False) -> str:
    try:
        return read_bounded(path, limits.size, pipes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"is no text (byte {error.start} is not UTF-8)") from error


@dataclass
class _Open:
    """A list or mapping that is being filled.

    begun: values before it. height: levels below it so far. key: the one that waits for its value.
    """

    container: list | dict
    anchor: str | None
    begun: int
    height: int = 0
    key: str | None = None


class _Builder:
    """Puts values into the innermost open dictionary or list."""

    def __init__(self, limits: Limits) -> None:
        self.document: Document = None
        self._limits = limits
        self._open: list[_Open] = []
        self._count = 0
        self._anchors: dict[str, tuple[object, int, int]] = {}  # value, values in it, levels in it

    def add(self, value: Document, line: int, anchor: str | None = None, count: int = 1, height: int = 0) -> None:
        """A complete value, or what an alias stands for."""
        self._count += count
        if self._count > self._limits.values:
            raise DocumentError(f"has more than {self._limits.values} values (aliases count as what they stand for)")
        if len(self._open) + height > self._limits.depth:
            raise _too_deep(self._limits.depth)
        if anchor:
            self._anchors[anchor] = value, count, height
        if not self._open:
            self.document = value
            return
        innermost = self._open[-1]
        innermost.height = max(innermost.height, height)
        if isinstance(innermost.container, list):
            innermost.container.append(value)
        elif innermost.key is None:
            innermost.key = self._key(value, innermost.container, line)
        else:
            innermost.container[innermost.key] = value
            innermost.key = None

    def expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].container, dict) and self._open[-1].key is None

    def begin(self, container: list | dict, line: int, anchor: str | None) -> None:
        if anchor:
            self._anchors.pop(anchor, None)  # until it is complete nothing may stand for it
        self.add(container, line, height=1)
        self._open.append(_Open(container, anchor, self._count))

    def end(self) -> None:
        done = self._open.pop()
        count, height = self._count - done.begun + 1, done.height + 1
        if done.anchor:
            self._anchors[done.anchor] = done.container, count, height
        if self._open:
            self._open[-1].height = max(self._open[-1].height, height)

    def alias(self, name: str, line: int) -> None:
        if name not in self._anchors:
            raise _not_yaml(line, f"alias {quoted(name, 40)} stands for nothing, or for what it is in")
        value, count, height = self._anchors[name]
        self.add(value, line, count=count, height=height)

    @staticmethod
    def _key(value: object, mapping: dict, line: int) -> str:
        if not isinstance(value, str):
            raise _not_yaml(line, "a key that is a list or a mapping")
        if value in mapping:
            raise _not_yaml(line, f"key {quoted(value, 40)} stands there twice")
        return value


def _from_yaml(text: str, limits: Limits, typed: bool) -> Document:
    builder = _Builder(limits)
    try:
        for event in yaml.parse(io.StringIO(text), Loader=_LOADER):
            line = 0 if event.start_mark is None else event.start_mark.line
            if isinstance(event, yaml.ScalarEvent):
                builder.add(_scalar(event, builder, typed, line), line, event.anchor)
            elif isinstance(event, yaml.AliasEvent):
                builder.alias(event.anchor or "", line)
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                if typed and event.tag not in _COLLECTION_TAGS:
                    raise _not_yaml(line, f"the tag {quoted(event.tag, 40)} is not read")
                builder.begin({} if isinstance(event, yaml.MappingStartEvent) else [], line, event.anchor)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                builder.end()
            elif isinstance(event, yaml.DocumentEndEvent):
                break
    except yaml.YAMLError as error:
        if "maximum nesting depth" in str(error):  # libyaml's own limit, where it reads ahead of ours
            raise _too_deep(limits.depth) from error
        raise DocumentError(f"cannot be read as YAML ({_where(error)})") from error
    return builder.document


def _scalar(event: yaml.ScalarEvent, builder: _Builder, typed: bool, line: int) -> Scalar:
    try:
        checked_text(event.value)
        if builder.expects_key():
            return event.value
        return typed_scalar(event) if typed else plain_text(event)
    except ValueError as error:
        raise _not_yaml(line, str(error)) from None


def _from_json(text: str, limits: Limits, integer: Callable[[str], object], number: Callable[[str], object],
               constant: Callable[[str], object]) -> Document:
    """ValueError where it is no JSON."""
    # Each value but the first stands behind one of these; those in texts are counted, too.
    if sum(map(text.count, ",:[{")) > 2 * limits.values:
        raise DocumentError(f"has more than {limits.values} values")
    if text.count("[") + text.count("{") > limits.values // 3:  # each takes several times the memory of a number
        raise DocumentError(f"has more than {limits.values // 3} lists and objects")
    try:
        document = json.loads(text, parse_int=integer, parse_float=number, parse_constant=constant,
                              object_pairs_hook=_unique)
    except RecursionError as error:
        raise _too_deep(limits.depth) from error
    _check_depth(document, limits.depth)
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise DocumentError(f"has the key {quoted(twice, 40)} twice in one object")
    return found


def _check_depth(document: object, deepest: int) -> None:
    """Also that every text can be written and used as a name."""
    level = [document]
    for depth in range(deepest + 1):
        if depth == deepest and any(isinstance(item, (dict, list)) for item in level):
            raise _too_deep(deepest)
        below: list = []
        for item in level:
            if isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str):
                checked_text(item)
        level = below


def _from_xml(text: str, deepest: int) -> dict:
    """Elements as keys; an element without elements in it is its text. OpenCV writes no declarations but the first."""
    # A namespace stands in front of every name: in a file of 1 MB it makes gigabytes of them.
    if "<!DOCTYPE" in text or "<!ENTITY" in text or "xmlns" in text:
        raise DocumentError("is XML with declarations, which OpenCV does not write")
    root: dict = {}
    nodes: list[tuple[dict, ElementTree.Element | None]] = [(root, None)]
    try:
        for kind, element in ElementTree.iterparse(io.StringIO(text), ("start", "end")):
            if kind == "start":
                if len(nodes) > deepest:
                    raise _too_deep(deepest)
                nodes.append(({}, element))
            else:
                children, _ = nodes.pop()
                nodes[-1][0][element.tag] = children or (element.text or "").strip()
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # an encoding that Python does not know, ...
        raise DocumentError(f"is no XML ({shown(error)})") from error
    return root.get("opencv_storage") or root


def _too_deep(deepest: int) -> DocumentError:
    return DocumentError(f"is nested more than {deepest} deep, which is the most that is read")


def _not_yaml(line: int, problem: str) -> DocumentError:
    return DocumentError(f"cannot be read as YAML (line {line + 1}: {problem})")


def _where(error: yaml.YAMLError) -> str:
    """Line and problem; the error itself goes over several lines."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return shown(f"line {mark.line + 1}: {problem}" if mark and problem else " ".join(str(error).split()))
