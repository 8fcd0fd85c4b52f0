# SPDX-License-Identifier: Apache-2.0
"""Mutants that a review found alive: each must be noticed by a test that says what the line is for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .operators import Mutant
from .run import Job
from .sampling import SOURCE

_TRACKER, _ESTIMATOR = "tests/unit/test_tracker_decisions.py", "tests/unit/test_estimator_decisions.py"
_SOLVER, _TABLE = "tests/unit/test_solver_decisions.py", "tests/unit/test_visibility.py"


class Named(NamedTuple):
    """A line of ``path`` that holds ``before``, broken by ``after``; ``test`` has to notice."""

    name: str
    path: str
    before: str
    after: str
    test: str


NAMED = [
    Named("covariance_scale dropped", "solver/crop_solver.py", "CORRELATED * scale)", "CORRELATED)",
          f"{_SOLVER}::test_the_covariance_is_as_wide_as_the_card_says"),
    Named("depth_scale inverted", "solver/crop_solver.py", "pose.t * category.depth_scale",
          "pose.t / category.depth_scale", f"{_SOLVER}::test_distances_are_multiplied_by_the_depth_scale_of_the_card"),
    Named("depth_scale of a start inverted", "solver/crop_solver.py", "[:3, 3] / c.depth_scale",
          "[:3, 3] * c.depth_scale", f"{_SOLVER}::test_a_followed_distance_stays_the_cards"),
    Named("self-occlusion never tested", "solver/visibility.py",
          " and pixels[v, 2] <= depth[i, j] + _TOLERANCE * diagonal", "", _TABLE),
    Named("the best picture decides", "features/parity.py", "np.min(worst)", "np.max(worst)",
          "tests/features/test_parity.py"),
    Named("one template in place of four", "solver/crop_solver.py", "_VIEW_STARTS = 4", "_VIEW_STARTS = 1",
          f"{_SOLVER}::test_several_matched_templates_are_starts"),
    Named("no re-crop of given boxes", "estimator.py", "if not proposed:\n            return again",
          "if not proposed:\n            return {}",
          f"{_ESTIMATOR}::test_a_given_box_that_is_far_too_large_is_cropped_again"),
    Named("a dropped score starts no search", "tracker.py", "_DROPPED = 0.85", "_DROPPED = 0.0",
          f"{_TRACKER}::test_a_score_below_the_tracks_usual_one_starts_a_search"),
    Named("any searched pose replaces the followed one", "tracker.py", "_BETTER = 0.02", "_BETTER = -1.0",
          f"{_TRACKER}::test_a_searched_pose_must_be_better_than_the_followed_one"),
    Named("tracks never run into one another", "tracker.py", "_TWINS = 0.6", "_TWINS = 2.0",
          f"{_TRACKER}::test_tracks_beside_and_behind_one_another_stay_two"),
    Named("smoothing turns the wrong way", "tracker.py", "so3_exp(-smoothing * turned)", "so3_exp(smoothing * turned)",
          f"{_TRACKER}::test_smoothing_turns_from_the_measured_rotation_towards_the_predicted_one"),
    Named("smoothing moves the wrong way", "tracker.py", "[:3, 3] - smoothing * moved", "[:3, 3] + smoothing * moved",
          f"{_TRACKER}::test_smoothing_turns_from_the_measured_rotation_towards_the_predicted_one"),
    Named("proposals of any score are poses", "estimator.py", "return refusal(pose, card.score.accept)",
          "return refusal(pose, 0.0)",
          f"{_ESTIMATOR}::test_own_proposals_below_the_accepted_score_are_no_poses"),
    Named("the best two are not refined to the end", "solver/crop_solver.py", "_LAST, _LAST_STEPS = 2, 6",
          "_LAST, _LAST_STEPS = 2, 0", f"{_SOLVER}::test_the_reported_pose_is_at_the_optimum"),
]


def job(root: Path, named: Named) -> Job:
    """Raises ValueError where the line is no longer there or stands there twice."""
    path = SOURCE + named.path
    text = (root / path).read_text()
    if text.count(named.before) != 1:
        raise ValueError(f"tests/mutation/named.py, {named.name!r}: {named.before!r} stands {text.count(named.before)} "
                         f"times in {path}; name the line as it is now")
    start = text.index(named.before)
    mutant = Mutant(path, "", False, named.name, text.count("\n", 0, start) + 1, named.before, named.after, start,
                    start + len(named.before))
    return Job(mutant, [named.test])
