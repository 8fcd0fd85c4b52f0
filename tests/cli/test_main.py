# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: real processes, exit codes, one-line errors."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def dinemo(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run ``dinemo`` in a process of its own."""
    return subprocess.run([sys.executable, "-m", "dinemo_ros.cli.main", *map(str, arguments)], text=True, timeout=120,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src"), **environment})


@pytest.mark.parametrize("command", [[], ["estimate"], ["eval"], ["eval", "turntable"], ["eval", "kitti"], ["bench"],
                                     ["doctor"], ["train"], ["bundle"], ["bundle", "show"], ["bundle", "upgrade"],
                                     ["bundle", "fetch"]])
def test_help_of_every_command(command):
    result = dinemo(*command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("usage: dinemo")
    assert result.stderr == ""


@pytest.mark.parametrize(("arguments", "says"), [
    ([], "required: COMMAND"),
    (["estimat"], "invalid choice"),
    (["estimate"], "required: PATH"),
    (["estimate", "x.jpg", "--hfov", "0"], "'0' is not a horizontal field of view in degrees from 1 to 170"),
    (["estimate", "x.jpg", "--hfov", "nan"], "'nan' is not a horizontal field of view"),
    (["estimate", "x.jpg", "--hfov", "60", "--camera", "c.yaml"], "not allowed with argument"),
    (["estimate", "x.jpg", "--roi", "1,2,3"], "'1,2,3' is no region; write x0,y0,x1,y1"),
    (["estimate", "x.jpg", "--roi", "1,2,3,nan"], "is no region"),
    (["bench", "--threads", "0"], "'0' is not a number of threads from 1 to 256"),
    (["bench", "--frames", "2.5"], "'2.5' is not a number of frames"),
    (["eval", "kitti", "x", "--rois", "frame"], "invalid choice"),
    (["eval", "turntable", "x", "--seed", "-5"], "'-5' is not a seed from 0 to 4294967295"),
    (["train", "--seed", "-1"], "'-1' is not a seed from 0 to 4294967295"),
])
def test_wrong_usage_is_exit_code_2(arguments, says):
    result = dinemo(*arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def assert_one_line_error(result, says: str):
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert says in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("arguments", "says"), [
    (["estimate", "{tmp}/missing.jpg"], "no such file or folder"),
    (["estimate", "{tmp}"], "no image here"),
    (["estimate", "{tmp}/a.png", "--bundle", "{tmp}"], "has no model.yaml"),
    (["estimate", "{tmp}/a.png", "--bundle", "spaceship"], "no bundle for category 'spaceship'"),
    (["estimate", "{tmp}/a.png", "--camera", "{tmp}/c.yaml"], "c.yaml: cannot be read (No such file or directory)"),
    (["estimate", "{tmp}/a.png", "--out", "{tmp}/a.png/x"], "cannot be made a folder"),
    (["eval", "turntable", "{tmp}"], "azimuth.json: cannot be read"),
    (["eval", "kitti", "{tmp}"], "no folder image_2"),
    (["bench", "{tmp}/missing"], "no such file or folder"),
])
def test_bad_input_is_one_line_and_exit_code_1(tmp_path, arguments, says):
    if "a.png" in " ".join(arguments):
        import cv2
        import numpy as np

        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    assert_one_line_error(dinemo(*(a.format(tmp=tmp_path) for a in arguments)), says)


def test_version():
    from dinemo_ros import __version__

    assert dinemo("--version").stdout.strip() == f"dinemo_ros {__version__}"


class TestDoctor:
    def test_names_machine_runtime_and_bundle(self):
        result = dinemo("doctor")
        assert "onnxruntime" in result.stdout
        assert "CPUExecutionProvider" in result.stdout
        assert any(line[3:].startswith("bundle") for line in result.stdout.splitlines())
        assert re.search(r"^ok box detector +nanodet-g [\d.]+, 80 classes, Apache-2.0 AND MIT", result.stdout, re.M)
        assert result.returncode == int("!!" in result.stdout)

    def test_broken_bundle_is_found(self, tmp_path):
        (tmp_path / "model.yaml").write_text("format: foreign\n")
        result = dinemo("doctor", "--bundle", tmp_path, "--json", tmp_path / "findings.json")
        assert result.returncode == 1
        assert "!! bundle" in result.stdout
        assert "not a dinemo bundle" in (tmp_path / "findings.json").read_text()

    def test_fast_dds_profile_is_noticed(self, tmp_path):
        profile = tmp_path / "fastdds.xml"
        for text, environment in (
                ("-- Fast DDS", {}),
                ("!! Fast DDS", {"FASTDDS_DEFAULT_PROFILES_FILE": str(profile)}),
                ("-- Fast DDS       not in use", {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"})):
            blank = {"FASTDDS_DEFAULT_PROFILES_FILE": "", "FASTRTPS_DEFAULT_PROFILES_FILE": "",
                     "RMW_IMPLEMENTATION": ""}
            assert text in dinemo("doctor", **(blank | environment)).stdout
        profile.write_text("<dds/>")
        assert "ok Fast DDS" in dinemo("doctor", **(blank | {"FASTDDS_DEFAULT_PROFILES_FILE": str(profile)})).stdout
