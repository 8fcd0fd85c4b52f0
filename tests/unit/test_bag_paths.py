# SPDX-License-Identifier: Apache-2.0
"""A bag's own list of its files names none outside of its folder."""

import os
import shutil

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
