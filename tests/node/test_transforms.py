# SPDX-License-Identifier: Apache-2.0
"""The buffer for where tf2_ros is not installed: what a look-up means, and what strangers cannot do to it."""

import math
import time

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped

from dinemo_ros.geometry import rotation_angle, se3, so3_exp
from dinemo_ros.node import transforms as module
from dinemo_ros.node.conversions import quaternion_from_rotation
from dinemo_ros.node.transforms import TransformBuffer, TransformError, lookup_within

SECOND = 1_000_000_000


def transform(parent: str, child: str, T=None, stamp_ns: int = 0) -> TransformStamped:
    T = np.eye(4) if T is None else T
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = (float(x) for x in T[:3, 3])
    q.x, q.y, q.z, q.w = quaternion_from_rotation(T[:3, :3])
    return message


def some(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return se3(so3_exp(rng.normal(size=3)), rng.normal(size=3))


def buffer_of(*messages: TransformStamped, static: bool = True) -> TransformBuffer:
    buffer = TransformBuffer()
    for message in messages:
        assert buffer.add(message, static) == ""
    return buffer


def test_frames_are_joined_at_their_common_ancestor():
    """base - mast - camera and base - arm - hand: from the camera into the hand and back."""
    T = {name: some(k) for k, name in enumerate(("mast", "camera", "arm", "hand"))}
    buffer = buffer_of(transform("base", "mast", T["mast"]), transform("mast", "camera", T["camera"]),
                       transform("base", "arm", T["arm"]), transform("arm", "hand", T["hand"]))
    T_base_camera, T_base_hand = T["mast"] @ T["camera"], T["arm"] @ T["hand"]
    assert np.allclose(buffer.lookup("base", "camera", 7 * SECOND), T_base_camera)
    assert np.allclose(buffer.lookup("camera", "base", 7), np.linalg.inv(T_base_camera))
    assert np.allclose(buffer.lookup("hand", "camera", 0), np.linalg.inv(T_base_hand) @ T_base_camera)
    assert np.allclose(buffer.lookup("camera", "camera", 5), np.eye(4))


def test_names_may_begin_with_a_slash():
    buffer = buffer_of(transform("/base", "/camera", some(1)))
    assert np.allclose(buffer.lookup("/base", "camera", 0), some(1))


def test_between_two_times_a_line_and_an_arc():
    begin, end = se3(so3_exp(np.array([0, 0, 0.2])), [0, 0, 1]), se3(so3_exp(np.array([0, 0, 1.4])), [1, 0, 3])
    buffer = buffer_of(transform("base", "camera", begin, 10 * SECOND), transform("base", "camera", end, 12 * SECOND),
                       static=False)
    T = buffer.lookup("base", "camera", 10 * SECOND + SECOND // 2)
    assert np.allclose(T[:3, 3], [0.25, 0, 1.5])
    assert np.allclose(T[:3, :3], so3_exp(np.array([0, 0, 0.5])))
    assert np.allclose(buffer.lookup("base", "camera", 12 * SECOND), end)


def test_the_shorter_arc_is_taken():
    """Of a quaternion and its negative, which are one rotation."""
    begin, end = transform("base", "camera", stamp_ns=SECOND), transform("base", "camera", stamp_ns=2 * SECOND)
    q, half = end.transform.rotation, math.radians(20)
    q.x, q.w = -math.sin(half), -math.cos(half)
    T = buffer_of(begin, end, static=False).lookup("base", "camera", 3 * SECOND // 2)
    assert np.allclose(T[:3, :3], so3_exp(np.array([half, 0, 0])))


@pytest.mark.parametrize(("stamp_s", "words", "may_come"), [
    (9.9, "from 10.000 s on and is asked for 9.900 s, 0.100 s before: nothing is extrapolated", False),
    (12.5, "up to 12.000 s and is asked for 12.500 s, 0.500 s later: nothing is extrapolated", True)])
def test_nothing_is_extrapolated(stamp_s, words, may_come):
    buffer = buffer_of(*(transform("base", "camera", some(k), (10 + k) * SECOND) for k in range(3)), static=False)
    with pytest.raises(TransformError, match=words) as error:
        buffer.lookup("base", "camera", round(stamp_s * SECOND))
    assert error.value.may_come is may_come


def test_time_zero_is_the_latest_that_all_know():
    buffer = buffer_of(*(transform("base", "mast", se3(np.eye(3), [k, 0, 0]), k * SECOND) for k in (10, 12, 14)),
                       *(transform("mast", "camera", se3(np.eye(3), [0, k, 0]), k * SECOND) for k in (10, 13)),
                       static=False)
    buffer.add(transform("camera", "lens", se3(np.eye(3), [0, 0, 1])), static=True)
    assert np.allclose(buffer.lookup("base", "lens", 0)[:3, 3], [13, 13, 1])
    with pytest.raises(TransformError, match="'camera' up to 13.000 s"):
        buffer.lookup("base", "lens", 14 * SECOND)
    assert np.allclose(buffer.lookup("base", "mast", 0)[:3, 3], [14, 0, 0]), "frames that are not between do not count"


def test_what_is_above_the_common_ancestor_does_not_matter():
    """A map that is late, as of a localisation that takes its time."""
    buffer = buffer_of(transform("map", "base", some(3), 5 * SECOND), transform("map", "base", some(4), 6 * SECOND),
                       static=False)
    buffer.add(transform("base", "camera", some(1)), static=True)
    buffer.add(transform("base", "table", some(2)), static=True)
    expected = np.linalg.inv(some(2)) @ some(1)
    assert np.allclose(buffer.lookup("table", "camera", 100 * SECOND), expected)


@pytest.mark.parametrize(("target", "source", "words"), [
    ("bed", "camera", "frame 'bed' is not in TF: nobody has published it"),
    ("base", "camera\n", r"frame 'camera\\n' is not in TF"),
    ("hand", "camera", "'hand' and 'camera' are of two trees")])
def test_what_is_missing_is_named(target, source, words):
    buffer = buffer_of(transform("base", "camera"), transform("arm", "hand"))
    with pytest.raises(TransformError, match=words) as error:
        buffer.lookup(target, source, 0)
    assert error.value.may_come


def test_a_loop_is_refused():
    buffer = buffer_of(transform("a", "b"), transform("b", "c"), transform("c", "a"))
    with pytest.raises(TransformError, match="TF has a loop"):
        buffer.lookup("d", "a", 0)


def test_a_frame_may_change_its_parent():
    buffer = buffer_of(transform("table", "cup", some(1), 10 * SECOND), transform("hand", "cup", some(2), 11 * SECOND),
                       static=False)
    assert np.allclose(buffer.lookup("table", "cup", 10 * SECOND), some(1))
    assert np.allclose(buffer.lookup("table", "cup", 10 * SECOND + SECOND // 2), some(1)), "between: the one before"
    assert np.allclose(buffer.lookup("hand", "cup", 0), some(2))


def test_of_ten_seconds_and_no_more():
    buffer = buffer_of(*(transform("base", "camera", some(k), k * SECOND) for k in range(5, 31)), static=False)
    assert np.allclose(buffer.lookup("base", "camera", 20 * SECOND), some(20))
    with pytest.raises(TransformError, match="from 20.000 s on"):
        buffer.lookup("base", "camera", 19 * SECOND)


def test_time_may_begin_anew():
    """A bag that loops: at once with clear(), which the image's jump brings, else when everything kept is newer."""
    for clear in (True, False):
        buffer = buffer_of(transform("base", "camera", some(1), 100 * SECOND), static=False)
        buffer.add(transform("camera", "lens", some(3)), static=True)
        if clear:
            buffer.clear()
        buffer.add(transform("base", "camera", some(2), 10 * SECOND))
        assert np.allclose(buffer.lookup("base", "lens", 10 * SECOND), some(2) @ some(3)), "static frames stay"
        with pytest.raises(TransformError, match="up to 10.000 s"):
            buffer.lookup("base", "camera", 100 * SECOND)


def bad(**fields) -> TransformStamped:
    message = transform("base", "camera")
    for name, value in fields.items():
        part, axis = name.split("_")
        setattr(getattr(message.transform, part), axis, value)
    return message


@pytest.mark.parametrize(("message", "words"), [
    (bad(rotation_w=math.nan), "quaternion of length one, it is of nan"),
    (bad(rotation_w=0.0), "quaternion of length one, it is of 0"),
    (bad(rotation_w=1.02), "quaternion of length one, it is of 1.02"),
    (bad(translation_x=math.inf), "translation must be finite"),
    (bad(translation_z=1e12), "translation must be finite"),
    (transform("base", "base"), "to itself"), (transform("", "camera"), "1 to 256 printable characters"),
    (transform("base", "x" * 257), "1 to 256 printable characters"),
    (transform("base", "a\x1b[2J"), "1 to 256 printable characters")])
def test_what_is_no_transform_is_not_taken(message, words):
    buffer = TransformBuffer()
    for static in (True, False):
        problem = buffer.add(message, static)
        assert words in problem and problem.isprintable() and len(problem) < 400
    assert len(buffer) == 0


def test_a_quaternion_nearly_of_length_one_is_made_so():
    message = bad(rotation_w=1.005)
    assert np.allclose(buffer_of(message).lookup("base", "camera", 0), np.eye(4), atol=1e-12)


def test_a_hundred_thousand_frames_of_a_stranger():
    """Those that were there stay, the rest is refused; and they make room when nobody speaks of them any more."""
    buffer = buffer_of(transform("base", "camera", some(1)))
    begin = time.monotonic()
    problems = [buffer.add(transform("x", f"stranger_{k}", stamp_ns=k)) for k in range(20_000)]
    assert len(buffer) == module.MOST_FRAMES and time.monotonic() - begin < 5.0
    assert problems[0] == "" and "2000 are known already" in problems[-1]
    assert np.allclose(buffer.lookup("base", "camera", 0), some(1))
    later = time.monotonic() + 2 * module.CACHE_S
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.time, "monotonic", lambda: later)
        assert buffer.add(transform("base", "hand", some(2), SECOND)) == ""
    assert len(buffer) == 2


def test_samples_of_a_flood_are_bounded():
    buffer = TransformBuffer()
    for k in range(5000):
        buffer.add(transform("base", "camera", stamp_ns=SECOND + k))
    assert len(buffer._moving["camera"]) == module.MOST_OF_ONE
    for frame in range(200):
        buffer.add(transform("base", f"frame_{frame}", stamp_ns=SECOND))
    buffer.add(transform("base", "camera", stamp_ns=2 * SECOND))
    assert len(buffer._moving["camera"]) == module.MOST_SAMPLES // 201


class Late:
    """A transform that comes at the third question."""

    asked = 0

    def lookup(self, target, source, stamp_ns):
        self.asked += 1
        if self.asked < 3:
            raise TransformError("not yet", may_come=True)
        return some(1)


def test_what_may_come_is_waited_for():
    assert np.allclose(lookup_within(Late(), "a", "b", 0, 5.0, lambda: True), some(1))
    for timeout, alive in ((0.0, True), (5.0, False)):
        late = Late()
        with pytest.raises(TransformError, match="not yet"):
            lookup_within(late, "a", "b", 0, timeout, lambda alive=alive: alive)
        assert late.asked == 1
    begin = time.monotonic()
    buffer = buffer_of(transform("base", "camera", some(1), 10 * SECOND), static=False)
    with pytest.raises(TransformError):
        lookup_within(buffer, "base", "camera", 5 * SECOND, 5.0, lambda: True)
    assert time.monotonic() - begin < 1.0, "the past does not come back"


def test_interpolated_rotations_are_rotations():
    buffer = buffer_of(transform("base", "camera", some(8), SECOND), transform("base", "camera", some(9), 2 * SECOND),
                       static=False)
    whole = rotation_angle(some(8)[:3, :3], some(9)[:3, :3])
    T = buffer.lookup("base", "camera", SECOND + SECOND // 4)
    assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3))
    assert rotation_angle(some(8)[:3, :3], T[:3, :3]) == pytest.approx(whole / 4)
