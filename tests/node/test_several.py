# SPDX-License-Identifier: Apache-2.0
"""Several categories in one node, over DDS: whose box is whose, one set of messages, services and diagnostics."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from ros_support.pose_node_here import ScriptedModel, pose_node_here
from ros_support.processes import start_node
from std_srvs.srv import SetBool, Trigger

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.detection.finder import Found
from dinemo_ros.errors import BundleError
from dinemo_ros.geometry import se3
from dinemo_ros.model.bundle import find_bundle
from dinemo_ros.node.category import bundles_of
from dinemo_ros.node.conversions import nanoseconds
from dinemo_ros.pose import ObjectPose

NAMESPACE = "/several_test"
IMAGE, CAMERA = np.full((480, 640, 3), 90, np.uint8), Camera.from_hfov(640, 480, 60.0)
CUP = ObjectPose(se3(np.eye(3), np.array([-0.2, 0.0, 0.8])), 0.3, np.array([0.12, 0.09, 0.1]), category="cup")
BOTTLE = replace(CUP, T_cam_obj=se3(np.eye(3), np.array([0.2, 0.0, 0.8])), score=0.6, category="bottle")
SECOND = replace(CUP, T_cam_obj=se3(np.eye(3), np.array([0.0, 0.0, 0.8])), score=0.2)
CUP_BOX, BOTTLE_BOX = (140.0, 200.0, 230.0, 290.0), (420.0, 200.0, 500.0, 290.0)


@pytest.fixture
def scene(monkeypatch, make_probe):
    """Makes a node of cups and bottles with a script, and a probe."""
    contexts = []

    def make(script=lambda number: [CUP, SECOND, BOTTLE], **parameters):
        given = {"categories": ["cup", "bottle"], **parameters}
        contexts.append(pose_node_here(monkeypatch, NAMESPACE, script, **given))
        node = contexts[-1].__enter__()
        probe = make_probe(NAMESPACE)
        probe.wait_for_node()
        return node, probe

    yield make
    for context in contexts:
        context.__exit__(None, None, None)


def ask(probe, *boxes):
    """The answer to an image with these boxes of a detector, and what each category's model was asked."""
    probe.start_detector()
    del ScriptedModel.asked[:]
    header = probe.send(IMAGE, CAMERA)
    probe.send_boxes(header, boxes)
    answer = probe.answer("detections", header)
    return answer, {asked["category"]: asked for asked in ScriptedModel.asked}


def test_all_categories_are_one_set_of_messages(scene):
    """Best score first; ranks count per category, in TF and markers as well."""
    node, probe = scene()
    header = probe.send(IMAGE, CAMERA)
    found = probe.answer("detections", header).detections
    names = [f"several_test/{name}" for name in ("bottle_0", "cup_0", "cup_1")]
    assert [one.id for one in found] == names
    assert [one.results[0].hypothesis.class_id for one in found] == ["bottle", "cup", "cup"]
    transforms = probe.wait(lambda: [t for m in probe.received["/tf"] for t in m.transforms
                                     if t.header.stamp == header.stamp], "TF")
    assert [t.child_frame_id for t in transforms] == names
    assert probe.answer("pose", header).pose.position.x == pytest.approx(0.2), "the best of all"
    bodies = [m for m in probe.wait(lambda: probe.received["markers"], "markers")[-1].markers if m.ns == "body"]
    assert [len(m.points) for m in bodies] == [3 * len(node._categories.bundles[c].mesh.faces)
                                               for c in ("bottle", "cup", "cup")]
    assert probe.answer("overlay", header).width == 640
    assert [asked["category"] for asked in ScriptedModel.asked] == ["cup", "bottle"], "one picture, each once"
    assert ScriptedModel.asked[0]["camera"] is ScriptedModel.asked[1]["camera"]


def test_boxes_go_to_their_category(scene):
    node, probe = scene(class_map=["41=cup", "39=bottle", "wine glass=cup"])
    answer, asked = ask(probe, (*CUP_BOX, "41", 0.7), (*BOTTLE_BOX, "Bottle", 0.8), (10.0, 10.0, 60.0, 60.0, "2", 0.9),
                        (300.0, 10.0, 360.0, 60.0, "Wine Glass", 0.5), (10.0, 300.0, 60.0, 360.0, "2", 0.9))
    assert asked["cup"]["rois"] == [CUP_BOX, (300, 10, 360, 60)] and asked["cup"]["detector_scores"] == [0.7, 0.5]
    assert asked["bottle"]["rois"] == [BOTTLE_BOX] and len(answer.detections) == 3
    values = probe.diagnosis()
    assert values["boxes_left_out_class"] == "2" and "class '2' is no cup or bottle (parameter class_map" in (
        values["last_left_out"])
    assert probe.received["boxes"], "what was looked at"
    boxes = probe.answer("boxes", answer.header)
    assert boxes.header == answer.header
    told = [(d.id, d.results[0].hypothesis.class_id, round(d.results[0].hypothesis.score, 3)) for d in boxes.detections]
    assert told == [("cup", "41", 0.7), ("cup", "Wine Glass", 0.5), ("bottle", "Bottle", 0.8)]
    box = boxes.detections[2].bbox
    assert (box.center.position.x, box.size_x, box.size_y) == (460.0, 80.0, 90.0)


