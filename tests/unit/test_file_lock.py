# SPDX-License-Identifier: Apache-2.0
"""Locks: who works under one is waited for, who only sits on one is not, and no file is emptied by being locked."""

import fcntl
import os
import threading
import time

import pytest
from strangers import ROOT_ONLY, given_away

from dinemo_ros.process import file_lock
from dinemo_ros.process.file_lock import locked, open_lock


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(file_lock, "BEAT_S", 0.05)
    monkeypatch.setattr(file_lock, "SILENCE_S", 0.5)
    monkeypatch.setattr(file_lock, "_POLL_S", 0.01)


def held(path):
    """What was said while the lock was taken."""
    said = []
    with locked(open_lock(path), lambda: said.append("waits"), lambda: said.append("gives up")):
        return said


def test_a_lock_that_nobody_works_under_is_waited_for_no_longer(tmp_path, quick):
    path = tmp_path / "lock"
    with open(path, "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        began = time.monotonic()
        assert held(path) == ["waits", "gives up"]
        assert 0.4 < time.monotonic() - began < 5.0
    assert held(path) == []


def test_who_works_is_waited_for(tmp_path, quick):
    """Three times as long as silence would be."""
    path, at_work, ended = tmp_path / "lock", threading.Event(), []

    def work():
        with locked(open_lock(path), lambda: None, lambda: None):
            at_work.set()
            time.sleep(1.5)
            ended.append(time.monotonic())

    worker = threading.Thread(target=work)
    worker.start()
    at_work.wait(5)
    assert held(path) == ["waits"] and ended
    worker.join()


def test_nothing_is_emptied_and_nobody_else_may_lock_it(tmp_path):
    path = tmp_path / "lock"
    assert held(path) == [] and path.stat().st_mode & 0o777 == 0o600
    path.write_text("a file that has this name by chance")
    held(path)
    assert path.read_text() == "a file that has this name by chance"


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe", "folder",
                                  pytest.param("foreign", marks=ROOT_ONLY)])
def test_what_is_no_file_of_this_users_is_no_lock(tmp_path, kind):
    path, precious = tmp_path / "lock", tmp_path / "precious"
    precious.write_text("precious")
    {"link": lambda: path.symlink_to(precious), "link to nothing": lambda: path.symlink_to(tmp_path / "none"),
     "pipe": lambda: os.mkfifo(path), "folder": path.mkdir,
     "foreign": lambda: (path.touch(), given_away(path))}[kind]()
    began = time.monotonic()
    with pytest.raises(OSError):
        open_lock(path)
    assert time.monotonic() - began < 1.0
    assert precious.read_text() == "precious" and not (tmp_path / "none").exists()
