# SPDX-License-Identifier: Apache-2.0
"""Which files are broken, how often, and which tests judge each: the cheapest first, the first failure ends it."""

from __future__ import annotations

from typing import NamedTuple

_UNIT = "tests/unit/"
_CUP = [_UNIT + "test_ambiguity.py::test_hidden_handle_large_azimuth_variance",
        _UNIT + "test_ambiguity.py::test_visible_handle_small_azimuth_variance",
        _UNIT + "test_ambiguity.py::test_the_variance_over_all_turns_is_that_of_the_reported_pose_alone",
        _UNIT + "test_ambiguity.py::test_a_followed_pose_announces_all_turns_too_and_its_flip_does_not",
        _UNIT + "test_ambiguity.py::test_a_handle_that_all_starts_hide_is_found_where_the_picture_shows_it"]
_LEAN = [f"{_UNIT}test_upright_prior.py::test_{name}" for name in (
    "gradient_is_that_of_finite_differences", "an_upright_object_is_left_alone_and_held",
    "a_search_in_all_leanings_expects_any")]
_OBSERVED = [_UNIT + "test_observed_terms.py", _UNIT + "test_observed_refinement.py"]
_SOLVER, _REFINEMENT = _UNIT + "test_solver.py", _UNIT + "test_refinement_kernels.py"
#: Poses of planted objects from scratch, followed, hidden, cut: what every part of the solver has to get right.
SOLVED = [f"{_SOLVER}::{name}" for name in (
    "test_recovers_the_pose_from_scratch", "test_following_finds_the_pose_near_its_start",
    "test_half_the_object_hidden", "test_a_truncated_object_uses_the_sides_that_are_not_cut",
    "test_covariance_is_symmetric_and_positive", "test_an_ambiguous_object_has_two_like_scores",
    "test_size_follows_the_picture_and_the_prior", "test_sloppy_roi_is_absorbed",
    "test_median_accuracy_without_noise_is_within_a_degree_and_a_centimetre")]
#: Tests that build an estimator or solve many crops: left out by ``--quick``.
SLOW = {*SOLVED, *(_UNIT + name for name in (
    "test_tracker.py", "test_estimator.py", "test_proposals.py", "test_mirror.py", "test_upright_prior.py",
    "test_ambiguity.py", "test_crop.py", "test_convention_pose.py", "test_solver.py", "test_observed_refinement.py",
    "test_presence.py")), "tests/cli/test_streams.py"}


def _twins(*names: str) -> list[str]:
    """Kernels against their readable twins."""
    return [f"{_UNIT}test_kernels.py::test_{name}" for name in names]


class Target(NamedTuple):
    """A file below ``src/dinemo_ros``, how many mutants are drawn, how many of them inside kernels, its tests."""

    path: str
    mutants: int
    in_kernels: int
    tests: list[str]


