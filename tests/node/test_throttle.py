# SPDX-License-Identifier: Apache-2.0
"""Things are said once per kind, whatever strangers write, and what is remembered of it is bounded."""

import time
import tracemalloc

import pytest

from dinemo_ros.io.quoting import one_line, quoted
from dinemo_ros.node.diagnostics import Monitor
from dinemo_ros.node.throttle import Throttle


class Recorder:
    def __init__(self):
        self.lines = []

    def warning(self, line):
        self.lines.append(line)

    info = error = warning


@pytest.mark.parametrize(("text", "told"), [("car", "'car'"), ("a\nb", r"'a\nb'"), ("\x1b[2J", r"'\x1b[2J'"),
                                            ("x" * 80, f"'{'x' * 80}'"), ("x" * 81, f"'{'x' * 80}'...")])
def test_quoted(text, told):
    assert quoted(text) == told


def test_one_line_is_short_and_harmless():
    line = one_line("/image: \x1b[31mred\n[ERROR] forged\u202eobog\x85" + "x" * 500_000 + " so do this")
    assert len(line) < 750 and line.endswith(" so do this") and line.startswith(r"/image: \x1b[31mred\n[ERROR]")
    assert not any(c in line for c in "\x1b\n\u202e\x85")
    assert one_line("ä 90° 'ok'") == "ä 90° 'ok'"


def test_numbers_make_no_difference():
    throttle = Throttle()
    assert throttle.let_through("image", "encoding 'a' of 5 bytes", 60.0, 0.0)
    assert throttle.let_through("image", "encoding 'a' of 19.5 bytes", 60.0, 0.0) is None
    assert throttle.let_through("image", "box (-5.0, 1e-07, nan, inf)", 60.0, 0.0)
    assert throttle.let_through("image", "box (-7.0, 3.5, inf, 2e+09)", 60.0, 0.0) is None


def test_quoted_text_makes_no_difference():
    throttle = Throttle()
    assert throttle.let_through("image", "encoding 'a1' of 5 bytes", 60.0, 0.0)
    alike = ("encoding 'b' of 19 bytes", "encoding 'it\\'s' of 7 bytes", 'encoding "x" of 0.5 bytes',
             "encoding 'long'... of 6 bytes")
    for now, message in enumerate(alike):
        assert throttle.let_through("image", message, 60.0, float(now)) is None
    assert throttle.let_through("image", "another thing", 60.0, 5.0) == "another thing"
    assert throttle.let_through("roi", "encoding 'a1' of 5 bytes", 60.0, 5.0), "another cause"
    again = throttle.let_through("image", "encoding 'c' of 8 bytes", 60.0, 61.0)
    assert again == "encoding 'c' of 8 bytes (4 more like it since the last time)"


def test_a_flood_of_news_is_held_back_and_forgotten():
    throttle = Throttle()
    said = [throttle.let_through("image", "news " + "abcdefghij"[k % 10] * (k + 1), 60.0, 0.0) for k in range(300)]
    assert 1 <= sum(line is not None for line in said) <= 20
    assert throttle.let_through("image", "fresh news", 60.0, 61.0) == "fresh news"
    assert throttle.let_through("roi", "x" * 1000 + " news", 60.0, 61.0)
    assert throttle.let_through("roi", "x" * 1000 + " other", 60.0, 61.0) is None, "only the beginning is remembered"


def test_monitor_does_not_grow_with_what_strangers_write():
    """300 messages with half a megabyte of text each, all different."""
    monitor = Monitor(Recorder(), "pose_node: pose estimation")
    tracemalloc.start()
    try:
        for k in range(300):
            text = "abcdefghijklmnopqrstuvwxyz"[k % 26] * (500_000 + k)
            monitor.reject("image", f"/image: {text} is no encoding", 3600.0)
            monitor.note("frame", f"/image: frame {text}", 3600.0)
            monitor.leave_out("class", 1, text)
        del text
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 100_000, f"{kept} bytes are kept"
    status = monitor.status("active", 3.0, "/image", {})
    assert sum(len(v.value) for v in status.values) + len(status.message) < 10_000
    assert monitor.rejected["image"] == 300
    monitor.reject("roi", "/detections_2d: lies outside", 60.0, lost_image=False, count=7)
    assert monitor.rejected["roi"] == 7


def test_notes_are_warnings_beside_poses(monkeypatch):
    monitor = Monitor(Recorder(), "pose_node: pose estimation")
    monitor.start()
    monitor.image_received()
    monitor.image_done(1, 0.05, {})
    assert monitor.status("active", 3.0, "/image", {}).level == b"\x00"
    monitor.note("frame", "/image: frame 'camera_link' is no optical one", 60.0)
    status = monitor.status("active", 3.0, "/image", {})
    assert status.level == b"\x01" and status.message == ("estimating, but /image: frame 'camera_link' is no optical "
                                                          "one")
    monitor.note("frame", "/image: frame 'base_link' is no optical one", 60.0)
    assert len(monitor._logger.lines) == 1, "another name is no news"
    later = time.monotonic() + 11.0
    monkeypatch.setattr("dinemo_ros.node.diagnostics.time.monotonic", lambda: later)
    monitor.image_received()
    assert monitor.status("active", 3.0, "/image", {}).message == "estimating", "it was long ago"
    monitor.note("frame", "/image: frame 'camera_link' is no optical one", 60.0)
    monitor.start()
    assert monitor.status("active", 3.0, "/image", {}).message == "estimating", "a new start is a new start"


@pytest.mark.parametrize(("state", "message"), [
    ("unconfigured", "unconfigured: configure and activate the node"), ("inactive", "inactive: activate the node"),
    ("finalized", "finalized: shut down for good; start the node again to go on"), ("cleaningup", "cleaningup")])
def test_advice_fits_the_state(state, message):
    assert Monitor(Recorder(), "x").status(state, 3.0, "/image", {}).message == message


def test_failure_is_said_once_and_forgotten_after_success():
    log = Recorder()
    monitor = Monitor(log, "x")
    monitor.fail("bundle", "cannot configure: mesh.npz: missing")
    assert log.lines == ["cannot configure: mesh.npz: missing"]
    status = monitor.status("unconfigured", 3.0, "/image", {})
    assert status.level == b"\x02" and status.message == "unconfigured: cannot configure: mesh.npz: missing"
    assert monitor.status("finalized", 3.0, "/image", {}).message.startswith("finalized: shut down")
    monitor.recovered()
    assert monitor.status("inactive", 3.0, "/image", {}).message == "inactive: activate the node"
    monitor.progress = "compiling the solver: 12 of 36 kernels"
    assert monitor.status("configuring", 3.0, "/image", {}).message == (
        "configuring: compiling the solver: 12 of 36 kernels")
