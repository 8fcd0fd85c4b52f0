# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The stage that fits probability and covariance: on errors drawn from a known law it must find that law."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("numba", "tqdm"):
    pytest.importorskip(_module, reason="training extra is not installed")

from shared_data import ROOT
from unit.test_uncertainty import BOX, SLOPED

from dinemo_ros.evaluation.coverage import BOUNDS, contents, coverage_rows
from dinemo_ros.evaluation.reliability import reliability_rows
from dinemo_ros.geometry import se3, so3_exp, turn
from dinemo_ros.model.bundle import CARD_FILE, load_bundle
from dinemo_ros.model.symmetry import NO_SYMMETRY, Symmetry
from dinemo_ros.pose import Hypothesis, ObjectPose
from dinemo_ros.uncertainty import FACTORS, as_experienced
from dinemo_training.export.announced import announced, gathered
from dinemo_training.export.leave_one_out import experienced, left_out
from dinemo_training.export.slopes import FEWEST_MODELS, slopes
from dinemo_training.export.uncertainty import FEWEST, calibrate, fit, logistic, moved, quantile

COUNT = 1600


def scenes(seed, symmetry=NO_SYMMETRY, wider=1.0, flips=True, count=COUNT):
    """Poses with what they announce and the truth: Gaussian errors ``wider`` times as wide, and where the score is low
    now and then half a turn. Two networks, two levels of occlusion, four models."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        score = rng.uniform(0.1, 0.8)
        T = se3(so3_exp(rng.normal(size=3)), rng.normal(size=3) + [0, 0, 9])
        root = rng.normal(size=(6, 6)) * np.repeat([0.03, 0.01], 3)[:, None]
        C, S = root @ root.T + 1e-5 * np.eye(6), np.diag([0.01, 0.02, 0.01])
        size = symmetry.size(np.array([4.0, 1.7, 1.5]))
        pose = ObjectPose(T, score, size, covariance=C, size_covariance=symmetry.size_covariance(S, size), visible=0.5,
                          roi=(0.0, 0.0, 10.0, 10.0), runners_up=(Hypothesis(T, 0.5 * score, size),))
        error = wider * rng.multivariate_normal(np.zeros(6), C)
        R = so3_exp(error[3:]) @ T[:3, :3]
        if flips and rng.random() > 1 / (1 + np.exp(-12 * (score - 0.15))):
            R = R @ turn(np.pi)
        size_true = symmetry.size(size + wider * rng.multivariate_normal(np.zeros(3), S))
        yield pose, se3(R, T[:3, 3] + error[:3]), size_true, {
            "network": ("fp32", "int8")[k % 2], "level": ("L0", "L3")[k // 2 % 2], "asset": "abcd"[k // 4 % 4]}


def gather(symmetry=NO_SYMMETRY, **options):
    return gathered([announced(pose, T, size, symmetry, BOX) | where for pose, T, size, where in scenes(
        **{"seed": 0, "symmetry": symmetry, **options})])


@pytest.mark.parametrize("symmetry", [NO_SYMMETRY, Symmetry("z", 0)], ids=["none", "all"])
@pytest.mark.parametrize("wider", [0.4, 1.0, 5.0])
def test_the_factors_undo_what_the_covariance_got_wrong(symmetry, wider):
    """Too wide and too narrow alike; other scenes are covered as promised, and were not before."""
    found = fit(gather(symmetry, wider=wider, flips=False))
    fresh = gather(symmetry, seed=1, wider=wider, flips=False)
    flat = replace(found, **{name: (1.0,) * len(found.knots) for name in FACTORS}, floor=(0.0,) * len(FACTORS))
    before, after = (coverage_rows(experienced(fresh, spec)) for spec in (flat, found))
    assert [row["holds"] for row in after] == [True] * len(after), after
    if wider != 1.0:
        assert not any(row["holds"] for row in before)


def test_flips_are_covered_and_widen_nothing_but_the_turn():
    found = fit(gather())
    assert found.factor("turn", 0.5) >= found.factor("turn", 0.999) and max(found.along + found.across) < 1.3
    fresh = gather(seed=1)
    assert 0.84 < fresh.right.mean() < 0.91
    rows = coverage_rows(experienced(fresh, found))
    assert all(row["holds"] for row in rows), rows


def test_the_probability_is_the_one_that_poses_were_drawn_with():
    found = fit(gather())
    fresh = gather(seed=1)
    for row in reliability_rows(experienced(fresh, found)):
        assert row["ece"] < 0.06 and abs(row["mean_probability"] - row["right"]) < 0.04, row
    swapped = [r | {"probability": 1 - r["probability"]} for r in experienced(fresh, found)]
    assert min(row["ece"] for row in reliability_rows(swapped)) > 0.2


def test_evidence_that_speaks_against_itself_is_left_out():
    rng = np.random.default_rng(0)
    evidence = np.c_[np.ones(4000), rng.uniform(size=(4000, 5))]
    right = rng.random(4000) < 1 / (1 + np.exp(-(4 * evidence[:, 1] - 2 * evidence[:, 2] - 1)))
    weights = logistic(evidence, right)
    assert weights[1] == pytest.approx(4.0, abs=0.6) and weights[2] == 0.0 and weights[3] < 0.4


def test_measured_and_applied_are_the_same_thing():
    """``experienced`` computes for all pictures at once what the estimator and the evaluation do for one."""
    for symmetry in (NO_SYMMETRY, Symmetry("z", 0), Symmetry("z", 1)):
        shown = list(scenes(2, symmetry, count=30))
        rows = [announced(pose, T, size, symmetry, BOX) | where for pose, T, size, where in shown]
        records = experienced(gathered(rows), SLOPED)
        for record, (pose, T, size, _) in zip(records, shown, strict=True):
            after = as_experienced(pose, SLOPED, symmetry, BOX)
            assert record["probability"] == pytest.approx(after.probability)
            for name, value in contents(after, T, size, symmetry).items():
                assert record["contents"][name] == pytest.approx(value, abs=1e-6), (name, symmetry)


def test_each_model_is_judged_by_what_was_fitted_to_the_others():
    """The errors of one model are four times as wide: its own fit would cover them, that of the others must not."""
    rows = []
    for (pose, T, size, where), (_, wide_T, wide_size, _) in zip(scenes(3, flips=True), scenes(3, wider=4.0),
                                                                 strict=True):
        odd = where["asset"] == "d"
        rows.append(announced(pose, wide_T if odd else T, wide_size if odd else size, NO_SYMMETRY, BOX) | where)
    records = left_out(gathered(rows), fit)
    assert len(records) == COUNT
    share = {asset: np.mean([r["contents"]["translation"] <= 0.683 for r in records if r["group"] == asset])
             for asset in "abcd"}
    assert share["d"] < 0.3 and min(share[a] for a in "abc") > 0.6, share


def of_models(announced, count):
    """The same pictures, of ``count`` models in turn."""
    return replace(announced, asset=np.array([f"m{k % count}" for k in range(len(announced))]))


def test_slopes_are_those_that_errors_were_drawn_with():
    """Errors across the ray grow with the score, which the solver does not say; half turns do not disturb."""
    a = of_models(gather(), FEWEST_MODELS)
    grown = replace(a, position=a.position.shrunk(np.exp(-2.0 * (a.evidence[:, 1:2] - 0.45)).repeat(3, 1)))
    found = slopes(grown, grown.position.only([0, 1]))
    assert found[1] == pytest.approx(2.0, abs=0.3) and max(abs(v) for v in found[3:4]) < 0.3
    assert np.mean(grown.circumstances @ np.array(found)) == pytest.approx(0.0, abs=0.01)
    assert max(abs(np.array(slopes(a, a.position.only([0, 1])))[1:4])) < 0.3
    few = of_models(grown, FEWEST_MODELS - 1)
    assert slopes(few, few.position.only([0, 1])) == ()


def test_every_model_counts_the_same_in_a_slope():
    """Five pictures in six are of a model whose errors grow as another's shrink: the many models win."""
    a = gather()
    often = np.arange(len(a)) % 6 > 0
    names = np.where(often, "often", [f"m{k // 6 % 9}" for k in range(len(a))])
    sign = np.where(often, -1.0, 1.0)[:, None]
    a = replace(a, asset=names, position=a.position.shrunk(np.exp(-sign * (a.evidence[:, 1:2] - 0.45)).repeat(3, 1)))
    assert slopes(a, a.position.only([0, 1]))[1] > 0.4