def test_boxes_without_a_class_may_be_of_any(scene):
    node, probe = scene()
    _, asked = ask(probe, (*CUP_BOX, "", 0.7))
    assert asked["cup"]["rois"] == asked["bottle"]["rois"] == [CUP_BOX]


def test_one_cap_over_all_categories_before_the_work(scene):
    """The most certain ones are looked at, the others counted."""
    node, probe = scene(max_objects=3)
    flood = [(20.0 * k, 50.0, 20.0 * k + 15.0, 90.0, ("cup", "bottle")[k % 2], 0.02 * k) for k in range(30)]
    _, asked = ask(probe, *flood)
    assert [len(asked[name]["rois"]) for name in ("cup", "bottle")] == [1, 2]
    assert asked["bottle"]["detector_scores"] == pytest.approx([0.58, 0.54])
    values = probe.diagnosis()
    assert values["boxes_left_out_limit"] == "27" and "only the best 3 are looked at" in values["last_left_out"]


def test_the_cap_is_told_of_what_the_node_finds_itself(scene, monkeypatch):
    """Nothing is tracked, and nobody is told so."""
    boxes = [np.array((20.0 + 60.0 * k, 50.0, 70.0 + 60.0 * k, 100.0)) for k in range(4)]
    monkeypatch.setattr(ScriptedModel, "find", lambda self, image: Found(boxes, [0.9, 0.8, 0.7, 0.6], False))
    node, probe = scene(max_objects=3)
    probe.answer("detections", probe.send(IMAGE, CAMERA))
    values = probe.diagnosis()
    assert values["boxes_left_out_limit"] == "5" and values["last_left_out"].endswith(
        "5 boxes left out: only the best 3 are looked at (parameter max_objects)")


def test_a_detector_is_asked_for_while_the_node_runs(scene, monkeypatch):
    """Own proposals in its place would be an answer of another kind: the images are refused, and it is told why."""
    node, probe = scene()
    monkeypatch.setattr(ScriptedModel, "finds_with", property(
        lambda self: "nanodet" if self.bundle.card.category == "cup" else "proposals"))
    probe.answer("detections", probe.send(IMAGE, CAMERA))
    assert probe.set_parameter("rois", "detector").successful
    del ScriptedModel.asked[:]
    probe.send(IMAGE, CAMERA)
    values = probe.wait(lambda: (v := probe.diagnosis()).get("rejected_bundle") == "1" and v, "a refusal")
    assert "rois is detector, and the node has none that knows bottle" in values["last_error"]
    assert not ScriptedModel.asked
    for rois in ("auto", "proposals"):
        assert probe.set_parameter("rois", rois).successful
        probe.answer("detections", probe.send(IMAGE, CAMERA))
    assert len(ScriptedModel.asked) == 4


def test_one_object_is_not_told_twice(scene):
    """Both categories see something in one place: presence decides, and the boxes say what became of it."""
    both = [replace(CUP, presence=0.4, score=0.9, roi=CUP_BOX),
            replace(CUP, category="bottle", presence=0.8, score=0.5, roi=CUP_BOX)]
    node, probe = scene(lambda number: both)
    answer, _ = ask(probe, (*CUP_BOX, "cup", 0.5), (*CUP_BOX, "bottle", 0.5))
    assert [one.id for one in answer.detections] == ["several_test/bottle_0"]
    assert [box.refused for box in node._categories.looked] == ["is the bottle of another box", ""]


def test_refused_boxes_are_shown_on_request(scene):
    """Left out before the look: another class. A pose below min_score: after it."""
    node, probe = scene(lambda number: [replace(CUP, roi=CUP_BOX)], min_score=0.9)

    def overlay():
        answer, _ = ask(probe, (*CUP_BOX, "cup", 0.7), (*BOTTLE_BOX, "dog", 0.8))
        message = probe.answer("overlay", answer.header)
        return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3).astype(int)

    assert np.array_equal(overlay(), IMAGE), "not asked for"
    assert probe.set_parameter("overlay_refused", True).successful
    drawn = np.abs(overlay() - IMAGE).max(axis=2) > 50
    for x_min, y_min, x_max, y_max in (np.array(CUP_BOX, int), np.array(BOTTLE_BOX, int)):
        assert drawn[y_min, x_min:x_max].all() and drawn[y_min:y_max, x_min].all()
        assert not drawn[y_min + 5:y_min + 40, x_min + 5:x_max - 5].any(), "the inside is left as it is"
    assert [box.refused for box in node._categories.looked] == ["score below min_score 0.9"]


def test_request_is_answered_with_all_categories(scene):
    node, probe = scene(lambda number: [CUP, BOTTLE])
    answer = probe.estimate(IMAGE, CAMERA)
    assert [(found.id, found.category, found.used) for found in answer.objects] == [
        ("several_test/bottle_0", "bottle", 5), ("several_test/cup_0", "cup", 5)]