TARGETS = [
    Target("geometry.py", 9, 0, [_UNIT + "test_convention_geometry.py", _UNIT + "test_convention_camera.py"]),
    Target("camera/pinhole.py", 8, 0, [_UNIT + "test_convention_camera.py", _UNIT + "test_intrinsics.py",
                               _UNIT + "test_crop.py", _UNIT + "test_lens.py", _UNIT + "test_distortion.py"]),
    Target("camera/crop.py", 9, 0, [_UNIT + "test_convention_camera.py", _UNIT + "test_crop_decisions.py",
                             _UNIT + "test_crop.py", _UNIT + "test_lens.py"]),
    Target("model/symmetry.py", 8, 0, [_UNIT + "test_convention_symmetry.py", _UNIT + "test_bundle.py"]),
    Target("tracker.py", 14, 0, [_UNIT + "test_tracker_decisions.py", _UNIT + "test_tracker.py"]),
    Target("estimator.py", 8, 0, [_UNIT + "test_estimator_decisions.py", _UNIT + "test_estimator.py",
                                  _UNIT + "test_proposals.py", _UNIT + "test_convention_pose.py"]),
    Target("detection/proposals.py", 8, 3, [_UNIT + "test_proposal_decisions.py", _UNIT + "test_proposals.py"]),
    Target("detection/sliding_window.py", 8, 5, [_UNIT + "test_sliding.py", _UNIT + "test_proposal_decisions.py",
                                _UNIT + "test_proposals.py"]),
    Target("features/parity.py", 5, 0, ["tests/features/test_parity.py"]),
    Target("node/validation.py", 6, 0, ["tests/node/test_validation.py", "tests/node/test_validation_limits.py"]),
    Target("solver/ambiguity.py", 6, 0, [_UNIT + "test_ambiguity_decisions.py", _UNIT + "test_ambiguity.py"]),
    Target("solver/category.py", 3, 0, [
        _UNIT + "test_solver_decisions.py", *SOLVED, _UNIT + "test_upright_prior.py", _UNIT + "test_mirror.py"]),
    Target("solver/coarse.py", 12, 10, [_UNIT + "test_coarse_search.py", *_twins(
        "coarse_score_equals_its_twin", "place_fits_the_roi_exactly",
        "select_distinct_keeps_flips_and_drops_neighbours"), *SOLVED]),
    Target("solver/compare.py", 13, 13, [_REFINEMENT, *_twins(
        "rendering_and_cosines_equal_the_ray_cast", "render_and_compare_gradient_equals_finite_differences"), *SOLVED]),
    Target("solver/crop_solver.py", 10, 0, [
        *_CUP, _UNIT + "test_solver_decisions.py", _UNIT + "test_observed_refinement.py", *SOLVED]),
    Target("solver/likelihood.py", 13, 13, [_REFINEMENT, *_twins(
        "window_moments_equal_their_twin", "window_off_the_map_is_empty",
        "information_of_a_gaussian_match_is_the_inverse_of_both_variances",
        "information_stays_positive_with_two_matches", "projection_jacobian_equals_finite_differences",
        "likelihood_value_and_gradient"), *SOLVED]),
    Target("solver/depth_term.py", 8, 6, [_UNIT + "test_depth_term.py", *_OBSERVED]),
    Target("solver/linear.py", 5, 5, _twins("rotate_equals_the_exponential", "solve_positive_and_its_refusal",
                                            "likelihood_value_and_gradient")),
    Target("solver/nearest_view.py", 7, 4, [_UNIT + "test_views.py", _UNIT + "test_nearest_view.py"]),
    Target("solver/observed_refinement.py", 8, 0, [_UNIT + "test_observed_refinement.py"]),
    Target("solver/observing.py", 8, 0, _OBSERVED),
    Target("solver/reference.py", 2, 0, [_UNIT + "test_kernels.py"]),
    Target("solver/refine.py", 11, 10, [
        _UNIT + "test_refinement_twins.py", _REFINEMENT, *SOLVED, _UNIT + "test_solver_decisions.py"]),
    Target("solver/roi_prior.py", 6, 5, [_UNIT + "test_roi_decisions.py", _UNIT + "test_roi_prior.py", *SOLVED]),
    Target("solver/similarity.py", 8, 6, [*_twins(
        "similarity_volume_equals_its_twin", "similarity_takes_any_number_of_clutter_features",
        "similarity_takes_any_number_of_channels",
        "products_are_given_exactly_as_much_as_they_have_room_for"), *SOLVED]),
    Target("solver/solve.py", 2, 0, [_UNIT + "test_solver_decisions.py", _SOLVER]),
    Target("solver/support_term.py", 8, 7, [_UNIT + "test_support_term.py", *_OBSERVED]),
    Target("solver/surface.py", 4, 0, [*_twins(
        "farthest_points_spread_evenly", "farthest_points_survive_duplicates", "faces_are_turned_outwards",
        "only_noisy_features_are_smoothed"), _REFINEMENT, *SOLVED]),
    Target("solver/upright_prior.py", 5, 4, [*_LEAN, _REFINEMENT, _UNIT + "test_upright_prior.py"]),
    Target("solver/views.py", 3, 0, [_UNIT + "test_views.py", *SOLVED]),
    Target("solver/visibility.py", 8, 6, [
        _UNIT + "test_visibility.py", *_twins("visible_vertices_face_the_camera_and_are_not_hidden")]),
    Target("solver/workspace.py", 1, 0, SOLVED),
    Target("process/console.py", 10, 0, [_UNIT + "test_console.py", "tests/cli/test_streams.py",
                                         _UNIT + "test_strangers_words.py"]),
    Target("verification/spec.py", 6, 0, [_UNIT + "test_presence.py"]),
    Target("verification/evidence.py", 8, 0, [_UNIT + "test_presence.py"]),
    Target("verification/verifier.py", 3, 0, [_UNIT + "test_presence.py"]),
]
