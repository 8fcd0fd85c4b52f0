# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT are heeded soon in every state, with exit code 0 and without a word of complaint."""

import re
import signal
import sys
import time
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_support.processes import NodeProcess, start_node

NAMESPACE = "/ending_test"
_HEEDED_S = 2.0
_BUSY_MACHINE_S = 1.0  # more, for a test that shares its cores

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)


def assert_heeded(node: NodeProcess, number: signal.Signals) -> None:
    segments = own_segments(node)
    sent = time.monotonic()
    node.process.send_signal(number)
    code = node.process.wait(15)
    spent = time.monotonic() - sent
    assert code == 0, node.output
    assert spent < _HEEDED_S + _BUSY_MACHINE_S, f"heeded after {spent:.1f} s:\n{node.output}"
    for word in ("Traceback", "Error", "report it", "terminate called", "Failed to", "Exception ignored"):
        assert word not in node.output, node.output
    left = [path.name for path in segments if path.exists()]
    assert not left, f"70 MB of shared memory stay behind for good: {left}"


def own_segments(node: NodeProcess) -> list[Path]:
    """Fast DDS's shared memory that the process has made: it has the lock file beside it open."""
    locks = []
    for descriptor in Path(f"/proc/{node.process.pid}/fd").iterdir():
        try:
            locks.append(str(descriptor.readlink()))
        except OSError:  # closed meanwhile
            continue
    return [Path(lock[:-3]) for lock in locks if re.fullmatch(r"/dev/shm/fast\w+_(?!port)\w+_el", lock)]


