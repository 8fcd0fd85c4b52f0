# SPDX-License-Identifier: Apache-2.0
"""The Foxglove layout shows what the node publishes, each topic in a panel for its type."""

from __future__ import annotations

import json

from ros_support.pose_node_here import pose_node_here
from shared_data import ROOT

NAMESPACE = "/foxglove_test"
#: By panel what it can show of ours.
SHOWN = {"3D": {"visualization_msgs/msg/MarkerArray", "geometry_msgs/msg/PoseStamped",
                "geometry_msgs/msg/PoseWithCovarianceStamped"},
         "Image": {"sensor_msgs/msg/Image", "visualization_msgs/msg/MarkerArray"},
         "DiagnosticSummary": {"diagnostic_msgs/msg/DiagnosticArray"},
         "DiagnosticStatusPanel": {"diagnostic_msgs/msg/DiagnosticArray"}}


def topics_of(panel: dict) -> set[str]:
    """Every topic that a panel's settings name, wherever they do."""
    found: set[str] = set()

    def walk(value) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(key)
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, str) and value.startswith("/"):
            found.add(value)

    walk(panel)
    return found


def panels_of(layout) -> set[str]:
    return {layout} if isinstance(layout, str) else panels_of(layout["first"]) | panels_of(layout["second"])


def test_every_topic_of_the_layout_is_published_and_of_a_type_that_its_panel_shows(monkeypatch):
    document = json.loads((ROOT / "config/foxglove_layout.json").read_text(encoding="utf-8"))
    assert panels_of(document["layout"]) == set(document["configById"])
    with pose_node_here(monkeypatch, NAMESPACE) as node:
        published = {name.removeprefix(NAMESPACE): types[0] for name, types in
                     node.get_publisher_names_and_types_by_node(node.get_name(), node.get_namespace())}
        published["/tf"] = "tf2_msgs/msg/TFMessage"
    seen = set()
    for panel, settings in document["configById"].items():
        topics = topics_of(settings)
        seen |= topics
        for topic in topics:
            assert topic in published, f"{panel}: {topic}"
            assert published[topic] in SHOWN[panel.partition("!")[0]], f"{panel}: {topic} is {published[topic]}"
    assert {"/markers", "/overlay", "/diagnostics"} <= seen
