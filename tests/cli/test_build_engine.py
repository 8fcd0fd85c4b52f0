# SPDX-License-Identifier: Apache-2.0
"""Pictures to calibrate with: what cannot be read is counted, not measured."""

import logging

import cv2
import numpy as np
import pytest

from dinemo_ros.cli.build_engine import _pictures
from dinemo_ros.errors import DatasetError


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
