# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""PASCAL3D+ and Occluded PASCAL3D+ in their published layout, written here with exact truth.

The pictures show the painted car; where its points fall in the picture is computed by the projection of the data set's
own MATLAB code (project_3d.m of the release), which shares nothing with ours.
"""

import math

import cv2
import numpy as np
import pytest

savemat = pytest.importorskip("scipy.io", reason="reading .mat files needs scipy").savemat

from painted_car import photograph, write_painted_bundle
from unit.planted import car_mesh

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cli.main import main
from dinemo_ros.errors import DatasetError
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.pascal3d import pascal3d_entries, read_annotation, read_occluded, read_pascal3d
from dinemo_ros.evaluation.runner import Competitor, Setting, evaluate, tabulate
from dinemo_ros.evaluation.truth import ReferenceObject
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import load_bundle

WIDTH, HEIGHT, VIEWPORT = 480, 320, 3000
# Azimuth, elevation, theta in degrees; distance in units of the CAD model, whose diagonal is one; px, py from 1.
VIEWS = {"n01_a": (30.0, 10.0, 0.0, 8.0, 245.0, 150.0), "n01_b": (115.0, 20.0, 6.0, 9.0, 230.0, 170.0),
         "n01_c": (250.0, 2.0, -5.0, 10.0, 262.5, 166.5)}
DIAGONAL = float(np.linalg.norm(car_mesh().extent))


def project_3d(x3d, azimuth, elevation, theta, distance, px, py):
    """Pixels from 1 of CAD points, step by step as project_3d.m of the release does it."""
    a, e, t = np.radians([azimuth, elevation, theta])
    C = distance * np.array([math.cos(e) * math.sin(a), -math.cos(e) * math.cos(a), math.sin(e)])
    a, e = -a, -(math.pi / 2 - e)
    Rz = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    Rx = np.array([[1, 0, 0], [0, math.cos(e), -math.sin(e)], [0, math.sin(e), math.cos(e)]])
    R = Rx @ Rz
    x = np.diag([VIEWPORT, VIEWPORT, -1]) @ np.column_stack([R, -R @ C]) @ np.column_stack(
        [x3d, np.ones(len(x3d))]).T
    x = (x[:2] / x[2])
    x = (np.array([[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]]) @ x).T
    x[:, 1] *= -1
    return x + [px, py]


def cad_points():
    """The car's vertices as a CAD model of the release: x left, y to the rear, z up, unit diagonal."""
    x, y, z = car_mesh().vertices.T / DIAGONAL
    return np.column_stack([y, -x, z])


def struct(items):
    """A 1 x N MATLAB struct array."""
    array = np.empty((1, len(items)), dtype=[(key, object) for key in items[0]])
    for k, item in enumerate(items):
        array[0, k] = tuple(item.values())
    return array


def annotate(path, views, classes=None):
    """Write a .mat file: one object per view, [] where the view is None."""
    objects = []
    for view, name in zip(views, classes or ["car"] * len(views), strict=True):
        viewpoint, box = np.empty((0, 0)), [1.0, 1.0, 2.0, 2.0]
        if view is not None:
            azimuth, elevation, theta, distance, px, py = view
            viewpoint = {"azimuth_coarse": 30.0, "elevation_coarse": 0.0, "azimuth": azimuth, "elevation": elevation,
                         "distance": distance, "focal": 1.0, "px": px, "py": py, "theta": theta, "error": 1.0,
                         "interval_azimuth": 5.0, "interval_elevation": 5.0, "num_anchor": 6.0,
                         "viewport": float(VIEWPORT)}
            pixels = project_3d(cad_points(), *view[:3], view[3] or 8.0, px, py) if np.isfinite(view).all() else None
            box = [1.0, 1.0, 9.0, 9.0] if pixels is None else [*pixels.min(axis=0), *pixels.max(axis=0)]
        objects.append({"class": name, "truncated": 0.0, "occluded": 0.0, "difficult": 0.0, "bbox": box,
                        "viewpoint": viewpoint, "cad_index": 1.0})
    savemat(path, {"record": {"filename": f"{path.stem}.JPEG", "database": "ImageNet",
                              "imgsize": [WIDTH, HEIGHT, 3], "objects": struct(objects)}})


