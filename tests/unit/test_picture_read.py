# SPDX-License-Identifier: Apache-2.0
"""Pictures of any name; what is none is None."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dinemo_ros.io.picture_read import imread


@pytest.mark.parametrize("name", ["a.png", "ü.png", os.fsdecode(b"m\xff.png"), "50%d.png", "a b.png"])
def test_a_name_of_any_bytes(tmp_path, name):
    picture = np.random.default_rng(0).integers(256, size=(5, 7), dtype=np.uint8)
    (tmp_path / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    np.testing.assert_array_equal(imread(tmp_path / name, cv2.IMREAD_GRAYSCALE), picture)
    assert imread(str(tmp_path / name)).shape == (5, 7, 3)


def test_what_is_no_picture(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("text")
    for path in (tmp_path / "empty.png", tmp_path / "text.png", tmp_path / "nothing.png", Path(tmp_path)):
        assert imread(path) is None


@pytest.mark.parametrize("place", ["a pipe", "a device", "a socket"])
def test_nobody_waits_for_what_is_no_plain_file(tmp_path, place):
    """In a process of its own, which is ended if it waits."""
    path = tmp_path / "a.png"
    if place == "a pipe":
        os.mkfifo(path)
    elif place == "a device":
        path.symlink_to("/dev/zero")
    else:
        holder = socket.socket(socket.AF_UNIX)
        holder.bind(os.path.relpath(path))  # a socket's name is short
        holder.close()
    code = ("import sys; from pathlib import Path; from dinemo_ros.io.picture_read import imread; "
            "from dinemo_ros.io.overlay_file import is_overlay; "
            "print(imread(sys.argv[1]), is_overlay(Path(sys.argv[1])))")
    done = subprocess.run([sys.executable, "-c", code, str(path)], text=True, capture_output=True, timeout=30)
    assert done.stdout == "None False\n", done.stderr
