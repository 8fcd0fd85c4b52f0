# SPDX-License-Identifier: Apache-2.0
"""``config/sros2_policy.xml`` against what the nodes have on the graph: a topic too few and the node is deaf under
security, one too many and its key opens more than it must."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import rclpy
from ros_support.processes import start_node
from sensor_msgs.msg import Image

POLICY = Path(__file__).parents[2] / "config" / "sros2_policy.xml"
FOLDER = POLICY.parent / "demo_sequence"
NAMESPACE = "/policy_test"
# Which of the two comes depends on what is published.
EITHER = {f"{NAMESPACE}/image", f"{NAMESPACE}/image/compressed"}
EITHER_DEPTH = {f"{NAMESPACE}/depth/image", f"{NAMESPACE}/depth/image/compressedDepth"}

QUESTIONS = {("topics", "publish"): "get_publisher_names_and_types_by_node",
             ("topics", "subscribe"): "get_subscriber_names_and_types_by_node",
             ("services", "reply"): "get_service_names_and_types_by_node",
             ("services", "request"): "get_client_names_and_types_by_node"}


def allowed(node: str, namespace: str) -> dict[tuple[str, str], set[str]]:
    """Full names by kind and right, for the node in ``namespace``."""
    profile, = ElementTree.parse(POLICY).findall(f".//enclave[@path='/dinemo/{node}']/profiles/profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", node)
    names = {question: set() for question in QUESTIONS}
    for group in profile:
        (right, verdict), = group.items()
        assert verdict == "ALLOW", "what is not listed is denied"
        for entry in group:
            name = entry.text.replace("~", node, 1)
            full = name if name.startswith("/") else f"{namespace.rstrip('/')}/{name}"
            assert full not in names[group.tag, right], "once"
            names[group.tag, right].add(full)
    return names


def on_the_graph(node: str, namespace: str) -> dict[tuple[str, str], set[str]]:
    looker = rclpy.create_node("looker", namespace=namespace)
    try:
        deadline, seen, before = time.monotonic() + 20.0, None, {}
        while seen is None or seen != before or not all(seen[key] for key in list(QUESTIONS)[:3]):
            assert time.monotonic() < deadline, f"{node} does not come to rest: {seen}"
            time.sleep(1.0)
            before = seen
            if node in looker.get_node_names():
                seen = {key: {name for name, _ in getattr(looker, question)(node, namespace)}
                        for key, question in QUESTIONS.items()}
        return seen
    finally:
        looker.destroy_node()


@pytest.mark.parametrize(("name", "words", "parameters"), [
    ("pose_node", "active: images from", {"use_sim_time": True, "target_frame": "base"}),  # so it listens to TF
    ("image_source_node", "playing", {"use_sim_time": True, "lockstep": True, "path": str(FOLDER)})])
def test_policy_allows_what_the_node_has_and_no_more(tmp_path, make_probe, name, words, parameters):
    node = start_node(name, tmp_path / "log", NAMESPACE, **parameters)
    node.wait_for_output(words)
    probe = make_probe(NAMESPACE, outputs=())  # publishes the images that pose_node then subscribes to
    if name == "pose_node":
        depth = probe.create_publisher(Image, "depth/image", 1)
        probe.wait(lambda: depth.get_subscription_count(), "the node to subscribe to depth/image")
        probe.wait_for_node()
    have, may = on_the_graph(name, NAMESPACE), allowed(name, NAMESPACE)
    for key in QUESTIONS:
        assert have[key] - EITHER - EITHER_DEPTH == may[key] - EITHER - EITHER_DEPTH, key
    if name == "pose_node":
        for either in (EITHER, EITHER_DEPTH):
            assert either <= may["topics", "subscribe"] and have["topics", "subscribe"] & either
    else:
        assert have["topics", "publish"] & EITHER == may["topics", "publish"] & EITHER
    assert node.interrupt() == 0


def test_operator_may_ask_what_the_pose_node_answers():
    profile, = ElementTree.parse(POLICY).findall(".//enclave[@path='/dinemo/operator']/profiles/profile")
    requests = {entry.text for entry in profile.find("services[@request]")}
    assert requests == {name.removeprefix("/") for name in allowed("pose_node", "/")["services", "reply"]}
