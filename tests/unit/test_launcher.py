# SPDX-License-Identifier: Apache-2.0
"""A process that was started by a launch notices its end, however that comes."""

import os
import subprocess
import sys
import threading
import time

import pytest

from dinemo_ros.process import launcher


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_the_end_of_the_launch_is_noticed_once_it_comes(monkeypatch, sleeper):
    monkeypatch.setenv(launcher.LAUNCHED_BY, str(sleeper.pid))
    ended = threading.Event()
    launcher.end_with_launcher(ended.set)
    assert not ended.wait(0.5)
    sleeper.kill()
    assert ended.wait(5.0)


def test_a_launch_that_has_ended_already_is_noticed(monkeypatch, sleeper):
    sleeper.kill()
    sleeper.wait()
    monkeypatch.setenv(launcher.LAUNCHED_BY, str(sleeper.pid))
    ended = threading.Event()
    launcher.end_with_launcher(ended.set)
    assert ended.is_set()


@pytest.mark.parametrize("number", ["", "nobody", "-1"])
def test_without_a_launch_nothing_is_watched(monkeypatch, number):
    monkeypatch.setenv(launcher.LAUNCHED_BY, number)
    before = threading.active_count()
    launcher.end_with_launcher()
    assert threading.active_count() == before


def test_a_program_ends_with_its_parent():
    """The kernel tells what was started by exec."""
    child = "from dinemo_ros.process.launcher import end_program_with_parent as e; import os, sys; e(); " \
            "os.execv(sys.executable, [sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); " \
            "time.sleep(60)'])"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, launcher.LAUNCHED_BY: "1"})
    number = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5.0
    while running(number):
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.05)


def running(number: int) -> bool:
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
