# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest
import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter

from dinemo_ros.node import parameters

CONFIG = Path(__file__).parents[2] / "config"
SCHEMAS = pytest.mark.parametrize("schema", [parameters.POSE_NODE, parameters.IMAGE_SOURCE, parameters.SCENE],
                                  ids=["pose", "source", "scene"])


def declared(schema, **overrides) -> Node:
    node = Node("parameter_probe", parameter_overrides=[Parameter(k, value=v) for k, v in overrides.items()])
    try:
        parameters.declare(node, schema)
    except Exception:
        node.destroy_node()
        raise
    return node


@pytest.mark.parametrize(("file", "schema"), [
    ("pose.yaml", parameters.POSE_NODE), ("image_source.yaml", parameters.IMAGE_SOURCE)])
def test_yaml_holds_every_parameter_with_its_default(file, schema):
    content = yaml.safe_load((CONFIG / file).read_text())
    assert list(content) == ["/**"], "keyed by node name it would be ignored under a namespace"
    values = content["/**"]["ros__parameters"]
    assert values == {p.name: p.default for p in schema}
    assert all(type(values[p.name]) is type(p.default) for p in schema if p.name in values)


@SCHEMAS
def test_schema_is_complete(schema):
    assert len({p.name for p in schema}) == len(schema)
    for p in schema:
        assert len(p.description) > 15 and p.description.endswith(".")
        assert p.check(p.default) == ""
        if isinstance(p.default, (int, float)) and not isinstance(p.default, bool):
            fits = p.bounds and (p.bounds[0] <= p.default <= p.bounds[1] or (p.or_zero and p.default == 0))
            assert fits, f"{p.name} needs a range"
        assert not p.name.endswith("_s") or p.unit == "s"


@SCHEMAS
def test_descriptors_reach_ros(schema):
    node = declared(schema)
    try:
        for p in schema:
            descriptor = node.describe_parameter(p.name)
            assert p.description in descriptor.description
            assert descriptor.read_only == (p.changes == parameters.START)
            assert bool(descriptor.floating_point_range or descriptor.integer_range) == bool(p.bounds)
        assert vars(parameters.read(node, schema)) == {p.name: p.default for p in schema}
    finally:
        node.destroy_node()


@pytest.mark.parametrize(("name", "value"), [("threads", 0), ("default_hfov_deg", 200.0), ("default_hfov_deg", 60),
                                             ("default_hfov_deg", 0.5),
                                             ("rois", "somewhere"), ("publish_tf", "yes")])
def test_impossible_value_at_start_names_the_parameter(name, value):
    with pytest.raises(parameters.ParameterError, match=f"'{name}'"):
        declared(parameters.POSE_NODE, **{name: value})


def test_live_changes_are_checked():
    node = declared(parameters.POSE_NODE)
    try:
        good = node.set_parameters([Parameter("min_score", value=0.5), Parameter("marker_style", value="box")])
        assert all(result.successful for result in good)
        assert node.get_parameter("marker_style").value == "box"
        for name, value in (("min_score", 1.5), ("marker_style", "sphere"), ("autostart", False),
                            ("default_hfov_deg", 0.5), ("default_hfov_deg", float("nan"))):
            result = node.set_parameters([Parameter(name, value=value)])[0]
            assert not result.successful and result.reason
        assert node.get_parameter("min_score").value == 0.5
    finally:
        node.destroy_node()


def test_table_has_a_row_per_parameter():
    rows = parameters.markdown_table(parameters.POSE_NODE).splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [p.name for p in parameters.POSE_NODE]
    assert all(row.count("|") == 7 for row in rows)


@pytest.mark.parametrize(("schema", "title"), [(parameters.POSE_NODE, "pose_node"),
                                               (parameters.IMAGE_SOURCE, "image_source_node"),
                                               (parameters.SCENE, "scene_node")])
def test_document_says_who_may_change_what(schema, title):
    """Generated, and still what is declared."""
    text = (CONFIG.parent / "docs" / "security_graph.md").read_text()
    assert f"### {title}\n{parameters.graph_table(schema)}\n" in text


@SCHEMAS
def test_nobody_on_the_graph_chooses_files(schema):
    paths = [p for p in schema if p.is_path]
    # A scene has a name.
    assert {p.name for p in paths} in ({"bundle", "bundles", "detector", "engine_cache"}, {"path", "camera_file"},
                                       set())
    assert all(p.changes == parameters.START and p.power for p in paths)
    assert all(p.is_path or not re.search(r"\b(folder|file)\b", p.description, re.IGNORECASE) for p in schema)


@pytest.mark.parametrize(("name", "value", "words"), [
    ("child_frame_prefix", "x" * 257, "257 characters; at most 256"), ("category", "car\n", "can be printed"),
    ("detections_class_id", "\x1b[31m", "can be printed"), ("bundle", "/" * 4097, "at most 4096"),
    ("rois", "\n" * 500, r"'\n\n")])
def test_texts_are_short_and_printable(name, value, words):
    parameter, = [p for p in parameters.POSE_NODE if p.name == name]
    problem = parameter.check(value)
    assert f"'{name}'" in problem and words in problem and len(problem) < 300 and problem.isprintable()
    assert parameter.check("/tmp/a b\n" if parameter.is_path else "auto") == ""
