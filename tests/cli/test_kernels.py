# SPDX-License-Identifier: Apache-2.0
"""``dinemo compile``, what ``dinemo doctor`` says of compiled kernels, and a command whose kernels are damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_folder import ROOT, compiled_kernels, copied_kernels, damage, dinemo

from dinemo_ros.cli.doctor_kernels import _examined
from dinemo_ros.solver.kernel_store import KernelStore

FRAME = ROOT / "config" / "demo_sequence" / "000.jpg"
# Everything that a node may be asked for, with every shipped bundle; prints how many kernels had to be compiled for it.
_FIRST_FRAMES = """\
import sys
from pathlib import Path
from dinemo_ros.model.bundle import find_bundle, load_bundle, shipped_categories
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.solver.jit import progress
from dinemo_ros.io.sources.folder import read_image
from dinemo_ros.tracker import PoseTracker

image = read_image(Path(sys.argv[1]))
camera = Camera.from_hfov(image.shape[1], image.shape[0], 66.0)
box = (530.0, 228.0, 681.0, 315.0)
assert shipped_categories() == ["bottle", "car", "chair", "cup"]
for category in shipped_categories():
    for threads in (1, 3):
        estimator = PoseEstimator(load_bundle(find_bundle(category)), threads=threads, device="cpu")
        started = progress()
        estimator.estimate(image, camera)
        poses = estimator.estimate(image, camera, [box, (0.0, 0.0, 400.0, 400.0)])
        estimator.follow(image, camera, poses)
        for rois in (None, [box]):
            tracker = PoseTracker(estimator)
            for k in range(3):
                tracker.update(image, camera, 0.1 * k, rois)
        assert progress() == started, f"{category}: a frame had to wait for {started} -> {progress()}"
print(progress().ready, progress().total, progress().compiled)
"""


def finding(result: subprocess.CompletedProcess) -> str:
    (line,) = [line for line in result.stdout.splitlines() if line[3:].startswith("kernel cache")]
    return line


def test_compile_twice_and_nothing_is_left_to_do():
    folder = compiled_kernels()
    again = dinemo("compile", "--bundle", "cup")
    assert (again.returncode, again.stderr) == (0, "")
    assert "kernels ready, 0 of them compiled now, in " in again.stdout
    assert again.stdout.rstrip().endswith(str(folder))
    assert finding(dinemo("doctor")).startswith("ok kernel cache")


def test_after_it_no_frame_of_any_bundle_waits():
    compiled_kernels()
    done = subprocess.run([sys.executable, "-c", _FIRST_FRAMES, str(FRAME)], text=True, timeout=300,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")})
    assert done.returncode == 0, done.stderr
    ready, total, compiled = map(int, done.stdout.split())
    assert ready == total >= 36 and compiled == 0


def test_damaged_kernels_are_told_of_and_compiled_again(tmp_path):
    folder = copied_kernels(tmp_path)
    damage(folder)
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    before = dinemo("doctor", "--json", tmp_path / "findings.json", **cache)
    assert before.returncode == 1
    assert finding(before).startswith("!! kernel cache") and "2 damaged" in finding(before)
    (told,) = [entry for entry in json.loads((tmp_path / "findings.json").read_text())
               if entry["subject"] == "kernel cache"]
    assert told["level"] == "!!" and str(folder) in told["text"] and "dinemo compile" in told["text"]

    result = dinemo("estimate", FRAME, **cache)
    assert result.returncode == 0 and json.loads(result.stdout)["objects"]
    assert "Traceback" not in result.stderr
    (sentence,) = [line for line in result.stderr.splitlines() if "compiled again" in line]
    assert sentence.startswith(str(folder)) and "1 more" in sentence
    assert finding(dinemo("doctor", **cache)).startswith("ok kernel cache")
    assert "compiled again" not in dinemo("estimate", FRAME, **cache).stderr


def test_a_place_that_takes_no_folder_is_a_finding():
    for place in ("/dev/null", "/proc/1/nowhere", "relative"):
        result = dinemo("doctor", NUMBA_CACHE_DIR=place)
        assert result.returncode == 1
        assert finding(result).startswith("!! kernel cache") and place in finding(result)
        assert "NUMBA_CACHE_DIR" in finding(result)
    assert not Path("relative").exists()


def test_switched_off_is_told_and_nothing_is_compiled():
    result = dinemo("compile", NUMBA_DISABLE_JIT="1")
    assert result.returncode == 1 and result.stderr.startswith("error: NUMBA_DISABLE_JIT is set")
    assert finding(dinemo("doctor", NUMBA_DISABLE_JIT="1")).startswith("!! kernel cache")


def test_kernels_that_cannot_be_kept_are_an_error_of_compile(tmp_path, monkeypatch):
    """The estimators work; that every later start would compile again is what was to be prevented."""
    from dinemo_ros.errors import DinemoError
    from dinemo_ros.process import compile_ahead
    from dinemo_ros.solver.kernel_cache import KernelFolder

    kernel_folder = KernelFolder()
    kernel_folder.folder = tmp_path / "0123456789abcdef"
    monkeypatch.setattr(compile_ahead, "KERNEL_FOLDER", kernel_folder)
    monkeypatch.setattr(compile_ahead, "PoseEstimator", lambda *arguments, **options: None)
    with pytest.raises(DinemoError, match=r"0123456789abcdef: (\d+) of \1 kernels are not kept, so every start"):
        compile_ahead.compile_ahead()


class TestDoctor:
    WANTED = {"coarse.place", "refine.moved"}

    @pytest.fixture
    def folder(self, tmp_path):
        store = KernelStore(tmp_path / "0123456789abcdef")
        for name in self.WANTED:
            store.write(f"{name}-{'0' * 16}", b"content")
        return store.folder

    def test_all_ready(self, folder):
        found = _examined(folder, self.WANTED)
        assert found.level == "ok" and found.text.startswith("2 of 2 kernels ready") and str(folder) in found.text

    def test_some_missing(self, folder):
        found = _examined(folder, self.WANTED | {"new.kernel"})
        assert found.level == "--" and found.text.startswith("2 of 3") and "dinemo compile" in found.text

    def test_not_there_yet(self, tmp_path):
        found = _examined(tmp_path / "absent", self.WANTED)
        assert found.level == "--" and found.text.startswith("0 of 2")
        assert not (tmp_path / "absent").exists(), "doctor only looks"

    def test_others_may_write(self, folder):
        folder.chmod(0o777)
        found = _examined(folder, self.WANTED)
        assert found.level == "!!" and "can be written by others (mode 777)" in found.text

    @pytest.mark.parametrize(("missing", "level"), [(set(), "ok"), ({"new.kernel"}, "!!")])
    def test_read_only(self, folder, monkeypatch, missing, level):
        monkeypatch.setattr(KernelStore, "write_obstacle", lambda self: "Read-only file system")
        found = _examined(folder, self.WANTED | missing)
        assert found.level == level and "Read-only file system" in found.text

    def test_damaged_and_not_to_be_mended(self, folder, monkeypatch):
        monkeypatch.setattr(KernelStore, "write_obstacle", lambda self: "No space left on device")
        next(folder.glob("*.nbc")).write_bytes(b"")
        found = _examined(folder, self.WANTED)
        assert found.level == "!!" and "1 damaged" in found.text and "No space left on device" in found.text
