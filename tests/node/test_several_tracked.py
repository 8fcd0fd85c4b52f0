# SPDX-License-Identifier: Apache-2.0
"""The shipped cup and bottle in one node, tracked: the whole way from boxes to ids, in a process of its own."""

import pytest
from ros_support.processes import running_node
from std_srvs.srv import Trigger
from unit.test_shipped_pairs import pairs

NAMESPACE = "/tracked_test"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with running_node(tmp_path_factory.mktemp("node"), NAMESPACE, categories=["cup", "bottle"], class_map=["41=cup"],
                      tracking=True) as node:
        yield node


def test_ids_stay_and_are_new_after_a_reset(node, make_probe):
    """The detector's labels flicker; a box of a class that nobody looks for begins nothing."""
    probe = make_probe(NAMESPACE, outputs=("detections", "boxes", "/diagnostics"))
    probe.wait_for_node()
    probe.start_detector()
    image, camera, (cup, bottle) = next(iter(pairs()))

    def told(*labels: str) -> list[str]:
        header = probe.send(image, camera)
        probe.send_boxes(header, [(*box, label, 0.9) for box, label in zip((cup, bottle), labels, strict=False)]
                         + [(*bottle, "dog", 0.95)])
        return sorted(found.id.rpartition("/")[2] for found in probe.answer("detections", header).detections)

    for labels in (("41", "bottle"), ("cup", "cup"), ("CUP", "bottle"), ("41",), ("bottle", "bottle")):
        assert told(*labels) == ["bottle_0", "cup_0"], labels
    values = probe.diagnosis()
    assert values["boxes_left_out_class"] == "5" and values["cup_backend"] and values["bottle_backend"]
    assert "2 tracks" in probe._call(Trigger, "pose_node/reset", Trigger.Request()).message
    assert told("41", "bottle") == ["bottle_1", "cup_1"]
