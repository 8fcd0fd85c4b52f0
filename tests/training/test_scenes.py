# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Rendered scenes: pictures, depth, masks, poses and planes of the files agree with each other."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

for _module in ("numba", "trimesh", "skimage", "tqdm", "PIL"):
    pytest.importorskip(_module, reason="training extra is not installed")

from shared_data import ROOT

from dinemo_ros.geometry import se3
from dinemo_ros.scene.support_plane import SupportPlane
from dinemo_training.run import leakage
from dinemo_training.run.recipe import Data, Recipe, Synthetic
from dinemo_training.synthetic.assets.asset import Material
from dinemo_training.synthetic.assets.solids import bar, cuboids, gripper, moved
from dinemo_training.synthetic.assets.vessel_catalogue import VesselCatalogue
from dinemo_training.synthetic.plane_noise import lifted, tilted_about_camera, tilted_about_foot
from dinemo_training.synthetic.render import demo_scene, scene_sampler
from dinemo_training.synthetic.render.background import Photos
from dinemo_training.synthetic.render.depth_sensor import GLASS_HOLES, NOISE, measured
from dinemo_training.synthetic.render.rasterizer import rasterize
from dinemo_training.synthetic.render.scene_sampler import SceneSampler, camera_matrix
from dinemo_training.synthetic.render.scene_sheet import sheet
from dinemo_training.synthetic.render.scenes import category_folder, labelled, model_files, write_scenes
from dinemo_training.synthetic.render.table_scene import drawn, hidden_share

SEED, COUNT = 3, 12
DEMO = ROOT / "config" / "demo_scene_cups"


def sampler(seed=SEED):
    return SceneSampler({name: VesselCatalogue(name, None) for name in ("cup", "bottle")}, seed, Photos([], []))


