# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/evaluation.md make folders that are read, and mean what the text beside them says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dinemo_ros.drawing.overlay import box_corners
from dinemo_ros.evaluation.bop_objects import read_objects
from dinemo_ros.evaluation.bop_scene import SupportFile, read_bop
from dinemo_ros.evaluation.kitti import kitti_entries
from dinemo_ros.evaluation.kitti_labels import read_kitti
from dinemo_ros.evaluation.synthetic import read_synthetic, synthetic_entries
from dinemo_ros.evaluation.turntable import left_out, read_turntables
from dinemo_ros.pose import Hypothesis, ObjectPose

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"


def example(heading: str, contains: str) -> str:
    """The fenced block of the section ``heading`` that has ``contains`` in it."""
    section = DOCUMENT.read_text().split(f"### {heading}", 1)[1].split("\n##", 1)[0]
    found, = (block for block in re.findall(r"```\w*\n(.*?)```", section, re.DOTALL) if contains in block)
    return found


def write_picture(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def azimuth_deg(T_cam_obj, size) -> float:
    return float(np.degrees(Hypothesis(T_cam_obj, 1.0, size).viewpoint()[0]))


def test_turntable(tmp_path):
    (tmp_path / "azimuth.json").write_text(example("Turntables", "azimuth_deg"))
    for sequence, entry in json.loads(example("Turntables", "azimuth_deg")).items():
        for file in entry["azimuth_deg"]:
            write_picture(tmp_path / sequence / file, 64, 48)
    assert [(f.path.name, f.azimuth_deg) for f in read_turntables(tmp_path)] == [("000.jpg", 0.0), ("001.jpg", 45.5),
                                                                           ("002.jpg", 270.0)]
    assert left_out(tmp_path) == []


def test_synthetic(tmp_path):
    write_picture(tmp_path / "images" / "000000.jpg", 320, 240)
    (tmp_path / "masks").mkdir()
    subprocess.run([sys.executable, "-c", example("Synthetic", "np.savez")], cwd=tmp_path, check=True, timeout=60)
    entry, = synthetic_entries(read_synthetic(tmp_path))
    sample = entry.load()
    assert entry.group == "my car"
    assert azimuth_deg(sample.truth.T_cam_obj, sample.truth.size) == pytest.approx(210.0)
    assert_boxes_agree(sample)


def test_kitti(tmp_path):
    write_picture(tmp_path / "image_2" / "000000.png", 1242, 375)
    for folder, text in (("calib", example("KITTI", "P2: ")), ("label_2", example("KITTI", "Car 0.00"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "000000.txt").write_text(text)
    entry, = kitti_entries(read_kitti(tmp_path))
    sample = entry.load()
    assert sample.truth.size.tolist() == [3.69, 1.87, 1.67]
    assert_boxes_agree(sample)


def assert_boxes_agree(sample) -> None:
    """The documented box is that of the documented pose: within a pixel."""
    pixels = sample.camera.project(box_corners(ObjectPose(sample.truth.T_cam_obj, 1.0, sample.truth.size))) + 0.5
    assert [*pixels.min(axis=0), *pixels.max(axis=0)] == pytest.approx(sample.box, abs=1)


def test_bop(tmp_path):
    """The object stands on the plane, in the box, seen from its front and 30 degrees above."""
    scene = tmp_path / "000000"
    write_picture(scene / "rgb" / "000000.png", 640, 480)
    for name, key in (("scene_camera", "cam_K"), ("scene_gt", "cam_R_m2c"), ("scene_gt_info", "bbox_visib"),
                      ("scene_support", "offset_m")):
        (scene / f"{name}.json").write_text(example("BOP", f'"{key}"'))
    (tmp_path / "objects.json").write_text(example("BOP", "T_model_category"))
    data = read_bop(tmp_path, read_objects(tmp_path / "objects.json"), support=SupportFile())
    image, = data.images
    one, = image.instances
    azimuth, elevation, _ = Hypothesis(one.T_cam_category, 1.0, one.known.size).viewpoint()
    assert np.degrees([np.sin(azimuth), elevation]) == pytest.approx([0.0, 30.0], abs=1e-3)
    foot = one.T_cam_category @ [0.0, 0.0, -0.5 * one.known.size[2], 1.0]
    assert image.support.height(foot[:3]) == pytest.approx(0.0, abs=1e-3)
    corners = box_corners(Hypothesis(one.T_cam_category, 1.0, one.known.size)) @ image.K.T
    middle = (corners[:, :2] / corners[:, 2:]).mean(0)
    assert one.roi[0] < middle[0] < one.roi[2] and one.roi[1] < middle[1] < one.roi[3]
