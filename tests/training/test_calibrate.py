# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Calibration of a bundle on renders: a bias of distance is found, the accepted score parts objects from the rest."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("numba", "tqdm"):
    pytest.importorskip(_module, reason="training extra is not installed")

from painted_car import write_painted_bundle
from posed_car import draw, intrinsics, look_at
from unit.planted import SIZE

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.geometry import so3_exp
from dinemo_ros.model.bundle import load_bundle
from dinemo_training.data.foreground import mask_box
from dinemo_training.data.posed_crops import load_posed_crops, save_labels, save_picture
from dinemo_training.export.calibrate import _widened, accepted_score, calibrate, object_box, rough_box

SIDE = 256


LARGE = 1.1 * np.array(SIZE)  # larger than the prior says: such cars look nearer, which is no bias of the model


def renders(folder, bias=1.0, turn_deg=0.0):
    """Ten large painted cars; their labels say that they stand ``bias`` times as far as they do, and are turned."""
    poses = [look_at(36 * i + 10, 5 + 2 * i, centre=(0, 0, 11.0)) for i in range(10)]
    for i, T in enumerate(poses):
        save_picture(folder, f"{i}", *draw(T, SIDE, LARGE))
    T = np.stack(poses)
    T[:, :3, 3] *= bias
    T[:, :3, :3] = T[:, :3, :3] @ so3_exp([0, 0, np.deg2rad(turn_deg)])
    save_labels(folder, [f"{i}" for i in range(10)], np.tile(intrinsics(SIDE), (10, 1, 1)), T, np.tile(LARGE, (10, 1)))
    return folder


def nothing(folder):
    rng = np.random.default_rng(0)
    for i in range(10):
        noise = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        save_picture(folder, f"{i}", noise, np.zeros((SIDE, SIDE), np.uint8))
    save_labels(folder, [f"{i}" for i in range(10)], np.tile(intrinsics(SIDE), (10, 1, 1)),
                np.tile(look_at(0), (10, 1, 1)), np.tile(SIZE, (10, 1)), np.zeros(10))
    return folder


def test_distance_bias_and_accepted_score(tmp_path):
    """The scale must follow the labels by exactly their bias, and must be near one for true labels."""
    scales, accepts = [], []
    for bias in (1.0, 1.06):
        bundle = write_painted_bundle(tmp_path / f"bundle{bias}")
        before = load_bundle(bundle)
        calibrate(bundle, renders(tmp_path / f"renders{bias}", bias), nothing(tmp_path / f"nothing{bias}"), count=10)
        after = load_bundle(bundle)
        assert after.card.files == before.card.files
        np.testing.assert_array_equal(after.mesh.features, before.mesh.features)
        scales.append(after.card.calibration.depth_scale)
        accepts.append(after.card.score.accept)
    assert scales[0] == pytest.approx(1.0, abs=0.03)
    assert scales[1] / scales[0] == pytest.approx(1.06, abs=0.002)
    assert accepts[0] == accepts[1]
    assert 0.0 < accepts[0] < 0.95


def test_half_of_the_poses_lie_inside_their_half_ellipsoid(tmp_path):
    """Labels with a known error on top of tiny ones: the covariance has to grow with its square."""
    scales = []
    for turn_deg in (4.0, 8.0):
        bundle = write_painted_bundle(tmp_path / f"bundle{turn_deg}")
        result = calibrate(bundle, renders(tmp_path / f"renders{turn_deg}", turn_deg=turn_deg), None, count=10)
        assert load_bundle(bundle).card.score.covariance_scale == result.covariance_scale
        scales.append(result.covariance_scale)
    assert 2.0 < scales[1] / scales[0] < 6.0  # 4 if the labels were all the error


def test_calibrating_twice_changes_nothing(tmp_path):
    """The second run must undo the first one's scale before it measures."""
    bundle, pictures = write_painted_bundle(tmp_path / "bundle"), renders(tmp_path / "renders", 1.06)
    calibrate(bundle, pictures, None, count=10)
    once = load_bundle(bundle).card
    calibrate(bundle, pictures, None, count=10)
    assert load_bundle(bundle).card == once


def test_labels_of_other_axes_are_refused(tmp_path):
    """Renders whose labels say that the car faces sideways: no distance can be judged, nothing is written."""
    bundle, pictures = write_painted_bundle(tmp_path / "bundle"), renders(tmp_path / "renders", turn_deg=90)
    before = (bundle / "model.yaml").read_text()
    with pytest.raises(ValueError, match="of 10 pictures .* none got a pose"):
        calibrate(bundle, pictures, None, count=10)
    assert (bundle / "model.yaml").read_text() == before


def test_boxes_without_masks_are_those_of_the_posed_mesh(tmp_path):
    pictures, bundle = renders(tmp_path / "renders"), load_bundle(write_painted_bundle(tmp_path / "bundle"))
    unit = bundle.mesh.vertices / bundle.mesh.extent
    for crop in load_posed_crops(pictures):
        drawn = mask_box(crop.foreground())
        crop.mask = None
        np.testing.assert_allclose(object_box(crop, unit, crop.image()), drawn, atol=1.01)


def test_poses_that_are_not_exact_say_nothing_about_distance(tmp_path):
    bundle = write_painted_bundle(tmp_path / "bundle")
    result = calibrate(bundle, renders(tmp_path / "renders", 1.06), None, count=10, exact=False)
    assert load_bundle(bundle).card.calibration.depth_scale == result.depth_scale == 1.0
    assert load_bundle(bundle).card.score.accept == result.accept > 0


def test_a_model_of_renders_alone_accepts_the_middle_between_object_and_clutter():
    scores, clutter = np.linspace(0.5, 0.9, 101), np.linspace(0.1, 0.3, 101)
    assert accepted_score(scores, clutter, photographs=True) == pytest.approx(0.512)
    assert accepted_score(scores, clutter, photographs=False) == pytest.approx(0.401, abs=0.001)
    assert accepted_score(scores, np.zeros(0), photographs=False) == pytest.approx(0.512)


def test_clutter_that_scores_as_high_as_the_object_does_not_raise_the_accepted_score():
    scores, clutter = np.linspace(0.5, 0.9, 101), np.linspace(0.5, 0.95, 101)
    assert accepted_score(scores, clutter, photographs=False) == pytest.approx(0.512)


def test_a_rough_box_is_off_by_a_tenth_and_inside_the_image():
    rng, camera = np.random.default_rng(0), Camera.from_hfov(200, 100, 60.0)
    boxes = np.array([rough_box(rng, (50.0, 40.0, 150.0, 80.0), camera) for _ in range(500)])
    np.testing.assert_allclose(boxes.mean(0), [50, 40, 150, 80], atol=1.5)
    np.testing.assert_allclose(boxes.std(0), [10, 4, 10, 4], rtol=0.15)
    corner = np.array([rough_box(rng, (198.0, 98.0, 200.0, 100.0), camera) for _ in range(50)])
    assert (corner[:, :2] >= 0).all() and (corner[:, 2:] <= [200, 100]).all()
    assert (corner[:, 2:] - corner[:, :2] >= 2.0).all()


@pytest.mark.parametrize("freedom", [5, 6])  # a bottle's turn about its axis is no error
def test_an_honest_covariance_keeps_its_scale_and_a_narrow_one_is_widened(freedom):
    squares = np.random.default_rng(0).chisquare(freedom, 20_001)
    assert _widened(20.0, squares, freedom) == pytest.approx(20, rel=0.03)
    assert _widened(20.0, 9 * squares, freedom) == pytest.approx(180, rel=0.03)
