# SPDX-License-Identifier: Apache-2.0
"""unconfigured, inactive, active and back; bundles that cannot be used; the end by SIGINT."""

import os
import shutil
import signal
import sys
import time

import pytest
import yaml
from lifecycle_msgs.msg import Transition
from ros_support.processes import NodeProcess, executable, start_node

from dinemo_ros.model.bundle import find_bundle

NAMESPACE = "/lifecycle_test"


def test_transitions(tmp_path, make_probe, demo_frames):
    """Images are taken only while active, and the node can go round twice."""
    node = start_node("pose_node", tmp_path / "log", NAMESPACE, autostart=False)
    probe = make_probe(NAMESPACE)
    frame = demo_frames[0]
    assert probe.state() == "unconfigured"
    assert probe.diagnosis()["message"] == "unconfigured: configure and activate the node"
    for _ in range(2):
        assert probe.change_state(Transition.TRANSITION_CONFIGURE)
        assert probe.state() == "inactive"
        assert probe.images.get_subscription_count() == 0
        running = probe.diagnosis()
        assert all(running[name] for name in ("backend", "precision", "network_device", "solver_device"))
        assert "there is no GPU to use" in running["backend_reason"] or "works on" in running["backend_reason"]
        assert probe.change_state(Transition.TRANSITION_ACTIVATE)
        probe.wait_for_node()
        assert probe.answer("detections", probe.send(frame.image, frame.camera)).detections
        assert probe.change_state(Transition.TRANSITION_DEACTIVATE)
        probe.wait(lambda: probe.images.get_subscription_count() == 0, "the subscription to end")
        assert probe.change_state(Transition.TRANSITION_CLEANUP)
        assert probe.state() == "unconfigured"
    assert not probe.change_state(Transition.TRANSITION_ACTIVATE), "an unconfigured node cannot become active"
    assert probe.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert probe.state() == "finalized"
    assert probe.diagnosis()["message"] == "finalized: shut down for good; start the node again to go on"
    assert node.interrupt() == 0
    assert "Traceback" not in node.output


def test_what_takes_effect_at_configure_cannot_be_set_later(tmp_path, make_probe):
    """No "success" for a change that does nothing: refused with what to do, and that works."""
    node = start_node("pose_node", tmp_path / "log", NAMESPACE, threads=1)
    node.wait_for_output("active: images from")
    probe = make_probe(NAMESPACE, outputs=())
    for name, value in (("category", "nonsense"), ("backend", "onnxruntime"), ("threads", 2)):
        answer = probe.set_parameter(name, value)
        assert not answer.successful and f"'{name}'" in answer.reason and "clean it up first" in answer.reason
    assert probe.set_parameter("threads", 1).successful, "the value it has already"
    assert probe.set_parameter("min_score", 0.1).successful
    assert probe.change_state(Transition.TRANSITION_DEACTIVATE)
    assert not probe.set_parameter("threads", 2).successful
    assert probe.change_state(Transition.TRANSITION_CLEANUP)
    assert probe.set_parameter("threads", 2).successful
    assert probe.change_state(Transition.TRANSITION_CONFIGURE)
    assert node.interrupt() == 0


def copied_bundle(folder):
    shutil.copytree(find_bundle("car"), folder)
    return folder


def without_mesh(folder):
    (copied_bundle(folder) / "mesh.npz").unlink()


def truncated_backbone(folder):
    file = copied_bundle(folder) / "backbone.onnx"
    file.write_bytes(file.read_bytes()[:1000])


def foreign(folder):
    folder.mkdir()
    (folder / "model.yaml").write_text("model: somebody else's\n")


def newer(folder):
    file = copied_bundle(folder) / "model.yaml"
    card = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**card, "format": "dinemo-bundle/99"}))


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda folder: None, "no such folder"), (without_mesh, "mesh.npz: missing"), (truncated_backbone, "truncated"),
    (foreign, "not a dinemo bundle"), (newer, "upgrade dinemo_ros")],
    ids=["missing", "no mesh", "truncated", "foreign", "newer"])
def test_bad_bundle_leaves_the_node_alive_until_it_is_mended(tmp_path, make_probe, spoil, words):
    """configure fails with one clear sentence, in log and diagnostics; with a good bundle it succeeds."""
    bundle = tmp_path / "bundle"
    spoil(bundle)
    node = start_node("pose_node", tmp_path / "log", NAMESPACE, bundle=str(bundle))
    node.wait_for_output("cannot configure")
    probe = make_probe(NAMESPACE, outputs=("/diagnostics",))
    values = probe.diagnosis()
    assert values["level"] == 2 and words in values["message"] and str(bundle) in values["message"]
    said, = [line for line in node.output.splitlines() if "cannot configure" in line]
    assert "ERROR" in said, "once, and as an error"
    assert probe.state() == "unconfigured"
    shutil.rmtree(bundle, ignore_errors=True)
    copied_bundle(bundle)
    assert probe.change_state(Transition.TRANSITION_CONFIGURE)
    assert probe.state() == "inactive"
    assert probe.diagnosis()["message"] == "inactive: activate the node", "what failed before is over"
    assert node.interrupt() == 0