def test_other_shapes_count_across_the_ray_and_nowhere_else():
    a, odd = gather(flips=True), of_models(gather(seed=5, wider=4.0), 30)
    alone, both = fit(a), fit(a, odd)
    assert both.across[-1] > 1.2 * alone.across[-1] and len(both.across_slope) == 8
    assert alone.across_slope == alone.along_slope == both.along_slope == ()
    kept = {name: getattr(alone, name) for name in ("probability", "knots", "turn", "tilt", "along", "size")}
    assert kept == {name: getattr(both, name) for name in kept}


@pytest.fixture
def bundle(tmp_path):
    return Path(shutil.copytree(ROOT / "engines" / "bottle", tmp_path / "bundle"))


def test_a_model_is_not_judged_by_what_was_fitted_to_itself(bundle, tmp_path):
    a = gather(count=80)
    a.save(tmp_path / "m.npz")
    a.only(a.asset == "b").save(tmp_path / "m_shapes.npz")
    before = (bundle / CARD_FILE).read_bytes()
    with pytest.raises(ValueError, match="b: among the renders and among the other shapes"):
        calibrate(bundle, [], 1, measured=tmp_path / "m.npz", shapes=[tmp_path])
    assert (bundle / CARD_FILE).read_bytes() == before


def test_the_card_and_the_judgement_know_the_other_shapes(bundle, tmp_path):
    a, odd = gather(count=400), of_models(gather(seed=5, wider=4.0, count=400), 20)
    a.save(tmp_path / "m.npz")
    odd.save(tmp_path / "m_shapes.npz")
    told = calibrate(bundle, [], 1, measured=tmp_path / "m.npz", shapes=[tmp_path])
    assert load_bundle(bundle).card.uncertainty == fit(a, odd) != fit(a) and len(told["shapes"]) == 20
    assert told["coverage"] == coverage_rows(left_out(a, lambda others: fit(others, odd)))


def test_a_single_model_has_no_others():
    everything = gather(count=50)
    assert left_out(everything.only(everything.asset == "a"), fit) == []


def test_factors_never_rise():
    """The last entry is the floor, which is free."""
    before = np.array([2.0, 1.0, 1.0, -1.0, -3.0])
    np.testing.assert_allclose(moved(before, 2, 0.5), [2.0, 1.5, 1.5, -1.0, -3.0])
    np.testing.assert_allclose(moved(before, 0, -1.5), [0.5, 0.5, 0.5, -1.0, -3.0])
    np.testing.assert_allclose(moved(before, 3, -0.5), [2.0, 1.0, 1.0, -1.5, -3.0])
    np.testing.assert_allclose(moved(before, 4, 0.5), [2.0, 1.0, 1.0, -1.0, -2.5])


def test_quantiles_of_chi_square():
    for (level, _), values in zip(sorted(BOUNDS.items()), ((1.00, 2.30, 3.53), (3.98, 6.16, 8.00)), strict=True):
        assert [quantile(level, k) for k in (1, 2, 3)] == pytest.approx(values, abs=0.03)
    assert FEWEST >= 10
