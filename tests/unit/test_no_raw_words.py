# SPDX-License-Identifier: Apache-2.0
"""No sentence of ours takes a stranger's text as it is: looked for in the source, where the next one would come in."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "src" / "dinemo_ros").rglob("*.py"), *(ROOT / "training").rglob("*.py")])
#: Fields of messages, bags and files that hold whatever their writer liked.
FIELDS = {"frame_id", "child_frame_id", "encoding", "format", "image_format", "distortion_model", "class_id",
          "topic_type", "msgtype", "producer_name", "hardware_id"}
SEVERITIES = {"debug", "info", "warning", "warn", "error", "fatal"}


def last_name(node: ast.expr) -> str:
    """Of ``a.b.c`` and ``c``: c."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def raw_fields(source: str) -> list[str]:
    """Places where a stranger's field stands in an f-string, or in a text that is joined or formatted, as it is."""
    found = []
    for node in ast.walk(ast.parse(source)):
        values = []
        if isinstance(node, ast.FormattedValue):
            values = [node.value]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [node.left, node.right]
            values = sides if any(isinstance(s, (ast.JoinedStr, ast.Constant)) for s in sides) else []
        elif isinstance(node, ast.Call) and last_name(node.func) in SEVERITIES | {"print"}:
            values = node.args
        found += [f"line {value.lineno}: {ast.unparse(value)}" for value in values if last_name(value) in FIELDS]
    return found


def bare_logs(source: str) -> list[str]:
    """Calls of rclpy's logger that go round :class:`dinemo_ros.node.node_log.NodeLog`."""
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    wrapped = {id(argument) for call in calls if last_name(call.func) == "NodeLog" for argument in call.args}
    return [f"line {call.lineno}: {ast.unparse(call)}" for call in calls
            if last_name(call.func) == "get_logger" and id(call) not in wrapped]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_fields_of_strangers_are_quoted(file):
    assert not raw_fields(file.read_text(encoding="utf-8")), "use quoted() or shown() of dinemo_ros.io.quoting"


@pytest.mark.parametrize("file", [file for file in FILES if file.parent.name == "node"], ids=lambda file: file.name)
def test_nodes_log_through_one_place(file):
    assert not bare_logs(file.read_text(encoding="utf-8")), "use NodeLog of dinemo_ros.node.node_log"


@pytest.mark.parametrize("line", ['f"format {message.format} is none"', 'f"{message.header.frame_id!r} is none"',
                                  'f"{encoding}"', '"frame " + header.frame_id', 'log.info(info.distortion_model)'])
def test_the_search_finds_what_it_looks_for(line):
    assert len(raw_fields(line)) == 1
    assert not raw_fields('f"format {quoted(message.format)} and {len(frame_id)}"')


def test_the_search_finds_a_bare_log():
    assert bare_logs("self.get_logger().info(text)") and bare_logs("log = node.get_logger()")
    assert not bare_logs("NodeLog(node.get_logger()).info(text)") and not bare_logs("logging.getLogger(name)")
