# SPDX-License-Identifier: Apache-2.0
"""Fast DDS reads a profile in the current folder, which may name files to write and machines to talk to."""

import os
import subprocess

import pytest
from ros_support.processes import executable

_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <log><use_default>TRUE</use_default><consumer><class>FileConsumer</class>
    <property><name>filename</name><value>{planted}</value></property></consumer></log>
</dds>"""


def _profiles(folder):
    for name in ("DEFAULT_FASTDDS_PROFILES.xml", "DEFAULT_FASTRTPS_PROFILES.xml"):
        (folder / name).write_text(_PROFILE.format(planted=folder / "planted.log"))


@pytest.mark.parametrize("node", ["image_source_node", "pose_node"])
def test_no_profile_of_the_current_folder(tmp_path, node):
    """Of a node that ends by itself, for its source or its bundle is not there."""
    _profiles(tmp_path)
    wrong = {"image_source_node": ["-p", "path:=/nowhere"], "pose_node": ["-p", "threads:=not_a_number"]}[node]
    environment = {name: value for name, value in os.environ.items() if name != "SKIP_DEFAULT_XML_FILE"}
    done = subprocess.run([executable(node), "--ros-args", *wrong], cwd=tmp_path, env=environment, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert not (tmp_path / "planted.log").exists()
