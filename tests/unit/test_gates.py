# SPDX-License-Identifier: Apache-2.0
"""What the gates of a stream hold back, image by image."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dinemo_ros.gates import Gating, PoseGate
from dinemo_ros.geometry import se3, turn
from dinemo_ros.model.symmetry import NO_SYMMETRY, Symmetry
from dinemo_ros.pose import ObjectPose

STEP_S = 0.1
OUTLIER = Gating(distance_m=0.05, angle_rad=math.radians(30), confirm=3)
STABLE = Gating(stable_frames=3, stable_distance_m=0.01, stable_angle_rad=math.radians(5))


def at(x: float, degrees: float = 0.0, track: int | None = None) -> ObjectPose:
    return ObjectPose(se3(turn(math.radians(degrees)), np.array([x, 0.0, 1.0])), 0.5, np.ones(3), track_id=track)


class Stream:
    """A gate that is fed one image after another."""

    def __init__(self, settings: Gating, symmetry: Symmetry = NO_SYMMETRY) -> None:
        self.gate, self.now = PoseGate(symmetry, settings), 100.0

    def image(self, *poses: ObjectPose, after_s: float = STEP_S) -> list[ObjectPose]:
        self.now += after_s
        return self.gate.passed(poses, self.now)

    def let_out(self, *poses: ObjectPose) -> list[bool]:
        """Of one pose per image, whether it is let through."""
        return [bool(self.image(pose)) for pose in poses]


def test_without_gates_everything_passes():
    stream = Stream(Gating())
    assert stream.let_out(at(0), at(5), at(0, 180), at(9)) == [True] * 4
    assert not stream.gate.held_back


def test_a_flip_of_one_image_never_gets_out():
    stream = Stream(OUTLIER)
    assert stream.let_out(at(0), at(0), at(0, 180), at(0), at(0)) == [True, True, False, True, True]


@pytest.mark.parametrize(("confirm", "expected"), [(1, [True] * 4), (2, [False, True, True, True]),
                                                   (3, [False, False, True, True])])
def test_a_real_move_is_accepted_when_it_is_confirmed(confirm, expected):
    """With the pose of the image that confirms it; back where it was is a move as well."""
    stream = Stream(Gating(distance_m=0.05, confirm=confirm))
    stream.image(at(0))
    assert stream.let_out(*[at(0.3)] * 4) == expected
    assert stream.let_out(*[at(0)] * 4) == expected


def test_outliers_that_disagree_confirm_nothing():
    stream = Stream(OUTLIER)
    stream.image(at(0))
    assert stream.let_out(at(1), at(2), at(1), at(2)) == [False] * 4
    assert stream.let_out(at(0)) == [True]


def test_outliers_have_to_be_in_a_row():
    stream = Stream(OUTLIER)
    stream.image(at(0))
    assert stream.let_out(at(1), at(1), at(0), at(1), at(1), at(1)) == [False, False, True, False, False, True]
    stream = Stream(OUTLIER)
    stream.image(at(0))
    stream.let_out(at(1), at(1))
    stream.image()
    assert stream.let_out(at(1)) == [False]


@pytest.mark.parametrize("settings", [Gating(distance_m=0.05), Gating(angle_rad=0.5)], ids=["distance", "angle"])
def test_the_gate_that_is_zero_is_off(settings):
    stream = Stream(settings)
    stream.image(at(0))
    assert stream.let_out(at(0, 180)) == [not settings.angle_rad]
    assert stream.let_out(at(1, 180 if not settings.angle_rad else 0)) == [not settings.distance_m]


def test_what_moves_within_the_gate_passes():
    stream = Stream(OUTLIER)
    assert stream.let_out(*[at(0.04 * k, 20.0 * k) for k in range(10)]) == [True] * 10


def test_after_missed_images_more_is_allowed():
    """0.12 m in three images is 0.04 m in each; in one it is a jump."""
    stream = Stream(OUTLIER)
    stream.let_out(at(0), at(0), at(0))
    stream.image()
    stream.image()
    assert stream.let_out(at(0.12)) == [True]
    assert stream.let_out(at(0.24)) == [False]
    stream = Stream(OUTLIER)
    stream.let_out(at(0), at(0), at(0))
    assert stream.image(at(0.12), after_s=0.3) != [], "images that were dropped on the way"


def test_an_object_is_forgotten_after_its_time():
    stream = Stream(OUTLIER)
    stream.let_out(at(0), at(0))
    assert stream.image(at(1), after_s=1.01) != []
    stream = Stream(OUTLIER)
    stream.let_out(at(0), at(0))
    assert stream.image(at(1), after_s=0.9) == []


def test_a_stamp_before_the_last_one_begins_anew():
    stream = Stream(OUTLIER)
    stream.let_out(at(0), at(0))
    assert stream.image(at(1), after_s=-50.0) != []


def test_reset_forgets():
    stream = Stream(OUTLIER)
    stream.let_out(at(0), at(0))
    stream.gate.reset()
    assert stream.let_out(at(1)) == [True]


def test_tracks_are_told_apart_by_their_id():
    """Two tracks that change places jump both; without ids they would be two objects at rest."""
    tracked, loose = Stream(OUTLIER), Stream(OUTLIER)
    for stream, ids in ((tracked, (1, 2)), (loose, (None, None))):
        stream.image(at(0, track=ids[0]), at(1, track=ids[1]))
        assert len(stream.image(at(1, track=ids[0]), at(0, track=ids[1]))) == (0 if ids[0] else 2)
    assert tracked.gate.held_back == {"outlier": 2}


def test_without_ids_the_nearest_is_the_same_object():
    """The other's order changes nothing, and a jump of one holds back that one only."""
    stream = Stream(OUTLIER)
    stream.image(at(0), at(1))
    assert len(stream.image(at(1.01), at(0.01))) == 2
    held = stream.image(at(1.01), at(0.4))
    assert [pose.T_cam_obj[0, 3] for pose in held] == [1.01] and stream.gate.held_back == {"outlier": 1}
    assert len(stream.image(at(1.01), at(0.01), at(7))) == 3, "a third one is new and no jump"


