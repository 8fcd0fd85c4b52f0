# SPDX-License-Identifier: Apache-2.0
"""The posterior over the azimuth is the one that was fitted to true turns, and a run of a cup fits it."""

import json
import math
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from shared_data import ROOT

from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.synthetic import read_synthetic, synthetic_entries
from dinemo_ros.model.azimuth import AzimuthSpec
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.model.symmetry import Symmetry, axis_variance
from dinemo_ros.solver.ambiguity import azimuth_posterior
from dinemo_ros.turns import TURNS, angles, deviation
from dinemo_training.export import azimuth_uncertainty
from dinemo_training.export.azimuth_uncertainty import Turns, fit, likeliest, measure
from dinemo_training.run.plan import stages_of
from dinemo_training.run.recipe import Mesh, Recipe, Synthetic
from dinemo_training.run.run_folder import RunFolder

VESSELS = ROOT / "tests" / "unit" / "vessels"
TRUE = AzimuthSpec(level=0.1, scale=3.0, unseen=0.5, blur_deg=12.0, doubt=0.05)


def drawn(spec: AzimuthSpec, count: int, seed: int = 0) -> Turns:
    """Pictures with a peak at the reported turn and one elsewhere, whose true turns really are as ``spec``
    says."""
    rng, away = np.random.default_rng(seed), angles()
    peaks = np.stack([np.zeros(count, int), rng.integers(0, TURNS, count)], axis=1)
    shapes = np.exp(-0.5 * ((away[None, None] - away[peaks][:, :, None] + np.pi) % (2 * np.pi) - np.pi) ** 2 / 0.1)
    likelihoods = np.einsum("nk,nkt->nt", spec.scale * rng.uniform(0, [9, 6], (count, 2)), shapes)
    azimuth = rng.uniform(-np.pi, np.pi, count)
    sharp = replace(spec, blur_deg=0.0, doubt=0.0)
    turns = np.empty(count)
    for k in range(count):
        chosen = rng.choice(TURNS, p=azimuth_posterior(likelihoods[k] / spec.scale, azimuth[k], sharp))
        turns[k] = away[chosen] + math.radians(spec.blur_deg) * rng.normal()
    doubted = rng.random(count) < spec.doubt
    turns[doubted] = rng.uniform(-np.pi, np.pi, doubted.sum())
    turns = (turns + np.pi) % (2 * np.pi) - np.pi
    return Turns(likelihoods, azimuth, turns, np.zeros(count), np.ones(count), np.full(count, "L0"))


def test_the_fit_finds_the_posterior_that_the_turns_were_drawn_from():
    found = likeliest(drawn(TRUE, 1500), TRUE.level)
    assert found.level == TRUE.level
    assert found.scale == pytest.approx(TRUE.scale, rel=0.35)
    assert found.blur_deg == pytest.approx(TRUE.blur_deg, abs=3.0)
    assert found.unseen == pytest.approx(TRUE.unseen, rel=0.7)
    assert found.doubt < 0.15


def test_the_fitted_deviation_holds_two_thirds_of_other_turns():
    found, others = likeliest(drawn(TRUE, 600), TRUE.level), drawn(TRUE, 1500, 1)
    announced = np.array([deviation(posterior) for posterior in others.posteriors(found)])
    sure = announced < 1.5  # where it is at its most, that of a uniform angle, it holds less by definition
    assert sure.mean() > 0.5
    assert np.mean(np.abs(others.turn[sure]) < announced[sure]) == pytest.approx(0.683, abs=0.06)


def test_hidden_handles_count_more_than_their_number():
    """What misleads about a tenth of the pictures, all with hidden handles, makes the posterior doubt more."""
    seen, misled = drawn(TRUE, 400), drawn(TRUE, 45, 1)
    anywhere = np.random.default_rng(2).uniform(-np.pi, np.pi, len(misled))
    together = [np.concatenate([getattr(seen, f.name), getattr(misled, f.name)]) for f in fields(Turns)]
    alike = replace(Turns(*together), turn=np.r_[seen.turn, anywhere])
    hidden = replace(alike, seen=np.r_[seen.seen, np.zeros(len(misled))])
    weighed, plain = likeliest(hidden, TRUE.level), likeliest(alike, TRUE.level)
    of_hidden = hidden.seen == 0.0
    gained = (hidden.log_densities(weighed) - hidden.log_densities(plain))[of_hidden]
    assert weighed.doubt > plain.doubt and gained.mean() > 0.05


