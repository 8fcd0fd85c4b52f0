# SPDX-License-Identifier: Apache-2.0
"""BOP scenes: what is read of them, and the figures that known poses must give."""

import json
import os
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from bop_folder import CAMERA, CAR, Placed, edit, on_ground, plane_under, write_objects, write_scene
from painted_car import SIZE, depth_picture
from unit.planted import car_card, car_mesh

from dinemo_ros.errors import DatasetError, RoiError
from dinemo_ros.evaluation.bop import Judged, evaluate_bop, require_sizes, sources_of
from dinemo_ros.evaluation.bop_objects import read_objects
from dinemo_ros.evaluation.bop_results import HEADER, bop_results
from dinemo_ros.evaluation.bop_rows import bop_rows
from dinemo_ros.evaluation.bop_scene import SupportFile, read_bop
from dinemo_ros.evaluation.metrics import wilson_interval
from dinemo_ros.evaluation.tables import bop_markdown
from dinemo_ros.evaluation.truth import ReferenceObject
from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.model.bundle import SizePrior
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.pose import ObjectPose, Observation

FILES = ("scene_gt.json", "scene_gt_info.json", "scene_camera.json", "scene_support.json")
# Turn about the object's z or y, degrees, and shift in centimetres away from the camera, of what the stub finds.
PLANTED = [("z", 0, 0.0), ("z", 4, 0.9), ("y", 4, 1.5), ("y", 8, -1.5), ("y", 9, 4.0), ("z", 40, -0.5), None]
T_TRUE = [on_ground((0.3 * k - 1.0, 0.5, 9.0 + k), 50.0 * k) for k in range(len(PLANTED))]
STANDING = ["table", "table", "table", "table", "held", "held", "held"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A picture for each of the planted poses, and in the first one an object that nobody asks for."""
    folder = tmp_path_factory.mktemp("bop") / "test"
    pictures = [[Placed(T, info={"standing": word, "shade": 0.25})] for T, word in zip(T_TRUE, STANDING, strict=True)]
    pictures[0].append(Placed(on_ground((1.5, 0.5, 14.0), 10.0), obj_id=8))
    pictures[1].append(Placed(on_ground((1.5, 0.5, 14.0), 10.0), info={"bbox_visib": [-1, -1, -1, -1]}))
    write_scene(folder / "000002", pictures)
    write_objects(folder.parent / "objects.json")
    return folder


@pytest.fixture
def copy(scene, tmp_path):
    """Of the scene folder alone, to be spoilt."""
    return shutil.copytree(scene / "000002", tmp_path / "000002")


def objects(scene):
    return read_objects(scene.parent / "objects.json")


def reference(symmetry=None):
    mesh = car_mesh()
    return ReferenceObject(mesh.vertices / mesh.extent, mesh.normals, mesh.faces, np.arange(24), symmetry or Symmetry())


class Stub:
    """Finds what was planted, one call per object; says that it used the plane and refused the depth."""

    def __init__(self, sources=1):
        self.sources, self.calls, self.rois, self.given = sources, 0, [], []

    def estimate(self, image, camera, rois=None, *, support=None, depth=None):
        assert image.shape == (480, 640, 3) and np.allclose(camera.K, CAMERA.K)
        index = self.calls // self.sources
        self.calls += 1
        self.rois.append(rois)
        self.given.append((support, depth))
        if PLANTED[index] is None:
            return []
        axis, degrees, centimetres = PLANTED[index]
        T = T_TRUE[index].copy()
        T[:3, :3] = T[:3, :3] @ so3_exp(np.radians(degrees) * np.array([0.0, axis == "y", axis == "z"]))
        T[:3, 3] *= 1.0 + 0.01 * centimetres / np.linalg.norm(T[:3, 3])
        observed = [Observation("support", True, 0.004)] * (support is not None) + [
            Observation("depth", False, float("nan"), "holes")] * (depth is not None)
        covariance = np.diag([0.01**2] * 3 + [np.radians(4.0)**2] * 3)
        return [ObjectPose(T, 0.5, np.array(SIZE), category="car", covariance=covariance, observations=tuple(observed),
                           size_covariance=1e-4 * np.eye(3))]


def outcome(scene, support=False, depth=False, stub=None, symmetry=None):
    sources = sources_of(support, depth)
    data = read_bop(scene, objects(scene), support=SupportFile() if support else None, depth=depth)
    stub = stub or Stub(len(sources))
    return evaluate_bop({"car": Judged(stub, reference(symmetry))}, data.images, sources), stub


def row_of(rows, group="all", source="rgb"):
    found, = (row for row in rows if (row["group"], row["source"]) == (group, source))
    return found


def test_planted_poses_give_their_figures(scene):
    rows = bop_rows(outcome(scene)[0].records)
    assert [row["group"] for row in rows] == ["000002/car", "standing=table", "standing=held", "all"]
    row = row_of(rows)
    assert row["n"] == 7 and row["missing"] == pytest.approx(1 / 7)
    shares = {"deg5cm1": 2, "deg5cm2": 3, "deg10cm2": 4, "deg10cm5": 5, "within_1cm": 3, "azimuth30": 5}
    assert {key: round(7 * row[key]) for key in shares} == shares
    for key, count in shares.items():
        assert row[f"{key}_interval"] == pytest.approx(wilson_interval(count, 7))
    assert row["rotation_median_deg"] == pytest.approx(8.0)
    assert row["axis_median_deg"] == pytest.approx(4.0)  # of 0 0 4 8 9 0 and 180
    assert row["translation_median_cm"] == pytest.approx(1.5)
    assert row["distance_bias_cm"] == pytest.approx(0.45)  # of 0 0.9 1.5 -1.5 4 -0.5
    assert row["coverage_n"] == 6 and (row["coverage_68"], row["coverage_95"]) == pytest.approx((5 / 6, 5 / 6))
    assert (row["rotation_coverage_68"], row["rotation_coverage_95"]) == (pytest.approx(3 / 6), pytest.approx(5 / 6))
    held = row_of(rows, "standing=held")
    assert (held["n"], held["deg10cm5"], held["translation_median_cm"]) == (3, pytest.approx(1 / 3), pytest.approx(4.0))
    assert "support_used" not in row


def test_a_median_without_an_end_is_no_number(scene):
    records = [record | {"error_deg": None} for record in outcome(scene)[0].records]
    row = row_of(bop_rows(records))
    assert row["translation_median_cm"] is None and row["rotation_median_deg"] == 180.0 and row["deg10cm5"] == 0.0
    assert row["coverage_68"] is None and row["distance_bias_pct"] is None


def test_every_object_is_asked_for_by_its_visible_box(scene):
    result, stub = outcome(scene)
    mask = depth_picture(T_TRUE[0], CAMERA) > 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert stub.rois[0] == [(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]
    assert len(stub.rois) == len(PLANTED)  # neither the unknown nor the hidden one
    first = result.records[0]
    assert (first["scene"], first["image"], first["gt_id"], first["obj_id"], first["category"]) == (2, 0, 0, CAR, "car")
    assert first["extra"] == {"standing": "table", "shade": 0.25} and first["visib_fract"] == 1.0


def test_every_source_is_given_what_it_is_called(scene):
    result, stub = outcome(scene, support=True, depth=True)
    rows = bop_rows(result.records)
    assert list(dict.fromkeys(row["source"] for row in rows)) == ["rgb", "support", "depth", "support+depth"]
    given = stub.given[:4]
    assert [(s is not None, d is not None) for s, d in given] == [(False, False), (True, False), (False, True),
                                                                (True, True)]
    plane, truth = given[1][0], plane_under(T_TRUE[0])
    assert plane.normal == pytest.approx(truth["normal"]) and plane.offset_m == pytest.approx(truth["offset_m"])
    # Depth of both cars of the picture, in metres, to the half millimetre.
    both = depth_picture([T_TRUE[0], on_ground((1.5, 0.5, 14.0), 10.0)], CAMERA)
    assert np.abs(given[2][1].metres - both).max() < 6e-4 and given[2][1].metres.max() > 9.0
    row = row_of(rows, source="support+depth")
    assert [row[f"support_{word}"] for word in ("used", "refused", "absent")] == [6, 0, 0]
    assert [row[f"depth_{word}"] for word in ("used", "refused", "absent")] == [0, 6, 0]
    assert "depth_used" not in row_of(rows, source="support")
    record = next(r for r in result.records if r["source"] == "support+depth")
    assert record["observations"] == [{"name": "support", "used": True, "residual_m": 0.004, "reason": ""},
                                      {"name": "depth", "used": False, "residual_m": None, "reason": "holes"}]


def test_a_step_of_the_depth_picture_is_what_the_camera_says(scene, tmp_path):
    folder = write_scene(tmp_path / "000000", [[Placed(T_TRUE[0])]], depth_scale=0.25)
    data = read_bop(folder, objects(scene), depth=True)
    stub = Stub(2)
    evaluate_bop({"car": Judged(stub, reference())}, data.images, sources_of(False, True))
    assert np.abs(stub.given[1][1].metres - depth_picture(T_TRUE[0], CAMERA)).max() < 2e-4


def test_what_is_not_there_is_absent_and_not_wrong(scene, tmp_path):
    copy = shutil.copytree(scene, tmp_path / "copy")
    (copy / "000002" / "depth" / "000001.png").unlink()
    cv2.imwrite(str(copy / "000002" / "depth" / "000002.png"), np.full((480, 640), 7, np.uint16))  # metres
    edit(copy / "000002" / "scene_support.json", lambda d: d.pop("3"))
    data = read_bop(copy, objects(scene), support=SupportFile(), depth=True)
    stub = Stub(4)
    result = evaluate_bop({"car": Judged(stub, reference())}, data.images, sources_of(True, True))
    row = row_of(bop_rows(result.records), source="support+depth")
    assert (row["support_absent"], row["depth_absent"], row["n"]) == (1, 2, 7)
    assert round(7 * row["deg5cm2"]) == 3  # found without them
    by_image = {r["image"]: r for r in result.records if r["source"] == "support+depth"}
    assert by_image[1]["absent"] == {"depth": "there is no depth picture"}
    assert "by a factor of 1000" in by_image[2]["absent"]["depth"]
    assert by_image[3]["absent"] == {"support": "no plane is known for this picture"}
    told, = result.told
    assert told.startswith("scene 2, image 2: 000002.png: the 16-bit depth image has a median of 7")


@pytest.mark.parametrize("order", [0, 2])
def test_symmetric_objects_are_compared_with_the_nearest_equivalent_pose(scene, order):
    row = row_of(bop_rows(outcome(scene, symmetry=Symmetry("z", order))[0].records))
    if order == 0:  # turns about z are none: rotation errors 0 0 4 8 9 0 and nothing
        assert row["azimuth30"] is None and row["azimuth30_interval"] is None
        assert row["rotation_median_deg"] == pytest.approx(row["axis_median_deg"])
        assert round(7 * row["deg10cm5"]) == 6
    else:
        assert round(7 * row["azimuth30"]) == 5


def test_results_are_of_the_model_in_millimetres(scene):
    lines = bop_results(outcome(scene)[0].found).splitlines()
    assert lines[0] == HEADER == "scene_id,im_id,obj_id,score,R,t,time" and len(lines) == 7
    fields = lines[1].split(",")
    assert fields[:4] == ["2", "0", "3", "0.5"] and float(fields[6]) > 0.0
    truth = json.loads((scene / "000002" / "scene_gt.json").read_text())["0"][0]
    assert np.array(fields[4].split(), float) == pytest.approx(truth["cam_R_m2c"], abs=1e-6)
    assert np.array(fields[5].split(), float) == pytest.approx(truth["cam_t_m2c"], abs=1e-3)


def test_the_time_of_a_picture_stands_in_all_of_its_lines(scene):
    result, _ = outcome(scene)
    one = result.found[0]
    lines = bop_results([replace(one, seconds=0.25), replace(one, seconds=0.5), replace(one, im_id=9, seconds=1.0)])
    assert [line.rsplit(",", 1)[1] for line in lines.splitlines()[1:]] == ["0.75", "0.75", "1"]


def test_an_object_that_cannot_be_looked_for_is_wrong(scene):
    class Refusing(Stub):
        def estimate(self, image, camera, rois=None, **known):
            poses = super().estimate(image, camera, rois, **known)
            if self.calls == 1:
                raise RoiError("000000.png: no region")
            return poses

    records = outcome(scene, stub=Refusing())[0].records
    assert records[0]["skipped"] == "no region" and records[0]["error_deg"] is None
    assert round(7 * row_of(bop_rows(records))["deg5cm1"]) == 1


def test_a_picture_that_cannot_be_read_is_wrong_for_every_source(scene, copy):
    (copy / "rgb" / "000000.png").write_bytes(b"no picture")
    data = read_bop(copy, objects(scene), support=SupportFile())
    records = evaluate_bop({"car": Judged(Stub(2), reference())}, data.images[:1], sources_of(True, False)).records
    assert [r["source"] for r in records] == ["rgb", "support"] and all("skipped" in r for r in records)


def test_scenes_are_chosen_by_number_and_a_scene_may_be_given_itself(scene, tmp_path):
    split = tmp_path / "split"
    for name in ("000000", "000002", "000010"):
        shutil.copytree(scene / "000002", split / name)
    (split / "000010" / "scene_gt.json").unlink()
    (split / "models").mkdir()
    known = objects(scene)
    data = read_bop(split, known)
    assert {image.scene for image in data.images} == {0, 2} and data.without_truth == ["000010"]
    assert (data.other_objects, data.unseen) == (2, 2)
    assert {image.scene for image in read_bop(split, known, [2]).images} == {2}
    assert {image.scene for image in read_bop(split / "000002", known).images} == {2}
    assert len(read_bop(split, known, limit=3).images) == 3
    rows = bop_rows([record | {"scene": record["scene"] + k} for k, record in enumerate(outcome(scene)[0].records)])
    assert [row["group"] for row in rows][0] == "000002/car" and rows[-1]["group"] == "all"
    with pytest.raises(DatasetError, match="no scene 7 with scene_gt.json in it; there are 0, 2"):
        read_bop(split, known, [7])
    with pytest.raises(DatasetError, match="is one scene itself"):
        read_bop(split / "000002", known, [2])


def test_pictures_may_be_grey_and_jpeg_and_boxes_come_from_masks(scene, copy):
    (copy / "rgb").rename(copy / "gray")
    for path in (copy / "gray").iterdir():
        cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        path.unlink()
    expected = [i.roi for i in read_bop(scene, objects(scene)).instances]
    (copy / "scene_gt_info.json").unlink()
    data = read_bop(copy, objects(scene))
    assert [i.roi for i in data.instances if i.gt_id == 0] == expected and data.images[0].path.suffix == ".jpg"


def set_first(key, value):
    def change(document):
        document["0"][0][key] = value
    return change


def put(key, value, image="0"):
    def change(document):
        document[image][key] = value
    return change


SPOILT = [
    ("scene_gt.json", "delete", "has 0 folders of scenes"), ("scene_camera.json", "delete", "cannot be read"),
    ("scene_support.json", "delete", "cannot be read"), ("scene_gt.json", b"{", "cannot be read as JSON"),
    ("scene_gt.json", b"[1]", "names and values are expected"), ("scene_camera.json", b"\xff\xfe", "is no text"),
    ("scene_gt.json", b"[" * 5000, "nested more than 16 deep"), ("scene_gt.json", "large", "larger than 64 MiB"),
    ("scene_gt.json", b'{"a": []}', "'a' is no number of a picture"),
    ("scene_gt.json", b'{"0": 3}', "image 0 is '3'; a list of objects is expected"),
    ("scene_gt.json", set_first("cam_R_m2c", [1] * 9), "cam_R_m2c is no rotation"),
    ("scene_gt.json", set_first("cam_R_m2c", [1] * 8), "cam_R_m2c is a list of 8; 9 finite numbers"),
    ("scene_gt.json", set_first("cam_t_m2c", [0, 0, None]), "cam_t_m2c is 'None'; a finite number"),
    ("scene_gt.json", set_first("cam_t_m2c", [0, 0, float("nan")]), "cam_t_m2c is 'nan'; a finite number"),
    ("scene_gt.json", set_first("cam_t_m2c", "far"), "cam_t_m2c is 'far'; 3 finite numbers"),
    ("scene_gt.json", set_first("cam_t_m2c", [0, 0, -9000]), "not before the camera"),
    ("scene_gt.json", set_first("obj_id", "car"), "obj_id is 'car'; a number"),
    ("scene_gt.json", set_first("obj_id", True), "obj_id is 'True'; a number"),
    ("scene_gt.json", lambda d: d["0"][0].pop("obj_id"), "lacks obj_id"),
    ("scene_gt.json", lambda d: d.update({"77": d["0"]}), "image 77 is not in scene_camera.json"),
    ("scene_camera.json", lambda d: d.pop("0"), "image 0 is not in scene_camera.json"),
    ("scene_camera.json", put("cam_K", [1] * 9), "cam_K is .* expected .fx, 0, cx, 0, fy, cy, 0, 0, 1"),
    ("scene_camera.json", put("depth_scale", 0), "depth_scale is 0; millimetres"),
    ("scene_camera.json", put("depth_scale", 1e300), "depth_scale is '1e.300'; a finite number"),
    ("scene_gt_info.json", lambda d: d["0"].pop(), "another number in scene_gt_info.json"),
    ("scene_gt_info.json", set_first("bbox_visib", [1, 2, 3]), "bbox_visib is a list of 3; 4 finite numbers"),
    ("scene_gt_info.json", set_first("visib_fract", "half"), "visib_fract is 'half'; a finite number"),
    ("scene_support.json", put("normal", [0, 0, 2]), "image 0: the support plane's normal is .* length one"),
    ("scene_support.json", put("offset_m", 0.5), "image 0: the support plane's offset is 0.5 m; it must be below zero"),
    ("scene_support.json", lambda d: d["0"].pop("normal"), "image 0 lacks normal"),
    ("scene_support.json", lambda d: d.clear(), "has no plane for any of the 7 pictures"),
    ("rgb/000000.png", "delete", "image 0 has no picture in rgb/ or gray/"),
    ("rgb", "delete", "no picture in rgb/ or gray/"), ("depth", "delete", "no depth picture for any of the 7"),
    ("mask_visib", lambda d: None, "scene_gt_info.json has no bbox_visib of it"),
]


@pytest.mark.parametrize(("name", "how", "says"), SPOILT, ids=range(len(SPOILT)))
def test_another_layout_is_refused_by_name(scene, copy, name, how, says):
    path = copy / name
    if name == "mask_visib":
        shutil.rmtree(path)
        edit(copy / "scene_gt_info.json", lambda d: d["0"][0].pop("bbox_visib"))
    elif how == "delete":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif how == "large":
        os.truncate(path, 40 << 30)
    elif isinstance(how, bytes):
        path.write_bytes(how)
    else:
        edit(path, how)
    with pytest.raises(DatasetError, match=says):
        read_bop(copy.parent, objects(scene), support=SupportFile(), depth=True)


def in_metres(document):
    for entries in document.values():
        for entry in entries:
            entry["cam_t_m2c"] = [value / 1000 for value in entry["cam_t_m2c"]]


def test_poses_in_metres_are_noticed(scene, copy):
    edit(copy / "scene_gt.json", in_metres)
    with pytest.raises(DatasetError, match="times as large as their boxes .median.; cam_t_m2c .* is in millimetres"):
        read_bop(copy, {CAR: objects(scene)[CAR].__class__("car", np.eye(4), np.array(SIZE))})


def test_a_scene_without_the_objects_says_what_it_has(scene):
    with pytest.raises(DatasetError, match="is seen in it .scene_gt.json has 9 others, 0 that"):
        read_bop(scene, {44: objects(scene)[CAR]})


def test_objects_of_another_size_than_their_category_are_noticed(scene):
    data = read_bop(scene, objects(scene))
    require_sizes(data, {"car": car_card()})
    with pytest.raises(DatasetError, match="its longest side is 4.. m, of the category car 0.1 m; write size"):
        require_sizes(data, {"car": car_card(size_prior=SizePrior((0.1, 0.1, 0.1), (0.1, 0.1, 0.1)))})


def test_a_file_of_objects_in_yaml(tmp_path):
    path = tmp_path / "objects.yaml"
    path.write_text("objects:\n  5: {category: cup, size: [0.12, 0.09, 1e-1], T_model_category: [[1, 0, 0, 0], "
                    "[0, 0, -1, 1e-2], [0, 1, 0, 0], [0, 0, 0, 1]]}\n")
    known = read_objects(path)[5]
    assert known.category == "cup" and known.size.tolist() == [0.12, 0.09, 0.1]
    assert known.T_model_category[:3].tolist() == [[1, 0, 0, 0], [0, 0, -1, 0.01], [0, 1, 0, 0]]


@pytest.mark.parametrize(("changes", "says"), [
    ({"size": [120, 90, 100]}, "object 3: size .120.0, 90.0, 100.0. and the shift .* are in metres"),
    ({"size": [1, 0, 1]}, "above zero"), ({"size": 4}, "object 3: size is '4'; 3 finite numbers"),
    ({"category": "../car"}, "category is '../car'; the name of a category"), ({"category": 3}, "category is '3'"),
    ({"T_model_category": np.diag([2, 1, 1, 1]).tolist()}, "the rotation in object 3: T_model_category is no rotation"),
    ({"T_model_category": [[1, 0, 0, 0]] * 3}, "T_model_category is a list of 12; 16 finite numbers"),
    ({"T_model_category": np.ones((4, 4)).tolist()}, "has the last row .1.0, 1.0, 1.0, 1.0."),
    ({"T_model_category": se3(np.eye(3), np.array([0, 0, 750.0])).tolist()}, "BOP's millimetres divided by 1000"),
])
def test_objects_that_cannot_be_are_refused(tmp_path, changes, says):
    with pytest.raises(DatasetError, match=says) as error:
        read_objects(write_objects(tmp_path / "objects.json", **changes))
    assert "expected objects: {ID: {category, T_model_category" in str(error.value)


@pytest.mark.parametrize(("text", "says"), [
    ("", "the document is 'None'"), ("{}", "lacks objects"), ("{objects: []}", "objects is '..'; names"),
    ("{objects: {}}", "objects has 0 entries"), ("{objects: {cup: {}}}", "'cup' is no number of BOP's"),
    ("{objects: {3: {}}}", "object 3 lacks category, T_model_category, size"), ("{", "cannot be read as YAML"),
    ("[" * 5000, "nested more than 16 deep")])
def test_a_file_that_names_no_objects_is_refused(tmp_path, text, says):
    (tmp_path / "objects.yaml").write_text(text)
    with pytest.raises(DatasetError, match=says):
        read_objects(tmp_path / "objects.yaml")


def test_the_table_says_what_the_rows_say(scene):
    table = bop_markdown(bop_rows(outcome(scene, support=True)[0].records))
    head, _, *lines = table.splitlines()
    assert [cell.strip() for cell in head.split("|")[1:6]] == ["source", "set", "n", "5° 1 cm", "5° 2 cm"]
    line, = (line for line in lines if "| rgb" in line and "| all" in line)
    assert "28.6 % (8.2 to 64.1)" in line and "| 1.50 cm |" in " ".join(line.split()) and "+0.45 cm" in line
    assert "plane refused" in head and "depth refused" not in head