def wait_until_python_is_ours(node: NodeProcess) -> None:
    """The interpreter has read its own library, and our first line is run: from here on signals are heeded."""
    caught, deadline = 1 << (signal.SIGTERM - 1), time.monotonic() + 30
    while not int(re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{node.process.pid}/status").read_text())[1], 16) & caught:
        assert node.process.poll() is None and time.monotonic() < deadline, node.output
        time.sleep(0.002)


@pytest.fixture
def cold(monkeypatch, tmp_path):
    """No kernel is in numba's cache."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))


@SIGNALS
@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.1, 0.4, 0.7, 1.0, 1.5])
def test_while_starting(tmp_path, number, after_s):
    """Libraries are loaded, the context and the node are made: whatever it is at by then."""
    node = start_node("pose_node", tmp_path / "log", NAMESPACE)
    wait_until_python_is_ours(node)
    time.sleep(after_s)
    assert_heeded(node, number)


@SIGNALS
@pytest.mark.parametrize("moment", ["loading the bundle", "features of", "active: images from"])
def test_at_a_moment_of_the_start(tmp_path, number, moment):
    node = start_node("pose_node", tmp_path / "log", NAMESPACE, precision="int8")
    node.wait_for_output(moment)
    assert_heeded(node, number)


@SIGNALS
def test_while_kernels_are_compiled(tmp_path, cold, number):
    node = start_node("pose_node", tmp_path / "log", NAMESPACE)
    node.wait_for_output("compiling the solver")
    time.sleep(2.0)
    assert_heeded(node, number)


@SIGNALS
def test_while_something_else_keeps_the_configuration_busy(tmp_path, number):
    """An engine is built for minutes by a library: here by one that sleeps."""
    script = ("import sys, time, dinemo_ros.node.pose_node as module, dinemo_ros.node.ending as ending\n"
              "def build(*_, progress, **__):\n"
              "    progress('building an engine'); time.sleep(600)\n"
              "module.PoseEstimator = build\n"
              "ending.leave(module.main(sys.argv))")
    node = NodeProcess([sys.executable, "-c", script, "--ros-args", "-r", f"__ns:={NAMESPACE}"], tmp_path / "log")
    node.wait_for_output("building an engine")
    assert_heeded(node, number)


def changed(probe, transition: int):
    """A future of the transition."""
    client = probe.create_client(ChangeState, "pose_node/change_state")
    assert client.wait_for_service(30.0)
    request = ChangeState.Request()
    request.transition.id = transition
    return client.call_async(request)


STATES = ("unconfigured", "configuring", "inactive", "activating", "deactivating", "cleaningup", "shuttingdown",
          "finalized")


@pytest.mark.parametrize(("state", "number"),
                         list(zip(STATES, 4 * (signal.SIGTERM, signal.SIGINT), strict=True)))
def test_in_a_state_of_the_lifecycle(tmp_path, make_probe, number, state):
    """In the middle of a transition as well: its request is on the way when the signal comes."""
    node = start_node("pose_node", tmp_path / "log", NAMESPACE, autostart=False)
    probe = make_probe(NAMESPACE, outputs=())
    assert probe.state() == "unconfigured"
    configure, activate = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
    before = {"unconfigured": [], "configuring": [], "inactive": [configure], "activating": [configure],
              "deactivating": [configure, activate], "cleaningup": [configure], "shuttingdown": [configure, activate],
              "finalized": [Transition.TRANSITION_UNCONFIGURED_SHUTDOWN]}[state]
    last = {"configuring": configure, "activating": activate, "deactivating": Transition.TRANSITION_DEACTIVATE,
            "cleaningup": Transition.TRANSITION_CLEANUP, "shuttingdown": Transition.TRANSITION_ACTIVE_SHUTDOWN}
    for transition in before:
        assert probe.change_state(transition)
    if state in last:
        changed(probe, last[state])
        probe.spin(0.05)
    else:
        assert probe.state() == state
    assert_heeded(node, number)


@SIGNALS
def test_active_under_load(tmp_path, make_probe, demo_frames, number):
    """Images come faster than they are worked on."""
    node = start_node("pose_node", tmp_path / "log", NAMESPACE)
    probe = make_probe(NAMESPACE, outputs=("detections",))
    probe.wait_for_node()
    frame = demo_frames[0]
    probe.answer("detections", probe.send(frame.image, frame.camera))
    for _ in range(20):
        probe.send(frame.image, frame.camera)
        probe.spin(0.01)
    assert_heeded(node, number)


@SIGNALS
@pytest.mark.parametrize("after", [0.0, 0.3, 0.8, "playing", "played"])
def test_image_source(tmp_path, make_probe, demo_frames, number, after):
    """While it starts, waits for a subscriber, or plays a video over and over."""
    folder = str(demo_video(tmp_path, demo_frames))
    node = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=folder, loop=True, rate_hz=200.0,
                      wait_for_subscriber=after == "playing")
    if isinstance(after, float):
        wait_until_python_is_ours(node)
        time.sleep(after)
    else:
        node.wait_for_output("playing")
        time.sleep(1.5 if after == "played" else 0.3)
    assert_heeded(node, number)


@SIGNALS
def test_while_the_main_thread_hears_nothing(tmp_path, number):
    """A picture is read from a disk that does not answer."""
    script = ("import sys, time, dinemo_ros.node.image_source_node as module, dinemo_ros.node.ending as ending\n"
              "class Slow:\n"
              "    description, skipped, notes = 'a slow disk', [], []\n"
              "    def __iter__(self):\n"
              "        time.sleep(600)\n"
              "        yield\n"
              "module.open_source = lambda *_, **__: Slow()\n"
              "ending.leave(module.main(sys.argv))")
    node = NodeProcess([sys.executable, "-c", script, "--ros-args", "-r", f"__ns:={NAMESPACE}", "-p", "path:=slow",
                        "-p", "wait_for_subscriber:=false"], tmp_path / "log")
    node.wait_for_output("playing a slow disk")
    time.sleep(1.5)
    assert own_segments(node)  # otherwise the check of them checks nothing
    assert_heeded(node, number)


def demo_video(folder, frames):
    import cv2

    path = folder / "demo.avi"
    height, width = frames[0].image.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (width, height))
    for frame in frames[:4]:
        writer.write(frame.image)
    writer.release()
    return path


@SIGNALS
def test_looping_bag(tmp_path, number):
    """The reader of the bag is closed in order: no trace of a generator that is cut off."""
    rosbags = pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra 'bag')")
    import numpy as np
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    with rosbags.Writer(tmp_path / "bag", version=8) as writer:
        images = writer.add_connection("/cam/image_raw", "sensor_msgs/msg/Image", typestore=store)
        for index in range(50):
            stamp = store.types["builtin_interfaces/msg/Time"](sec=1, nanosec=index * 20_000_000)
            header = store.types["std_msgs/msg/Header"](stamp=stamp, frame_id="bag_camera")
            image = store.types["sensor_msgs/msg/Image"](header, 48, 64, "mono8", 0, 64,
                                                         np.full(48 * 64, index, np.uint8))
            writer.write(images, 10**9 + index * 20_000_000, store.serialize_cdr(image, image.__msgtype__))
    node = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(tmp_path / "bag"), loop=True,
                      wait_for_subscriber=False)
    node.wait_for_output("playing")
    time.sleep(2.5)
    assert_heeded(node, number)


def test_an_error_at_start_is_still_an_error(tmp_path):
    """Ending by a signal is 0; ending for a reason of its own is not."""
    node = start_node("image_source_node", tmp_path / "log", NAMESPACE, path=str(tmp_path / "nothing"))
    assert node.process.wait(30) == 1 and "no such file" in node.output
