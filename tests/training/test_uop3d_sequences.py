# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""From rendered frames without poses to aligned, posed crops: a painted car whose colours are its coordinates."""

import json
from argparse import Namespace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "numba", "scipy", "skimage", "trimesh", "fast_simplification"):
    pytest.importorskip(_module, reason="training extra is not installed")

from posed_car import car_shape, draw, intrinsics, look_at
from unit.planted import SIZE

from dinemo_ros.errors import DatasetError
from dinemo_ros.geometry import rotation_angle
from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import CorrespondenceSampler
from dinemo_training.data.posed_crops import load_posed_crops
from dinemo_training.pseudo_labels.template_bank import build_bank
from dinemo_training.sequences.uop3d.collection import collect, heading_from
from dinemo_training.sequences.uop3d.evaluation import camera_errors, check_command, summary, true_rotation
from dinemo_training.sequences.uop3d.instance import build_instance, feature_maps
from dinemo_training.sequences.uop3d.object_sequence import ObjectSequence, crop_frames
from dinemo_training.sequences.uop3d.outputs import write_posed_crops, write_sheet
from dinemo_training.sequences.uop3d.similarity import Similarity
from dinemo_training.sequences.uop3d.synthetic import camera_in_own_frame, random_own_frame
from dinemo_training.sequences.uop3d.turntable import pose_turntable
from dinemo_training.synthetic.shape.visual_hull import hull_overlap, inside_share, visual_hull

SIDE = 128