def test_density_is_that_of_a_distribution():
    """Over all true turns it sums to one."""
    one = drawn(TRUE, 1)
    turns = np.linspace(-np.pi, np.pi, 720, endpoint=False)
    many = Turns(np.repeat(one.likelihoods, 720, 0), np.repeat(one.azimuth, 720), turns, *[np.zeros(720)] * 2,
                 np.full(720, "L0"))
    assert np.exp(many.log_densities(TRUE)).sum() * 2 * np.pi / 720 == pytest.approx(1.0, abs=1e-3)


@pytest.fixture
def cup(tmp_path):
    """A copy of the shipped cup, not fitted."""
    shutil.copytree(ROOT / "engines" / "cup", tmp_path / "cup")
    return tmp_path / "cup"


def test_what_was_fitted_is_in_the_card_and_alone_decides_the_variance_about_the_axis(cup, monkeypatch):
    monkeypatch.setattr(azimuth_uncertainty, "FEWEST", 4)
    summary = fit(cup, [VESSELS / "cup"], 2)
    assert summary["covered"]["n"] == 3 * summary["all"]["n"] == 6
    bundle = load_bundle(cup)
    assert bundle.card.azimuth == AzimuthSpec(**summary["azimuth"]) and bundle.card.azimuth
    sample = synthetic_entries(read_synthetic(VESSELS / "cup"))[0].load()
    spec = bundle.card.uncertainty
    assert spec.turn[0] != 1.0 and spec.floor[0] > 0.0, "the card has factors of the turn: this test would see nothing"
    (pose,) = PoseEstimator(bundle).estimate(sample.image, sample.camera, [sample.roi])
    assert sum(pose.turns) == pytest.approx(1.0)
    announced = axis_variance(pose.covariance, pose.T_cam_obj[:3, :3]) ** 0.5
    assert announced == pytest.approx(deviation(np.array(pose.turns)), rel=1e-6)


def test_too_few_pictures_and_a_category_without_a_handle_are_refused(cup):
    with pytest.raises(ValueError, match="8 pictures got a pose; at least 20 are needed"):
        fit(cup, [VESSELS / "cup"], 2)
    assert not load_bundle(cup).card.azimuth
    with pytest.raises(ValueError, match="no handle that tells its azimuth"):
        measure(load_bundle(ROOT / "engines" / "bottle"), [VESSELS / "bottle"], 1)


def stages(symmetry: Symmetry, tmp_path: Path):
    recipe = Recipe(category="cup", size=(0.1, 0.08, 0.1), mesh=Mesh(profile="cup"), synthetic=Synthetic(
        renderer="tabletop", count=20, held_out=10), card={"symmetry": symmetry.document()})
    recipe = replace(recipe, data=replace(recipe.data, shape=("a.obj",), renders={"cad": ["a.obj"]}))
    return {stage.name: stage for stage in stages_of(recipe, RunFolder(tmp_path), tmp_path / "out")}


def test_a_run_of_a_category_with_a_handle_fits_the_posterior_before_the_factors(tmp_path):
    found = stages(Symmetry("z", 1), tmp_path)
    assert list(found).index("export") < list(found).index("azimuth") < list(found).index("calibrate")
    assert "azimuth" in found["calibrate"].needs and "held_out" in found["azimuth"].needs
    for other in (Symmetry(), Symmetry("z", 0)):
        found = stages(other, tmp_path)
        assert "azimuth" not in found and "azimuth" not in found["calibrate"].needs


def test_figures_can_be_written_as_json():
    turns = drawn(TRUE, 30)
    assert json.loads(json.dumps(turns.summary(TRUE)))["all"]["n"] == 30
