# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Arrays to the device and back. Where there is no GPU, page-locked memory is ordinary one and events are a list."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dinemo_ros.cuda import staging
from dinemo_ros.cuda.staging import Staging

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Event:
    """Remembers what was asked of all events, each by its number."""

    log, count = [], 0

    def __init__(self):
        self._number = Event.count
        Event.count += 1

    def record(self):
        Event.log.append(f"record {self._number}")

    def synchronize(self):
        Event.log.append(f"wait {self._number}")


@pytest.fixture
def locked(monkeypatch):
    """Staging through page-locked memory, and how often such memory was asked for."""
    allocated = []

    def ordinary(size):
        allocated.append(size)
        return torch.empty(size, dtype=torch.uint8)

    monkeypatch.setattr(Event, "log", [])
    monkeypatch.setattr(Event, "count", 0)
    if DEVICE.type == "cpu":
        monkeypatch.setattr(staging, "_page_locked", ordinary)
        monkeypatch.setattr(torch.cuda, "Event", Event)
    return Staging(DEVICE, page_locked=True), allocated


@pytest.mark.parametrize("array", [np.arange(24, dtype=np.uint8).reshape(2, 4, 3), np.arange(10.0)[::2],
                                   np.arange(6, dtype=np.float32).reshape(2, 3).T, np.zeros((0, 3), np.float32)])
def test_there_and_back(locked, array):
    for one in (locked[0], Staging(DEVICE)):
        copy = one.upload("it", array)
        assert copy.device.type == DEVICE.type
        back = one.download(copy)
        assert back.dtype == array.dtype and np.array_equal(back, array)


def test_memory_is_kept_and_not_written_to_before_its_copy_is_done(locked):
    one, allocated = locked
    copies = [one.upload("frame", np.full((4, 5), k, np.uint8)) for k in (1, 2)]
    assert [int(copy.float().mean()) for copy in copies] == [1, 2]
    other = one.upload("rows", np.ones(3, np.uint8))
    if DEVICE.type == "cpu":
        assert Event.log == ["wait 0", "record 0", "wait 0", "record 0", "wait 1", "record 1"]
        assert allocated == [0, 20, 0, 3]
    one.upload("frame", np.ones((2, 2), np.uint8))
    assert len(allocated) in (0, 4) and int(other.sum()) == 3


def test_what_came_back_is_the_callers_own(locked):
    first = locked[0].download(torch.ones(3, device=DEVICE))
    locked[0].download(torch.zeros(3, device=DEVICE))
    assert first.tolist() == [1, 1, 1]
    if DEVICE.type == "cpu":
        assert Event.log == ["wait 0", "record 0", "wait 0"] * 2


def test_numbers_of_several_kinds_in_one_copy(locked):
    for one in (locked[0], Staging(DEVICE)):
        a, b = one.upload_numbers("rows", np.array([1, 2, 3]), np.arange(6.0).reshape(3, 2))
        assert a.dtype == b.dtype == torch.float32 and a.tolist() == [1, 2, 3] and b.shape == (3, 2)
        assert b.tolist() == [[0, 1], [2, 3], [4, 5]]
