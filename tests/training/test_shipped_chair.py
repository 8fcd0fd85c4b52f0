# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""The chair that ships: what its card says, and a chair of six blocks that no file of others went into."""

import numpy as np
import pytest
from shared_data import ROOT

trimesh = pytest.importorskip("trimesh", reason="training extra is not installed")

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.sample import mask_box
from dinemo_ros.geometry import rotation_angle
from dinemo_ros.model.bundle import find_bundle, load_bundle
from dinemo_ros.model.symmetry import NO_SYMMETRY
from dinemo_training.run.recipe import CONFIGS, load_recipe
from dinemo_training.synthetic.render.background import Photos
from dinemo_training.synthetic.render.shapes import ShapeSynthesizer, read_model

VIEWS = 24
SIZE = np.array([0.54, 0.50, 0.90])


def blocks(path):
    """A kitchen chair in the axes of ROS: seat, back and four legs, the back at -x."""
    parts = [((0.0, 0.0, 0.0), (0.48, 0.46, 0.04)), ((-0.22, 0.0, 0.25), (0.03, 0.44, 0.40))]
    parts += [((x, y, -0.22), (0.04, 0.04, 0.44)) for x in (-0.21, 0.21) for y in (-0.2, 0.2)]
    made = []
    for centre, extents in parts:
        made.append(trimesh.creation.box(extents))
        made[-1].apply_translation(centre)
    trimesh.util.concatenate(made).export(path)
    return path


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """Rotation errors in degrees over views of the chair of blocks, its box given; 180 without a pose."""
    model = read_model(blocks(tmp_path_factory.mktemp("chair") / "blocks.obj"), "ros", SIZE, body=0.0)
    source = ShapeSynthesizer([model], 21, (-5, 50), 3.0, Photos([], []))
    estimator, found = PoseEstimator(load_bundle(ROOT / "engines" / "chair"), threads=1, precision="fp32"), []
    for k in range(VIEWS):
        (picture, mask), label = source.render(k), source.label(k)
        camera = Camera(picture.shape[1], picture.shape[0], label["K"])
        poses = estimator.estimate(picture, camera, [mask_box(mask == 255)])
        turn = rotation_angle(poses[0].T_cam_obj[:3, :3], label["T_cam_obj"][:3, :3]) if poses else np.pi
        found.append(np.degrees(turn))
    return np.array(found)


def test_most_views_of_a_chair_of_blocks_are_right(errors):
    """21 of 24 within 30 degrees, 10 within 10; the bars are the lower ends of the 95 % intervals (Wilson)."""
    assert (errors < 30).sum() >= 17 and (errors < 10).sum() >= 6


def test_the_card_says_what_it_is():
    card = load_bundle(find_bundle("chair")).card
    recipe = load_recipe(CONFIGS / "chair.yaml").bundle_card()
    assert card.category == "chair" and card.symmetry == NO_SYMMETRY == recipe.symmetry
    assert card.weights_license.terms == recipe.weights_license.terms and not card.weights_license.permissive
    assert card.size_prior.mean_m == pytest.approx(SIZE) and card.detector.labels == ("chair", "Chair")
    assert card.presence and card.uncertainty
    assert sum(file.stat().st_size for file in (ROOT / "engines" / "chair").iterdir()) < 20e6