def camera_of(view):
    """The camera that project_3d describes, with its optical axis through (px, py), and the car before it, metres."""
    azimuth, elevation, theta, distance, px, py = view
    K = np.array([[VIEWPORT, 0, px - 1], [0, VIEWPORT, py - 1], [0, 0, 1.0]])
    T = se3(rotation_from_viewpoint(*np.radians([azimuth, elevation, theta])), np.array([0, 0, distance * DIAGONAL]))
    return Camera(WIDTH, HEIGHT, K), T


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "PASCAL3D+_release1.1"
    for name in ("Annotations/car_imagenet", "Images/car_imagenet", "Image_sets"):
        (root / name).mkdir(parents=True)
    for name, view in VIEWS.items():
        annotate(root / "Annotations" / "car_imagenet" / f"{name}.mat", [view])
        camera, T = camera_of(view)
        cv2.imwrite(str(root / "Images" / "car_imagenet" / f"{name}.JPEG"), photograph(T, camera)[..., ::-1],
                    [cv2.IMWRITE_JPEG_QUALITY, 100])
    # Only a coarse viewpoint: distance zero.
    annotate(root / "Annotations" / "car_imagenet" / "n01_coarse.mat", [(10.0, 0.0, 0.0, 0.0, 0.0, 0.0)])
    cv2.imwrite(str(root / "Images" / "car_imagenet" / "n01_coarse.JPEG"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (root / "Image_sets" / "car_imagenet_val.txt").write_text("\n".join([*VIEWS, "n01_coarse"]) + "\n")
    return root


@pytest.fixture(scope="module")
def occluded(release):
    """Level 1 beside the release, where NeMo's scripts put it: two of the three pictures."""
    root, folder = release.parent / "OccludedPASCAL3D", "carFGL1_BGL1"
    for name in (f"images/{folder}", f"annotations/{folder}", "lists"):
        (root / name).mkdir(parents=True)
    names = ["n01_a", "n01_c"]
    for name in names:
        image = cv2.imread(str(release / "Images" / "car_imagenet" / f"{name}.JPEG"))
        mask = np.where((np.abs(image.astype(int) - 114) > 12).any(axis=2), 255, 0).astype(np.uint8)
        columns = np.flatnonzero(mask.any(axis=0))
        occluder = np.zeros(mask.shape, bool)
        occluder[:, columns[0] + len(columns) // 3:columns[0] + len(columns) // 2] = True
        image[occluder] = 114
        cv2.imwrite(str(root / "images" / folder / f"{name}.JPEG"), image)
        np.savez(root / "annotations" / folder / f"{name}.npz", source=f"../PASCAL3D+/{name}.JPEG", mask=mask,
                 box=np.array([0, 1, 2, 3, HEIGHT, WIDTH]), occluder_mask=occluder, category="car", occluder_level="1",
                 occluder_box=np.array([[0, 1, 2, 3, HEIGHT, WIDTH]]))
    (root / "lists" / f"{folder}.txt").write_text("".join(f"{name}.JPEG\n" for name in names))
    return root


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
def test_convention_viewpoint_and_pixels_are_those_of_project_3d(view):
    """Our camera and pose put every vertex where the data set's own code puts it; its pixels count from 1."""
    camera, T = camera_of(view)
    points = car_mesh().vertices @ T[:3, :3].T + T[:3, 3]
    assert camera.project(points) + 1 == pytest.approx(project_3d(cad_points(), *view), abs=1e-4)


def test_objects_are_read_in_the_order_of_the_list(release):
    objects, left_out = read_pascal3d(release, "car")
    assert [o.image.name for o in objects] == [f"{name}.JPEG" for name in VIEWS]
    for item, view in zip(objects, VIEWS.values(), strict=True):
        assert (item.azimuth, item.elevation, item.theta, item.distance) == view[:4]
        assert item.focal == VIEWPORT
        assert item.principal.tolist() == [view[4] - 1, view[5] - 1]
        pixels = project_3d(cad_points(), *view)
        assert item.roi == pytest.approx([*(pixels.min(axis=0) - 1), *pixels.max(axis=0)])
        camera = item.camera(WIDTH, HEIGHT)
        assert camera.K[0] == pytest.approx([VIEWPORT, 0, (WIDTH - 1) / 2])
    assert left_out == ["n01_coarse.mat: no car with a fine viewpoint"]
    assert len(read_pascal3d(release, "car", limit=2)[0]) == 2


def test_first_object_of_the_category_counts(tmp_path):
    first, second = VIEWS["n01_b"], VIEWS["n01_c"]
    path = tmp_path / "several.mat"
    annotate(path, [VIEWS["n01_a"], None, first, second], ["bus", "car", "car", "car"])
    assert read_annotation(path, "car", tmp_path / "x.JPEG").azimuth == first[0]
    assert read_annotation(path, "bus", tmp_path / "x.JPEG").azimuth == VIEWS["n01_a"][0]
    assert read_annotation(path, "train", tmp_path / "x.JPEG") is None


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_painted_bundle(tmp_path_factory.mktemp("painted") / "bundle")


def test_poses_found_in_the_pictures_have_the_annotated_viewpoints(release, occluded, bundle):
    """End to end: a convention off anywhere between .mat file and estimate would show as tens of degrees."""
    estimator = PoseEstimator(load_bundle(bundle))
    setting = Setting([Competitor("painted", estimator)], ReferenceObject.of(estimator.bundle))
    clean = read_pascal3d(release, "car")[0]
    objects = [*clean, *read_occluded(occluded, "car", "L1", clean)]
    records = evaluate(setting, pascal3d_entries(objects, "car"))
    assert [(r["occlusion"], r["file"]) for r in records] == [
        ("L0", "n01_a.JPEG"), ("L0", "n01_b.JPEG"), ("L0", "n01_c.JPEG"), ("L1", "n01_a.JPEG"), ("L1", "n01_c.JPEG")]
    rows = tabulate(records)
    assert [(row["occlusion"], row["n"], row["acc10"]) for row in rows] == [("L0", 3, 1.0), ("L1", 2, 1.0)]
    assert max(r["error_deg"] for r in records[:3]) < 2.0
    assert rows[0]["coverage"] is None
    assert 0.12 < rows[1]["coverage"] < 0.4


def test_table_of_all_levels_with_one_command(release, occluded, bundle, capsys):
    (occluded / "images" / "carFGL2_BGL2").mkdir()
    command = ["eval", "pascal3d", str(release), "--category", "car", "--bundle", str(bundle), "--threads", "2"]
    assert main([*command, "--occluded", "L1"]) == 0
    shown = capsys.readouterr()
    assert "| L1" in shown.out and "| L0" not in shown.out
    assert "left out: n01_coarse.mat" in shown.err
    assert main([*command, "--occluded", "all"]) == 1
    assert "carFGL2_BGL2: has none of the 3 pictures" in capsys.readouterr().err


def test_masks_that_need_pickles_are_not_read(release, occluded):
    clean = read_pascal3d(release, "car", limit=1)[0]
    item, = read_occluded(occluded, "car", "L1", clean)
    np.savez(item.masks, mask=np.array([{"a": 1}], dtype=object), occluder_mask=np.zeros((2, 2)))
    entry, = pascal3d_entries([item], "car")
    assert entry.load().coverage is None


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda d: (d / "Image_sets" / "car_imagenet_val.txt").unlink(), "car_imagenet_val.txt: cannot be read .*layout"),
    (lambda d: (d / "Annotations" / "car_imagenet" / "n01_a.mat").write_bytes(b"no mat"), "n01_a.mat: cannot be read"),
    (lambda d: (d / "Annotations" / "car_imagenet" / "n01_a.mat").unlink(), "n01_a.mat: cannot be read"),
    (lambda d: savemat(d / "Annotations" / "car_imagenet" / "n01_a.mat", {"record": {"objects": struct(
        [{"class": "car", "viewpoint": {"azimuth": 3.0}}])}}), "n01_a.mat: not an annotation of PASCAL3D"),
    (lambda d: annotate(d / "Annotations" / "car_imagenet" / "n01_a.mat", [(math.nan, 0, 0, 5, 1, 1)]),
     "n01_a.mat: not an annotation of PASCAL3D.* not finite"),
    (lambda d: (d / "Images" / "car_imagenet" / "n01_a.JPEG").unlink(), "n01_a.JPEG: no such picture"),
    (lambda d: annotate(d / "Annotations" / "car_imagenet" / "n01_a.mat", [None]), "none of its 1 pictures has a car"),
])
def test_folder_of_another_layout_is_refused_by_name(tmp_path, spoil, says):
    for name in ("Annotations/car_imagenet", "Images/car_imagenet", "Image_sets"):
        (tmp_path / name).mkdir(parents=True)
    annotate(tmp_path / "Annotations" / "car_imagenet" / "n01_a.mat", [VIEWS["n01_a"]])
    (tmp_path / "Images" / "car_imagenet" / "n01_a.JPEG").touch()
    (tmp_path / "Image_sets" / "car_imagenet_val.txt").write_text("n01_a\n")
    assert len(read_pascal3d(tmp_path, "car")[0]) == 1
    spoil(tmp_path)
    with pytest.raises(DatasetError, match=says):
        read_pascal3d(tmp_path, "car")


def test_occluded_folder_that_is_missing_is_refused(release):
    with pytest.raises(DatasetError, match="carFGL3_BGL3: no such folder; give the folder of Occluded PASCAL3D"):
        read_occluded(release.parent / "nowhere", "car", "L3", read_pascal3d(release, "car")[0])