def test_switch_diagnostics_and_transitions(scene):
    node, probe = scene()
    values = probe.diagnosis()
    assert values["categories"] == "cup, bottle" and values["cup_backend"] == values["bottle_backend"] == "scripted"
    assert ScriptedModel.loaded == 2
    assert probe._call(SetBool, "pose_node/enable", SetBool.Request(data=False)).success
    assert not node._categories.awake and "cup_backend" not in probe.diagnosis()
    assert probe._call(SetBool, "pose_node/enable", SetBool.Request(data=True)).success
    assert node._categories.awake and ScriptedModel.loaded == 4
    assert probe._call(Trigger, "pose_node/reset", Trigger.Request()).success
    assert probe.change_state(Transition.TRANSITION_DEACTIVATE) and probe.change_state(Transition.TRANSITION_CLEANUP)
    assert probe.set_parameter("categories", ["cup"]).successful
    assert probe.change_state(Transition.TRANSITION_CONFIGURE) and probe.change_state(Transition.TRANSITION_ACTIVATE)
    probe.wait_for_node()
    assert [d.id for d in probe.answer("detections", probe.send(IMAGE, CAMERA)).detections] == [
        "several_test/cup_0", "several_test/cup_1"]
    assert "categories" not in probe.diagnosis(), "of one everything is as it was"


def test_gates_hold_back_per_category(scene):
    """The bottle jumps, the cups do not."""
    node, probe = scene(lambda number: [CUP, replace(BOTTLE, T_cam_obj=se3(np.eye(3), np.array([
        0.2 if number < 2 else 0.3, 0.0, 0.8])))], gate_distance_m=0.05)
    out = [sorted(d.id.rpartition("/")[2] for d in probe.answer("detections", probe.send(IMAGE, CAMERA)).detections)
           for _ in range(2)]
    assert out == [["bottle_0", "cup_0"], ["cup_0"]]


@pytest.mark.parametrize(("entries", "words"), [(["41=mug"], "category 'mug' is not looked for (allowed: cup)"),
                                                (["41"], "allowed: ID=category")])
def test_a_class_map_that_is_none_is_told(tmp_path, make_probe, entries, words):
    """At configure, in log and diagnostics; mended, the node goes on."""
    node = start_node("pose_node", tmp_path / "log", "/map_test", categories=["cup"], class_map=entries)
    node.wait_for_output(f"cannot configure: class_map has '{entries[0]}'")
    probe = make_probe("/map_test", outputs=("/diagnostics",))
    values = probe.diagnosis()
    assert words in values["message"] and values["level"] == 2 and values["rejected_detections"] == "1"
    assert probe.set_parameter("class_map", ["41=cup"]).successful
    assert probe.change_state(Transition.TRANSITION_CONFIGURE)
    assert node.interrupt() == 0


# Which bundles

def settings(**given) -> SimpleNamespace:
    return SimpleNamespace(**{"category": "car", "categories": [""], "bundle": "", "bundles": [""],
                              "presence_floor": -1.0, **given})


def names(**given) -> list[str]:
    return [bundle.card.category for bundle in bundles_of(settings(**given))]


def test_bundles_are_those_that_the_parameters_ask_for(tmp_path):
    cup, bottle = str(find_bundle("cup")), str(find_bundle("bottle"))
    assert names() == names(categories=None, bundles=None) == ["car"]
    assert names(categories=["cup", "", "bottle", "cup"]) == ["cup", "bottle"]
    assert names(bundle=cup) == ["cup"] and names(bundles=[cup, bottle]) == ["cup", "bottle"]
    assert names(categories=["bottle"], bundle=cup) == ["bottle", "cup"]
    own = shutil.copytree(cup, tmp_path / "mine")
    assert [bundle.path for bundle in bundles_of(settings(categories=["cup"], bundles=[str(own)]))] == [own]
    with pytest.raises(BundleError, match="both of category cup"):
        bundles_of(settings(bundle=cup, bundles=[str(own)]))
    with pytest.raises(BundleError, match="'mug'"):
        bundles_of(settings(categories=["cup", "mug"]))


def test_the_floor_of_presence_is_the_bundles_or_the_parameters(tmp_path):
    own, = bundles_of(settings(categories=["cup"]))
    assert own.card.presence.floor > 0 and own.card.detector.floor > 0
    none, all_of_it = (bundles_of(settings(categories=["cup"], presence_floor=floor))[0].card for floor in (0.0, 0.7))
    assert none.presence.floor == none.detector.floor == 0.0 and none.presence.linear == own.card.presence.linear
    assert all_of_it.presence.floor == 0.7 and all_of_it.detector.labels == own.card.detector.labels
    folder, = bundles_of(settings(bundle=str(own.path), presence_floor=0.7))
    assert folder.card.presence.floor == 0.7


def test_stamps_are_the_images(scene):
    node, probe = scene()
    header = probe.send(IMAGE, CAMERA)
    assert nanoseconds(probe.answer("boxes", header).header.stamp) == nanoseconds(header.stamp)
    assert [box.id for box in probe.answer("boxes", header).detections] == ["cup", "bottle"], "where it looked itself"
