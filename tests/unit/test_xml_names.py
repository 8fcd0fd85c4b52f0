# SPDX-License-Identifier: Apache-2.0
"""A calibration of 1 MB as XML whose names would be gigabytes: each has the namespace in front."""

import pytest
from bombs import assert_cheap, cost

from dinemo_ros.errors import DocumentError
from dinemo_ros.io.document import read_texts

_SETUP = "from dinemo_ros.io.document import read_texts"


@pytest.mark.parametrize("space", ["xmlns:x", "xmlns"])
def test_a_long_namespace(tmp_path, space):
    prefix = "x:" if ":" in space else ""
    names = "".join(f"<{prefix}b{number}/>" for number in range(20_000))
    (tmp_path / "camera.xml").write_text(f"<opencv_storage {space}='{'u' * 200_000}'>{names}</opencv_storage>")
    answer, seconds, megabytes = cost(_SETUP, "len(read_texts(sys.argv[1]))", str(tmp_path / "camera.xml"))
    assert "declarations" in answer
    assert_cheap(seconds, megabytes)


def test_one_that_opencv_writes(tmp_path):
    (tmp_path / "camera.xml").write_text("<?xml version='1.0'?>\n<opencv_storage><width>640</width></opencv_storage>")
    assert read_texts(tmp_path / "camera.xml") == {"width": "640"}
    (tmp_path / "camera.xml").write_text("<!DOCTYPE a []><opencv_storage/>")
    with pytest.raises(DocumentError, match="declarations"):
        read_texts(tmp_path / "camera.xml")
