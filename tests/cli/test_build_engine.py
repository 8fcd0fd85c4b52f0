# SPDX-License-Identifier: Apache-2.0
"""Pictures to calibrate with: what cannot be read is counted, not measured."""

import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dinemo_ros.cli import build_engine
from dinemo_ros.cli.build_engine import _pictures
from dinemo_ros.cli.main import main
from dinemo_ros.errors import DatasetError
from dinemo_ros.gpu.cuda_driver import CudaError


def test_half_and_tiny_pictures_are_skipped_with_a_count(tmp_path, caplog):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    (tmp_path / "half.jpg").write_bytes(data[: len(data) // 2])
    cv2.imwrite(str(tmp_path / "one.png"), noise[:1, :1])
    with pytest.raises(DatasetError, match="no JPEG or PNG to calibrate with"):
        _pictures(tmp_path, 32)
    red = np.full((60, 80, 3), (250, 10, 20), np.uint8)
    cv2.imwrite(str(tmp_path / "red.png"), red[..., ::-1])
    with caplog.at_level(logging.INFO, logger="dinemo_ros"):
        picture, = _pictures(tmp_path, 32)
    assert picture.shape == (1, 32, 32, 3) and (picture == [250, 10, 20]).all()
    assert "2 of 3 pictures skipped" in caplog.text and "half.jpg: JPEG of" in caplog.text


@pytest.mark.parametrize(("gpu", "archs", "says"), [
    (None, [], "--check runs the engine on a GPU (no driver): leave it out"),
    (None, ["--for-arch", "sm89"], "--check runs the engine on a GPU (no driver): leave it out"),
    (SimpleNamespace(name="Some GPU", arch="sm87"), ["--for-arch", "sm89"],
     "--check runs the engine on Some GPU, which is sm87 and not among --for-arch sm89"),
])
def test_a_check_that_cannot_be_made_is_told_before_the_build(bundle, tmp_path, monkeypatch, capsys, gpu, archs, says):
    monkeypatch.setattr(build_engine, "_present", lambda: (gpu, None if gpu else CudaError("no driver")))
    monkeypatch.setattr(build_engine, "_build", lambda *arguments: pytest.fail("it was built"))
    assert main(["build-engine", str(bundle), "--precision", "fp32", "--check", "--cache", str(tmp_path / "cache"),
                 *archs]) == 1
    assert says in capsys.readouterr().err


def test_the_second_architecture_is_looked_at_before_the_first_is_built(bundle, tmp_path, monkeypatch, capsys):
    trt = SimpleNamespace(flavour="TensorRT-RTX", version="1.2", archs=("sm89", "sm120"))
    monkeypatch.setattr("dinemo_ros.features.tensorrt_api.load_tensorrt", lambda: trt)
    monkeypatch.setattr(build_engine, "_build", lambda *arguments: pytest.fail("it was built"))
    assert main(["build-engine", str(bundle), "--precision", "fp32", "--cache", str(tmp_path / "cache"), "--for-arch",
                 "sm89", "--for-arch", "sm50"]) == 1
    assert "builds no engines for sm50; it can for sm89, sm120" in capsys.readouterr().err
