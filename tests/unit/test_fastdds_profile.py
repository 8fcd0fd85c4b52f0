# SPDX-License-Identifier: Apache-2.0
"""The pose node takes a smaller piece of shared memory than a camera, and nobody's own profile is replaced."""

import os
import re
import shutil

import pytest
from shared_data import ROOT

from dinemo_ros.process.fastdds_profile import PROFILE_VARIABLES, prefer_small_segment

LARGE, SMALL = (ROOT / "config" / name for name in ("fastdds.xml", "fastdds_results.xml"))


@pytest.fixture
def profiles(tmp_path):
    """Copies of both files."""
    return [shutil.copy(file, tmp_path) for file in (LARGE, SMALL)]


def chosen(monkeypatch, variable: str, path) -> str:
    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(path))
    prefer_small_segment()
    other = next(name for name in PROFILE_VARIABLES if name != variable)
    assert other not in os.environ
    return os.environ[variable]


def test_the_two_files_differ_in_the_size_alone():
    assert re.sub(r"\d{8}", "N", LARGE.read_text()) == re.sub(r"\d{8}", "N", SMALL.read_text())
    assert [int(re.search(r"<segment_size>(\d+)<", file.read_text())[1]) >> 20 for file in (LARGE, SMALL)] == [64, 16]


@pytest.mark.parametrize("variable", PROFILE_VARIABLES)
def test_ours_is_replaced_by_the_small_one(monkeypatch, profiles, variable):
    assert chosen(monkeypatch, variable, profiles[0]) == str(profiles[1])


def test_what_a_user_chose_or_edited_stays(monkeypatch, profiles, tmp_path):
    own = tmp_path / "own.xml"
    shutil.copy(profiles[0], own)
    assert chosen(monkeypatch, PROFILE_VARIABLES[0], own) == str(own)
    edited = tmp_path / "fastdds.xml"
    edited.write_text(edited.read_text().replace("UDPv4", "UDPv6"))
    assert chosen(monkeypatch, PROFILE_VARIABLES[0], edited) == str(edited)
    assert chosen(monkeypatch, PROFILE_VARIABLES[0], tmp_path / "missing" / "fastdds.xml").endswith("fastdds.xml")
    edited.write_bytes(b"\xff\xfe")
    assert chosen(monkeypatch, PROFILE_VARIABLES[0], edited) == str(edited)
