# SPDX-License-Identifier: Apache-2.0
"""The mirror image as a second opinion: which vertices are opposite, what the features become, what the poses gain."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml
from shared_data import ROOT
from unit.planted import DIM, car_card, car_mesh

from dinemo_ros.bundle import CARD_FILE, FeatureSpec, load_bundle, write_bundle
from dinemo_ros.camera import Camera
from dinemo_ros.errors import BundleError
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.features import create_extractor
from dinemo_ros.features.mirrored import MirroredExtractor
from dinemo_ros.geometry import mirror_rotation, rotation_angle
from dinemo_ros.mirror import counterparts, with_counterparts

DEMO = ROOT / "config" / "demo_sequence"


@pytest.fixture(scope="module")
def car():
    return load_bundle(ROOT / "engines" / "car")


@pytest.mark.parametrize("category", ["car", "bottle", "cup"])
def test_counterparts_of_shipped_meshes(category):
    mesh = load_bundle(ROOT / "engines" / category).mesh
    opposite = counterparts(mesh)
    assert np.array_equal(opposite[opposite], np.arange(len(opposite)))
    np.testing.assert_allclose(mesh.vertices[opposite], mesh.vertices * [1, -1, 1], atol=1e-5)


def test_vertices_in_one_place_are_told_apart_by_their_normals():
    mesh = car_mesh()
    opposite = counterparts(mesh)
    assert len(np.unique(mesh.vertices, axis=0)) < len(mesh.vertices)
    np.testing.assert_allclose(mesh.normals[opposite], mesh.normals * [1, -1, 1], atol=1e-6)


def test_mesh_that_is_not_its_own_mirror_image(tmp_path):
    mesh = car_mesh()
    dented = mesh.vertices.copy()
    dented[7] += 0.1
    card = car_card(features=FeatureSpec(DIM, 0.07, mirrored=True))
    with pytest.raises(BundleError, match=rf"{CARD_FILE}: features.mirrored is true, .*: set it to false"):
        write_bundle(tmp_path, card, b"any", replace(mesh, vertices=dented))


def test_mirrored_is_true_or_false(tmp_path):
    write_bundle(tmp_path, car_card(), b"any", car_mesh())
    card = yaml.safe_load((tmp_path / CARD_FILE).read_text())
    card["features"]["mirrored"] = 1
    (tmp_path / CARD_FILE).write_text(yaml.safe_dump(card))
    with pytest.raises(BundleError, match="features.mirrored must be true or false, got 1"):
        load_bundle(tmp_path)


def test_cosines_are_the_mean_of_both_pictures(car):
    plain = create_extractor(car, precision="fp32")
    images = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), dtype=np.uint8)
    both, mesh = MirroredExtractor(plain)(images), with_counterparts(car.mesh)
    assert both.shape == (2, 2 * car.card.features.dim, 8, 12) and both.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(mesh.features, axis=1), 1.0, atol=1e-5)

    seen, mirrored = plain(images), plain(np.ascontiguousarray(images[:, :, ::-1]))[..., ::-1]
    opposite = car.mesh.features[counterparts(car.mesh)]
    for ours, one, other in ((mesh.features, car.mesh.features, opposite),
                             (mesh.clutter, car.mesh.clutter, car.mesh.clutter)):
        expected = 0.5 * (np.einsum("vd,ndij->nvij", one, seen) + np.einsum("vd,ndij->nvij", other, mirrored))
        np.testing.assert_allclose(np.einsum("vd,ndij->nvij", ours, both), expected, atol=1e-5)


def test_tensors_as_arrays(car):
    torch = pytest.importorskip("torch")
    plain = create_extractor(car, precision="fp32")
    plain.on_device = lambda tensors: torch.from_numpy(plain(tensors.numpy()))  # a network that takes tensors
    images = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3), dtype=np.uint8)
    extractor = MirroredExtractor(plain)
    np.testing.assert_allclose(extractor.on_device(torch.from_numpy(images)).numpy(), extractor(images), atol=1e-6)


def test_attributes_are_those_of_the_network(car):
    plain = create_extractor(car, precision="fp32")
    extractor = MirroredExtractor(plain)
    plain.reason = "another one by now"
    assert (extractor.name, extractor.precision, extractor.device) == (plain.name, plain.precision, plain.device)
    assert extractor.reason == "another one by now" and extractor.tensor_device == plain.tensor_device


def estimator_of(folder, car, mirrored: bool) -> PoseEstimator:
    card = replace(car.card, features=replace(car.card.features, mirrored=mirrored))
    return PoseEstimator(write_bundle(folder, card, car.backbone_path.read_bytes(), car.mesh))


@pytest.fixture(scope="module")
def estimator(tmp_path_factory, car):
    return estimator_of(tmp_path_factory.mktemp("mirrored"), car, True)


def test_only_crops_are_seen_twice(estimator):
    """Proposals are made with the network's own channels."""
    dim = estimator.bundle.card.features.dim
    assert estimator.bundle.mesh.features.shape[1] == dim and estimator.crop_bundle.mesh.features.shape[1] == 2 * dim


def test_mirror_image_of_a_picture_gives_the_mirror_image_of_its_pose(estimator, tmp_path, car):
    """What makes the second opinion worth its time: left and right are no longer seen differently.

    What remains is the solver's: the vertices that it starts from are not chosen symmetrically.
    """
    plain = estimator_of(tmp_path, car, False)
    camera = Camera.from_yaml(DEMO / "camera_info.yaml")
    K = camera.K.copy()
    K[0, 2] = camera.width - 1 - K[0, 2]
    apart = {plain: [], estimator: []}
    for frame in sorted(DEMO.glob("*.jpg"))[::4]:
        image = np.ascontiguousarray(cv2.imread(str(frame))[..., ::-1])
        x_min, y_min, x_max, y_max = plain.covered(plain.estimate(image, camera)[0], camera)
        mirrored = np.ascontiguousarray(image[:, ::-1])
        for one, angles in apart.items():
            pose = one.estimate(image, camera, [(x_min, y_min, x_max, y_max)])[0]
            opposite = one.estimate(mirrored, replace(camera, K=K), [(camera.width - x_max, y_min,
                                                                     camera.width - x_min, y_max)])[0]
            R = mirror_rotation(opposite.T_cam_obj[:3, :3])
            angles.append(np.degrees(rotation_angle(R, pose.T_cam_obj[:3, :3])))
    assert np.median(apart[estimator]) < 0.5 * np.median(apart[plain]) and max(apart[estimator]) < 5.0


def test_features_without_the_mirror_image_are_refused(estimator):
    """Not read past their end."""
    size = estimator.bundle.card.image.size
    camera = Camera.from_hfov(size, size, 50.0)
    _, targets = estimator.views(camera, estimator.check(np.zeros((size, size, 3), np.uint8), camera,
                                                         [(0, 0, size, size)]), measured=True)
    plain = np.ones((1, estimator.bundle.card.features.dim, size // 8, size // 8), np.float32)
    with pytest.raises(ValueError, match="the features have 64 channels, those of the mesh 128"):
        estimator.pipeline.solve_features(plain, targets)