@pytest.fixture(scope="module", params=["rendered", "shipped"])
def folder(request, tmp_path_factory):
    """A scene of invented cups and bottles, a third of them held or stacked, and the one that ships."""
    if request.param == "shipped":
        return DEMO
    out = tmp_path_factory.mktemp("scenes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene_sampler, "STANDING", {"table": 0.6, "stacked": 0.2, "held": 0.2})
        write_scenes(out, sampler(), SEED, COUNT)
    return out


@pytest.fixture(scope="module")
def scene(folder):
    return {path.stem: json.loads(path.read_text()) for path in (folder / "000000").glob("*.json")} | {
        "objects": json.loads((folder / "objects.json").read_text())["objects"]}


def image(folder, kind, key, suffix=".png"):
    return cv2.imread(str(folder / "000000" / kind / f"{int(key):06d}{suffix}"), cv2.IMREAD_UNCHANGED)


def pose(scene, key):
    entry = scene["scene_gt"][key][0]
    return np.array(entry["cam_R_m2c"]).reshape(3, 3), np.array(entry["cam_t_m2c"]) / 1000


def plane(scene, key, name="scene_support"):
    entry = scene[name][key]
    return SupportPlane(np.array(entry["normal"]), entry["offset_m"])


def lowest(scene, key):
    """Height [metres] above the true plane of the lowest point of the body's axis."""
    R, t = pose(scene, key)
    size = scene["objects"][str(scene["scene_gt"][key][0]["obj_id"])]["size"]
    return float(plane(scene, key).height(t - 0.5 * size[2] * R[:, 2]))


def test_every_table_has_every_picture(folder, scene):
    keys = list(scene["scene_gt"])
    assert keys == [str(k) for k in range(len(keys))]
    assert all(list(scene[name]) == keys for name in ("scene_camera", "scene_gt_info", "scene_support",
               "scene_support_noisy", "scene_support_about_camera", "scene_support_wrong"))
    for key in keys:
        shape = image(folder, "rgb", key, ".jpg").shape[:2]
        depth = image(folder, "depth", key)
        assert depth.dtype == np.uint16 and depth.shape == shape
        assert image(folder, "mask", key, "_000000.png").shape == shape
        assert scene["scene_camera"][key]["depth_scale"] == 1.0


def test_objects_stand_on_the_plane_unless_they_are_held_or_stacked(scene):
    for key, (info,) in scene["scene_gt_info"].items():
        R, _ = pose(scene, key)
        upright = np.degrees(np.arccos(np.clip(R[:, 2] @ plane(scene, key).normal, -1, 1)))
        if info["standing"] == "held":
            assert 9.9 < upright < 50.1 and lowest(scene, key) > 0.03
        else:
            assert upright < 1e-4
            low, high = (-1e-3, 1e-3) if info["standing"] == "table" else (0.0299, 0.1501)
            assert low < lowest(scene, key) < high


def test_boxes_and_counts_are_those_of_the_masks(folder, scene):
    for key, (info,) in scene["scene_gt_info"].items():
        every, seen = (image(folder, kind, key, "_000000.png") > 0 for kind in ("mask", "mask_visib"))
        assert not (seen & ~every).any()
        assert info["px_count_all"] == every.sum() and info["px_count_visib"] == seen.sum()
        assert info["px_count_valid"] == (every & (image(folder, "depth", key) > 0)).sum()
        assert info["visib_fract"] == pytest.approx(seen.sum() / every.sum())
        for name, mask in (("bbox_obj", every), ("bbox_visib", seen)):
            rows, columns = np.nonzero(mask)
            assert info[name] == [columns.min(), rows.min(), np.ptp(columns), np.ptp(rows)]


def test_the_plane_is_where_the_depth_image_shows_the_table(folder, scene):
    """Around the foot of what stands there, between 3 and 8 cm from the body's axis."""
    checked = 0
    for key, (info,) in scene["scene_gt_info"].items():
        depth = image(folder, "depth", key) / 1000
        K, (_, t) = np.array(scene["scene_camera"][key]["cam_K"]).reshape(3, 3), pose(scene, key)
        rows, columns = np.nonzero((depth > 0) & (image(folder, "mask", key, "_000000.png") == 0))
        points = np.linalg.solve(K, [columns, rows, np.ones(len(rows))]).T * depth[rows, columns, None]
        table = plane(scene, key)
        aside = np.linalg.norm(points - t - ((points - t) @ table.normal)[:, None] * table.normal, axis=1)
        height = table.height(points[(aside > 0.06) & (aside < 0.12)])
        if info["standing"] == "table" and (np.abs(height) < 0.01).mean() > 0.5:
            assert abs(np.median(height[np.abs(height) < 0.01])) < 1e-3
            checked += 1
    assert checked >= 4


def test_poses_project_onto_boxes_and_rendered_distance_is_in_the_depth_image(monkeypatch):
    """With the shape itself: its projected vertices span the box, its surface lies where the depth image says."""
    monkeypatch.setattr(scene_sampler, "STANDING", {"table": 0.6, "stacked": 0.2, "held": 0.2})
    source, errors = sampler(), []
    for k in range(6):
        sample = source.sample(k)
        shot, depth, labels = labelled(sample, SEED, k, 1)
        vertices, faces = sample.scene.vessel.vertices, sample.scene.vessel.faces
        points = vertices[np.unique(faces)] @ labels.T_cam_obj[:3, :3].T + labels.T_cam_obj[:3, 3]
        pixels = points[:, :2] / points[:, 2:] * labels.K[0, 0] + labels.K[:2, 2]
        rows, columns = np.nonzero(shot.mask)
        # Pixels are hit at their centres: the outermost ones' outer edges stand for the outline.
        assert np.abs(pixels.min(axis=0) - [columns.min() - 0.5, rows.min() - 0.5]).max() <= 1
        assert np.abs(pixels.max(axis=0) - [columns.max() + 0.5, rows.max() + 0.5]).max() <= 1
        surface = rasterize(vertices, faces, labels.K, labels.T_cam_obj, scene_sampler.SIZE)
        assert (surface.mask == shot.mask).mean() > 0.9999
        # What was poured in is no part of the vessel and hides its floor; glass is another test.
        seen = shot.visible & ~shot.clear & (depth > 0) & (np.abs(surface.depth - shot.depth) < 1e-4)
        errors.append((depth[seen] / 1000 - surface.depth[seen]) / surface.depth[seen] ** 2)
        assert abs(np.median(errors[-1])) < 1e-3
        assert len(errors[-1]) > 0.15 * (shot.visible & ~shot.clear).sum()
        assert (shot.depth[shot.visible] < surface.depth[shot.visible] + 1e-4).all()
    assert np.concatenate(errors).std() == pytest.approx(NOISE, rel=0.2)


def test_what_is_hidden_is_at_most_sixty_percent_and_shows_the_occluder():
    source, hidden = sampler(), []
    for k in range(40):
        sample = source.sample(k)
        hidden.append(hidden_share(sample.scene.asset, list(sample.scene.things), sample.view))
        distance = np.linalg.norm(sample.T_cam_obj[:3, 3])
        up = sample.T_cam_table[:3, 2]
        elevation = np.degrees(np.arcsin(-up @ sample.T_cam_obj[:3, 3] / distance))
        assert 0.35 <= distance <= 1.2 and 14.99 <= elevation <= 75.01
    assert max(hidden) <= 0.6 and 0.2 < np.mean(np.array(hidden) > 0.02) < 0.6
    k = int(np.argmax(hidden))
    shot = drawn(source.sample(k).scene, source.sample(k).view, np.random.default_rng(0))
    assert 1 - shot.visible.sum() / shot.mask.sum() == pytest.approx(hidden[k], abs=1e-6)
    alone = replace(source.sample(k).scene, things=())
    free = drawn(alone, source.sample(k).view, np.random.default_rng(0))
    covered = shot.mask & ~shot.visible
    assert (shot.depth[covered] < free.depth[covered]).all() and free.visible.sum() == shot.mask.sum()
    different = np.abs(shot.picture.astype(int) - free.picture).sum(axis=-1) > 30
    assert different[covered].mean() > 0.5, "the picture shows what the mask says"


def test_what_hides_too_much_is_no_occluder():
    sample = sampler().sample(2)
    start = sample.view.eye + 0.7 * (sample.scene.T_table_obj[:3, 3] - sample.view.eye)

    def curtain(*_):
        return moved(cuboids("curtain", [(np.full(3, 2.0), np.eye(4))], Material()), se3(np.eye(3), start))

    assert hidden_share(sample.scene.asset, [curtain()], sample.view) > 0.6
    arguments = sample.scene, [], sample.view, np.random.default_rng(0)
    assert scene_sampler._best(curtain, 0.6, *arguments) is None
    found = scene_sampler._best(scene_sampler._bar, 0.3, *arguments)
    assert found is not None and 0.02 < hidden_share(sample.scene.asset, [found], sample.view) <= 0.6


def test_one_seed_gives_the_same_files_and_another_others(tmp_path):
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        write_scenes(tmp_path / name, sampler(seed), seed, 3)
    files = {name: {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
             for name in "abc"}
    assert files["a"] == files["b"] and len(files["a"]) == 3 * 4 + 7 + 1
    same = {p for p in files["a"] if files["a"][p] == files["c"][p]}
    assert same <= {Path("000000/scene_camera.json")}


def test_a_picture_depends_on_its_number_alone(tmp_path):
    write_scenes(tmp_path / "short", sampler(), SEED, 1)
    write_scenes(tmp_path / "long", sampler(), SEED, 2)
    first = Path("000000") / "rgb" / "000000.jpg"
    assert (tmp_path / "short" / first).read_bytes() == (tmp_path / "long" / first).read_bytes()
    sizes = [sampler().sample(k).scene.vessel.height for k in range(0, 8, 2)]
    assert len(set(sizes)) == len(sizes), "every picture has a vessel of its own"


TRUE = SupportPlane(np.array([0.0, -0.8, -0.6]), -0.4)
FOOT = np.array([0.05, 0.125, 0.5])


def test_noise_of_the_plane_about_the_foot_has_the_stated_spread():
    assert TRUE.height(FOOT) == pytest.approx(0)
    found = [tilted_about_foot(TRUE, FOOT, np.random.default_rng(k)) for k in range(2000)]
    height = np.array([-p.height(FOOT) for p in found])
    assert height.std() == pytest.approx(0.003, rel=0.06) and abs(height.mean()) < 2e-4
    across = np.array([[p.normal @ [1, 0, 0], p.normal @ [0, 0.6, -0.8]] for p in found])
    assert np.degrees(across.std(axis=0)) == pytest.approx([1.0, 1.0], rel=0.06)
    assert np.array_equal(found[7].normal, tilted_about_foot(TRUE, FOOT, np.random.default_rng(7)).normal)
    above = FOOT + 0.2 * TRUE.normal  # a foot that is given above the plane stands for the point below it
    assert tilted_about_foot(TRUE, above, np.random.default_rng(7)).offset_m == pytest.approx(found[7].offset_m)


def test_a_tilt_about_the_camera_lifts_the_plane_at_the_foot():
    found = [tilted_about_camera(TRUE, np.random.default_rng(k)) for k in range(2000)]
    height = np.array([p.height(FOOT) for p in found])
    # A lever of 0.31 m across the normal, one degree, and 3 mm.
    lever = np.linalg.norm(FOOT - (FOOT @ TRUE.normal) * TRUE.normal)
    assert height.std() == pytest.approx(np.hypot(0.003, np.radians(1) * lever), rel=0.06)
    assert np.std([p.offset_m for p in found]) == pytest.approx(0.003, rel=0.06)
    assert np.array_equal(found[3].normal, tilted_about_foot(TRUE, FOOT, np.random.default_rng(3)).normal)
    assert lifted(TRUE, 0.05).height(FOOT) == pytest.approx(-0.05)


def test_planes_of_a_scene_are_off_as_their_names_say(scene):
    spread = {"scene_support_noisy": [], "scene_support_about_camera": []}
    for key in scene["scene_gt"]:
        true, (_, t) = plane(scene, key), pose(scene, key)
        foot = t - true.height(t) * true.normal
        wrong = plane(scene, key, "scene_support_wrong")
        assert np.allclose(wrong.normal, true.normal) and abs(wrong.offset_m - true.offset_m) == pytest.approx(0.05)
        for name, heights in spread.items():
            assert np.degrees(np.arccos(np.clip(plane(scene, key, name).normal @ true.normal, -1, 1))) < 5
            heights.append(plane(scene, key, name).height(foot))
    assert max(np.abs(spread["scene_support_noisy"])) < 0.012
    assert np.std(spread["scene_support_about_camera"]) > np.std(spread["scene_support_noisy"])


def test_depth_has_noise_quantisation_and_holes_of_the_stated_size():
    true = np.full((240, 320), 1.2)
    true[:, 160:] = 0.5
    none, target = np.zeros(true.shape, bool), np.zeros(true.shape, bool)
    target[60:180, 100:220] = True
    shares, errors = [], []
    for k in range(20):
        depth = measured(true, true, none, target, np.random.default_rng(k))
        shares.append([(depth[target] == 0).mean(), (depth[~target] == 0).mean()])
        errors.append([(depth[part][depth[part] > 0] / 1000 - z).std() for part, z in
                       ((np.s_[:, :150], 1.2), (np.s_[:, 170:], 0.5))])
    assert np.mean(shares, axis=0) == pytest.approx([0.2, 0.2], abs=0.03)
    assert np.mean(errors, axis=0) == pytest.approx([0.0043, 0.0008], rel=0.1)
    holes = depth == 0
    assert holes[:, 158:162].mean() > 1.5 * holes[:, :140].mean(), "steps of depth are missed more often"
    assert (holes[:, 1:] & holes[:, :-1]).sum() > 0.6 * holes.sum(), "holes hang together"
    assert not measured(np.full((8, 8), np.inf), np.full((8, 8), np.inf), none[:8, :8], none[:8, :8],
                        np.random.default_rng(0)).any()


def test_clear_glass_is_missed_or_shows_what_is_behind():
    surface, behind = np.full((240, 320), 0.6), np.full((240, 320), 0.9)
    clear = np.zeros(surface.shape, bool)
    clear[50:200, 50:250] = True
    shares = []
    for k in range(10):
        depth = measured(np.where(clear, surface, behind), behind, clear, clear, np.random.default_rng(k))[clear]
        assert GLASS_HOLES[0] - 0.01 < (depth == 0).mean() < GLASS_HOLES[1] + 0.01
        shares.append((depth[depth > 0] > 800).mean())
    assert 0.75 < np.mean(shares) < 0.95


def test_depth_of_a_clear_bottle_is_that_of_the_table_behind():
    source = SceneSampler({"bottle": VesselCatalogue("bottle", None)}, 1, Photos([], []))
    sample = next(s for s in map(source.sample, range(20)) if s.scene.skin.opacity.min() == 0)
    shot = drawn(sample.scene, sample.view, np.random.default_rng(0))
    assert shot.clear.any() and not (shot.clear & ~shot.visible).any()
    assert (shot.behind[shot.clear] > shot.depth[shot.clear]).all()
    assert np.array_equal(shot.behind[~shot.clear], shot.depth[~shot.clear])


def test_solids_are_where_they_are_said_to_be():
    rng = np.random.default_rng(0)
    box = cuboids("box", [(np.array([2.0, 4, 6]), se3(np.eye(3), np.array([1.0, 0, 0])))], Material())
    assert np.allclose([box.vertices.min(axis=0), box.vertices.max(axis=0)], [[0, -2, -3], [2, 2, 3]])
    centre = box.vertices[box.faces].mean(axis=1) - [1, 0, 0]
    assert (np.einsum("fi,fi->f", centre, box.normals[:, 0]) > 0).all(), "normals point outward"
    raised = moved(box, se3(np.eye(3), np.array([0, 0, 3.0])), ground=0.5)
    assert raised.vertices[:, 2].min() == 0 and raised.ground == 0.5
    arm = bar(np.zeros(3), np.array([0, 3.0, 4]), 0.5, rng)
    along = arm.vertices @ [0, 0.6, 0.8]
    assert along.min() == pytest.approx(0) and along.max() == pytest.approx(5)
    assert np.linalg.norm(arm.vertices - along[:, None] * [0, 0.6, 0.8], axis=1).max() < 0.56
    hand = gripper(0.04, 0.01, np.pi, 1.0, rng).vertices
    assert hand[:, 0].min() < -0.3 and hand[:, 0].max() < 0.03, "it comes from azimuth 180 degrees"
    assert not (np.linalg.norm(hand[:, :2], axis=1) < 0.039).any(), "its fingers close round the body, not in it"


def test_models_of_the_renderer_are_told_to_the_check_of_leaks(tmp_path):
    for category in ("cup", "bottle"):
        (tmp_path / category).mkdir()
        for file in ("01", "02", "03", "06"):
            (tmp_path / category / f"{file}.obj").write_text("v 0 0 0\n")
    assert category_folder(tmp_path, "cup") == tmp_path / "cup"
    assert category_folder(tmp_path / "cup", "cup") == tmp_path / "cup" and category_folder(None, "cup") is None
    found = model_files({"category": ["cup", "bottle"], "cad": tmp_path, "held_out": True})
    assert found == [tmp_path / "cup" / "02.obj", tmp_path / "bottle" / "03.obj", tmp_path / "bottle" / "06.obj"]
    train = model_files({"category": "cup", "cad": tmp_path / "cup"})
    assert [p.name for p in train] == ["01.obj", "03.obj", "06.obj"]
    assert model_files({"category": "cup"}) == []


def test_a_recipe_with_this_renderer_is_checked_for_leaks(tmp_path):
    (tmp_path / "cup").mkdir()
    for file in ("01", "02"):
        (tmp_path / "cup" / f"{file}.obj").write_text(f"v 0 0 {file}\n")
    recipe = Recipe("cup", data=Data(renders={"cad": str(tmp_path)}), synthetic=Synthetic(
        renderer="scenes", options={"category": "cup"}, held_out_options={"held-out": True}), size=(0.1, 0.1, 0.1))
    assert [[p.name for p in files] for files in leakage._models(recipe)] == [["01.obj"], ["02.obj"]]


def test_camera_of_the_scenes():
    K = camera_matrix()
    assert K[0, 0] == pytest.approx(320 / np.tan(np.radians(30))) and K[0, 2] == 319.5 and K[1, 2] == 239.5


def test_the_sheet_shows_a_picture_and_its_depth(folder):
    picture = sheet(folder / "000000", 0, 2, columns=2)
    assert picture.shape == (720, 960, 3)
    yellow = (np.abs(picture[:360].astype(int) - [0, 230, 255]).sum(axis=-1) < 120).sum()
    assert yellow > 50, "the object's outline"
    assert 0.05 < (picture[360:].max(axis=-1) < 20).mean() < 0.5, "holes are black"


def test_the_shipped_scene_is_what_its_command_writes(tmp_path):
    demo_scene.write_demo(tmp_path)
    shipped = {p.relative_to(DEMO) for p in DEMO.rglob("*") if p.is_file()}
    assert shipped == {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    assert sum((DEMO / name).stat().st_size for name in shipped) < 1.5e6
    for name in shipped:
        if name.suffix in (".json", ".yaml", ".md"):
            assert (tmp_path / name).read_text() == (DEMO / name).read_text(), name
    for key in ("000000", "000011"):  # other processors may round a pixel otherwise
        pair = [cv2.imread(str(root / "000000" / "rgb" / f"{key}.jpg")).astype(int) for root in (tmp_path, DEMO)]
        assert np.abs(pair[0] - pair[1]).mean() < 0.5
