# SPDX-License-Identifier: Apache-2.0
"""A bag's own list of its files names none outside of its folder."""

import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed (pip install rosbags)")

from unit.test_bag_topics import Bag

from dinemo_ros.errors import DatasetError
from dinemo_ros.io.sources import open_source


@pytest.mark.parametrize("storage, suffix", [("mcap", ".mcap"), ("sqlite3", ".db3")])
@pytest.mark.parametrize("absolute", [True, False])
def test_files_of_a_bag_are_those_in_its_folder(tmp_path, storage, suffix, absolute):
    for name in ("bag", "secret"):
        with Bag(tmp_path / name, storage) as bag:
            bag.image("image")
    elsewhere = tmp_path / "secret" / f"secret{suffix}"
    assert elsewhere.is_file() and len(list(open_source(tmp_path / "bag"))) == 1
    card = tmp_path / "bag" / "metadata.yaml"
    told = str(elsewhere) if absolute else os.path.relpath(elsewhere, tmp_path / "bag")
    card.write_text(card.read_text().replace(f"bag{suffix}", told))
    assert told in card.read_text()
    with pytest.raises(DatasetError, match="cannot be read as a rosbag2"):
        list(open_source(tmp_path / "bag"))
    shutil.copy(elsewhere, tmp_path / "bag")  # now the name says one in the folder
    assert len(list(open_source(tmp_path / "bag"))) == 1


@pytest.mark.parametrize("name", ["bag.db3", "metadata.yaml", "camera_info"])
def test_a_pipe_in_the_folder_of_a_bag_is_waited_for_by_nobody(tmp_path, name):
    """In a process of its own, which is ended if it waits."""
    with Bag(tmp_path / "bag", "sqlite3") as bag:
        bag.image("image")
    (tmp_path / "bag" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "bag" / name)
    code = "import sys; from dinemo_ros.io.sources import open_source; open_source(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "bag")], text=True, capture_output=True,
                          timeout=60)
    assert f"{name}: a device, pipe or socket, which no bag holds" in done.stderr.splitlines()[-1]
