# SPDX-License-Identifier: Apache-2.0
"""``dinemo eval`` and ``dinemo bench`` on a painted world: the errors of known poses must come out small."""

import json
import shutil
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace

import cv2
import numpy as np
import pytest
from painted_car import SIZE, photograph
from shared_data import ROOT

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cli.evaluate_report import finish
from dinemo_ros.cli.main import main
from dinemo_ros.cli.output import OutputError
from dinemo_ros.defaults import DEFAULT_HFOV_DEG
from dinemo_ros.evaluation.kitti_labels import read_labels, read_projection
from dinemo_ros.evaluation.metrics import wilson_interval
from dinemo_ros.evaluation.runner import Competitor, Setting, tabulate
from dinemo_ros.model.bundle import load_bundle, write_bundle
from dinemo_ros.verification.spec import PresenceSpec

from .conftest import CAMERA, pose, save

# Camera 2 stands 0.3 m from camera 0: ignoring it would show.
P2 = np.array([[600.0, 0, 400, 180.0], [0, 600, 150, 12.0], [0, 0, 1, 0.004]])
WIDTH, HEIGHT = 800, 300


def run(*arguments, report):
    assert main([*map(str, arguments), "--json", str(report)]) == 0
    return json.loads(report.read_text())


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    """Two frames in KITTI's layout: an easy car each, in the second also a far one that is too small to count."""
    folder = tmp_path_factory.mktemp("kitti")
    for name in ("image_2", "calib", "label_2"):
        (folder / name).mkdir()
    cars = {"000000": [(0.6, (-2.0, 1.2, 12.0))], "000001": [(-1.9, (2.5, 1.0, 11.0)), (1.57, (-6.0, 1.2, 40.0))]}
    for stem, placed in cars.items():
        calib, labels = folder / "calib" / f"{stem}.txt", folder / "label_2" / f"{stem}.txt"
        calib.write_text("P2: " + " ".join(f"{v:.9e}" for v in P2.ravel()) + "\n")

        def write(boxes, labels=labels, placed=placed):
            labels.write_text("".join(
                f"Car 0.00 0 0.0 {' '.join(f'{v:.2f}' for v in box)} {SIZE[2]} {SIZE[1]} {SIZE[0]} "
                f"{' '.join(map(str, location))} {rotation_y}\n"
                for box, (rotation_y, location) in zip(boxes, placed, strict=True)))

        write([(0, 0, 1, 1)] * len(placed))
        poses = [o.T_cam_obj for o in read_labels(labels, read_projection(calib))]
        camera = Camera(WIDTH, HEIGHT, P2[:, :3])
        write([_outline(T, camera) for T in poses])
        save(folder / "image_2" / f"{stem}.png", photograph(poses, camera))
    return folder


def _outline(T, camera):
    """Pixels that the car fills, as KITTI's labels count them."""
    alone = photograph(T, camera)
    rows, columns = np.nonzero((alone != alone[0, 0]).any(axis=2))
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_kitti_with_label_rois(bundle, kitti, tmp_path, capsys):
    report = run("eval", "kitti", kitti, "--bundle", bundle, report=tmp_path / "report.json")
    summary, = report["rows"]
    assert summary["n"] == len(report["frames"]) == 2
    assert summary["azimuth_acc30"] == summary["acc30"] == 1.0
    assert summary["median_deg"] < 8.0
    assert summary["distance_median_pct"] < 12.0
    assert summary["translation_median_m"] < 1.4
    assert summary["missing"] == 0
    assert "recall" not in summary
    assert {car["file"] for car in report["frames"]} == {"000000.png#0", "000001.png#0"}
    told = capsys.readouterr().out
    assert "evaluated on easy cars (2); regions: labels" in told
    known = {row["quantity"]: row for row in report["coverage"]}
    assert list(known) == ["rotation", "translation", "distance", "size"]
    for quantity, row in known.items():
        inside = [car["contents"][quantity] <= 0.683 for car in report["frames"]]
        assert row["n"] == 2 and row["holds"] is None and row["coverage"]["68.3"] == sum(inside) / 2
        assert f"| {quantity}" in told.partition("errors inside the announced ellipsoids:")[2]
    assert report["reliability"] == []  # this bundle announces no probability