def test_stable_means_so_many_images_in_a_row():
    stream = Stream(STABLE)
    assert stream.let_out(*[at(0)] * 5) == [False, False, True, True, True]
    assert stream.let_out(at(0, 180), at(0), at(0), at(0)) == [False, False, False, True]
    stream.image()
    assert stream.let_out(*[at(0)] * 3) == [False, False, True]


@pytest.mark.parametrize(("pose", "passes"), [(at(0.009), True), (at(0.011), False), (at(0, 4.9), True),
                                              (at(0, 5.1), False)])
def test_stable_within_distance_and_angle(pose, passes):
    stream = Stream(STABLE)
    assert stream.let_out(at(0), at(0), pose) == [False, False, passes]


def test_what_moves_steadily_is_not_stable():
    stream = Stream(STABLE)
    assert stream.let_out(*[at(0.008 * k) for k in range(6)]) == [False] * 6


def test_angles_are_those_under_the_symmetry():
    """A bottle that spins has not moved, and is stable."""
    for settings, expected in ((OUTLIER, [True] * 4), (STABLE, [False, False, True, True])):
        stream = Stream(settings, Symmetry("z", 0))
        assert stream.let_out(*[at(0, 90.0 * k) for k in range(4)]) == expected


def test_both_gates_and_what_is_counted():
    stream = Stream(Gating(distance_m=0.05, stable_frames=2, stable_distance_m=0.01, stable_angle_rad=0.1))
    assert stream.image(at(0), at(1)) == [] and stream.gate.held_back == {"unstable": 2}
    assert len(stream.image(at(0), at(2))) == 1 and stream.gate.held_back == {"outlier": 1}
    assert len(stream.image(at(0), at(1))) == 1 and stream.gate.held_back == {"unstable": 1}
    assert len(stream.image(at(0), at(1))) == 2 and not stream.gate.held_back


def test_settings_take_effect_with_the_next_image():
    stream = Stream(OUTLIER)
    stream.let_out(at(0), at(0))
    stream.gate.settings = Gating()
    assert stream.let_out(at(1)) == [True]
    stream.gate.settings = STABLE
    assert stream.let_out(*[at(1)] * 3) == [False, False, True]


@pytest.mark.parametrize("wrong", [{"distance_m": -0.1}, {"confirm": 0}, {"stable_frames": 101}, {"memory_s": 0.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="allowed"):
        Gating(**wrong)