class ColourTeacher:
    """Smooth unit features of the colour, stride 8: of the place on the painted car, that is."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.W = torch.from_numpy(rng.normal(size=(24, 3)) / 45).float()
        self.b = torch.from_numpy(rng.uniform(0, 2 * np.pi, 24)).float()

    def __call__(self, images):
        mean = torch.nn.functional.avg_pool2d(images, 8)
        waves = torch.cos(torch.einsum("dc,nchw->ndhw", self.W, mean) + self.b[:, None, None])
        return torch.nn.functional.normalize(waves, dim=1)


TEACHER = ColourTeacher()


def turn(name, size, start_deg, sense, elevation_deg=16, frames=16):
    """Frames of one turn at SIDE pixels, and their true poses [N, 4, 4]."""
    images, masks, poses = [], [], []
    for k in range(frames):
        T = look_at(start_deg + sense * 360 * k / frames, elevation_deg, centre=(0.0, 0.0, 14.0))
        image, mask = draw(T, side=200, size=size)
        images.append(image), masks.append(mask), poses.append(T)
    return crop_frames(name, [f"{k:03d}.png" for k in range(frames)], images, masks, SIDE), np.array(poses)


@pytest.fixture(scope="module")
def turns():
    return [turn("one", SIZE, 20, 1), turn("two", tuple(np.array(SIZE) * [1.08, 1, 0.95]), 203, -1, 12)]


@pytest.fixture(scope="module")
def found(turns):
    return [pose_turntable(frames, feature_maps(frames, TEACHER), "equal") for frames, _ in turns]


def exact(frames, poses, own):
    """The sequence as structure from motion would hand it over, in the frame ``own``."""
    return ObjectSequence(frames.name, frames.files, frames.images, frames.masks, frames.crop_from_picture,
                          frames.crop_from_picture @ intrinsics(200), np.array([camera_in_own_frame(T, own)
                                                                                for T in poses]))


def test_own_frame_keeps_the_picture():
    rng = np.random.default_rng(0)
    own, T, p = random_own_frame(rng, 5, 4.0), look_at(40), rng.normal(size=(5, 3))
    in_camera = p @ T[:3, :3].T + T[:3, 3]
    T_own = camera_in_own_frame(T, own)
    np.testing.assert_allclose(own(p) @ T_own[:3, :3].T + T_own[:3, 3], own.scale * in_camera, atol=1e-12)
    assert np.rad2deg(np.arccos(own.R[2, 2])) <= 5


def test_hull_holds_the_object_in_any_own_frame(turns):
    frames, poses = turns[0]
    own = random_own_frame(np.random.default_rng(1), 4, 4.4)
    sequence = exact(frames, poses, own)
    vertices, faces = visual_hull(sequence, 400)
    assert 300 < len(vertices) <= 420 and faces.max() < len(vertices)
    # By definition: what all silhouettes but the odd one agree on, so it holds the object.
    # A voxel is 4 % of the extent and may lie on either side of the surface; a pixel is 3 % of the car's width.
    shrunk = vertices.mean(0) + 0.88 * (vertices - vertices.mean(0))
    assert inside_share(sequence, shrunk).min() >= 15 / 16
    assert inside_share(sequence, own(car_shape().vertices * 0.92)).min() >= 15 / 16
    assert hull_overlap(sequence) > 0.93


def test_empty_hull_names_the_sequence(turns):
    frames, poses = turns[0]
    sequence = exact(frames, poses[::-1], Similarity.identity())
    shifted = ObjectSequence(sequence.name, sequence.files, sequence.images, sequence.masks,
                             sequence.crop_from_picture, sequence.K + np.array(
                                 [[[0, 0, 150 * (-1) ** k], [0, 0, 0], [0, 0, 0]] for k in range(16)]),
                             sequence.T_cam_own)
    with pytest.raises(ValueError, match="one: no point lies inside the silhouettes"):
        visual_hull(shifted)


def test_cameras_of_a_turn_come_out_of_its_frames(turns, found):
    for (_, poses), turntable in zip(turns, found, strict=True):
        error = np.rad2deg(camera_errors(turntable.sequence, poses))
        assert error.max() < 6, error  # the wrong sense would be off by up to 180
        assert turntable.coherence > 0.9
    assert np.rad2deg(found[0].elevation) == pytest.approx(16, abs=5)


def test_order_must_be_known(turns):
    with pytest.raises(ValueError, match="'sorted' is none of auto, equal, uneven"):
        pose_turntable(turns[0][0], None, "sorted")


def test_unposed_sequences_become_posed_crops(turns, found, tmp_path):
    sequences = [t.sequence for t in found]
    instances = [build_instance(s, feature_maps(s, TEACHER)) for s in sequences]
    collection = collect(sequences, instances, reference=0)
    known = np.deg2rad(20 + 360 * np.arange(16) / 16)
    collection = collection.turned(heading_from(collection.azimuths(0), known))
    truth = [true_rotation(s, poses) for s, (_, poses) in zip(sequences, turns, strict=True)]
    for T, R in zip(collection.alignment.transforms, truth, strict=True):
        assert np.rad2deg(rotation_angle(T.R @ R, np.eye(3))) < 8

    azimuths = [collection.azimuths(k) for k in range(2)]
    report = write_posed_crops(sequences, azimuths, car_shape(), tmp_path)
    assert report["two"]["kept"] == 16 and report["two"]["mean_iou"] > 0.85
    crops = load_posed_crops(tmp_path)
    assert [c.name for c in crops[:2]] == ["one_000", "one_001"] and crops[0].image().shape == (SIDE, SIDE, 3)
    errors = [np.rad2deg(rotation_angle(c.T_cam_obj[:3, :3], T[:3, :3]))
              for c, T in zip(crops, np.concatenate([p for _, p in turns]), strict=True)]
    assert np.median(errors) < 8

    bank = build_bank(crops[::4], CorrespondenceSampler(car_shape(), AugmentConfig()), TEACHER)
    seen_from = np.rad2deg(np.angle(np.exp(1j * (bank.azimuths[::2] - np.concatenate(azimuths)[::4]))))
    assert np.abs(seen_from).max() < 2  # every second view is the mirror image of the one before

    write_sheet(tmp_path / "sheet.jpg", sequences, azimuths)
    assert cv2.imread(str(tmp_path / "sheet.jpg")).shape[1] == 2 * 150

    table = {f: float(np.rad2deg(a)) for f, a in zip(sequences[1].files, azimuths[1], strict=True)}
    (tmp_path / "alignment.json").write_text(json.dumps({"sequences": {"two": {"azimuth_deg": table}}}))
    checked = {f: (203 - 360 * k / 16 + 3) % 360 for k, f in enumerate(sequences[1].files)}
    (tmp_path / "azimuth.json").write_text(json.dumps({"two": {"azimuth_deg": checked}, "other": {}}))
    check_command(Namespace(aligned=tmp_path, azimuths=tmp_path / "azimuth.json", out=tmp_path / "check.json"))
    figures = json.loads((tmp_path / "check.json").read_text())["two"]
    assert figures["acc30"] == 100 and figures["mean_offset_deg"] == pytest.approx(-3, abs=6)


@pytest.mark.parametrize("text", ["[" * 5000, "7", '{"two": 3}', '{"two": {"azimuth_deg": {"a": "x"}}}',
                                  '{"two": {"azimuth_deg": {"b": 1}}}', '{"two": {"azimuth_deg": [1]}}', "9" * 6000])
def test_azimuths_that_are_none_are_one_sentence(tmp_path, text):
    (tmp_path / "alignment.json").write_text('{"sequences": {"two": {"azimuth_deg": {"a": 1.0}}}}')
    (tmp_path / "azimuth.json").write_text(text)
    with pytest.raises(DatasetError, match=r"azimuth\.json: "):
        check_command(Namespace(aligned=tmp_path, azimuths=tmp_path / "azimuth.json", out=tmp_path / "check.json"))
    assert not (tmp_path / "check.json").exists()


def test_uneven_steps_are_smoothed_out_frame_by_frame():
    """Frames were left out: equal steps drift, the refinement takes back much of it."""
    keep = np.array([0, 1, 2, 3, 5, 7, 8, 9, 10, 13, 14, 15, 17, 18, 19, 22, 23])
    frames, poses = turn("gaps", SIZE, 50, 1, frames=24)
    frames, poses = frames.subset(keep), poses[keep]
    drift = 2 * np.pi * (np.arange(len(keep)) / len(keep) - keep / 24)
    before = np.rad2deg(np.abs(np.angle(np.exp(1j * drift) / np.exp(1j * drift).mean())))  # of equal steps
    uneven = pose_turntable(frames, feature_maps(frames, TEACHER), "auto")
    after = np.rad2deg(camera_errors(uneven.sequence, poses))
    assert uneven.how == "uneven"
    assert np.median(after) < 0.6 * np.median(before), (before, after)


def test_summary_counts_what_it_says():
    assert summary(np.array([1.0, 9, 11, 31, 160])) == {"count": 5, "acc30": 60.0, "acc10": 40.0, "median_deg": 11.0,
                                                         "flips": 20.0}