def test_kitti_with_own_rois(bundle, kitti, tmp_path):
    report = run("eval", "kitti", kitti, "--bundle", bundle, "--rois", "auto", report=tmp_path / "report.json")
    summary, = report["rows"]
    assert summary["n"] == 2
    assert summary["recall"] == 1.0
    assert summary["precision"] == 1.0  # the far car is found or not, it counts neither way
    for key in ("recall", "precision"):
        assert summary[f"{key}_n"] == 2 and summary[f"{key}_interval"] == pytest.approx(wilson_interval(2, 2))
    assert summary["azimuth_acc30"] == 1.0


def spoiled(kitti, tmp_path, labels=None, picture=None):
    """A copy of the folder whose first frame has other labels, or other bytes as picture."""
    copy = tmp_path / "spoiled"
    shutil.copytree(kitti, copy)
    if labels is not None:
        (copy / "label_2" / "000000.txt").write_text(labels)
    if picture is not None:
        (copy / "image_2" / "000000.png").write_bytes(picture)
    return copy


@pytest.mark.parametrize("rois", ["labels", "auto"])
def test_a_truncated_picture_is_counted_as_wrong_and_named(bundle, kitti, tmp_path, capsys, rois):
    half = (kitti / "image_2" / "000000.png").read_bytes()[:2000]
    folder = spoiled(kitti, tmp_path, picture=half)
    report = run("eval", "kitti", folder, "--bundle", bundle, "--rois", rois, report=tmp_path / "report.json")
    row, = report["rows"]
    assert (row["n"], row["missing"], row["acc30"]) == (2, 0.5, 0.5)
    assert row.get("recall") == (0.5 if rois == "auto" else None)
    told = capsys.readouterr().err
    assert "counted as wrong: 1 of 2 frames, which could not be used\n  easy cars/000000.png#0: " in told
    assert told.count("000000.png") == 1


def test_a_region_outside_of_the_picture_costs_its_frame_and_no_other(bundle, kitti, tmp_path, capsys):
    label = "Car 0.00 0 0.0 3000 50 3100 150 1.5 1.8 4.2 0 1.2 12 0\n"
    folder = spoiled(kitti, tmp_path, labels=label)
    report = run("eval", "kitti", folder, "--bundle", bundle, "--worst", tmp_path / "worst",
                 report=tmp_path / "report.json")
    assert report["rows"][0]["acc30"] == 0.5
    assert "lies outside the 800x300 image" in report["frames"][0]["skipped"]
    assert "  easy cars/000000.png#0: ROI [3000.5, " in capsys.readouterr().err
    assert len(list((tmp_path / "worst").iterdir())) == 1  # there is nothing to draw of the other


