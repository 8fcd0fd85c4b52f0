# SPDX-License-Identifier: Apache-2.0
"""A slow detector's boxes find their own image, within a time and a memory; what cannot be is told as it is."""

from types import SimpleNamespace

import pytest

from dinemo_ros.node import synchronizer
from dinemo_ros.node.synchronizer import StampMatcher

PERIOD_S = 1 / 30
HD = 1280 * 720 * 3


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets by ``clock.now``."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(synchronizer, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def image(size: int = 10) -> SimpleNamespace:
    return SimpleNamespace(data=range(size))


def answered(clock, matcher: StampMatcher, late_s: float, size: int = 10, seconds: float = 4.0) -> tuple[int, int]:
    """(pairs, detections) of a detector that answers every image of 30 Hz ``late_s`` later."""
    due, pairs, count = [], 0, 0
    for number in range(int(seconds / PERIOD_S)):
        matcher.add_image(number, image(size))
        due.append((clock.now + late_s, number))
        clock.now += PERIOD_S
        while due and due[0][0] <= clock.now:
            count += 1
            pairs += matcher.add_detections(due[0][1], "boxes") is not None
            due.pop(0)
    return pairs, count


def test_pairs_equal_stamps_in_either_order_and_drops_older_ones():
    matcher, first, second, third = StampMatcher(), image(), image(), image()
    assert matcher.add_image(1, first) is None
    assert matcher.add_image(2, second) is None
    assert matcher.add_detections(2, "boxes 2") == (second, "boxes 2")
    assert matcher.add_detections(1, "boxes 1") is None, "image 1 was overtaken"
    assert matcher.add_detections(3, "boxes 3") is None
    assert matcher.add_image(3, third) == (third, "boxes 3")


@pytest.mark.parametrize("size", [10, HD], ids=["small", "720p"])
@pytest.mark.parametrize("late_s", [0.0, 0.17, 0.4, 0.9])
def test_boxes_that_come_late_are_answered_on_their_own_image(clock, late_s, size):
    """All of them, at 30 Hz and with the limits as they are by default."""
    pairs, count = answered(clock, StampMatcher(), late_s, size)
    assert pairs == count > 90


def test_boxes_later_than_images_are_kept_are_told_as_late(clock):
    """And not blamed on the detector's headers; the sentence names the parameter that helps."""
    matcher = StampMatcher(max_age_s=0.5)
    assert answered(clock, matcher, 0.9)[0] == 0
    assert matcher.problem().startswith("boxes come 0.9 s after their images and images are kept for 0.5 s (parameter "
                                        "detections_max_age_s), so no pose")
    assert matcher.unmatched == 0
    matcher.limit(1.0, 128)
    pairs, count = answered(clock, matcher, 0.9)
    assert pairs == count and matcher.problem() == ""


def test_memory_is_a_limit_of_its_own(clock):
    """Ten megabytes hold three images of 720p; the newest is held whatever its size."""
    matcher = StampMatcher(max_bytes=10 << 20)
    assert answered(clock, matcher, 0.9, HD)[0] == 0
    assert matcher.problem().startswith("boxes come 0.9 s after their images and 10 MB of images are kept (parameter "
                                        "detections_buffer_mb), so no pose")
    assert len(matcher._images) == 3 and matcher._bytes == 3 * HD
    matcher.add_image(10_000, large := image(20 << 20))
    assert matcher.add_detections(10_000, "boxes") == (large, "boxes") and matcher._bytes == 0


def test_memory_is_counted_right(clock):
    """An image that comes twice, is overtaken, or forgotten after a jump of time."""
    matcher = StampMatcher()
    for stamp in (1, 2, 2, 3):
        matcher.add_image(stamp, image(7))
    assert matcher._bytes == 21
    matcher.add_detections(2, "boxes")
    assert matcher._bytes == 7
    matcher.clear()
    assert matcher._bytes == 0 and matcher.add_detections(3, "boxes") is None


def test_stamps_that_no_image_had_are_told_after_some(clock):
    matcher = StampMatcher()
    for stamp in range(StampMatcher.KEPT + 20):
        matcher.add_detections(1000 + stamp, "boxes")
    assert matcher.unmatched == 20 and matcher.problem() == ""
    matcher.add_detections(5000, "boxes")
    assert matcher.problem() == ("the stamps of the last 21 messages match no image, so no pose: the detector must "
                                 "copy the image's header")


def test_what_is_remembered_is_bounded(clock, monkeypatch):
    monkeypatch.setattr(synchronizer, "_REMEMBERED", 50)
    matcher = StampMatcher(max_age_s=0.1)
    answered(clock, matcher, 9.0)
    assert len(matcher._let_go) == 50 and len(matcher._images) <= 4