def test_a_bug_while_configuring_leaves_the_node_alive(tmp_path, make_probe, monkeypatch):
    """rclpy keeps what a transition raises to itself: without a sentence of ours the node would be dead and silent."""
    broken = tmp_path / "onnxruntime"  # in the place of the package: an error that nobody thought of
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ArithmeticError('libonnxruntime is of another world')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    node = start_node("pose_node", tmp_path / "log", NAMESPACE)
    node.wait_for_output("cannot configure: unexpected ArithmeticError in <module>")
    probe = make_probe(NAMESPACE, outputs=("/diagnostics",))
    values = probe.diagnosis()
    assert values["level"] == 2
    assert "libonnxruntime is of another world" in values["message"] and "please report it" in values["message"]
    assert probe.state() == "unconfigured"
    shutil.rmtree(broken)
    assert probe.change_state(Transition.TRANSITION_CONFIGURE)
    assert probe.state() == "inactive"
    assert node.interrupt() == 0


def test_unknown_category_names_the_known_ones(tmp_path):
    node = start_node("pose_node", tmp_path / "log", NAMESPACE, category="unicorn")
    node.wait_for_output("no bundle for category 'unicorn' is installed (found: bottle, car, chair, cup")
    assert node.interrupt() == 0


def test_impossible_parameter_ends_with_its_name(tmp_path):
    node = start_node("pose_node", tmp_path / "log", NAMESPACE, threads=0)
    assert node.process.wait(30) == 1
    assert "pose_node: parameter 'threads' must be 1 to 256" in node.output and "Traceback" not in node.output


def test_keys_that_cannot_be_used_are_one_sentence(tmp_path, monkeypatch):
    """Under enforced security a node without good keys ends, and says why; without it, it would be open to all."""
    folder = tmp_path / "keys" / "enclaves" / "dinemo"
    folder.mkdir(parents=True)
    for name in ("identity_ca.cert.pem", "cert.pem", "key.pem", "permissions_ca.cert.pem", "governance.p7s",
                 "permissions.p7s"):
        (folder / name).touch()
    for name, value in (("ENABLE", "true"), ("STRATEGY", "Enforce"), ("KEYSTORE", str(tmp_path / "keys"))):
        monkeypatch.setenv(f"ROS_SECURITY_{name}", value)
    node = NodeProcess([executable("pose_node"), "--ros-args", "--enclave", "/dinemo"], tmp_path / "log")
    assert node.process.wait(30) == 1
    assert "pose_node: error creating node" in node.output and "Traceback" not in node.output


@pytest.mark.parametrize(("words", "says"), [
    (["--params-file", "/nowhere.yaml"], "Couldn't parse params file: '--params-file /nowhere.yaml'"),
    (["-r", "__node"], "Couldn't parse remap rule: '-r __node'"), (["--nonsense"], "'--nonsense'")])
def test_ros_arguments_that_cannot_be_read_are_an_error(tmp_path, words, says):
    """Exit code 1: a launch system must not take it for an end in order."""
    node = NodeProcess([executable("pose_node"), "--ros-args", *words], tmp_path / "log")
    assert node.process.wait(30) == 1
    said, = [line for line in node.output.splitlines() if line.startswith("pose_node: ")]
    assert "cannot start with these ROS arguments" in said and says in said and "Traceback" not in node.output


def test_modules_run_like_the_executables(tmp_path):
    for name, says in (("pose_node", "parameter 'threads'"), ("image_source_node", "parameter 'path' is empty")):
        command = [sys.executable, "-m", f"dinemo_ros.node.{name}", "--ros-args", "-p", "threads:=0"]
        node = NodeProcess(command, tmp_path / name)
        assert node.process.wait(30) == 1 and says in node.output


@pytest.mark.parametrize("moment", ["loading the bundle", "active: images from"])
def test_sigint_ends_with_zero(tmp_path, moment):
    node = start_node("pose_node", tmp_path / "log", NAMESPACE)
    node.wait_for_output(moment)
    assert node.interrupt() == 0, node.output
    assert "Traceback" not in node.output


def test_second_sigint_does_not_break_the_ending(tmp_path):
    """ros2 launch passes on the Ctrl-C that the terminal has sent already."""
    node = start_node("pose_node", tmp_path / "log", NAMESPACE)
    node.wait_for_output("active: images from")
    for _ in range(3):
        node.process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    assert node.process.wait(15) == 0, node.output
    assert "Traceback" not in node.output
