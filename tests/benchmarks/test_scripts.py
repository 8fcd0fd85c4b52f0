# SPDX-License-Identifier: Apache-2.0
"""The scripts beside this file: a short run of each, and the table that docs/speed.md shows."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import compare_solvers, finding, run_sweeps, table

from dinemo_ros.model.bundle import find_bundle, load_bundle

HERE = Path(__file__).resolve().parent
DEVICE = {"device": "a machine", "load": 0.5, "total": {"median_ms": 20.04, "min_ms": 15.0, "cpu_median_ms": 30.0},
          "flip_tta": {"total": {"median_ms": 31.0, "min_ms": 29.0, "cpu_median_ms": 50.0}},
          "auto": {"total": {"median_ms": 80.0, "min_ms": 70.0, "cpu_median_ms": 90.0}},
          "followed": {"total": {"median_ms": 9.0, "min_ms": 8.0, "cpu_median_ms": 12.0}}, "solver_ms": 8.0,
          "objects": {"objects": 4, "median_ms": 60.0, "ratio": 3.0, "smallest_ratio": 3.1, "cpu_ratio": 3.5},
          "hypotheses_per_s": 5.2e7,
          "startup": {"warm": {"to_first_pose_s": 2.0, "cpu_s": 2.5, "peak_memory_mb": 300.0}}}
SOLVERS = {"rows": [{"solver": "dinemo_ros", "n": 60, "times_slower": 1.0, "times_slower_cpu": 1.0, "acc30": 1.0,
                     "acc10": 0.8, "median_deg": 4.0}, {"solver": "NOVUM", "n": 60, "times_slower": 81.23,
                                                        "times_slower_cpu": 70.0, "acc30": 1.0, "acc10": 0.75,
                                                        "median_deg": 5.0}]}


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "results" / "machine"
    folder.mkdir(parents=True)
    (folder / "bench.json").write_text(json.dumps(DEVICE))
    (folder / "solvers_demo_published.json").write_text(json.dumps(SOLVERS))
    monkeypatch.setattr(table, "RESULTS", tmp_path / "results")
    return folder


def test_table_is_made_from_the_results(results):
    text = table.table()
    assert "**a machine**, load 0.5" in text
    assert "| one object with its box, image in to pose out, median | 20.0 ms (15.0 ms) | 30.0 ms | 50 ms |" in text
    assert "| the same at low confidence: with flip test-time augmentation | 31.0 ms (29.0 ms) | 50.0 ms |  |" in text
    assert "| the same frame without a box: objects are looked for | 80.0 ms (70.0 ms) | 90.0 ms |  |" in text
    assert "| the same object followed, no search | 9.0 ms (8.0 ms) | 12.0 ms | 25 ms |" in text
    assert "| 4 objects in one frame; against one | 60.0 ms, 3.00 x (3.10 x) | 3.50 x | 2.5 x |" in text
    ours, novum = (line for line in text.splitlines() if "demo sequence (60)" in line)
    assert ours == "| dinemo_ros | demo sequence (60) | 1 | 100.0% / 80.0% | 4.0° |"
    assert novum == "| NOVUM | demo sequence (60) | 70 (81.2) | 100.0% / 75.0% | 5.0° |"


def test_table_goes_between_the_markers_and_nowhere_else(results, tmp_path, monkeypatch, capsys):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    for words, code in (["--check"], 1), ([], 0), (["--check"], 0):
        monkeypatch.setattr(sys, "argv", ["table.py", "--page", str(readme), *words])
        assert table.main() == code
    assert readme.read_text() == f"before\n{table.BEGIN}\n{table.table()}\n{table.END}\nafter\n"
    assert "out of date" in capsys.readouterr().out


def test_a_text_without_markers_is_refused():
    with pytest.raises(ValueError, match="no <!-- benchmark table -->"):
        table.replaced("nothing here")


def test_the_readme_shows_the_committed_results():
    text = table.PAGE.read_text(encoding="utf-8")
    assert table.replaced(text) == text, "run python tests/benchmarks/table.py"


def test_one_command_runs_every_script():
    commands = HERE / "run_all.sh", HERE.parents[1] / "scripts/gpu_day.sh"
    text = "".join(script.read_text(encoding="utf-8") for script in commands)
    scripts = [path.name for path in HERE.glob("*.py") if not path.name.startswith("test_")]
    assert len(scripts) >= 6 and [name for name in scripts if f"benchmarks/{name}" not in text] == []
    assert subprocess.run(["bash", "-n", HERE / "run_all.sh"], check=False).returncode == 0


def test_steps_of_an_estimate(tmp_path):
    """In a process of its own, for it wraps functions of the package."""
    pytest.importorskip("trimesh", reason="the training extra is not installed")
    subprocess.run([sys.executable, HERE / "profile_steps.py", "--rounds", "1", "--out", tmp_path / "steps.csv"],
                   check=True, capture_output=True)
    with (tmp_path / "steps.csv").open() as file:
        spent = {row["step"]: float(row["cpu_ms"]) for row in csv.DictReader(file)}
    assert min(spent.values()) > 0, "a step is looked up where nobody calls it"
    assert spent["features"] + spent["similarity"] + spent["coarse"] + spent["refine"] < spent["whole estimate"]


def test_pictures_lost_and_won_are_counted_per_level():
    pytest.importorskip("onnx", reason="the onnx package is not installed, as on a robot")
    from benchmarks import network

    def records(*errors):
        return [{"occlusion": level, "error_deg": error} for level in ("L0", "L1") for error in errors]

    rows = network.against(records(5.0, 40.0, None, 5.0), records(20.0, 20.0, 5.0, 5.0))
    assert list(rows) == ["L0", "L1"]
    assert rows["L1"] == {"n": 4, "median_deg": 22.5, "acc30": 0.5, "lost30": 2, "won30": 0, "acc10": 0.5, "lost10": 1,
                          "won10": 1}


def test_meshes_of_other_sizes_keep_the_shape():
    pytest.importorskip("fast_simplification", reason="meshes of other sizes need the training extra")
    mesh = load_bundle(find_bundle("car")).mesh
    for count in (200, 1500):
        other = run_sweeps.resized(mesh, count)
        assert len(other.vertices) == pytest.approx(count, rel=0.2)
        np.testing.assert_allclose(other.extent, mesh.extent, rtol=0.05)


def test_sweep_of_image_sizes_writes_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(run_sweeps, "WIDTHS", (320, 640))
    monkeypatch.setattr(sys, "argv", ["run_sweeps.py", "--out", str(tmp_path), "--rounds", "1", "--threads", "1",
                                      "--sweeps", "image width"])
    run_sweeps.main()
    with (tmp_path / "sweeps.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["sweep"], r["x"]) for r in rows] == [("image width", "320"), ("image width", "640")]
    assert all(float(r["wall_ms"]) > 0 and float(r["cpu_ms"]) > 0 for r in rows)


def test_sweeps_of_the_solver_alone(tmp_path, monkeypatch):
    pytest.importorskip("fast_simplification", reason="the training extra is not installed")
    monkeypatch.setattr(run_sweeps, "VERTICES", (200,))
    monkeypatch.setattr(run_sweeps, "AZIMUTHS", (12,))
    monkeypatch.setattr(sys, "argv", ["run_sweeps.py", "--out", str(tmp_path), "--rounds", "1", "--threads", "1",
                                      "--sweeps", "vertices", "hypotheses"])
    run_sweeps.main()
    with (tmp_path / "sweeps.csv").open(newline="") as file:
        assert [row["sweep"] for row in csv.DictReader(file)] == ["vertices", "hypotheses"]


def test_a_scaled_picture_shows_the_same_directions():
    job = run_sweeps.demo_jobs()[0]
    small = run_sweeps.scaled(job, 480)
    centre = np.array(job.rois[0]).reshape(2, 2).mean(axis=0) - 0.5
    ray = job.camera.rays(centre[None])
    np.testing.assert_allclose(small.camera.project(ray)[0], (centre + 0.5) / 2 - 0.5, atol=1e-6)
    assert small.image.shape[1] == 480


def test_old_names_of_the_comparison_go_on_working():
    old = compare_solvers.parse(["--out", "o", "--spin", "d", "--sets", "demo", "spin"])
    assert old == compare_solvers.parse(["--out", "o", "--turntable", "d", "--sets", "demo", "turntable"])
    assert list(compare_solvers.sets(old)) == ["demo", "turntable"]


def test_finding(tmp_path, monkeypatch):
    """The car is found in every frame of both sizes, whoever looks; ways take turns."""
    monkeypatch.setattr(sys, "argv", ["finding", "--rounds", "1", "--json", str(tmp_path / "f.json")])
    finding.main()
    result = json.loads((tmp_path / "f.json").read_text())
    assert [row["size"] for row in result["frames"]] == [[1242, 375], [1280, 720]]
    assert all(row["found"] == row["frames"] == 28 for row in result["frames"])
    assert all(row["detector"] > row["given_box"] > 0 for row in result["frames"])
    assert result["cup_and_bottle_four_boxes"] > 0
    order = []
    finding.in_turn({name: lambda k, name=name: order.append((name, k)) for name in "ab"}, 2)
    assert order == [(name, k) for k in range(5) for name in "ab"]