def test_where_no_frame_can_be_used_there_is_no_table(bundle, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    save(tmp_path / "mine" / "a.png", np.zeros((8, 12, 3), np.uint8))
    (tmp_path / "azimuth.json").write_text('{"mine": {"azimuth_deg": {"a.png": 10}}}')
    assert main(["eval", "turntable", str(tmp_path), "--bundle", str(bundle)]) == 1
    captured = capsys.readouterr()
    assert "none of the 1 frames could be used; the first is mine/a.png: image is 12x8 pixels" in captured.err
    assert "Acc@30" not in captured.out


@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_a_report_that_cannot_be_written_is_refused_before_the_work(bundle, kitti, tmp_path, capsys, option):
    assert main(["eval", "kitti", str(kitti), "--bundle", str(bundle), option, str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert f"{tmp_path}: is a folder; give the name of a file" in captured.err
    assert captured.out == "" and "image/s" not in captured.err and "features:" not in captured.err


def test_the_table_is_printed_before_a_report_can_fail(tmp_path, capsys):
    record = {"model": "ours", "occlusion": "L0", "group": "a", "file": "0.png", "score": 0.5, "error_deg": 3.0}
    arguments = Namespace(json=str(tmp_path), csv=None, brief=False, rois="labels", worst=None)
    with pytest.raises(OutputError, match="is a folder"):
        finish(arguments, Setting([Competitor("ours", None)], None), [record], tabulate([record]))
    assert "Acc@30" in capsys.readouterr().out


@pytest.fixture(scope="module")
def turntables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turntables")
    angles = {"fast": (5.0, 95.0, 200.0), "slow": (310.0, 350.0)}
    annotations = {}
    for name, azimuths in angles.items():
        (folder / name).mkdir()
        annotations[name] = {"azimuth_deg": {}}
        for azimuth in azimuths:
            file = f"{azimuth:03.0f}.png"
            save(folder / name / file, photograph(pose((0.0, 0.3, 8.5), azimuth), CAMERA)[120:400, 130:510])
            annotations[name]["azimuth_deg"][file] = azimuth
    (folder / "slow" / "000.png").write_bytes(b"no image")
    annotations["slow"]["azimuth_deg"]["000.png"] = 0.0
    (folder / "azimuth.json").write_text(json.dumps(annotations))
    (folder / "aside").mkdir()
    save(folder / "aside" / "000.png", np.zeros((20, 20, 3), np.uint8))
    return folder


@pytest.mark.parametrize("rois", ["frame", "auto"])
def test_turntable(bundle, turntables, tmp_path, capsys, rois):
    report = run("eval", "turntable", turntables, "--bundle", bundle, "--rois", rois, report=tmp_path / "report.json")
    assert report["split"] == {"fast": 3, "slow": 3}
    fast, slow, both = report["rows"]
    assert [row["group"] for row in report["rows"]] == ["fast", "slow", "all"]
    assert (fast["n"], fast["acc30"], fast["acc10"], fast["flips"]) == (3, 1.0, 1.0, 0.0)
    assert (slow["n"], slow["acc30"], slow["missing"]) == (3, pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (both["n"], both["acc30"], both["flips"]) == (6, pytest.approx(5 / 6), 0.0)
    assert [(row["quantity"], row["n"]) for row in report["coverage"]] == [("azimuth", 5)]  # of the frames with a pose
    captured = capsys.readouterr()
    assert "counted as wrong: 1 of 6 frames, which could not be used\n  slow/000.png: " in captured.err
    assert "left out: aside: has 1 pictures and no entry in azimuth.json" in captured.err
    assert f"assumed horizontal field of view: {DEFAULT_HFOV_DEG:g} degrees" in captured.err
    assert len(report["frames"]) == 6
    for row, within in ((fast, 3), (slow, 2), (both, 5)):
        assert row["acc30_interval"] == pytest.approx(wilson_interval(within, row["n"]))
        assert row["flips_interval"] == pytest.approx(wilson_interval(0, row["n"]))
        assert {f"{key}_interval" for key in ("acc10", "missing")} <= row.keys()
    assert report["networks"] == {report["bundle"]: "fp32"}
    head = captured.out.splitlines()[0]
    assert head.startswith("evaluated on fast (3), slow (3); regions: ")
    assert f"regions: {rois}; network: fp32; in brackets 95 % intervals" in head
    line, = [line for line in captured.out.splitlines() if "| all " in line]
    assert "83.3 % (43.6 to 97.0)" in line  # Acc@30: five of six


def test_the_old_name_of_the_command_is_told_and_does_the_same(bundle, turntables, tmp_path, capsys):
    words = [turntables, "--bundle", bundle, "--sequence", "fast"]
    new = run("eval", "turntable", *words, report=tmp_path / "new.json")
    wanted = capsys.readouterr()
    assert run("eval", "spin", *words, report=tmp_path / "old.json") == new
    told = capsys.readouterr()
    assert told.out == wanted.out
    first, *others = told.err.splitlines()
    assert first == "dinemo eval spin is called dinemo eval turntable now; the old name goes on working"
    assert others == wanted.err.splitlines() and first not in others
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    listed = capsys.readouterr().out
    assert "turntable" in listed and "spin" not in listed


def test_networks_of_several_bundles_are_told_apart(tmp_path, capsys):
    record = {"model": "ours", "occlusion": "L0", "group": "a", "file": "0.png", "score": 0.5, "error_deg": 3.0}
    networks = {"ours": "int8", "theirs": "fp32"}
    competitors = [Competitor(name, Namespace(extractor=Namespace(precision=p))) for name, p in networks.items()]
    arguments = Namespace(json="-", csv=None, brief=True, rois="labels", worst=None)
    finish(arguments, Setting([*competitors, Competitor("nearest view", None)], None), [record], tabulate([record]))
    captured = capsys.readouterr()
    assert "; network: ours int8, theirs fp32; in brackets" in captured.err
    assert json.loads(captured.out)["networks"] == networks


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
@pytest.mark.parametrize(("words", "key", "told"), [
    (["eval", "turntable", "{t}", "--sequence", "fast", "--bundle", "{b}"], "rows", "Acc@30"),
    (["bench", "{t}/fast", "--frames", "1", "--bundle", "{b}"], "total", "solver alone"),
    (["doctor", "--bundle", "{b}"], None, "machine")])
def test_json_to_standard_output_stands_there_alone(bundle, turntables, tmp_path, words, key, told, name):
    words = [word.format(t=turntables, b=bundle) for word in words]
    result = subprocess.run([sys.executable, "-m", "dinemo_ros.cli.main", *words, "--json", name], text=True,
                            capture_output=True, timeout=240, cwd=tmp_path)
    report = json.loads(result.stdout)
    assert (key in report if key else report[0]["subject"] == "machine") and told in result.stderr
    assert not list(tmp_path.iterdir()), "no file called -"


def test_csv_to_standard_output_stands_there_alone(bundle, turntables, tmp_path, capsys):
    words = ["eval", "turntable", turntables, "--sequence", "fast", "--bundle", bundle, "--csv", "-"]
    assert main([*map(str, words)]) == 0
    captured = capsys.readouterr()
    head, *lines = captured.out.splitlines()
    assert head.startswith("model,occlusion,group,file") and len(lines) == 3
    assert "Acc@30" in captured.err


def test_a_category_without_azimuth_is_measured_by_how_upright_and_steady_it_is(turntables, tmp_path, capsys):
    known = load_bundle(ROOT / "engines" / "bottle")
    write_bundle(tmp_path / "bottle", replace(known.card, presence=PresenceSpec()), known.backbone(), known.mesh)
    words = ["eval", "turntable", turntables, "--bundle", tmp_path / "bottle", "--sequence", "fast", "--device", "cpu"]
    report = run(*words, report=tmp_path / "report.json")
    assert "azimuth@30" not in capsys.readouterr().out
    row, = report["turns"]
    assert "seen_n" not in row and "elevation_n" not in row and (row["n"], row["objects"]) == (3, 1)
    found = np.array([frame["elevation"] for frame in report["frames"]])
    assert row["elevation_deviation_deg"] == pytest.approx(found.std())
    lean = np.array([2 * np.sin(np.radians(frame["theta"]) / 2)**2 for frame in report["frames"]])
    wanted = np.degrees(np.arccos(1 - lean * np.cos(np.radians(found))**2))  # between the axis and upright
    assert [frame["error_deg"] for frame in report["frames"]] == pytest.approx(wanted.tolist(), abs=1e-4)
    known = run(*words, "--elevation", "19", report=tmp_path / "report.json")["turns"][0]
    assert known["elevation_n"] == 3 and known["elevation_bias_deg"] == pytest.approx(np.median(found) - 19.0)


def test_parts_of_a_split_and_another_program_stand_beside_the_bundle(bundle, turntables, tmp_path, capsys):
    (tmp_path / "split.yaml").write_text("format: dinemo-split/1\nparts: {tuning: [fast], reserved: [slow, other]}\n")
    answers = {"fast": {"005.png": {"azimuth_deg": 9, "elevation_deg": 3}, "095.png": None,
                        "200.png": {"azimuth_deg": 20, "elevation_deg": 3}}}
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    words = ["eval", "turntable", turntables, "--bundle", bundle, "--split", tmp_path / "split.yaml",
             "--rival", f"other program={tmp_path / 'answers.json'}"]
    report = run(*words, report=tmp_path / "report.json")
    told = capsys.readouterr()
    assert "left out" not in told.err
    parts = told.out.partition("parts of the split")[2]
    assert "| tuning (1 objects, 3 frames) | reserved (1 objects, 3 frames) |" in parts
    rows = {(row["model"], row["group"]): row for row in report["turns"]}
    other, ours = rows["other program", "tuning"], rows[report["bundle"], "tuning"]
    assert (other["azimuth_acc30"], other["flips"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (ours["azimuth_acc30"], ours["part"], ours["seen_n"]) == (1.0, True, 3)
    assert rows["other program", "slow"]["missing"] == 1.0
    assert report["models"] == [report["bundle"], "other program"]
    only = run(*words, "--part", "tuning", report=tmp_path / "report.json")
    assert only["split"] == {"fast": 3} and {row["group"] for row in only["turns"]} == {"fast", "tuning"}


def test_a_folder_with_boxes_is_looked_at_in_them(bundle, turntables, tmp_path, capsys):
    folder = tmp_path / "boxed"
    shutil.copytree(turntables, folder)
    annotations = json.loads((folder / "azimuth.json").read_text())
    annotations["fast"]["box"] = {file: [60, 60, 320, 220] for file in annotations["fast"]["azimuth_deg"]}
    (folder / "azimuth.json").write_text(json.dumps({"fast": annotations["fast"]}))
    words = ["eval", "turntable", folder, "--bundle", bundle]
    assert run(*words, report=tmp_path / "report.json")["rois"] == "box"
    assert "; regions: box;" in capsys.readouterr().out
    assert run(*words, "--rois", "frame", report=tmp_path / "report.json")["rois"] == "frame"


def test_a_folder_of_azimuths_alone_gives_the_report_of_before(bundle, turntables, tmp_path):
    report = run("eval", "turntable", turntables, "--bundle", bundle, report=tmp_path / "report.json")
    assert not {"turns", "parts", "elevation_deg"} & report.keys() and report["rois"] == "frame"
    assert set(report["frames"][0]) == {"model", "occlusion", "group", "file", "score", "error_deg", "azimuth",
                                        "azimuth_true", "contents"}


def test_turntable_of_one_sequence(bundle, turntables, tmp_path):
    report = run("eval", "turntable", turntables, "--bundle", bundle, "--sequence", "fast",
                 report=tmp_path / "report.json")
    assert [row["group"] for row in report["rows"]] == ["fast"]


@pytest.fixture(scope="module")
def masks(turntables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    for name in ("fast", "slow"):
        (folder / name).mkdir()
        for file in (turntables / name).glob("*.png"):
            image = cv2.imread(str(file))
            if image is not None:
                cv2.imwrite(str(folder / name / file.name), 255 * (image != 114).any(axis=2).astype(np.uint8))
    return folder


def test_turntable_under_occlusion_against_masks_and_silhouettes(bundle, turntables, masks, tmp_path, capsys):
    """The same seed covers as much of the mask as of the silhouette of the pose found, for these nearly agree."""
    arguments = ["eval", "turntable", turntables, "--bundle", bundle, "--sequence", "fast", "--occlusion", "L1"]
    masked = run(*arguments, "--masks", masks, report=tmp_path / "masked.json")
    assert "occlusion is measured against: mask; seed 0" in capsys.readouterr().out
    estimated = run(*arguments, report=tmp_path / "estimated.json")
    assert "occlusion is measured against: silhouette; seed 0" in capsys.readouterr().out
    for report in (masked, estimated):
        row, = report["rows"]
        assert (row["occlusion"], row["n"]) == ("L1", 3)
        assert 0.2 <= row["coverage"] <= 0.4
        assert all(0.2 <= frame["coverage"] <= 0.4 for frame in report["frames"])


def test_masks_that_do_not_fit_are_refused(bundle, turntables, masks, tmp_path, capsys):
    arguments = ["eval", "turntable", str(turntables), "--bundle", str(bundle), "--occlusion", "L1"]
    assert main([*arguments, "--masks", str(tmp_path)]) == 1
    assert "no such mask; give a folder with SEQUENCE/FRAME.png" in capsys.readouterr().err
    assert main([*arguments, "--occluders", str(tmp_path)]) == 1
    assert "no picture to cut occluders from" in capsys.readouterr().err


@pytest.fixture(scope="module")
def renders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("renders")
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    camera = Camera.from_hfov(288, 288, 24)
    poses = [pose((0.0, 0.0, 14.0), 40.0), pose((0.2, 0.1, 16.0), 205.0, 4.0, 3.0)]
    for k, T in enumerate(poses):
        image = photograph(T, camera)
        save(folder / "images" / f"{k:06d}.png", image)
        cv2.imwrite(str(folder / "masks" / f"{k:06d}.png"), 255 * (image != 114).any(axis=2).astype(np.uint8))
    np.savez(folder / "labels.npz", names=np.array(["000000", "000001"]), K=np.tile(camera.K, (2, 1, 1)),
             T_cam_obj=np.array(poses), size=np.tile(SIZE, (2, 1)))
    return folder


def test_synthetic_poses_are_found_within_a_tenth_of_the_diameter(bundle, renders, tmp_path):
    report = run("eval", "synthetic", renders, "--bundle", bundle, "--brief", report=tmp_path / "report.json")
    assert "frames" not in report
    row, = report["rows"]
    assert (row["n"], row["acc10"], row["add_within"], row["pck"]) == (2, 1.0, 1.0, 1.0)
    assert row["median_deg"] < 3.0
    assert row["distance_median_pct"] < 3.0
    assert row["add_median_m"] < 0.45
    assert row["translation_median_m"] < 0.45


def test_table_with_all_levels_baselines_and_another_bundle(bundle, renders, tmp_path, capsys):
    report = run("eval", "synthetic", renders, "--bundle", bundle, "--occlusion", "all", "--baseline", "--compare",
                 bundle, "--csv", tmp_path / "frames.csv", "--worst", tmp_path / "worst", "--worst-count", 3,
                 report=tmp_path / "report.json")
    models = ["car 0", "bundle", "nearest view, outline", "nearest view, features"]
    assert report["models"] == models
    assert [(row["occlusion"], row["model"]) for row in report["rows"]] == [
        (level, model) for level in ("L0", "L1", "L2", "L3") for model in models]
    for level, low, high in (("L1", 0.2, 0.4), ("L2", 0.4, 0.6), ("L3", 0.6, 0.8)):
        rows = [row for row in report["rows"] if row["occlusion"] == level]
        assert all(low <= row["coverage"] <= high for row in rows)
        assert len({row["coverage"] for row in rows}) == 1  # all saw the same pictures
        same = [{key: value for key, value in row.items() if key != "model"} for row in rows[:2]]
        assert same[0] == same[1]  # and the same bundle does the same twice
    table, _, coverage = capsys.readouterr().out.partition("errors inside the announced ellipsoids:")
    assert sum(line.startswith("| ") for line in table.splitlines()) == 18
    assert {row["model"] for row in report["coverage"]} == set(models[:2])  # baselines announce nothing
    assert sum(line.startswith("| ") for line in coverage.splitlines()) == 2 + 4 * 4 * 2
    assert len((tmp_path / "frames.csv").read_text().splitlines()) == 1 + 2 * 4 * 4
    assert len(list((tmp_path / "worst").glob("0[0-2]_L*.png"))) == 3


def test_bench(bundle, scenes, tmp_path, capsys):
    report = run("bench", scenes[0], "--bundle", bundle, "--frames", 5, "--threads", 1, report=tmp_path / "bench.json")
    assert list(report["stages"]) == ["crop", "features", "similarity", "coarse", "refine"]
    for part in (report, report["auto"]):
        assert all(0 < s["median_ms"] <= s["p95_ms"] for s in part["stages"].values())
        assert max(s["median_ms"] for s in part["stages"].values()) < part["total"]["median_ms"]
    assert "proposals" in report["auto"]["stages"]
    assert report["device"].endswith(f"onnxruntime {report['versions']['onnxruntime']}")
    assert "1 threads" in report["device"]
    assert "own regions" in capsys.readouterr().out


def test_bench_leaves_out_what_no_estimator_takes(bundle, scenes, tmp_path, capsys):
    shutil.copy(scenes[0] / "a.png", tmp_path / "a.png")
    save(tmp_path / "b.png", np.zeros((1, 1, 3), np.uint8))
    run("bench", tmp_path, "--bundle", bundle, "--frames", 2, report=tmp_path / "bench.json")
    assert "skipped b.png: image is 1x1 pixels; at least 16x16 are needed" in capsys.readouterr().err
    (tmp_path / "a.png").unlink()
    assert main(["bench", str(tmp_path), "--bundle", str(bundle)]) == 1
    assert f"{tmp_path}: no image could be used; b.png: image is 1x1 pixels" in capsys.readouterr().err


def test_bench_without_an_object_says_so(bundle, tmp_path, capsys):
    save(tmp_path / "grey.png", np.full((240, 320, 3), 114, np.uint8))
    assert main(["bench", str(tmp_path), "--bundle", str(bundle)]) == 1
    assert "no car was found in 1 images" in capsys.readouterr().err
