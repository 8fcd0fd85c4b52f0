# SPDX-License-Identifier: Apache-2.0
"""What is not installed, or cannot be written, is told before the work and not after it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({missing!r}))  # None: as if it were not installed
from dinemo_ros.cli.main import main
sys.exit(main({words!r}))
"""


def dinemo(*words, missing=(), **environment):
    script = WITHOUT.format(missing=list(missing), words=list(map(str, words)))
    return subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, timeout=240,
                          env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    (folder / "pictures").mkdir()
    (folder / "file").touch()
    cv2.imwrite(str(folder / "pictures" / "a.png"), np.full((64, 64, 3), 90, np.uint8))
    (folder / "azimuth.json").write_text(json.dumps({"pictures": {"azimuth_deg": {"a.png": 0.0}}}))
    for path in ("Annotations/car_imagenet/x.mat", "Images/car_imagenet/x.JPEG", "Image_sets/car_imagenet_val.txt"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("x")
    return folder


@pytest.mark.parametrize(("words", "missing", "says"), [
    (["bench", "--reference"], ["torch"], "--reference needs torch, which cannot be used here (ModuleNotFoundError"),
    (["bench", "--reference", "pytorch3d"], ["torch"], "--reference needs torch"),
    (["bench", "--json", "{p}/file/x"], [], "{p}/file/x: cannot be written (Not a directory)"),
    (["build-engine", "{b}", "--precision", "int8", "--calibration", "{p}/pictures"], ["onnx"],
     "networks in int8 need onnx, which is not installed"),
    (["build-engine", "{b}", "--precision", "int8", "--calibration", "{p}/pictures", "--for-arch", "sm87"],
     ["onnx"], "need onnx"),
    (["build-engine", "{b}", "--for-arch", "sm89", "--cache", "{p}/file/x"], ["tensorrt", "tensorrt_rtx"], "tensorrt"),
    (["eval", "turntable", "{p}", "--csv", "{p}/pictures"], [], "is a folder; give the name of a file"),
    (["estimate", "{p}/pictures", "--json", "{p}/pictures"], [], "is a folder; give the name of a file"),
    (["estimate", "{p}/pictures", "--out", "{p}/file"], [], "cannot be made a folder"),
    (["doctor", "--json", "{p}/file/x"], [], "{p}/file/x: cannot be written (Not a directory)"),
    (["eval", "synthetic", "{p}/none", "--json", "{p}/file/x"], [], "{p}/file/x: cannot be written"),
    (["eval", "kitti", "{p}/none", "--csv", "{p}/file/x"], [], "{p}/file/x: cannot be written"),
    (["eval", "pascal3d", "{p}/none"], [], "{p}/none"),
    (["eval", "pascal3d", "{p}"], ["scipy.io"], "MATLAB files: pip install scipy reads them"),
    (["eval", "pascal3d", "{p}", "--bundle", "{p}/none"], [], "{p}/none"),
    (["eval", "turntable", "{p}", "--rois", "box"], [], "pictures/a.png: has no box in azimuth.json"),
    (["eval", "turntable", "{p}", "--split", "{p}/azimuth.json"], [], "is no split; expected format: dinemo-split/1"),
    (["eval", "turntable", "{p}", "--split", "{p}/none"], [], "expected a split (docs/evaluation.md)"),
    (["eval", "turntable", "{p}", "--part", "reserved"], [], "give the file of that by --split"),
    (["eval", "turntable", "{p}", "--rival", "x={p}/none"], [], "expected {{SEQUENCE: {{FILE: "),
    (["eval", "turntable", "{p}", "--rival", "x={p}/azimuth.json", "--json", "{p}/azimuth.json"], [], "azimuth.json"),
    (["eval", "turntable", "{p}", "--compare", "{p}/pictures"], [], "{p}/pictures: not a bundle"),
    (["eval", "turntable", "{p}", "--compare", "nothing"], [], "no bundle for category 'nothing'"),
    (["eval", "turntable", "{p}", "--occlusion", "L1", "--masks", "{p}/none"], [], "no such mask"),
    (["eval", "turntable", "{p}", "--occlusion", "L1", "--occluders", "{p}/none"], [], "to cut occluders from"),
    (["eval", "turntable", "{p}", "--worst", "{p}/file"], [], "cannot be made a folder"),
    (["eval", "turntable", "{p}", "--worst", "/proc"], [], "/proc: no file can be written into this folder"),
    (["eval", "turntable", "{p}", "--worst", "-"], [], "-: pictures cannot go to standard output"),
    (["eval", "turntable", "{p}", "--json", "-", "--csv", "-"], [], "--json and --csv cannot both go to standard"),
    (["estimate", "{p}/pictures", "--out", "/proc"], [], "/proc: no file can be written into this folder"),
    (["estimate", "{p}/pictures", "--out", "-"], [], "-: pictures cannot go to standard output"),
    (["estimate", "{p}/pictures", "--topic", "/image"], [], "--topic chooses an image topic of a bag"),
    (["estimate", "{p}/pictures", "--out", ""], [], "the name of the folder for pictures is empty"),
    (["estimate", "{p}/pictures", "--json", ""], [], "--json is empty; give the name of a file, or -"),
    (["eval", "turntable", "{p}", "--csv", ""], [], "--csv is empty"),
    (["eval", "turntable", "{p}", "--worst", ""], [], "the name of the folder for pictures is empty"),
    (["bench", "{p}/pictures", "--bundle", "{p}/pictures"], [], "{p}/pictures: not a bundle"),
    (["compile", "--bundle", "car", "--bundle", "{p}/pictures"], [], "{p}/pictures: not a bundle"),
    (["build-engine", "{b}", "--precision", "int8", "--calibration", "{p}/pictures", "--ship", "--for-arch", "sm89"],
     [], "--ship writes the int8 network for CPUs and builds no engine: leave --for-arch out"),
    (["build-engine", "{b}", "--precision", "int8", "--calibration", "{p}/pictures", "--ship", "--check"], [],
     "builds no engine: leave --check out"),
])
def test_one_line_and_nothing_was_computed(place, bundle, words, missing, says):
    result = dinemo(*(word.format(p=place, b=bundle) for word in words), missing=missing)
    assert result.returncode == 1 and result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert says.format(p=place).lower() in result.stderr.lower()


def test_a_cache_that_takes_nothing(place, bundle):
    pytest.importorskip("onnx", reason="int8 networks need onnx")
    result = dinemo("build-engine", bundle, "--precision", "int8", "--calibration", place / "pictures", "--cache",
                    place / "file" / "x")
    assert result.returncode == 1 and "cannot be written (Not a directory)" in result.stderr
    assert "measuring" not in result.stderr


def test_compiled_kernels_that_cannot_be_kept(place):
    """Told at once and not after half a minute of compiling."""
    result = dinemo("compile", "--bundle", "car", NUMBA_CACHE_DIR=str(place / "file" / "x"))
    *_, last = result.stderr.splitlines()
    assert result.returncode == 1 and result.stdout == "" and "are not kept, so every start compiles them" in last
    assert "compiling the solver" not in result.stderr
